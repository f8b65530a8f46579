"""Who trains and who tunes in a run, and what is left out."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
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
