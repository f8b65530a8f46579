"""The decoded cache: what is in it, when it is built again, and what a mishap leaves."""

import errno
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import types
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import DatasetError, StorageError, UnreadableImageError, UsageError
from pneumoscope.core.types import Radiograph
from pneumoscope.data import cache as cache_module
from pneumoscope.data import content_hash
from pneumoscope.data.cache import cache_root, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import make_manifest

SIZE_PX = 12
N_ROWS = 70  # more than two tasks of 32, and not a multiple


class CountingDataset(Dataset):
    """PNG files, read by Pillow alone; counts how often a row is decoded."""

    n_reads = 0

    def read(self, row):
        self.n_reads += 1
        try:
            with Image.open(self.manifest.root / self.manifest.table["path"][row]) as image:
                return Radiograph(pixels=np.asarray(image.convert("L")))
        except OSError as error:
            raise UnreadableImageError(f"{self.describe_row(row)}: unreadable") from error

    def read_bytes(self, row):
        try:
            return (self.manifest.root / self.manifest.table["path"][row]).read_bytes()
        except OSError as error:
            raise UnreadableImageError(f"{self.describe_row(row)}: missing") from error

    def describe_row(self, row):
        return str(self.manifest.root / self.manifest.table["path"][row])


class ArrayRows(CountingDataset):
    """Rows that are no files: their bytes come from an array."""

    pixels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(3, 16, 16)

    def read(self, row):
        return Radiograph(pixels=self.pixels[row])

    def read_bytes(self, row):
        return self.pixels[row].tobytes()


def draw(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (20 + seed % 5, 31 - seed % 7)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path, compress_level=0)


def make_dataset(root: Path, *, n_rows: int = N_ROWS, kind=CountingDataset, target=0) -> Dataset:
    paths = [f"images/{row:03}.png" for row in range(n_rows)]
    columns = {
        "path": paths,
        "target": [target] * n_rows,
        "patient_id": [f"train/{row // 2}" for row in range(n_rows)],
        "split": ["train"] * n_rows,
    }
    return kind(make_manifest(columns, root=root, name="drawn"))


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    for row in range(N_ROWS):
        draw(root / f"images/{row:03}.png", row)
    return make_dataset(root)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def open_here(dataset, folder, **options):
    return open_cache(dataset, size_px=SIZE_PX, folder=folder, show_progress=False, **options)


def leftovers(folder: Path) -> list[str]:
    """What lies in the cache beyond finished caches, locks and the memo."""
    finished = {path.parent for path in folder.glob("decoded/*/index.json")}
    return [
        path.name
        for path in (folder / "decoded").iterdir()
        if path not in finished and path.suffix != ".lock"
    ]


def test_pixels_equal_resizing_each_image_alone(dataset, folder):
    cache = open_here(dataset, folder)
    assert cache.pixels.shape == (N_ROWS, SIZE_PX, SIZE_PX)
    assert cache.pixels.dtype == np.uint8
    for row in range(N_ROWS):
        with Image.open(dataset.manifest.root / f"images/{row:03}.png") as image:
            expected = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(cache.pixels[row], np.asarray(expected))
    assert cache.is_readable.all()
    assert cache.failures == {}


def test_pixels_are_a_read_only_memory_map(dataset, folder):
    cache = open_here(dataset, folder)
    assert isinstance(cache.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0, 0, 0] = 1


def test_sha256_is_that_of_the_files(dataset, folder):
    cache = open_here(dataset, folder)
    files = sorted((dataset.manifest.root / "images").iterdir())
    expected = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert list(cache.sha256) == expected


def test_is_built_once_a_size(dataset, folder):
    first = open_here(dataset, folder)
    again = open_here(dataset, folder)
    assert dataset.n_reads == N_ROWS
    assert again.key == first.key
    other = open_cache(dataset, size_px=SIZE_PX + 1, folder=folder, show_progress=False)
    assert other.key != first.key
    assert other.pixels.shape[1:] == (SIZE_PX + 1, SIZE_PX + 1)


def test_a_changed_file_of_the_same_size_is_decoded_again(dataset, folder):
    file = dataset.manifest.root / "images/007.png"
    before = open_here(dataset, folder)
    size = file.stat().st_size
    draw(file, 7 + 35)  # 35: the same shape, other pixels, and the file is not compressed
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 5_000_000_000))
    assert file.stat().st_size == size
    after = open_here(dataset, folder)
    assert after.key != before.key
    assert not np.array_equal(after.pixels[7], before.pixels[7])
    np.testing.assert_array_equal(after.pixels[8:], before.pixels[8:])


def test_a_touched_file_is_not_decoded_again(dataset, folder):
    before = open_here(dataset, folder)
    os.utime(dataset.manifest.root / "images/007.png", ns=(0, 1_000))
    assert open_here(dataset, folder).key == before.key
    assert dataset.n_reads == N_ROWS


def test_key_is_the_same_wherever_the_dataset_lies(dataset, folder, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(dataset.manifest.root, moved)
    other = make_dataset(moved)
    assert open_here(other, folder).key == open_here(dataset, folder).key
    assert dataset.n_reads == 0


def test_failures_speak_of_where_the_dataset_lies_now(dataset, folder, tmp_path):
    for row in range(40):  # more than are tried again otherwise
        (dataset.manifest.root / f"images/{row:03}.png").write_text("not an image")
    open_here(dataset, folder)
    moved = tmp_path / "elsewhere"
    dataset.manifest.root.rename(moved)
    failures = open_here(make_dataset(moved), folder).failures
    assert len(failures) == 40
    assert all(message.startswith(str(moved)) for message in failures.values())


def test_an_unreadable_image_is_listed_and_left_black(dataset, folder):
    (dataset.manifest.root / "images/040.png").write_text("not an image")
    (dataset.manifest.root / "images/041.png").unlink()
    for cache in (open_here(dataset, folder), open_here(dataset, folder)):
        assert sorted(cache.failures) == [40, 41]
        assert "040.png: unreadable" in cache.failures[40]
        assert np.flatnonzero(~cache.is_readable).tolist() == [40, 41]
        assert not cache.pixels[40:42].any()
        assert cache.sha256[40:42] == ("", "")
        assert cache.pixels[39].any()


def test_a_file_that_comes_back_is_decoded(dataset, folder):
    file = dataset.manifest.root / "images/041.png"
    content = file.read_bytes()
    file.unlink()
    assert list(open_here(dataset, folder).failures) == [41]
    file.write_bytes(content)
    assert open_here(dataset, folder).failures == {}


def test_a_file_that_vanishes_between_hashing_and_decoding_is_a_failure(
    dataset, folder, monkeypatch
):
    file = dataset.manifest.root / "images/050.png"
    content = file.read_bytes()

    def hash_then_lose(*args, **options):
        contents = content_hash.hash_rows(*args, **options)
        file.unlink()
        return contents

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "hash_rows", hash_then_lose)
        cache = open_here(dataset, folder)
    assert list(cache.failures) == [50]
    file.write_bytes(content)  # the same content, but the failure must not stick to it
    again = open_here(dataset, folder)
    assert again.failures == {}
    assert again.key != cache.key


def test_a_file_that_changes_between_hashing_and_decoding_is_a_failure(
    dataset, folder, monkeypatch
):
    file = dataset.manifest.root / "images/050.png"
    original = file.read_bytes()

    def hash_then_change(*args, **options):
        contents = content_hash.hash_rows(*args, **options)
        draw(file, 999)
        return contents

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "hash_rows", hash_then_change)
        cache = open_here(dataset, folder)
    assert list(cache.failures) == [50]
    assert "changed while it was being read" in cache.failures[50]
    assert not cache.pixels[50].any()
    assert cache.pixels[51].any()
    file.write_bytes(original)
    again = open_here(dataset, folder)
    expected = Image.open(file).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(again.pixels[50], np.asarray(expected))


def test_a_row_that_a_new_decoder_can_read_is_read(dataset, folder, monkeypatch):
    (dataset.manifest.root / "images/003.png").write_text("a format of tomorrow")
    assert list(open_here(dataset, folder).failures) == [3]
    old_read = CountingDataset.read

    def new_read(self, row):
        if row == 3:
            return Radiograph(pixels=np.full((9, 9), 77, dtype=np.uint8))
        return old_read(self, row)

    monkeypatch.setattr(CountingDataset, "read", new_read)
    cache = open_here(dataset, folder)
    assert cache.failures == {}
    assert (cache.pixels[3] == 77).all()


def cut_pixels(place: Path) -> None:
    with (place / "pixels.npy").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1)


def lengthen_pixels(place: Path) -> None:
    with (place / "pixels.npy").open("ab") as file:
        file.write(b"x")


def cut_index(place: Path) -> None:
    text = (place / "index.json").read_text()
    (place / "index.json").write_text(text[: len(text) // 2])


def alter_index(place: Path) -> None:
    index = json.loads((place / "index.json").read_text())
    index["failures"] = {"5": "invented"}
    (place / "index.json").write_text(json.dumps(index))


def empty_pixels(place: Path) -> None:
    (place / "pixels.npy").write_bytes(b"")


def zip_pixels(place: Path) -> None:
    (place / "pixels.npy").write_bytes(b"PK\x03\x04" + bytes(60))


def nest_index(place: Path) -> None:
    (place / "index.json").write_text("[" * 100_000)


def lose_index(place: Path) -> None:
    (place / "index.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        cut_pixels,
        lengthen_pixels,
        empty_pixels,
        zip_pixels,
        cut_index,
        alter_index,
        nest_index,
        lose_index,
    ],
)
def test_a_damaged_cache_is_built_again(dataset, folder, damage):
    before = open_here(dataset, folder)
    expected = np.array(before.pixels)
    damage(folder / "decoded" / before.key)
    after = open_here(dataset, folder)
    assert dataset.n_reads == 2 * N_ROWS
    np.testing.assert_array_equal(after.pixels, expected)
    assert after.failures == {}
    assert leftovers(folder) == []


def test_rows_that_are_no_files_are_hashed_by_their_bytes(folder, tmp_path, monkeypatch):
    dataset = make_dataset(tmp_path, n_rows=3, kind=ArrayRows)
    before = open_here(dataset, folder)
    assert len(set(before.sha256)) == 3
    monkeypatch.setattr(ArrayRows, "pixels", ArrayRows.pixels[::-1].copy())
    assert open_here(dataset, folder).key != before.key


def settle(dataset: Dataset, monkeypatch) -> None:
    """Let files that were just written count as old enough to remember."""
    monkeypatch.setattr(content_hash, "_SETTLED_NS", 0)


def test_unchanged_files_are_not_read_again(dataset, folder, monkeypatch):
    settle(dataset, monkeypatch)
    before = open_here(dataset, folder)
    read = []
    original = content_hash.read_content

    def spy(dataset, row):
        read.append(row)
        return original(dataset, row)

    monkeypatch.setattr(content_hash, "read_content", spy)
    assert open_here(dataset, folder).sha256 == before.sha256
    assert read == []
    draw(dataset.manifest.root / "images/011.png", 500)
    open_here(dataset, folder)
    assert read == [11]


def test_a_file_written_just_now_is_not_remembered(dataset, folder):
    file = dataset.manifest.root / "images/000.png"
    old = time.time_ns() - 10**10
    before = open_here(dataset, folder)
    draw(file, 35)
    os.utime(file, ns=(old, old))  # ctime is now: it may change again within the clock's tick
    assert open_here(dataset, folder).key != before.key
    with sqlite3.connect(folder / "file-hashes.sqlite3") as memo:
        assert memo.execute("SELECT count(*) FROM file_hash").fetchone() == (0,)
    memo.close()


@pytest.mark.parametrize("content", [b"this is no database at all" * 50, b"SQLite format 3\0" * 99])
def test_a_corrupt_memo_is_thrown_away(dataset, folder, monkeypatch, content):
    settle(dataset, monkeypatch)
    before = open_here(dataset, folder)
    memo = folder / "file-hashes.sqlite3"
    memo.write_bytes(content)
    assert open_here(dataset, folder).key == before.key
    open_here(dataset, folder)
    with sqlite3.connect(memo) as connection:
        assert connection.execute("SELECT count(*) FROM file_hash").fetchone() == (N_ROWS,)
    connection.close()


def test_no_room_is_said_before_anything_is_written(dataset, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil returns it
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(StorageError, match=r"decoded.*no room.*PNEUMOSCOPE_CACHE"):
        open_here(dataset, folder)
    assert dataset.n_reads == 0
    assert leftovers(folder) == []


def test_a_disk_that_runs_full_leaves_nothing(dataset, folder, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"No space left.*PNEUMOSCOPE_CACHE"):
            open_here(dataset, folder)
    assert leftovers(folder) == []
    assert not list(folder.glob("decoded/*/index.json"))
    assert open_here(dataset, folder).is_readable.all()


def test_a_folder_that_cannot_be_made_is_said(dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="PNEUMOSCOPE_CACHE"):
        open_here(dataset, tmp_path / "file")


def test_an_interrupted_build_leaves_nothing(dataset, folder, monkeypatch):
    def interrupt(self, row):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CountingDataset, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_here(dataset, folder)
    assert leftovers(folder) == []


def test_what_makes_no_sense_is_refused(dataset, folder, tmp_path):
    with pytest.raises(UsageError, match="size_px is 0"):
        open_cache(dataset, size_px=0, folder=folder)
    with pytest.raises(DatasetError, match="no radiograph"):
        open_here(make_dataset(tmp_path, n_rows=0), folder)


def test_cache_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("PNEUMOSCOPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root().name == "pneumoscope"


def test_fingerprint_changes_with_what_is_learnt_and_with_nothing_else(dataset, folder):
    cache = open_here(dataset, folder)
    rows = np.arange(10)
    fingerprint = cache.fingerprint(rows)
    assert cache.fingerprint(rows[::-1]) == fingerprint
    assert open_here(dataset, folder).fingerprint(list(rows)) == fingerprint
    assert cache.fingerprint(rows[:9]) != fingerprint
    flipped = make_dataset(dataset.manifest.root, target=1)
    assert open_here(flipped, folder).fingerprint(rows) != fingerprint
    assert open_here(flipped, folder).key == cache.key
    unknown = make_dataset(dataset.manifest.root, target=None)
    assert open_here(unknown, folder).fingerprint(rows) != fingerprint
    draw(dataset.manifest.root / "images/020.png", 444)
    assert open_here(dataset, folder).fingerprint(rows) == fingerprint
    draw(dataset.manifest.root / "images/009.png", 444)
    assert open_here(dataset, folder).fingerprint(rows) != fingerprint
    assert len(cache.fingerprint([])) == 64


# A program of its own: opens the cache with a dataset that writes down every row it decodes.
PROGRAM = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from PIL import Image
    from pneumoscope.core.types import Radiograph
    from pneumoscope.data.cache import open_cache
    from pneumoscope.data.dataset import Dataset
    from pneumoscope.data.manifest import make_manifest

    root, folder, log, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    paths = sorted(f"images/{path.name}" for path in (root / "images").iterdir())

    class Logging(Dataset):
        def read(self, row):
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, f"{row}\\n".encode())
            os.close(handle)
            time.sleep(float(pause_s))
            with Image.open(root / paths[row]) as image:
                return Radiograph(pixels=np.asarray(image.convert("L")))

        def read_bytes(self, row):
            return (root / paths[row]).read_bytes()

        def describe_row(self, row):
            return paths[row]

    columns = {"path": paths, "target": [0] * len(paths),
               "patient_id": paths, "split": ["train"] * len(paths)}
    dataset = Logging(make_manifest(columns, root=root, name="drawn"))
    print("ready", flush=True)
    sys.stdin.readline()
    cache = open_cache(dataset, size_px=12, folder=folder, max_workers=2)
    print(cache.key, int(cache.pixels.sum()), flush=True)
    """
)


def start(dataset, folder, log, *, pause_s: float) -> subprocess.Popen:
    arguments = [dataset.manifest.root, folder, log, pause_s]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_at_once_build_once(dataset, folder, tmp_path):
    log = tmp_path / "reads.log"
    processes = [start(dataset, folder, log, pause_s=0.01) for _ in range(2)]
    for process in processes:
        go(process)
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert sorted(map(int, log.read_text().split())) == list(range(N_ROWS))
    cache = open_here(dataset, folder)
    assert answers[0][0].split() == [cache.key, str(int(cache.pixels.sum()))]
    assert dataset.n_reads == 0


def test_a_killed_build_leaves_nothing_that_looks_complete(dataset, folder, tmp_path):
    log = tmp_path / "reads.log"
    process = start(dataset, folder, log, pause_s=0.05)
    go(process)
    deadline = time.monotonic() + 30
    while not (log.exists() and list(folder.glob("decoded/*.building/pixels.npy"))):
        assert time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert len(leftovers(folder)) == 1  # what a kill leaves, under a name that no one opens
    # Another size's build clears it away too: its owner holds no lock any more.
    open_cache(dataset, size_px=5, folder=folder, show_progress=False)
    assert leftovers(folder) == []
    cache = open_here(dataset, folder)
    assert cache.is_readable.all()
    assert cache.pixels.reshape(N_ROWS, -1).any(axis=1).all()


def test_a_build_in_progress_is_not_cleared_away(dataset, folder, tmp_path):
    log = tmp_path / "reads.log"
    process = start(dataset, folder, log, pause_s=0.02)
    go(process)
    deadline = time.monotonic() + 30
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    open_cache(dataset, size_px=5, folder=folder, show_progress=False)
    answer, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert answer.split()[0] == open_here(dataset, folder).key


def test_bar_is_drawn_only_for_a_terminal(dataset, folder, monkeypatch, capsys):
    open_here(dataset, folder)
    open_cache(dataset, size_px=3, folder=folder, show_progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    open_cache(dataset, size_px=4, folder=folder, show_progress=True)
    assert "Decoding" in capsys.readouterr().err


def test_a_file_is_remembered_by_its_age_when_it_was_read(dataset, tmp_path, monkeypatch):
    """A pass over many files takes longer than a clock's tick: its end says nothing of one."""
    memo, late_ns = tmp_path / "memo.sqlite", [0]
    clock = types.SimpleNamespace(time_ns=lambda: time.time_ns() + late_ns[0])
    monkeypatch.setattr(content_hash, "time", clock)
    read = content_hash.read_content

    def read_slowly(*args):
        content = read(*args)
        late_ns[0] = 10**10
        return content

    for path in dataset.manifest.table["path"]:
        (dataset.manifest.root / path).touch()
    monkeypatch.setattr(content_hash, "read_content", read_slowly)
    content_hash.hash_rows(dataset, memo=memo, max_workers=1)
    reread = []

    def note(dataset, row):
        reread.append(row)
        return read(dataset, row)

    monkeypatch.setattr(content_hash, "read_content", note)
    content_hash.hash_rows(dataset, memo=memo, max_workers=1)
    assert 0 in reread  # the first file was read before the clock went on


def test_the_decoders_version_is_raised_with_what_reading_gives() -> None:
    """Else a cache that was made before would go on giving the old pixels."""
    golden = Path(__file__).parents[1] / "golden/reading/expected.json"
    number = cache_module.DECODER_VERSION.split(",")[0]
    given = {number: hashlib.sha256(golden.read_bytes()).hexdigest()}
    assert given == {"2": "f4d0395b28dc47a51a9e65a84db817d3da11f656e97d939d1f1422094fbd83ad"}, (
        "reading has changed: raise DECODER_VERSION, and write it here"
    )


class Crowded(CountingDataset):
    """One row lacks memory the first time, or each time."""

    is_hopeless = False
    has_failed = False

    def read(self, row):
        if row == 40 and (self.is_hopeless or not self.has_failed):
            self.has_failed = True
            raise MemoryError
        return super().read(row)


def test_what_lacks_memory_is_decoded_alone(dataset, folder) -> None:
    crowded = make_dataset(dataset.manifest.root, kind=Crowded)
    cache = open_here(crowded, folder)
    assert crowded.has_failed
    assert cache.failures == {}
    np.testing.assert_array_equal(cache.pixels, open_here(dataset, folder / "other").pixels)


def test_a_lack_of_memory_is_told_and_never_counts_as_unreadable(dataset, folder) -> None:
    crowded = make_dataset(dataset.manifest.root, kind=Crowded)
    crowded.is_hopeless = True
    with pytest.raises(DatasetError, match=r"040.png: needs more memory"):
        open_here(crowded, folder)
    assert open_here(dataset, folder).failures == {}
