import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.core.errors import DatasetError, UnreadableImageError
from pneumoscope.data.manifest import COLUMNS
from pneumoscope.data.medmnist import open_medmnist

N = {"train": 6, "val": 3, "test": 4}


def make_arrays(side_px: int = 28, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return what MedMNIST's archive holds, with some arrays changed or (None) left out."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in N.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, side_px, side_px), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    arrays |= changes
    return {key: value for key, value in arrays.items() if value is not None}


def write(folder: Path, arrays: dict[str, np.ndarray], name: str = "pneumoniamnist.npz") -> Path:
    np.savez_compressed(folder / name, **arrays)
    return folder / name


@pytest.mark.parametrize("side_px", [28, 64, 224])
def test_rows_are_the_arrays_images_in_order(tmp_path: Path, side_px: int) -> None:
    arrays = make_arrays(side_px)
    dataset = open_medmnist(write(tmp_path, arrays))
    table = dataset.manifest.table
    assert dict(table.schema) == COLUMNS
    assert table["path"][6] == "pneumoniamnist.npz#val/0"
    assert dict(table.group_by("split").len().iter_rows()) == N
    assert dataset.manifest.n_patients == len(dataset) == sum(N.values())
    assert dataset.name == "pneumoniamnist"
    row = 0
    for split, n in N.items():
        for index in range(n):
            image = arrays[f"{split}_images"][index]
            np.testing.assert_array_equal(dataset.read(row).pixels, image)
            assert dataset.read_bytes(row) == image.tobytes()
            assert table["target"][row] == arrays[f"{split}_labels"][index, 0]
            assert table["patient_id"][row] == f"{split}/{index}"
            row += 1
    assert dataset.describe_row(6).endswith("pneumoniamnist.npz#val/0")


def test_images_are_loaded_once_a_split_and_only_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = np.lib.npyio.NpzFile.__getitem__

    def spy(self: object, key: str) -> object:
        loads.append(key)
        return real(self, key)

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", spy)
    dataset = open_medmnist(write(tmp_path, make_arrays()))
    assert not [key for key in loads if "images" in key]
    for row in (0, 1, 2, 0):
        dataset.read(row)
    assert [key for key in loads if "images" in key] == ["train_images"]


def test_a_caller_cannot_change_the_dataset(tmp_path: Path) -> None:
    dataset = open_medmnist(write(tmp_path, make_arrays()))
    before = dataset.read_bytes(0)
    dataset.read(0).pixels[:] = 0
    assert dataset.read_bytes(0) == before


def test_a_pickled_dataset_leaves_the_images_behind(tmp_path: Path) -> None:
    dataset = open_medmnist(write(tmp_path, make_arrays(224)))
    pixels = dataset.read(0).pixels
    sent = pickle.dumps(dataset)
    assert len(sent) < pixels.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).read(0).pixels, pixels)


ZEROS = np.zeros((6, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"val_images": None}, "val_images cannot be read"),
        ({"test_labels": None}, "test_labels cannot be read"),
        ({"train_images": np.zeros((6, 28, 28, 3), np.uint8)}, "gray images are"),
        ({"train_images": ZEROS.astype(np.float32)}, "float32"),
        ({"train_images": np.zeros((6, 20, 20), np.uint8)}, "20 x 20 px"),
        ({"train_images": np.zeros((6, 300, 300), np.uint8)}, "300 x 300 px"),
        ({"train_images": ZEROS[:0]}, "has 0 images"),
        ({"train_labels": np.arange(6)[:, None]}, "labels of 0 or 1"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "labels of 0 or 1"),
        ({"train_labels": np.zeros((5, 1), np.uint8)}, "6 labels"),
        ({"train_labels": np.zeros((6, 1), np.float32)}, "labels of 0 or 1"),
        ({"train_labels": np.array([[None]] * 6)}, "cannot be read"),
    ],
)
def test_another_set_is_refused(tmp_path: Path, changes: dict, match: str) -> None:
    path = write(tmp_path, make_arrays(**changes))
    with pytest.raises(DatasetError, match=match):
        open_medmnist(path)


def test_breast_ultrasound_is_refused_though_its_arrays_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="breast"):
        open_medmnist(write(tmp_path, make_arrays(), name="breastmnist_64.npz"))


@pytest.mark.parametrize("content", [b"", b"hello, I am text\n", b"PK\x03\x04 and then nothing"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pneumoniamnist.npz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="fetch it again"):
        open_medmnist(path)


def test_images_damaged_inside_the_archive_are_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, make_arrays(224))
    content = bytearray(path.read_bytes())
    start = content.index(b"train_images.npy")
    content[start + 5000 : start + 5100] = bytes(100)
    path.write_bytes(content)
    dataset = open_medmnist(path)
    with pytest.raises(UnreadableImageError, match="train_images cannot be read"):
        dataset.read(0)
    assert dataset.read(6).pixels.shape == (224, 224)


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, make_arrays())
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**15, 1)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["train_labels.npy"] = header.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(DatasetError, match="fetch it again"):
        open_medmnist(path)
