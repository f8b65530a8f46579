"""Decode a dataset once: every radiograph as a small gray square in one memory-mapped array.

Where caches lie: ``cache_root()/decoded/KEY/``, a folder a dataset and size, with ``pixels.npy``
and ``index.json``; beside them ``cache_root()/file-hashes.sqlite3``. Nothing deletes old caches.
Deleting any of them, or the whole folder, is safe while nothing trains: what is missing is built
again.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import PIL
import platformdirs
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.errors import DatasetError, RadiographError, StorageError, UsageError
from pneumoscope.core.files import sync_folder, write_json
from pneumoscope.data.cache_files import (
    clean_up,
    make_index,
    map_pixels,
    read_index,
    write_header,
)
from pneumoscope.data.content_hash import RowContent, file_facts, hash_rows, read_content
from pneumoscope.data.progress import progress_bar

if TYPE_CHECKING:
    from pneumoscope.data.dataset import Dataset
    from pneumoscope.data.manifest import Manifest

_log = logging.getLogger(__name__)

# Raise the number when reading or resizing changes its result. Pillow's version is part of it
# because a new libjpeg may decode to other pixels.
DECODER_VERSION = f"2, Pillow {PIL.__version__}"
_ROWS_PER_TASK = 32  # enough work a task that handing it over costs nothing
_N_RETRIED = 16  # failed rows that are tried again before a finished cache is believed
_SPARE_BYTES = 16 * 2**20  # room left on the disk for the index and everyone else's small files


@dataclass(frozen=True)
class DecodedCache:
    """A dataset's radiographs, decoded; row i of everything is row i of the manifest."""

    pixels: NDArray[np.uint8]  # (N, size, size), read-only memory map; zeros where unreadable
    is_readable: NDArray[np.bool_]  # (N,)
    failures: dict[int, str]  # row -> why it could not be read
    sha256: tuple[str, ...]  # (N,) of the encoded bytes; "" where unreadable
    key: str  # sha256 over decoder version, size, and every row's path and content
    manifest: "Manifest"

    def fingerprint(self, rows: Sequence[int] | NDArray[np.int64]) -> str:
        """Return the SHA-256 of what these rows teach: path, target, patient and content.

        The same rows in another order have the same fingerprint.
        """
        table = self.manifest.table[list(map(int, rows))].select("path", "target", "patient_id")
        lines = sorted(
            json.dumps([*facts, self.sha256[row]])
            for facts, row in zip(table.iter_rows(), rows, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def cache_root() -> Path:
    """Return the folder for caches: PNEUMOSCOPE_CACHE, or the platform's own."""
    chosen = os.environ.get("PNEUMOSCOPE_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("pneumoscope")


def open_cache(
    dataset: "Dataset",
    *,
    size_px: int,
    folder: Path | None = None,
    show_progress: bool = True,
    max_workers: int | None = None,
) -> DecodedCache:
    """Return the dataset decoded at one size, from the disk where it was decoded before.

    Each radiograph is squeezed to the square, whatever its shape, by Pillow's antialiased bilinear
    resize. A row that can't be read is listed in ``failures`` and stays black. Two processes that
    ask at once build once: the second waits. A build that is killed leaves nothing that looks
    complete.

    Args:
        dataset: What to decode.
        size_px: Side of the square.
        folder: Where caches lie, instead of `cache_root()`.
        show_progress: Draw a bar on stderr, if that is a terminal.
        max_workers: Threads that hash and decode; by default one a CPU core.

    Raises:
        DatasetError: the dataset has no rows, or one needs more memory than is free.
        StorageError: the disk is full, or the folder cannot be written.
        UsageError: ``size_px`` is below 1.
    """
    if size_px < 1:
        raise UsageError(f"size_px is {size_px}: a radiograph's side has at least 1 pixel.")
    if len(dataset.manifest) == 0:
        raise DatasetError(f"{dataset.name}: there is no radiograph in it, so nothing to decode.")
    root = cache_root() if folder is None else folder
    n_workers = max_workers or os.cpu_count() or 1
    with progress_bar("Checking files", len(dataset.manifest), show=show_progress) as advance:
        contents = hash_rows(
            dataset, memo=root / "file-hashes.sqlite3", max_workers=n_workers, advance=advance
        )
    build = _Build(dataset, contents, size_px=size_px, folder=root / "decoded")
    found = build.open()
    if found is not None:
        return found
    with build.lock():
        found = build.open()  # another process may have built it while this one waited
        if found is not None:
            return found
        with progress_bar("Decoding", len(dataset.manifest), show=show_progress) as advance:
            return build.run(n_workers=n_workers, advance=advance)


class _Build:
    """One cache that is to be: its key, its place, and how it gets there."""

    def __init__(
        self, dataset: "Dataset", contents: list[RowContent], *, size_px: int, folder: Path
    ) -> None:
        self.dataset = dataset
        self.contents = contents
        self.size_px = size_px
        self.folder = folder
        self.paths: list[str] = dataset.manifest.table["path"].to_list()
        self.key = self._key(contents)
        self._retry_lock = threading.Lock()

    def _key(self, contents: list[RowContent]) -> str:
        digest = hashlib.sha256(json.dumps([DECODER_VERSION, self.size_px]).encode())
        for path, content in zip(self.paths, contents, strict=True):
            digest.update(json.dumps([path, content.sha256]).encode() + b"\n")
        return digest.hexdigest()

    @property
    def n_bytes(self) -> int:
        """Size of the array, without its header."""
        return len(self.paths) * self.size_px**2

    def open(self, *, retry_failures: bool = True) -> DecodedCache | None:
        """Return the finished cache of this key, or None where there is none to be trusted."""
        place = self.folder / self.key
        if not place.is_dir():
            return None
        try:
            failures, root = read_index(place / "index.json", key=self.key, n_rows=len(self.paths))
            pixels = map_pixels(place / "pixels.npy", (len(self.paths), *[self.size_px] * 2))
        except (OSError, ValueError) as error:
            _log.warning("the decoded cache %s is damaged (%s) and is built anew", place, error)
            return None
        if retry_failures:
            is_here = root == str(self.dataset.manifest.root)
            if self._try_again(failures, at_most=_N_RETRIED if is_here else len(failures)):
                return None
        is_readable = np.ones(len(self.paths), dtype=np.bool_)
        is_readable[list(failures)] = False
        return DecodedCache(
            pixels=pixels,
            is_readable=is_readable,
            failures=failures,
            sha256=tuple(
                content.sha256 if ok else ""
                for content, ok in zip(self.contents, is_readable, strict=True)
            ),
            key=self.key,
            manifest=self.dataset.manifest,
        )

    def _try_again(self, failures: dict[int, str], *, at_most: int) -> bool:
        """Tell whether a row that failed can be read now; renew the messages of those that can't.

        Its bytes are the same, but a decoder (a DICOM plug-in) may have been installed since, and
        the dataset may lie in another place than the one that its messages name.
        """
        for row in list(failures)[:at_most]:
            if (message := self._read(row)[1]) is None:
                return True
            failures[row] = message
        return False

    def _read(self, row: int) -> tuple[NDArray[np.uint8] | None, str | None]:
        """Return a row's (size, size) square, or why there is none."""
        with contextlib.suppress(MemoryError):
            return self._read_once(row)
        # All threads decode at once, and several large radiographs may be too much: what lacked
        # memory is tried again, one at a time. That is no fault of the file, so it never counts as
        # unreadable. Here, behind the error: its traceback would hold what was decoded so far.
        with self._retry_lock:
            try:
                return self._read_once(row)
            except MemoryError as error:
                raise DatasetError(
                    f"{self.dataset.describe_row(row)}: needs more memory to be decoded than is "
                    "free. Close other programs, scale it down, or leave it out."
                ) from error

    def _read_once(self, row: int) -> tuple[NDArray[np.uint8] | None, str | None]:
        try:
            gray = Image.fromarray(self.dataset.read(row).pixels)
        except RadiographError as error:
            return None, str(error)
        except OSError as error:
            reason = error.strerror or error
            return None, f"{self.dataset.describe_row(row)}: can't be read ({reason})."
        square = gray.resize((self.size_px, self.size_px), Image.Resampling.BILINEAR)
        return np.asarray(square), None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this key's lock: one process builds, any other waits here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / f"{self.key}.lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                _log.info("another process is decoding this dataset; waiting for it")
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise self._storage_error(error) from error
        try:
            yield
        finally:
            lock.release()

    def run(self, *, n_workers: int, advance: Callable[[int], None]) -> DecodedCache:
        """Decode everything into a temporary folder, then give it its name. Needs the lock."""
        temporary = self.folder / f"{self.key}.building"
        try:
            clean_up(self.folder, own=temporary)
            self._check_room()
            temporary.mkdir()
            failures = self._decode(temporary / "pixels.npy", n_workers=n_workers, advance=advance)
            self._forget_changed_rows(temporary / "pixels.npy", failures)
            index = make_index(self.key, failures, root=self.dataset.manifest.root)
            write_json(temporary / "index.json", index)
            sync_folder(temporary)
            self._put_in_place(temporary)
        except OSError as error:
            raise self._storage_error(error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        built = self.open(retry_failures=False)
        if built is None:
            raise StorageError(
                f"{self.folder / self.key}: the decoded cache was written and can't be read back. "
                "Check the disk, or set PNEUMOSCOPE_CACHE to a folder on another one."
            )
        return built

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self.n_bytes + _SPARE_BYTES:
            raise StorageError(
                f"{self.folder}: no room for the decoded radiographs, which need "
                f"{self.n_bytes / 1e6:,.0f} MB; {free / 1e6:,.0f} MB are free. Free some space, or "
                "set PNEUMOSCOPE_CACHE to a folder on another disk, and run again."
            )

    def _storage_error(self, error: Exception) -> StorageError:
        reason = getattr(error, "strerror", None) or str(error)
        return StorageError(
            f"{self.folder}: the decoded radiographs ({self.n_bytes / 1e6:,.0f} MB) were not "
            f"written: {reason}. Free some space or mend the folder, or set PNEUMOSCOPE_CACHE to "
            "a folder elsewhere, and run again."
        )

    def _decode(
        self, file: Path, *, n_workers: int, advance: Callable[[int], None]
    ) -> dict[int, str]:
        """Write the array; return row -> message for each row that could not be read."""
        failures: dict[int, str] = {}
        n_rows = len(self.paths)
        starts = range(0, n_rows, _ROWS_PER_TASK)
        tasks = [range(start, min(start + _ROWS_PER_TASK, n_rows)) for start in starts]
        executor = ThreadPoolExecutor(max_workers=n_workers)
        try:
            # Written front to back, not through a memory map: where the disk runs full, a write
            # raises, and a map kills the process.
            with file.open("xb") as stream:
                write_header(stream, (n_rows, self.size_px, self.size_px))
                for block, block_failures in executor.map(self._decode_block, tasks):
                    stream.write(block.data)
                    failures.update(block_failures)
                    advance(len(block))
        finally:
            executor.shutdown(cancel_futures=True)
        return failures

    def _decode_block(self, rows: range) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Return (len(rows), size, size) and the failures among these rows."""
        block = np.zeros((len(rows), self.size_px, self.size_px), dtype=np.uint8)
        failures = {}
        for position, row in enumerate(rows):
            square, message = self._read(row)
            if square is not None:
                block[position] = square
            if message is not None:
                failures[row] = message
        return block, failures

    def _forget_changed_rows(self, file: Path, failures: dict[int, str]) -> None:
        """Call rows unreadable whose file changed or vanished between hashing and decoding.

        Their pixels may be of either content, so they are blackened. Without a hash they belong to
        another key than the one that was looked for: the next run, which finds the new content,
        builds anew.
        """
        contents = list(self.contents)
        with file.open("r+b") as stream:
            for row, content in enumerate(self.contents):
                if not self._has_changed(row, content, is_readable=row not in failures):
                    continue
                contents[row] = replace(content, sha256="")
                if row not in failures:
                    failures[row] = (
                        f"{self.dataset.describe_row(row)}: changed while it was being read. "
                        "Run again once nothing writes to the dataset."
                    )
                    n_bytes = self.size_px**2
                    stream.seek((row - len(contents)) * n_bytes, os.SEEK_END)
                    stream.write(bytes(n_bytes))
            stream.flush()
            os.fsync(stream.fileno())
        self.contents = contents
        self.key = self._key(contents)

    def _has_changed(self, row: int, content: RowContent, *, is_readable: bool) -> bool:
        """Tell whether a row's bytes are other ones than those that were hashed."""
        if not content.sha256:
            return is_readable  # it could not be hashed, and then it could be decoded
        if content.facts is None or content.facts == file_facts(
            self.dataset.manifest.root / self.paths[row]
        ):
            return False
        return read_content(self.dataset, row).sha256 != content.sha256  # or only touched

    def _put_in_place(self, temporary: Path) -> None:
        place = self.folder / self.key
        if place.exists():
            shutil.rmtree(place)  # it was found damaged, or a failed row in it can be read now
        os.replace(temporary, place)
        sync_folder(self.folder)
