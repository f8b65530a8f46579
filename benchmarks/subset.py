"""The files that both sides train and tune on: one folder, which each reads in its own way."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.dataset import FileDataset
from pneumoscope.data.folders import CLASSES
from pneumoscope.data.open import open_dataset
from pneumoscope.data.splits import assign_roles
from pneumoscope.training.recipe_file import load_recipe


def make_subset(data: Path, folder: Path, *, n_images: int) -> dict[str, int]:
    """Fill a folder with links: ``train`` has training files, ``val`` has tuning files.

    The roles are those that the recipe gray-150 gives. The first files of each class are taken,
    the classes in their share of the whole, and as many tuning files as belong to so many training
    files.

    Args:
        data: The whole dataset, a file a radiograph.
        folder: Emptied first.
        n_images: Training files; all of them where there are fewer.

    Returns: The number of files by role.
    Raises: DatasetError: the dataset can't be used, or isn't one of files.
    """
    dataset = open_dataset(data)
    if not isinstance(dataset, FileDataset):
        raise DatasetError(f"{data}: the benchmark needs a dataset of image files.")
    split = load_recipe("gray-150").split
    roles = assign_roles(dataset.manifest, tuning_fraction=split.tuning_fraction, salt=split.salt)
    target = dataset.manifest.table["target"].fill_null(-1).to_numpy()
    share = min(1.0, n_images / len(roles.training))
    tuning = take_share(roles.tuning, target, share=share)
    contents = {_hash(dataset, row) for row in tuning}
    # Training leaves out exact copies of tuning files; Keras has to have as many files.
    training = [
        row
        for row in take_share(roles.training, target, share=share)
        if _hash(dataset, row) not in contents
    ]
    shutil.rmtree(folder, ignore_errors=True)
    for name, rows in (("train", training), ("val", tuning)):
        _link(dataset, rows, target, folder / name)
    return {"n_training": len(training), "n_tuning": len(tuning)}


def take_share(rows: NDArray[np.int64], target: NDArray[np.int8], *, share: float) -> list[int]:
    """Return the first rows of each class, ``share`` of it, and at least one.

    Args:
        rows: (N,) row numbers.
        target: (all rows,) 0 or 1.
        share: In (0, 1].
    """
    taken: list[int] = []
    for value in CLASSES.values():
        members = rows[target[rows] == value]
        taken += members[: max(1, round(share * len(members)))].tolist()
    return taken


def _hash(dataset: FileDataset, row: int) -> str:
    # This also reads every file once, so that neither side is the first to wait for the disk.
    return hashlib.sha256(dataset.read_bytes(row)).hexdigest()


def _link(
    dataset: FileDataset, rows: Sequence[int], target: NDArray[np.int8], folder: Path
) -> None:
    names = {value: name for name, value in CLASSES.items()}
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for row in rows:
        file = dataset.path(row).resolve()
        (folder / names[int(target[row])] / f"{row:06d}-{file.name}").symlink_to(file)
