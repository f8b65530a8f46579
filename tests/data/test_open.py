import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import (
    DatasetError,
    ManifestError,
    RadiographError,
    UnreadableImageError,
)
from pneumoscope.data.dataset import FileDataset
from pneumoscope.data.medmnist import ArrayDataset
from pneumoscope.data.open import open_dataset

LINES = "path,target,patient_id,split\nx.png,1,p1,train\n"


def make_folders(root: Path) -> Path:
    for label in ("NORMAL", "PNEUMONIA"):
        folder = root / "train" / label
        folder.mkdir(parents=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "a.png")
    return root


def make_rsna(root: Path) -> Path:
    (root / "stage_2_train_images").mkdir(parents=True)
    (root / "stage_2_train_images" / "a.dcm").touch()
    (root / "stage_2_train_labels.csv").write_text("patientId,x,y,width,height,Target\na,,,,,0\n")
    (root / "stage_2_detailed_class_info.csv").write_text("patientId,class\na,Normal\n")
    return root


def make_manifest_file(root: Path) -> Path:
    root.mkdir()
    (root / "set.csv").write_text(LINES)
    return root / "set.csv"


def make_manifest_folder(root: Path) -> Path:
    make_folders(root)  # the manifest decides, whatever else is there
    (root / "manifest.csv").write_text(LINES)
    return root


def make_npz(root: Path) -> Path:
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((2, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1]])
    root.mkdir()
    np.savez(root / "pneumoniamnist.npz", **arrays)
    return root / "pneumoniamnist.npz"


@pytest.mark.parametrize(
    ("make", "kind", "first_path"),
    [
        (make_folders, FileDataset, "train/NORMAL/a.png"),
        (make_rsna, FileDataset, "stage_2_train_images/a.dcm"),
        (make_manifest_file, FileDataset, "x.png"),
        (make_manifest_folder, FileDataset, "x.png"),
        (make_npz, ArrayDataset, "pneumoniamnist.npz#train/0"),
    ],
)
def test_each_layout_is_recognised(
    tmp_path: Path, make: Callable[[Path], Path], kind: type, first_path: str
) -> None:
    dataset = open_dataset(make(tmp_path / "set"))
    assert type(dataset) is kind
    assert dataset.manifest.table["path"][0] == first_path


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent: no such file or folder.*A dataset is one of"):
        open_dataset(tmp_path / "absent")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my data")
    with pytest.raises(DatasetError, match=r"notes\.txt: a \.txt file is no dataset"):
        open_dataset(tmp_path / "notes.txt")
    (tmp_path / "notes.csv").write_text("my data\nis elsewhere\n")
    with pytest.raises(ManifestError, match=r"notes\.csv: the columns path, target"):
        open_dataset(tmp_path / "notes.csv")
    (tmp_path / "notes.npz").write_text("my data")
    with pytest.raises(DatasetError, match=r"notes\.npz: .*cannot be read"):
        open_dataset(tmp_path / "notes.npz")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(DatasetError, match="the folder is empty"):
        open_dataset(tmp_path)


def test_another_layout_is_refused_with_those_that_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(
        DatasetError, match=r"holds images, which is none.*NORMAL,PNEUMONIA.*manifest\.csv.*npz"
    ):
        open_dataset(tmp_path)


def test_a_dataset_one_folder_down_is_pointed_at(tmp_path: Path) -> None:
    make_folders(tmp_path / "chest_xray")
    with pytest.raises(DatasetError, match="chest_xray looks like one: did you mean that"):
        open_dataset(tmp_path)


def test_files_are_read_by_row(tmp_path: Path) -> None:
    root = make_folders(tmp_path)
    dataset = open_dataset(root)
    np.testing.assert_array_equal(dataset.read(1).pixels, np.arange(64).reshape(8, 8))
    assert dataset.read_bytes(1) == (root / "train/PNEUMONIA/a.png").read_bytes()
    assert dataset.describe_row(1) == str(root / "train/PNEUMONIA/a.png")
    assert (len(dataset), dataset.name) == (2, tmp_path.name)
    assert pickle.loads(pickle.dumps(dataset)).read_bytes(1) == dataset.read_bytes(1)


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    root = make_folders(tmp_path)
    dataset = open_dataset(root)
    (root / "train/NORMAL/a.png").write_text("I am text")
    with pytest.raises(RadiographError, match="NORMAL"):
        dataset.read(0)
    (root / "train/NORMAL/a.png").unlink()
    with pytest.raises(RadiographError, match="NORMAL"):
        dataset.read(0)
    with pytest.raises(UnreadableImageError, match=r"NORMAL.*does not exist\. Check the path"):
        dataset.read_bytes(0)
    assert dataset.read(1).width_px == 8


def test_opening_needs_no_torch_and_no_decoder(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from pneumoscope.data.open import open_dataset;"
        "open_dataset(pathlib.Path(sys.argv[1]));"
        "print(sorted({'torch', 'PIL', 'pydicom'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(make_folders(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
