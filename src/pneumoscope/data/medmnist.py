"""PneumoniaMNIST: MedMNIST's ``.npz`` of the Kermany radiographs, 28 to 224 px."""

import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import DatasetError, UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import SPLITS, Manifest, make_manifest

SMALLEST_PX, LARGEST_PX = 28, 224

# What reading a damaged, encrypted or foreign archive raises.
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    MemoryError,  # its header claims more than there is
    zipfile.BadZipFile,
    zlib.error,
)


class ArrayDataset(Dataset):
    """A dataset inside one ``.npz``. A split's images are loaded whole, when first asked for."""

    def __init__(self, manifest: Manifest, *, archive: Path) -> None:
        super().__init__(manifest)
        self.archive = archive
        self._arrays: dict[str, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process loads what it needs itself: sending the arrays would cost more.
        return {"manifest": self.manifest, "archive": self.archive}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["manifest"], archive=state["archive"])  # type: ignore[misc]

    def read(self, row: int) -> Radiograph:
        """Return one image of the archive.

        Raises: UnreadableImageError: the archive is gone or damaged.
        """
        return Radiograph(pixels=self._pixels(row).copy())

    def read_bytes(self, row: int) -> bytes:
        """Return the image's pixels, row by row.

        Raises: UnreadableImageError: the archive is gone or damaged.
        """
        return self._pixels(row).tobytes()

    def describe_row(self, row: int) -> str:
        """Return the archive's path, the split and the image's index in it."""
        return str(self.manifest.root / str(self.manifest.table["path"][row]))

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        """Return one (H, W) image."""
        split, _, index = str(self.manifest.table["path"][row]).rpartition("#")[2].partition("/")
        with self._lock:
            if split not in self._arrays:
                try:
                    self._arrays[split] = _load(self.archive, f"{split}_images")
                except DatasetError as error:
                    raise UnreadableImageError(str(error)) from error
        return np.asarray(self._arrays[split][int(index)], dtype=np.uint8)


def open_medmnist(path: Path) -> ArrayDataset:
    """Open a PneumoniaMNIST archive; only its labels and the arrays' headers are read.

    Rows are named ``NAME.npz#train/12``; MedMNIST's own val is the official val. The archive does
    not say which images are of one patient, so each counts as a patient of its own: intervals and
    splits on it cannot respect patients.

    Raises: DatasetError: not an archive, or not one of gray images with one label, 0 or 1, each.
    """
    if path.stem.lower().startswith("breastmnist"):
        raise DatasetError(f"{path}: breast ultrasound. This package reads PneumoniaMNIST only.")
    columns: dict[str, list[object]] = {
        key: [] for key in ("path", "target", "patient_id", "split")
    }
    for split in SPLITS:
        n_images = _count_images(path, f"{split}_images")
        labels = _labels(path, f"{split}_labels", n_images=n_images)
        columns["path"] += [f"{path.name}#{split}/{index}" for index in range(n_images)]
        columns["target"] += labels.tolist()
        columns["patient_id"] += [f"{split}/{index}" for index in range(n_images)]
        columns["split"] += [split] * n_images
    manifest = make_manifest(
        columns, root=path.parent, name=path.stem, n_unknown_patients=len(columns["path"])
    )
    return ArrayDataset(manifest, archive=path)


def _count_images(path: Path, key: str) -> int:
    """Return N of an (N, H, W) uint8 array, from its header alone."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    except _DAMAGE as error:
        raise _damaged(path, key, error) from error
    if len(shape) != 3 or dtype != np.uint8:
        raise DatasetError(
            f"{path}: {key} has the shape {shape} and type {dtype}; gray images are (N, height, "
            "width) uint8. Of the MedMNIST sets only PneumoniaMNIST fits."
        )
    if not all(SMALLEST_PX <= side <= LARGEST_PX for side in shape[1:]) or shape[0] == 0:
        raise DatasetError(
            f"{path}: {key} has {shape[0]} images of {shape[1]} x {shape[2]} px; PneumoniaMNIST "
            f"has some, of {SMALLEST_PX} to {LARGEST_PX} px. Fetch the archive again."
        )
    return int(shape[0])


def _labels(path: Path, key: str, *, n_images: int) -> NDArray[np.int64]:
    """Return (N,) labels, 0 or 1."""
    labels = _load(path, key)
    is_fitting = labels.shape in ((n_images, 1), (n_images,)) and labels.dtype.kind in "iub"
    if not is_fitting or not np.isin(labels, (0, 1)).all():
        values = ", ".join(str(value) for value in np.unique(labels)[:10])
        raise DatasetError(
            f"{path}: {key} has the shape {labels.shape} and the values {values}; {n_images} "
            "labels of 0 or 1 are needed. Of the MedMNIST sets only PneumoniaMNIST fits."
        )
    return np.asarray(labels.reshape(-1), dtype=np.int64)


def _load(path: Path, key: str) -> NDArray[Any]:
    """Return one array. Nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[key])
    except _DAMAGE as error:
        raise _damaged(path, key, error) from error


def _damaged(path: Path, key: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{path}: {key} cannot be read ({str(error) or type(error).__name__}). "
        "A PneumoniaMNIST .npz has train_, val_ and test_ images and labels: fetch it again."
    )
