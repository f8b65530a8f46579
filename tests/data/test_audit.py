import io
import json
import os
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.types import Radiograph
from pneumoscope.data.audit import INVERTED_BELOW, audit, midline_score
from pneumoscope.data.audit_report import AuditReport, DuplicateGroup, ImageRef
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.near_duplicates import make_thumbnail
from pneumoscope.data.open import open_dataset


def draw_chest(seed: int, *, side_px: int = 96) -> np.ndarray:
    """Bright midline, dark lungs, dark air, and blobs of its own that tell it from others."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    picture = 100 + 90 * np.exp(-((x / 0.3) ** 2)) - 60 * (abs(x) > 0.85)
    for sign in (-1, 1):
        picture -= 60 * np.exp(-(((x - sign * 0.5) / 0.25) ** 2) - (y / 0.6) ** 2)
    for _ in range(8):
        spot_x, spot_y = rng.uniform(-0.8, 0.8, 2)
        size = rng.uniform(0.01, 0.05)
        blob = np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / size)
        picture += rng.choice([-50, 50]) * blob
    return np.clip(picture, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


class Builder:
    """Collects images and their rows, and opens them as a dataset."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.columns = {key: [] for key in ("path", "target", "patient_id", "split", "origin")}

    def add(
        self,
        path: str,
        content: bytes,
        *,
        target: int | None = 0,
        patient: str | None = None,
        split: str = "train",
        origin: str = "real",
    ) -> None:
        (self.root / path).write_bytes(content)
        patient = path if patient is None else patient
        for key, value in zip(self.columns, (path, target, patient, split, origin), strict=True):
            self.columns[key].append(value)

    def open(self) -> FileDataset:
        return FileDataset(make_manifest(self.columns, root=self.root, name="built"))


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    builder = Builder(tmp_path)
    for index in range(8):
        split = ("train", "train", "val", "test")[index % 4]
        builder.add(f"{index}.png", encode(draw_chest(index)), target=index % 2, split=split)
    return builder


def paths(images: tuple[ImageRef, ...]) -> list[str]:
    return [image.path for image in images]


def groups(found: tuple[DuplicateGroup, ...]) -> list[tuple[str, list[str]]]:
    return [(group.kind, paths(group.images)) for group in found]


def found_keys(report: AuditReport) -> set[str]:
    return {finding.key for finding in report.findings if finding.n}


def test_a_clean_dataset_has_no_finding(builder: Builder) -> None:
    report = audit(builder.open())
    assert found_keys(report) == set()
    assert report.problems == report.notes == ()
    assert (report.n_images, report.n_patients, report.origins) == (8, 8, ("real",))


def test_unreadable_files_are_listed_with_the_reason_and_the_rest_is_audited(
    builder: Builder,
) -> None:
    builder.add("text.jpeg", b"this is no image", patient="p", split="test")
    builder.add("empty.png", b"")
    builder.add("empty2.png", b"")  # equal bytes, but no picture that is there twice
    builder.add("copy.png", (builder.root / "0.png").read_bytes())
    report = audit(builder.open())

    assert paths(tuple(item.image for item in report.unreadable)) == [
        "text.jpeg",
        "empty.png",
        "empty2.png",
    ]
    text = report.unreadable[0]
    assert text.image == ImageRef(row=8, path="text.jpeg", patient_id="p", split="test", target=0)
    assert text.reason
    assert str(builder.root) not in text.reason  # the path stands beside it
    assert groups(report.exact_duplicates) == [("file", ["0.png", "copy.png"])]
    assert [finding.key for finding in report.problems] == ["unreadable"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["pipe.png", "pipe.jpeg"])
def test_a_pipe_that_is_named_like_a_picture_is_not_waited_for(builder: Builder, name: str) -> None:
    builder.add(name, b"")
    (builder.root / name).unlink()
    os.mkfifo(builder.root / name)
    assert paths(tuple(item.image for item in audit(builder.open()).unreadable)) == [name]


def test_a_missing_file_is_unreadable(builder: Builder) -> None:
    (builder.root / "3.png").unlink()
    assert paths(tuple(item.image for item in audit(builder.open()).unreadable)) == ["3.png"]


def test_copies_are_found_by_bytes_and_by_pixels_and_not_again_as_near(builder: Builder) -> None:
    builder.add("same.png", (builder.root / "1.png").read_bytes(), target=1, patient="1.png")
    builder.add("bmp.bmp", encode(draw_chest(4), "BMP"), patient="4.png")
    builder.add("again.png", (builder.root / "4.png").read_bytes(), patient="4.png")
    report = audit(builder.open())

    assert groups(report.exact_duplicates) == [
        ("file", ["1.png", "same.png"]),
        ("pixels", ["4.png", "bmp.bmp", "again.png"]),
    ]
    assert report.near_duplicates == ()
    assert found_keys(report) == {"exact_duplicates"}
    assert report.problems == ()


def test_a_picture_and_its_turned_frame_differ(builder: Builder) -> None:
    # Equal bytes in memory, other shape: (2, 3) and (3, 2) must not be one picture.
    flat = np.arange(64 * 96, dtype=np.uint32).astype(np.uint8)
    builder.add("wide.png", encode(flat.reshape(64, 96)))
    builder.add("high.png", encode(flat.reshape(96, 64)))
    assert audit(builder.open()).exact_duplicates == ()


def test_a_near_duplicate_is_found_beside_an_exact_one(builder: Builder) -> None:
    chest = draw_chest(2)  # 2.png is in val
    small = np.asarray(Image.fromarray(chest).resize((64, 64)))
    builder.add("copy.png", encode(chest), split="val", patient="2.png")
    builder.add("re-encoded.jpeg", encode(chest, "JPEG", quality=40), patient="2.png", split="val")
    builder.add("small.png", encode(small), split="train", patient="other", target=1)
    report = audit(builder.open())

    assert groups(report.exact_duplicates) == [("file", ["2.png", "copy.png"])]
    assert groups(report.near_duplicates) == [("near", ["2.png", "re-encoded.jpeg", "small.png"])]
    assert 0.985 <= report.near_duplicates[0].correlation < 1
    assert [finding.key for finding in report.problems] == [
        "duplicates_across_splits",
        "duplicates_with_two_targets",
    ]
    assert found_keys(report) >= {"duplicates_across_patients"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"split": "test"}, {"duplicates_across_splits", "straddling_patients"}),
        ({"target": 1}, {"duplicates_with_two_targets"}),
        ({"target": None}, {"unknown_targets"}),  # not known is no contradiction
        ({"patient": "another"}, {"duplicates_across_patients"}),
    ],
)
def test_what_a_copy_implies(builder: Builder, changes: dict, expected: set[str]) -> None:
    copy = {"target": 0, "patient": "0.png", "split": "train"} | changes
    builder.add("copy.png", (builder.root / "0.png").read_bytes(), **copy)
    assert found_keys(audit(builder.open())) == {"exact_duplicates"} | expected


def test_patients_that_straddle_splits_are_listed(builder: Builder) -> None:
    builder.add("a.png", encode(draw_chest(20)), patient="0.png", split="test")
    builder.add("b.png", encode(draw_chest(21)), patient="0.png", split="val")
    builder.add("c.png", encode(draw_chest(22)), patient="1.png", split="train")
    report = audit(builder.open())
    (patient,) = report.straddling_patients
    assert (patient.patient_id, patient.splits, patient.n_images) == (
        "0.png",
        ("train", "val", "test"),
        3,
    )
    assert [finding.key for finding in report.problems] == ["straddling_patients"]


def test_a_lack_of_memory_is_told_of_the_image_that_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        folder = tmp_path / "train" / label
        folder.mkdir(parents=True)
        (folder / "a.jpeg").write_bytes(encode(draw_chest(len(label)), "JPEG"))
    dataset, read = open_dataset(tmp_path), FileDataset.read

    def fail_on_the_first(self: FileDataset, row: int) -> Radiograph:
        if row == 0:
            raise MemoryError
        return read(self, row)

    monkeypatch.setattr(FileDataset, "read", fail_on_the_first)
    (unreadable,) = audit(dataset).unreadable
    assert unreadable.image.path == "train/NORMAL/a.jpeg"
    assert "memory" in unreadable.reason


def test_in_split_folders_equal_names_in_two_splits_are_two_patients(tmp_path: Path) -> None:
    seed = 0
    for split in ("train", "val", "test"):
        for label, name in (("NORMAL", "IM-0001-0001"), ("PNEUMONIA", "person1_virus_1")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            seed += 1
            (folder / f"{name}.jpeg").write_bytes(encode(draw_chest(seed), "JPEG"))
    report = audit(open_dataset(tmp_path))
    assert report.straddling_patients == ()
    assert report.n_patients == 6


def test_what_is_passed_over_and_unknown_patients_are_notes(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "test")):
        for target, label in enumerate(("NORMAL", "PNEUMONIA")):
            folder = tmp_path / split / label
            (folder / "patient 7").mkdir(parents=True)
            (folder / "a.png").write_bytes(encode(draw_chest(10 * target + seed)))
    report = audit(open_dataset(tmp_path))
    assert report.problems == ()
    assert [(note.key, note.n) for note in report.notes] == [
        ("unknown_patients", 4),
        ("passed_over", 4),
    ]
    found = json.loads(json.dumps(report.to_dict()))
    assert found["passed_over"][0]["path"] == "train/NORMAL/patient 7"
    assert found["n_unknown_patients"] == 4


@pytest.mark.parametrize(
    ("split", "origin", "is_problem"),
    [
        ("train", "generated", False),  # a way to train; nothing is measured there
        ("train", "phantom", False),
        ("val", "phantom", True),
        ("test", "phantom", True),
        ("test", "generated", True),
    ],
)
def test_mixed_origins(builder: Builder, split: str, origin: str, is_problem: bool) -> None:
    builder.add("odd.png", encode(draw_chest(30)), split=split, origin=origin)
    report = audit(builder.open())
    assert (found_keys(report) == {"mixed_origins"}) is is_problem
    if is_problem:
        (mixed,) = report.mixed_origins
        assert (mixed.split, mixed.n_by_origin) == (split, {origin: 1, "real": 2})


def test_constant_images_are_listed_and_are_no_near_duplicates(builder: Builder) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (2, 100, 100), dtype=np.uint8)
    builder.add("black.png", encode(np.zeros((100, 100), np.uint8)))
    builder.add("nearly.png", encode(100 + noise[0]))
    builder.add("nearly2.png", encode(100 + noise[1]))
    report = audit(builder.open())
    assert paths(report.constant) == ["black.png", "nearly.png", "nearly2.png"]
    assert found_keys(report) == {"constant"}


def test_inverted_images_are_listed_with_their_copies(builder: Builder) -> None:
    builder.add("inverted.png", encode(255 - draw_chest(40)), patient="p")
    builder.add("copy.png", encode(255 - draw_chest(40)), patient="p")
    report = audit(builder.open())
    assert paths(report.inverted) == ["inverted.png", "copy.png"]
    assert found_keys(report) == {"inverted", "exact_duplicates"}


def test_colour_pictures_are_listed(builder: Builder) -> None:
    chest = np.repeat(draw_chest(50)[:, :, None], 3, axis=2)
    builder.add("gray.png", encode(chest))
    chest = np.repeat(draw_chest(51)[:, :, None], 3, axis=2)
    chest[20:60, 20:60, 0] = 255
    builder.add("overlay.png", encode(chest))
    assert paths(audit(builder.open()).colour) == ["overlay.png"]


def test_the_midline_score_is_a_correlation_and_changes_sign_with_the_gray_levels() -> None:
    x = np.linspace(-1, 1, 32)
    band = np.round(200 * np.exp(-((x / 0.35) ** 2))).astype(np.uint8)
    ideal = np.repeat(band[None], 32, axis=0)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 32, 32), dtype=np.uint8)
    flat = np.full((32, 32), 7, dtype=np.uint8)
    pictures = np.stack([ideal, ideal.T, flat, *noise])
    score = midline_score(pictures)
    assert score[0] == pytest.approx(1, abs=1e-3)
    assert np.abs(score[1:]).max() < 0.15  # no upright band, so no score, however noisy
    assert midline_score(255 - pictures) == pytest.approx(-score, abs=1e-9)


def test_the_report_does_not_depend_on_the_number_of_workers(builder: Builder) -> None:
    for index in range(60, 200):  # more than one task
        builder.add(f"{index}.png", encode(draw_chest(index % 90, side_px=40)))
    dataset = builder.open()
    one, four = audit(dataset, max_workers=1), audit(dataset, max_workers=4)
    assert replace(one, seconds=0) == replace(four, seconds=0)
    # 60 to 89 come twice, the second time as 150 to 179; and 0 to 19 as 90 to 109 and 180 to 199.
    found = {tuple(image.path for image in group.images) for group in one.exact_duplicates}
    assert len(found) == 50
    assert ("60.png", "150.png") in found
    assert ("91.png", "181.png") in found


def test_json_holds_every_finding_and_list(builder: Builder) -> None:
    builder.add("copy.png", (builder.root / "0.png").read_bytes(), split="test", target=1)
    builder.add("bad.png", b"bad")
    found = json.loads(json.dumps(audit(builder.open()).to_dict(), allow_nan=False))
    assert found["has_problems"] is True
    counts = {finding["key"]: finding["n"] for finding in found["findings"]}
    assert counts["duplicates_across_splits"] == counts["duplicates_with_two_targets"] == 1
    assert counts["near_duplicates"] == 0
    (group,) = found["exact_duplicates"]
    assert [image["path"] for image in group["images"]] == ["0.png", "copy.png"]
    assert group["is_across_splits"]
    assert group["has_two_targets"]
    assert found["unreadable"][0]["image"]["path"] == "bad.png"


class CountingDataset(Dataset):
    """Makes images in memory and counts how many are alive, and how often each is decoded."""

    def __init__(self, n: int) -> None:
        columns = {
            "path": [f"{i}.png" for i in range(n)],
            "target": [0] * n,
            "patient_id": [str(i) for i in range(n)],
            "split": ["train"] * n,
        }
        super().__init__(make_manifest(columns, root=Path(), name="counting"))
        self.n_reads = [0] * n
        self.n_alive = self.most_alive = 0
        self.lock = threading.RLock()

    def read(self, row: int) -> Radiograph:
        pixels = draw_chest(row, side_px=48)
        with self.lock:
            self.n_reads[row] += 1
            self.n_alive += 1
            self.most_alive = max(self.most_alive, self.n_alive)
        weakref.finalize(pixels, self._forget)
        return Radiograph(pixels=pixels)

    def _forget(self) -> None:
        with self.lock:
            self.n_alive -= 1

    def read_bytes(self, row: int) -> bytes:
        return str(row).encode()

    def describe_row(self, row: int) -> str:
        return str(row)


def test_each_image_is_decoded_once_and_none_is_kept() -> None:
    dataset = CountingDataset(300)
    audit(dataset, max_workers=2)
    assert set(dataset.n_reads) == {1}
    assert dataset.most_alive <= 4  # two workers, each with one image and the one before it


def test_the_kermany_set_has_exactly_its_known_copies_and_nothing_else(real_data: Path) -> None:
    started = time.process_time()
    report = audit(open_dataset(real_data), max_workers=2)
    # 60 s on two cores at most. The processor's time, so that other work on the machine is not
    # counted: a whole audit takes some 15 s of it.
    assert time.process_time() - started < 60
    assert report.n_images == 5856
    assert len(report.exact_duplicates) == 30
    assert {group.kind for group in report.exact_duplicates} == {"file"}
    assert sum(len(group.images) for group in report.exact_duplicates) == 62
    assert report.duplicates_across_splits == ()
    assert report.duplicates_with_two_targets == ()
    assert report.near_duplicates == ()
    assert report.problems == ()
    # One pair of test radiographs is filed under two patients.
    assert found_keys(report) == {"exact_duplicates", "duplicates_across_patients"}


def test_real_radiographs_are_called_inverted_once_they_are(real_data: Path) -> None:
    dataset = open_dataset(real_data)
    thumbnails = np.stack(
        [make_thumbnail(dataset.read(row).pixels) for row in range(0, len(dataset), 20)]
    )
    assert (midline_score(thumbnails) > 0.15).all()
    assert (midline_score(255 - thumbnails) < INVERTED_BELOW).all()


def test_copies_of_real_radiographs_are_found_among_the_rest(
    tmp_path: Path, real_data: Path
) -> None:
    real = open_dataset(real_data)
    builder = Builder(tmp_path)
    for row in range(0, len(real), 40):
        name = f"{row}.jpeg"
        builder.add(name, real.read_bytes(row), patient=name)
    changed = {
        "smaller": lambda a: encode(np.asarray(Image.fromarray(a).resize((100, 100)))),
        "worse": lambda a: encode(a, "JPEG", quality=15),
        "brighter": lambda a: encode((255 * (a / 255) ** 0.8).astype(np.uint8)),
    }
    expected = []
    for index, (name, change) in enumerate(changed.items()):
        row = 40 * (index + 7)
        pixels = real.read(row).pixels
        builder.add(f"{name}.png", change(pixels), patient=f"{row}.jpeg", split="test")
        expected.append(("near", [f"{row}.jpeg", f"{name}.png"]))
    report = audit(builder.open())
    assert groups(report.near_duplicates) == expected
    assert len(report.duplicates_across_splits) == 3
