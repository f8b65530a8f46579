"""A phantom set on disk: complete, repeatable, and never half there."""

import csv
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import StorageError, UsageError
from pneumoscope.data import phantom_set
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.imaging.phantom import draw_phantom

SIZE_PX = 48


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "deep" / "phantoms"
    assert make_phantoms(folder, count=40, seed=9, size_px=SIZE_PX) == folder
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def hash_files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_layout_and_manifest(made: Path) -> None:
    rows = read_rows(made)
    header = (made / "manifest.csv").read_text().splitlines()[0]
    assert header == "path,target,patient_id,split,boxes,origin"
    assert sorted(row["path"] for row in rows) == sorted(
        path.relative_to(made).as_posix() for path in made.rglob("*.png")
    )
    assert sorted(path.name for path in made.iterdir()) == [
        "README.txt",
        "manifest.csv",
        "test",
        "train",
        "val",
    ]
    assert [row["patient_id"] for row in rows] == [f"phantom{i:05d}" for i in range(40)]
    assert {row["origin"] for row in rows} == {"phantom"}
    for row in rows:
        class_folder = "PNEUMONIA" if row["target"] == "1" else "NORMAL"
        assert row["path"] == f"{row['split']}/{class_folder}/{row['patient_id']}.png"
    counts = Counter((row["split"], row["target"]) for row in rows)
    per_class = {"train": 14, "val": 2, "test": 4}  # of 20
    assert counts == {(split, t): n for split, n in per_class.items() for t in "01"}


def test_readme_says_that_these_are_not_radiographs(made: Path) -> None:
    text = (made / "README.txt").read_text()
    assert "SYNTHETIC PHANTOMS" in text
    assert "not radiographs" in text
    assert "seed: 9" in text


def test_images_are_the_phantoms_of_their_numbers(made: Path) -> None:
    for i, row in enumerate(read_rows(made)):
        rng = np.random.default_rng([9, i])
        phantom = draw_phantom(rng, target=int(row["target"]), size_px=SIZE_PX)
        with Image.open(made / row["path"]) as image:
            assert image.mode == "L"
            assert image.format == "PNG"
            np.testing.assert_array_equal(np.asarray(image), phantom.pixels)
        boxes = json.loads(row["boxes"])
        assert boxes == [
            {"x": b.x, "y": b.y, "width": b.width, "height": b.height} for b in phantom.boxes
        ]
        assert bool(boxes) == (row["target"] == "1")


def test_same_seed_same_bytes_and_another_seed_others(made: Path, tmp_path: Path) -> None:
    again = make_phantoms(tmp_path / "again", count=40, seed=9, size_px=SIZE_PX)
    assert hash_files(again) == hash_files(made)
    other = make_phantoms(tmp_path / "other", count=12, seed=10, size_px=SIZE_PX)
    pictures = {digest for name, digest in hash_files(made).items() if name.endswith(".png")}
    assert pictures.isdisjoint(hash_files(other).values())


def test_the_package_opens_it(made: Path) -> None:
    dataset = open_dataset(made)
    assert len(dataset) == 40
    assert set(dataset.manifest.table["origin"]) == {"phantom"}
    assert dataset.read(0).pixels.shape == (SIZE_PX, SIZE_PX)


@pytest.mark.parametrize(("count", "fraction"), [(12, 0.5), (12, 0.25), (13, 0.7), (30, 0.1)])
def test_every_split_has_both_classes(count: int, fraction: float, tmp_path: Path) -> None:
    folder = make_phantoms(
        tmp_path / "set", count=count, seed=0, size_px=32, positive_fraction=fraction
    )
    rows = read_rows(folder)
    assert sum(row["target"] == "1" for row in rows) == pytest.approx(count * fraction, abs=0.5)
    present = {(row["split"], row["target"]) for row in rows}
    assert present == {(split, t) for split in ("train", "val", "test") for t in "01"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 11}, "12 or more"),
        ({"count": -1}, "12 or more"),
        ({"seed": -1}, "negative"),
        ({"size_px": 8}, "8 px"),
        ({"positive_fraction": 0.0}, "fewer than 3"),
        ({"positive_fraction": 0.95}, "fewer than 3"),
        ({"positive_fraction": float("nan")}, "fewer than 3"),
    ],
)
def test_impossible_arguments_are_refused(
    change: dict[str, float], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        make_phantoms(tmp_path / "set", **({"count": 12, "seed": 0} | change))
    assert list(tmp_path.iterdir()) == []


def test_the_same_set_is_not_drawn_twice(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_set, "draw_phantom", lambda *_, **__: pytest.fail("drawn again"))
    assert make_phantoms(made, count=40, seed=9, size_px=SIZE_PX) == made


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    assert (make_phantoms(tmp_path, count=12, seed=0, size_px=32) / "manifest.csv").is_file()


def test_what_is_there_is_never_overwritten(made: Path, tmp_path: Path) -> None:
    before = hash_files(made)
    for change in ({"seed": 8}, {"count": 41}, {"size_px": 32}, {"positive_fraction": 0.4}):
        with pytest.raises(UsageError, match="another count, seed, size"):
            make_phantoms(made, **({"count": 40, "seed": 9, "size_px": SIZE_PX} | change))
    assert hash_files(made) == before
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="is not empty"):
        make_phantoms(tmp_path, count=12, seed=0)
    with pytest.raises(UsageError, match="is a file"):
        make_phantoms(tmp_path / "thesis.txt", count=12, seed=0)
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_a_set_that_lost_an_image_is_not_called_complete(tmp_path: Path) -> None:
    folder = make_phantoms(tmp_path / "set", count=12, seed=0, size_px=32)
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(UsageError, match="lacks some"):
        make_phantoms(folder, count=12, seed=0, size_px=32)


@pytest.mark.parametrize("n_before", [0, 5])
def test_full_disk_leaves_nothing(
    n_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, n_saved = Image.Image.save, 0

    def fill_up(self: Image.Image, *args: object, **options: object) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved > n_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, *args, **options)

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(StorageError, match="disk is full"):
        make_phantoms(tmp_path / "set", count=12, seed=0, size_px=32)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_half_way_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    code = (
        "import sys; from pathlib import Path; from pneumoscope.data.phantom_set import *;"
        "make_phantoms(Path(sys.argv[1]), count=2000, seed=0, size_px=64)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob("*.png"))) < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not folder.exists()
    # What it left does not stand in the way of the next attempt.
    make_phantoms(folder, count=12, seed=0, size_px=32)
    assert len(list(folder.rglob("*.png"))) == 12
