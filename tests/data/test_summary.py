import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.dataset import FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.data.summary import SizeSummary, summarise


def make_dataset(root: Path, columns: dict) -> FileDataset:
    return FileDataset(make_manifest(columns, root=root, name="made"))


def save(path: Path, *, width: int, height: int, **options) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path.name


def make_table(n: int) -> dict:
    return {
        "path": [f"{i}.png" for i in range(n)],
        "target": [0] * n,
        "patient_id": [str(i) for i in range(n)],
        "split": ["train"] * n,
    }


def test_counts_by_split_target_subtype_patient_and_origin(tmp_path: Path) -> None:
    rows = [  # target, patient, split, subtype, origin
        (0, "a", "test", None, "real"),
        (1, "a", "test", "viral", "real"),
        (1, "b", "test", "bacterial", "real"),
        (1, "c", "train", "viral", "generated"),
        (1, "c", "train", "viral", "real"),
        (0, "d", "train", None, "real"),
        (None, "e", "train", None, "real"),
    ]
    names = ("target", "patient_id", "split", "subtype", "origin")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["path"] = [f"{i}.png" for i in range(len(rows))]
    summary = summarise(make_dataset(tmp_path, columns), read_sizes=False)

    assert (summary.n_images, summary.n_patients, summary.n_unknown) == (7, 5, 1)
    assert summary.n_by_origin == {"generated": 1, "real": 6}
    assert summary.sizes is None
    train, test = summary.splits  # val is not there; the order is train, val, test
    assert (train.split, train.n_images, train.n_patients) == ("train", 4, 3)
    assert (train.n_normal, train.n_pneumonia, train.n_unknown) == (1, 2, 1)
    assert train.prevalence == pytest.approx(2 / 3)  # of the three with a target
    assert train.n_by_subtype == {"viral": 2}
    assert train.n_by_origin == {"generated": 1, "real": 3}
    assert (test.split, test.n_images, test.n_patients) == ("test", 3, 2)
    assert test.n_by_subtype == {"bacterial": 1, "viral": 1}


def test_a_split_without_targets_has_no_prevalence_and_json_says_null(tmp_path: Path) -> None:
    columns = make_table(2) | {"target": [None, None]}
    summary = summarise(make_dataset(tmp_path, columns), read_sizes=False)
    assert np.isnan(summary.splits[0].prevalence)
    text = json.dumps(summary.to_dict(), allow_nan=False)
    assert json.loads(text)["splits"][0]["prevalence"] is None


def test_sizes_are_the_files_own(tmp_path: Path) -> None:
    sizes = [(100, 40), (50, 60), (70, 30), (90, 80)]
    for index, (width, height) in enumerate(sizes):
        save(tmp_path / f"{index}.png", width=width, height=height)
    summary = summarise(make_dataset(tmp_path, make_table(4)))
    # Of an even number the lower of the two middle ones, so that it is a real image's.
    assert summary.sizes == SizeSummary(
        n_measured=4, n_failed=0, width_px=(50, 70, 100), height_px=(30, 40, 80)
    )


def test_a_sideways_jpeg_has_the_size_that_it_is_shown_with(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    save(tmp_path / "0.png", width=90, height=50, format="JPEG", exif=exif)
    dataset = make_dataset(tmp_path, make_table(1))
    sizes = summarise(dataset).sizes
    shown = dataset.read(0)
    assert (sizes.width_px[0], sizes.height_px[0]) == (shown.width_px, shown.height_px) == (50, 90)


def test_sizes_come_from_headers_so_that_a_cut_file_counts(tmp_path: Path) -> None:
    save(tmp_path / "0.png", width=300, height=200, format="JPEG")
    content = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(content[: len(content) // 2])
    assert summarise(make_dataset(tmp_path, make_table(1))).sizes.n_measured == 1


def test_unreadable_files_are_counted_and_left_out(tmp_path: Path) -> None:
    save(tmp_path / "0.png", width=30, height=20)
    (tmp_path / "1.png").write_bytes(b"not an image")  # and 2.png is missing
    sizes = summarise(make_dataset(tmp_path, make_table(3))).sizes
    assert (sizes.n_measured, sizes.n_failed) == (1, 2)
    assert sizes.width_px == (30, 30, 30)


def test_without_one_readable_file_there_are_no_sizes(tmp_path: Path) -> None:
    assert summarise(make_dataset(tmp_path, make_table(3))).sizes is None


def test_only_some_of_the_files_without_a_known_header_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumoscope.data.summary._MAX_DECODED", 5)
    sizes = summarise(make_dataset(tmp_path, make_table(40))).sizes
    assert sizes is None
    save(tmp_path / "0.png", width=30, height=20)
    sizes = summarise(make_dataset(tmp_path, make_table(40))).sizes
    assert (sizes.n_measured, sizes.n_failed) == (1, 5)


def test_an_archive_of_arrays_is_measured_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumoscope.data.summary._MAX_DECODED", 0)
    arrays = {}
    for split, n in (("train", 6), ("val", 2), ("test", 2)):
        arrays[f"{split}_images"] = np.zeros((n, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    summary = summarise(open_dataset(tmp_path / "pneumoniamnist.npz"))
    assert [split.n_images for split in summary.splits] == [6, 2, 2]
    assert summary.sizes == SizeSummary(
        n_measured=10, n_failed=0, width_px=(28, 28, 28), height_px=(28, 28, 28)
    )


def test_the_kermany_set_has_the_published_counts(real_data: Path) -> None:
    summary = summarise(open_dataset(real_data))
    counts = {split.split: (split.n_normal, split.n_pneumonia) for split in summary.splits}
    assert counts == {"train": (1341, 3875), "val": (8, 8), "test": (234, 390)}
    assert [split.n_patients for split in summary.splits] == [2846, 15, 427]
    assert summary.splits[0].n_by_subtype == {"bacterial": 2530, "viral": 1345}
    assert summary.splits[2].n_by_subtype == {"bacterial": 242, "viral": 148}
    assert summary.sizes.width_px == summary.sizes.height_px == (224, 224, 224)
    assert summary.sizes.n_measured == 5856


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    table = make_table(2) | {"path": ["pipe.dcm", save(tmp_path / "a.png", width=3, height=2)]}
    os.mkfifo(tmp_path / "pipe.dcm")
    sizes = summarise(make_dataset(tmp_path, table)).sizes
    assert sizes is not None
    assert (sizes.n_measured, sizes.n_failed) == (1, 1)
