"""Open whatever a user calls a dataset."""

import os
from pathlib import Path

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.folders import has_split_folders, list_folders
from pneumoscope.data.manifest import read_manifest
from pneumoscope.data.medmnist import open_medmnist
from pneumoscope.data.rsna import is_rsna_folder, list_rsna

LAYOUTS = (
    "A dataset is one of: a folder with {train,val,test}/{NORMAL,PNEUMONIA}/ images; a folder "
    "with manifest.csv or manifest.parquet, or such a file; an RSNA folder with "
    "stage_2_train_images/ and its two CSV files; a PneumoniaMNIST .npz file."
)
_MANIFESTS = ("manifest.csv", "manifest.parquet")


def open_dataset(path: Path) -> Dataset:
    """Open a dataset by what is there.

    Args:
        path: A folder that holds a manifest (which then decides), RSNA's files or split folders;
            or a CSV, Parquet or MedMNIST ``.npz`` file.

    Raises:
        DatasetError: there is no such thing, it is none of these, or it is incomplete.
        ManifestError: its table is wrong.
    """
    dataset = _open(path)
    dataset.source = path.resolve()
    return dataset


def _open(path: Path) -> Dataset:
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise DatasetError(f"{path}: no such file or folder. Check the path. {LAYOUTS}")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if path.suffix.lower() in (".csv", ".parquet"):
        return FileDataset(read_manifest(path))
    if path.suffix.lower() == ".npz":
        return open_medmnist(path)
    raise DatasetError(f"{path}: a {path.suffix or 'nameless'} file is no dataset. {LAYOUTS}")


def _open_folder(path: Path) -> Dataset:
    for name in _MANIFESTS:
        if (path / name).is_file():
            return FileDataset(read_manifest(path / name))
    if is_rsna_folder(path):
        return FileDataset(list_rsna(path))
    if has_split_folders(path):
        return FileDataset(list_folders(path))
    raise DatasetError(f"{path}: {_what_is_there(path)} {LAYOUTS}")


def _what_is_there(path: Path) -> str:
    """Say what a folder that is no dataset holds, and where the dataset may be instead."""
    with os.scandir(path) as entries:
        visible = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if not visible:
        return "the folder is empty."
    for name in visible:
        if (path / name).is_dir() and has_split_folders(path / name):
            return f"is no dataset itself, but {path / name} looks like one: did you mean that?"
    shown = ", ".join(visible[:5]) + (", ..." if len(visible) > 5 else "")
    return f"holds {shown}, which is none of the accepted layouts."
