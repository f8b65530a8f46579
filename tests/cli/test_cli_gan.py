"""`pneumoscope gan train` and `gan sample`: from a recipe to a folder of samples."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.core.errors import RecipeError, RunError, SplitError
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms

SMALL = ["base_filters=2", "latent_dim=6", "grid_side=2", "batch_size=8", "epochs=1"]


@pytest.fixture(scope="module")
def gan_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return make_phantoms(folder, count=60, seed=0, size_px=32)


def gan_train(data: Path, out: Path, *words: str, recipe: str = "dcgan-64") -> list[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    command = ["gan", "train", recipe, "--data", str(data), "--out", str(out)]
    return [*command, "--accelerator", "cpu", *changes, *words]


@pytest.mark.parametrize("recipe", ["dcgan-64", "dcgan-128"])
def test_gan_train_then_gan_sample(gan_phantoms: Path, tmp_path: Path, recipe: str) -> None:
    run, samples = tmp_path / "run", tmp_path / "samples"
    trained = CliRunner().invoke(
        app, gan_train(gan_phantoms, run, "--set", "collapse.from_epoch=1", recipe=recipe)
    )
    assert trained.exit_code == 0, trained.output
    assert f"pneumoscope gan sample {run}" in trained.stdout
    assert "epoch   1: discriminator loss" in trained.stderr
    assert "samples alike in 1 epochs: [1]" in trained.stderr  # one epoch: noise, all of it alike
    assert yaml.safe_load((run / "recipe.yaml").read_text())["base_filters"] == 2

    words = ["gan", "sample", str(run), "--count", "4", "--seed", "1", "--out", str(samples)]
    sampled = CliRunner().invoke(app, words)
    assert sampled.exit_code == 0, sampled.output
    assert "4 synthetic radiographs, marked as generated" in sampled.stdout
    assert len(open_dataset(samples)) == 4


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--set", "batch_size=1000"], SplitError),
        (["--set", "epochs=0"], RecipeError),
    ],
)
def test_what_gan_train_refuses(
    gan_phantoms: Path, tmp_path: Path, words: list[str], error: type[Exception]
) -> None:
    refused = CliRunner().invoke(app, gan_train(gan_phantoms, tmp_path / "run", *words))
    assert isinstance(refused.exception, error)


def test_gan_sample_of_nothing(tmp_path: Path) -> None:
    words = ["gan", "sample", str(tmp_path), "--count", "1", "--out", str(tmp_path / "out")]
    assert isinstance(CliRunner().invoke(app, words).exception, RunError)
