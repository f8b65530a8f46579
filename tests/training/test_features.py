"""Training on a frozen backbone's kept maps is training on the radiographs, only sooner."""

import csv
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from pneumoscope.core.errors import StorageError
from pneumoscope.data.augment import apply_parameters, draw_copy_parameters
from pneumoscope.data.dataset import Dataset
from pneumoscope.training import features_file, fit
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.features import has_constant_features, open_features
from pneumoscope.training.features_file import open_or_build
from pneumoscope.training.inference import load_network, predict_rows
from pneumoscope.training.networks import build_network
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_data import RunData, prepare_data, roles_of
from pneumoscope.training.run_folder import RunFolder

CPU = torch.device("cpu")


def make_recipe(
    *,
    network: dict[str, Any] | None = None,
    augmentation: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> Recipe:
    """Return a small frozen timm network's recipe; its random weights are as good as any here."""
    changes = {"rotation_deg": 20, "horizontal_flip": True, "noise_sd": 0.05, "copies": 2}
    shape = {"kind": "backbone", "backbone": "test_resnet", "frozen_stages": "all"}
    course: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.003},
        "precision": "fp32",
    }
    return parse_recipe(
        {
            "name": "tiny-transfer",
            "title": "A frozen network small enough for tests",
            "source": {"title": "None"},
            "input": {"size_px": 64, "channels": 1},
            "network": shape | {"dense": [{"units": 6, "dropout": 0.3}]} | (network or {}),
            "augmentation": changes if augmentation is None else augmentation,
            "split": {"tuning_fraction": 0.3},
            "training": course | (training or {}),
        },
        where="test",
    )


def train(recipe: Recipe, dataset: Dataset, out: Path, **options: Any) -> RunFolder:
    options = {"cache_folder": out.parent / "cache"} | options
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False, **options)


def history(run: RunFolder) -> list[list[float]]:
    """Return each epoch's figures but seconds and images/s."""
    rows = list(csv.reader(run.history_path.read_text().splitlines()))
    return [[float(value) for value in row[:-2]] for row in rows[1:]]


def files(cache: Path) -> set[str]:
    return {path.name for path in (cache / "features").glob("*.npy")}


@pytest.fixture
def data(dataset: Dataset, tmp_path: Path) -> RunData:
    return prepare_data(
        make_recipe(), dataset, cache_folder=tmp_path, strict=True, show_progress=False
    )


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_maps_from_the_disk_train_the_same_weights_as_radiographs(
    dataset: Dataset, tmp_path: Path, pooling: str
) -> None:
    runs = {
        name: train(
            make_recipe(network={"pooling": pooling}, training={"cache_features": name == "kept"}),
            dataset,
            tmp_path / name,
        )
        for name in ("kept", "anew")
    }
    assert len(files(tmp_path / "cache")) == 3  # two copies and the tuning split
    kept, anew = (load_network(runs[name]).state_dict() for name in ("kept", "anew"))
    for name, value in anew.items():
        assert torch.allclose(kept[name], value, atol=2e-5), name
    assert np.allclose(history(runs["kept"]), history(runs["anew"]), atol=1e-4)
    first = build_network(make_recipe(network={"pooling": pooling}))  # it did learn something
    assert not torch.allclose(kept["head.weight"], first.head.weight, atol=1e-3)


def test_every_copy_is_the_networks_answer_to_the_changed_radiograph(
    data: RunData, tmp_path: Path
) -> None:
    recipe = make_recipe(network={"pooling": "flatten"})
    network = build_network(recipe)
    features = open_features(
        network, recipe, data, device=CPU, cache_folder=tmp_path, show_progress=False
    )
    assert network.training  # as it was
    network.eval()
    rows = data.training[[5, 0, 17]]
    for epoch in (0, 1, 2):
        drawn = draw_copy_parameters(recipe.augmentation, len(data.target), copy=epoch % 2)
        for place, row in enumerate(rows):
            gray = torch.from_numpy(data.cache.pixels[row].copy())[None, None] / 255
            changed = apply_parameters(gray, drawn.take(slice(row, row + 1)), recipe.augmentation)
            with torch.no_grad():
                expected = network.levels(changed)[-1][0]
            assert torch.allclose(
                features.training_maps(rows, epoch=epoch)[place], expected, atol=1e-5
            )
    row = data.tuning[3]
    gray = torch.from_numpy(data.cache.pixels[row].copy())[None, None] / 255
    with torch.no_grad():
        expected = network.levels(gray)[-1]
    assert torch.allclose(features.tuning_maps(np.array([row])), expected, atol=1e-5)


def test_a_pooled_head_keeps_one_value_a_map(data: RunData, tmp_path: Path) -> None:
    recipe = make_recipe()
    network = build_network(recipe).eval()
    features = open_features(
        network, recipe, data, device=CPU, cache_folder=tmp_path, show_progress=False
    )
    n_maps = network.dense[0].in_features
    assert features.tuning.shape == (len(data.tuning), n_maps, 1, 1)
    assert [copy.shape for copy in features.copies] == [(len(data.training), n_maps, 1, 1)] * 2
    gray = torch.from_numpy(data.cache.pixels[data.tuning])[:, None] / 255
    with torch.no_grad():
        expected = network(gray)
        logit, _ = network.head_with_penalty(features.tuning_maps(data.tuning))
    assert torch.allclose(logit, expected, atol=1e-5)


def test_other_seeds_heads_and_losses_share_the_files(data: RunData, tmp_path: Path) -> None:
    network = build_network(make_recipe())
    options: dict[str, Any] = {"device": CPU, "cache_folder": tmp_path, "show_progress": False}
    open_features(network, make_recipe(), data, **options)
    before = files(tmp_path)
    assert len(before) == 3
    open_features(
        network, make_recipe(training={"loss": "focal", "batch_size": 4}), data, **options
    )
    assert files(tmp_path) == before
    open_features(network, make_recipe(training={"epochs": 1}), data, **options)
    assert files(tmp_path) == before  # one epoch needs one copy


@pytest.mark.parametrize("what", ["weights", "normalisation", "augmentation", "radiographs"])
def test_whatever_changes_the_maps_changes_the_key(
    data: RunData, tmp_path: Path, what: str
) -> None:
    network, recipe = build_network(make_recipe()), make_recipe()
    options: dict[str, Any] = {"device": CPU, "cache_folder": tmp_path, "show_progress": False}
    open_features(network, recipe, data, **options)
    before = files(tmp_path)
    n_new = 3
    if what == "weights":
        with torch.no_grad():
            next(network.body.parameters()).view(-1)[0] += 1e-3
    elif what == "normalisation":
        network.mean += 0.01
    elif what == "augmentation":
        changed = recipe.augmentation.model_dump() | {"rotation_deg": 21}
        recipe = make_recipe(augmentation=changed)
        n_new = 2  # the tuning split is never changed
    else:
        row = int(data.tuning[0])
        contents = list(data.cache.sha256)
        contents[row] = "0" * 64
        object.__setattr__(data.cache, "sha256", tuple(contents))
        n_new = 1
    open_features(network, recipe, data, **options)
    assert len(files(tmp_path) - before) == n_new


def test_without_augmentation_one_pass_is_enough(data: RunData, tmp_path: Path) -> None:
    recipe = make_recipe(augmentation={})
    features = open_features(
        build_network(recipe), recipe, data, device=CPU, cache_folder=tmp_path, show_progress=False
    )
    assert len(features.copies) == 1
    assert len(files(tmp_path)) == 2


def test_maps_are_kept_only_where_they_stay_the_same() -> None:
    assert has_constant_features(make_recipe())
    assert has_constant_features(make_recipe(augmentation={}))
    assert not has_constant_features(make_recipe(augmentation={"rotation_deg": 5}))
    assert not has_constant_features(make_recipe(network={"frozen_stages": 2}))
    assert not has_constant_features(make_recipe(network={"unfreeze_after_epochs": 1}))
    assert not has_constant_features(make_recipe(training={"cache_features": False}))


def test_a_run_stopped_in_mid_epoch_resumes_to_the_same_weights(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    file = {"name": str(path), "mean": [0.4] * 3, "std": [0.3] * 3}
    recipe = make_recipe(network={"weights": {"file": file}}, training={"ema_decay": 0.9})
    whole = train(recipe, dataset, tmp_path / "whole")
    step = Classifier.training_step

    def break_down(self: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 2:
            raise OSError("power cut")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", break_down)
        with pytest.raises(OSError, match="power cut"):
            train(recipe, dataset, tmp_path / "stopped")
    # Its maps are of the weights in the checkpoint, not of new random ones.
    before = files(tmp_path / "cache")
    resumed = train(recipe, dataset, tmp_path / "stopped", resume=True)
    assert files(tmp_path / "cache") == before
    one, other = load_network(whole).state_dict(), load_network(resumed).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert history(whole) == history(resumed)


def test_the_runs_answers_are_of_its_own_network(dataset: Dataset, tmp_path: Path) -> None:
    run = train(make_recipe(), dataset, tmp_path / "run")
    again = predict_rows(run, dataset, roles_of(run.recipe, dataset).tuning)
    assert np.allclose(again.logit, run.predictions("tuning").logit, atol=1e-5)
    best = history(run)[run.facts["best_epoch"] - 1]
    z, target = again.logit, again.target
    loss = np.mean(np.log1p(np.exp(-z)) * target + np.log1p(np.exp(z)) * ~target)
    assert loss == pytest.approx(best[3], rel=1e-4)


# The file itself


def numbers(part: slice) -> NDArray[np.float32]:
    return np.arange(70 * 3, dtype=np.float32).reshape(70, 3, 1, 1)[part]


def build(path: Path, maps_of: Any = numbers) -> NDArray[np.float32]:
    return open_or_build(path, (70, 3, 1, 1), maps_of, title="", show_progress=False)


def test_two_that_ask_at_once_build_once(tmp_path: Path) -> None:
    starts, gate = [], threading.Barrier(2)

    def slow(part: slice) -> NDArray[np.float32]:
        starts.append(part.start)
        return numbers(part)

    def ask(_: int) -> NDArray[np.float32]:
        gate.wait()
        return build(tmp_path / "maps.npy", slow)

    with ThreadPoolExecutor(2) as pool:
        for maps in pool.map(ask, range(2)):
            assert np.array_equal(maps, numbers(slice(None)))
    assert starts == [0, 32, 64]


def test_a_build_that_breaks_off_leaves_nothing_and_begins_again(tmp_path: Path) -> None:
    def break_down(part: slice) -> NDArray[np.float32]:
        if part.start:
            raise KeyboardInterrupt
        return numbers(part)

    path = tmp_path / "maps.npy"
    with pytest.raises(KeyboardInterrupt):
        build(path, break_down)
    assert {item.name for item in tmp_path.iterdir()} == {"maps.lock"}
    (tmp_path / ".maps.npy.abc.tmp").write_bytes(b"of a killed process")
    assert np.array_equal(build(path), numbers(slice(None)))
    assert {item.name for item in tmp_path.iterdir()} == {"maps.lock", "maps.npy"}


@pytest.mark.parametrize("damage", ["cut", "longer", "other shape", "text"])
def test_a_damaged_file_is_built_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "maps.npy"
    build(path)
    whole = path.read_bytes()
    if damage == "other shape":
        np.save(path, np.zeros((70, 2, 1, 1), dtype=np.float32))
    else:
        path.write_bytes({"cut": whole[:-8], "longer": whole + b"1", "text": b"no"}[damage])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(build(path), numbers(slice(None)))
    assert "damaged" in caplog.text
    assert path.read_bytes() == whole


def test_maps_that_are_there_are_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "maps.npy")
    monkeypatch.setattr(features_file, "_lock", None)  # a folder that is read-only serves too
    maps = build(tmp_path / "maps.npy", None)
    assert isinstance(maps, np.memmap)
    assert not maps.flags.writeable


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="not written"):
        build(tmp_path / "features" / "maps.npy")
