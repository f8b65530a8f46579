"""`gan evaluate` at a shell, with the shipped bundle; the generator is a stand-in."""

import json
import sys
from pathlib import Path

import pytest

from pneumoscope.cli.app import main
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.study import synthetic
from pneumoscope.training.gan_data import prepare_gan_data
from pneumoscope.training.gan_recipe_file import gan_recipe_yaml, load_gan_recipe


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["pneumoscope", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_gan_evaluate_prints_the_answer_and_names_the_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_phantoms(tmp_path / "phantoms", count=90, seed=0, size_px=64, positive_fraction=0.2)
    recipe = load_gan_recipe("dcgan-64", changes=["batch_size=8"])
    gan_data = prepare_gan_data(recipe, open_dataset(data), show_progress=False)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(gan_recipe_yaml(recipe))
    facts = {"schema": "gan-1", "state": "finished", "seed": 0, "data": gan_data.facts}
    (folder / "run.json").write_text(json.dumps(facts))
    pixels = gan_data.pixels()
    monkeypatch.setattr(
        synthetic, "_default_generate", lambda: lambda run, *, count, seed: pixels[:count]
    )
    monkeypatch.setattr(synthetic, "N_CONTROLS", 10)
    monkeypatch.setenv("COLUMNS", "160")
    words = ["gan", "evaluate", str(folder), "--data", str(data), "--count", "20"]
    assert run(words, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Synthetic phantoms, not radiographs")
    assert "Fréchet distance in pneumoscope-1's embedding" in printed
    assert "look at the pairs" in printed
    assert "synthetic.html" in printed
    written = json.loads((folder / "synthetic.json").read_text())
    assert written["bundle"]["name"] == "pneumoscope-1"
    assert written["n_samples"] == 20


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["nowhere", "--data", "examples/nothing"], 1, "examples/nothing"),
        (["nowhere"], 2, "--data"),
    ],
)
def test_gan_evaluate_says_what_is_wrong(
    words: list[str],
    status: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["gan", "evaluate", *words], monkeypatch) == status
    assert reason in capsys.readouterr().err
