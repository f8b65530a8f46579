"""Who trains and who tunes in a run, and what is left out."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.open import open_dataset
from pneumoscope.training.inference import readable_rows
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData, prepare_data, roles_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return twelve images of noise in each class of train and test."""
    rng = np.random.default_rng(0)
    for split, label, i in itertools.product(("train", "test"), ("NORMAL", "PNEUMONIA"), range(12)):
        path = tmp_path / split / label / f"{label[0]}{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(path)
    return tmp_path


def prepare(recipe: Recipe, dataset: Dataset, *, strict: bool = False) -> RunData:
    return prepare_data(recipe, dataset, cache_folder=None, strict=strict, show_progress=False)


@pytest.mark.parametrize("role", ["training", "tuning"])
def test_a_copy_of_a_test_image_neither_trains_nor_tunes(
    tiny: Recipe, folder: Path, role: str
) -> None:
    dataset = open_dataset(folder)
    row = int(getattr(roles_of(tiny, dataset), role)[0])
    path = str(dataset.manifest.table["path"][row])
    (folder / path).write_bytes((folder / "test" / "NORMAL" / "N0.png").read_bytes())
    data = prepare(tiny, open_dataset(folder))
    assert data.facts["left_out"] == [
        {"path": path, "reason": "exact copy of a tuning or test image"}
    ]
    assert row not in {*data.training.tolist(), *data.tuning.tolist()}


def test_a_folder_that_is_not_looked_into_is_listed_unless_strict(
    tiny: Recipe, folder: Path
) -> None:
    (folder / "train" / "NORMAL" / "patient 7").mkdir()
    data = prepare(tiny, open_dataset(folder))
    assert [left["path"] for left in data.facts["left_out"]] == ["train/NORMAL/patient 7"]
    with pytest.raises(DatasetError, match=r"--strict.*\n.*patient 7"):
        prepare(tiny, open_dataset(folder), strict=True)


def test_what_is_passed_over_is_no_fault_of_the_rows_that_are_read(
    tiny: Recipe, folder: Path
) -> None:
    """Maps need every one of their rows, whatever else lies in the folders."""
    (folder / "train" / "NORMAL" / "patient 7").mkdir()
    dataset = open_dataset(folder)
    cache = prepare(tiny, dataset).cache
    rows = np.arange(3)
    assert readable_rows(cache, dataset, rows, strict=True).tolist() == [0, 1, 2]


def with_subtypes(dataset: Dataset, words: list[str | None]) -> Dataset:
    """Return the dataset with these as its pneumonia radiographs' subtypes, in turn."""
    turns = itertools.cycle(words)
    subtype = [next(turns) if target else None for target in dataset.manifest.table["target"]]
    table = dataset.manifest.table.with_columns(pl.Series("subtype", subtype, pl.String))
    return FileDataset(replace(dataset.manifest, table=table))


def test_subtypes_are_known_by_either_word_in_any_case(tiny: Recipe, folder: Path) -> None:
    words = ["bacterial", "Bacteria", "VIRAL ", "virus", "fungal", None]
    data = prepare(tiny, with_subtypes(open_dataset(folder), words))
    assert data.subtype[data.target == 1].tolist() == [1, 1, 2, 2, -1, -1] * 4
    assert not data.subtype[data.target == 0].any()


@pytest.mark.parametrize(("word", "is_told"), [("fungal", True), ("Virus", False)])
def test_a_subtype_loss_without_known_subtypes_is_warned_of(
    tiny: Recipe, folder: Path, caplog: pytest.LogCaptureFixture, word: str, is_told: bool
) -> None:
    dataset = with_subtypes(open_dataset(folder), [word])
    training = tiny.training.model_copy(update={"subtype_loss_weight": 0.5})
    prepare(tiny.model_copy(update={"training": training}), dataset)
    assert ("subtype loss sees normals only" in caplog.text) is is_told
    caplog.clear()
    prepare(tiny, dataset)
    assert "subtype" not in caplog.text


def test_rows_in_another_order_teach_the_same_and_are_known(tiny: Recipe, folder: Path) -> None:
    dataset = open_dataset(folder)
    table = dataset.manifest.table
    first = prepare(tiny, dataset).facts
    for changed, is_same in ((table, True), (table.reverse(), False), (table[:-1], False)):
        manifest = replace(dataset.manifest, table=changed)
        facts = prepare(tiny, FileDataset(manifest)).facts
        assert facts["fingerprint"] == first["fingerprint"]
        assert (facts["rows_fingerprint"] == first["rows_fingerprint"]) is is_same
