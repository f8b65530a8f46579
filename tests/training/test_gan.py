"""A DCGAN's run: whom it is shown, what it leaves, when it is said to have collapsed."""

import csv
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from pneumoscope.core.errors import DivergedError, RunError, SplitError, UsageError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.splits import assign_roles
from pneumoscope.models.dcgan import Generator
from pneumoscope.training import gan_pair
from pneumoscope.training.gan import choose_device, train_gan
from pneumoscope.training.gan_collapse import find_collapse
from pneumoscope.training.gan_data import prepare_gan_data
from pneumoscope.training.gan_pair import AdversarialPair, spread
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.gan_recipe_file import parse_gan_recipe
from pneumoscope.training.gan_run import GanRun, open_gan_run
from pneumoscope.training.gan_sample import load_generator

TINY_GAN: dict[str, Any] = {
    "name": "tiny-gan",
    "title": "A DCGAN small enough for tests",
    "source": {"title": "None"},
    "size_px": 64,
    "target": 0,
    "latent_dim": 6,
    "base_filters": 2,
    "epochs": 2,
    "batch_size": 8,
    "grid_side": 3,
}


def tiny_gan(**changes: Any) -> GanRecipe:
    return parse_gan_recipe(TINY_GAN | changes, where="tiny-gan")


def changed(dataset: Dataset, **columns: pl.Expr) -> Dataset:
    table = dataset.manifest.table.with_columns(**columns)
    return FileDataset(Manifest(table, dataset.manifest.root, "changed"))


@pytest.fixture(scope="module")
def gan_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> GanRun:
    out = tmp_path_factory.mktemp("gan") / "run"
    return train_gan(tiny_gan(), dataset, out, seed=3, accelerator="cpu", show_progress=False)


def test_only_training_patients_of_one_class_are_shown(dataset: Dataset) -> None:
    table = dataset.manifest.table
    roles = assign_roles(dataset.manifest)  # as a detector's recipe has them by default
    for target in (0, 1):
        data = prepare_gan_data(tiny_gan(target=target), dataset, show_progress=False)
        shown = table[data.rows.tolist()]
        assert set(shown["target"]) == {target}
        assert set(data.rows) == set(
            roles.training[table["target"].to_numpy()[roles.training] == target]
        )
        kept_back = table[[*roles.tuning.tolist(), *roles.test.tolist()]]["patient_id"]
        assert not set(shown["patient_id"]) & set(kept_back)


def test_a_copy_of_a_tuning_picture_is_left_out(dataset: Dataset) -> None:
    roles = assign_roles(dataset.manifest)
    table = dataset.manifest.table
    target = table["target"].to_numpy()
    tuning = next(row for row in roles.tuning if target[row] == 0)
    twin = next(row for row in roles.training if target[row] == 0)
    paths = table["path"].to_list()
    paths[twin] = paths[tuning]
    data = prepare_gan_data(
        tiny_gan(), changed(dataset, path=pl.Series(paths)), show_progress=False
    )
    assert twin not in data.rows
    assert "exact copy" in data.facts["left_out"][0]["reason"]


def test_a_run_leaves_what_it_promises(gan_run: GanRun, dataset: Dataset) -> None:
    with (gan_run.path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert ",".join(history[0]) == (
        "epoch,discriminator_loss,generator_loss,real_score,fake_score,sample_std,seconds,"
        "images_per_s"
    )
    facts = json.loads((gan_run.path / "run.json").read_text())
    assert facts["state"] == "finished"
    assert facts["seed"] == 3
    assert facts["epochs_run"] == 2
    assert facts["collapse"] == {"discriminator_won": [], "samples_alike": []}
    assert facts["data"]["origins"] == {"phantom": facts["data"]["n_training"]}
    for epoch in (1, 2):
        side = 3 * 64 + 2 * 2
        with Image.open(gan_run.grid_path(epoch)) as grid:
            assert grid.size == (side, side)
    with Image.open(gan_run.losses_path) as figure:
        assert figure.format == "PNG"
    assert open_gan_run(gan_run.path).recipe == tiny_gan()


def test_a_finished_run_is_not_trained_again(gan_run: GanRun, dataset: Dataset) -> None:
    before = gan_run.checkpoint_path.stat().st_mtime_ns
    train_gan(tiny_gan(), dataset, gan_run.path, seed=3, resume=True, show_progress=False)
    assert gan_run.checkpoint_path.stat().st_mtime_ns == before
    renamed = changed(dataset, patient_id="other-" + pl.col("patient_id"))
    with pytest.raises(RunError, match="trained on other radiographs"):
        train_gan(tiny_gan(), renamed, gan_run.path, seed=3, resume=True, show_progress=False)


@pytest.mark.parametrize(
    ("recipe", "options", "reason"),
    [
        (tiny_gan(), {"seed": 3}, "--resume"),
        (tiny_gan(), {"seed": 4, "resume": True}, "another experiment"),
        (tiny_gan(epochs=3), {"seed": 3, "resume": True}, "another experiment"),
    ],
)
def test_another_experiments_folder_is_refused(
    gan_run: GanRun, dataset: Dataset, recipe: GanRecipe, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RunError, match=reason):
        train_gan(recipe, dataset, gan_run.path, show_progress=False, **options)


def test_an_absent_class_is_said(dataset: Dataset) -> None:
    with pytest.raises(SplitError, match=r"no normal radiographs .*target=1"):
        prepare_gan_data(tiny_gan(), changed(dataset, target=pl.lit(1, pl.Int8)))


def test_too_few_for_a_batch_is_said(dataset: Dataset, tmp_path: Path) -> None:
    n = len(prepare_gan_data(tiny_gan(), dataset, show_progress=False).rows)
    with pytest.raises(SplitError, match=rf"{n} normal .* one batch of {n + 1}.*batch_size={n}"):
        train_gan(tiny_gan(batch_size=n + 1), dataset, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_generator_does_not_learn_from_generated_pictures(dataset: Dataset) -> None:
    with pytest.raises(SplitError, match="are generated"):
        prepare_gan_data(
            tiny_gan(),
            changed(dataset, origin=pl.lit("generated", dataset.manifest.table["origin"].dtype)),
        )


def test_an_accelerator_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="auto, cpu or gpu"):
        choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("gpu")
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_gpu_trains_and_resumes_without_change(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = AdversarialPair.step

    def step(self: AdversarialPair, real: torch.Tensor, **place: int) -> torch.Tensor:
        if place["epoch"] == 1:
            raise KeyboardInterrupt
        assert real.is_cuda
        return whole(self, real, **place)

    options: dict[str, Any] = {"accelerator": "gpu", "show_progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(AdversarialPair, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train_gan(tiny_gan(), dataset, tmp_path / "run", **options)
    run = train_gan(tiny_gan(), dataset, tmp_path / "run", resume=True, **options)
    assert run.facts["epochs_run"] == 2
    assert not load_generator(run).layers[0].weight.is_cuda


def test_a_loss_that_is_nan_stops_the_run_and_keeps_the_last_epoch(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = AdversarialPair.step

    def step(self: AdversarialPair, real: torch.Tensor, **place: int) -> torch.Tensor:
        return whole(self, real, **place) * (math.nan if place["epoch"] == 1 else 1)

    monkeypatch.setattr(AdversarialPair, "step", step)
    with pytest.raises(DivergedError, match="epoch 2"):
        train_gan(tiny_gan(), dataset, tmp_path / "run", show_progress=False)
    run = open_gan_run(tmp_path / "run", needs_finished=False)
    assert run.facts["state"] == "stopped"
    assert run.facts["epochs_run"] == 1
    with pytest.raises(RunError, match="--resume"):
        open_gan_run(tmp_path / "run")


def row(epoch: int, *, loss: float = 1, std: float = 0.2) -> dict[str, float]:
    return {"epoch": epoch, "discriminator_loss": loss, "sample_std": std}


def test_collapse_is_found_by_its_definition() -> None:
    recipe = tiny_gan(
        collapse={"from_epoch": 2, "discriminator_loss": 0.01, "sample_std_share": 0.5}
    )
    history = [
        row(1, loss=0, std=0),  # too early to say
        row(2),
        row(3, loss=0.0099),
        row(4, std=0.099),
        row(5, loss=0.0101, std=0.101),
        row(6, loss=0.001, std=0.01),
    ]
    found = find_collapse(history, recipe, real_std=0.2)
    assert found == {"discriminator_won": [3, 6], "samples_alike": [4, 6]}


def test_a_smoothed_label_raises_the_loss_that_means_collapse() -> None:
    recipe = tiny_gan(real_label=0.9, collapse={"from_epoch": 1})
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)  # what a perfect one is left with
    history = [row(1, loss=entropy + 0.009), row(2, loss=entropy + 0.011)]
    assert find_collapse(history, recipe, real_std=0.2)["discriminator_won"] == [1]


def test_a_collapse_is_logged_once_and_written_down(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one_picture = torch.full((9, 1, 64, 64), 0.3)
    monkeypatch.setattr(AdversarialPair, "grid", lambda self: one_picture)
    recipe = tiny_gan(epochs=3, collapse={"from_epoch": 2})
    with caplog.at_level(logging.WARNING):
        train_gan(recipe, dataset, tmp_path / "run", show_progress=False)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["collapse"]["samples_alike"] == [2, 3]
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "epoch 2" in text and "same picture" in text] == said


def test_spread_is_the_root_mean_square_distance_from_the_mean() -> None:
    pictures = np.random.default_rng(0).normal(size=(5, 3, 4))
    assert spread(pictures) == pytest.approx(np.sqrt(pictures.var(axis=0).mean()))
    assert spread(np.ones((4, 2))) == 0


def test_the_average_follows_the_definition_and_samples_with_its_own_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = AdversarialPair(tiny_gan(ema_decay=0.4), seed=0, device=torch.device("cpu"))
    average = pair.generator.layers[3].weight.detach().clone().double()
    for step, decay in enumerate((0.1, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 0.4, 0.4)):
        pair.step(torch.rand(8, 1, 64, 64), epoch=0, step=step)
        newest = pair.generator.layers[3].weight.detach().double()
        average = decay * average + (1 - decay) * newest
    np.testing.assert_allclose(pair.average.layers[3].weight, average, atol=1e-6)

    monkeypatch.setattr(gan_pair, "_N_NORM_BATCHES", 1)
    pair.settle_average()
    seen: list[torch.Tensor] = []
    norm = pair.average.layers[1]
    hook = norm.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    pair.average(pair._latent(gan_pair._NORM_BATCH, 0, 0, stream=gan_pair._NORM_STREAM))
    hook.remove()
    # Normalised by its own statistics: mean and spread are BatchNorm's bias and factor.
    np.testing.assert_allclose(seen[0].mean(dim=(0, 2, 3)), norm.bias, atol=1e-5)
    np.testing.assert_allclose(seen[0].std(dim=(0, 2, 3)), norm.weight, rtol=1e-2)


def test_the_discriminator_learns_in_its_own_half_of_the_step_alone() -> None:
    pair = AdversarialPair(tiny_gan(), seed=0, device=torch.device("cpu"))
    real = torch.rand(8, 1, 64, 64)
    slopes = []
    pair._generator_optimizer.register_step_pre_hook(
        lambda *_: slopes.append([p.grad.clone() for p in pair.discriminator.parameters()])
    )
    pair._discriminator_optimizer.register_step_pre_hook(
        lambda *_: slopes.append([p.grad.clone() for p in pair.discriminator.parameters()])
    )
    pair.step(real, epoch=0, step=0)
    for own, after in zip(*slopes, strict=True):
        assert torch.equal(own, after)
    assert all(parameter.requires_grad for parameter in pair.discriminator.parameters())


def test_the_run_samples_with_the_average(gan_run: GanRun) -> None:
    saved = torch.load(gan_run.checkpoint_path, weights_only=True)["state_dict"]
    generator = load_generator(gan_run)
    assert isinstance(generator, Generator)
    for key, value in generator.state_dict().items():
        assert torch.equal(value, saved["average"][key])
    assert not torch.equal(
        saved["average"]["layers.3.weight"], saved["generator"]["layers.3.weight"]
    )
