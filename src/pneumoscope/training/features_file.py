"""One file of maps: found whole on the disk, or built and then given its name."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pneumoscope.core.files import open_atomically, storage_error

_log = logging.getLogger(__name__)

BATCH = 32


def open_or_build(
    path: Path,
    shape: tuple[int, ...],
    maps_of: Callable[[slice], NDArray[np.float32]],
    *,
    title: str,
    show_progress: bool,
) -> NDArray[np.float32]:
    """Return the array in ``path`` as a read-only memory map, after building it where it is not.

    Args:
        path: A ``.npy`` file, named by everything that its content depends on.
        shape: (N, C, h, w) of the whole array.
        maps_of: Returns a slice of at most `BATCH` of its N.
        title: What the progress bar is called.
        show_progress: Draw it, if stderr is a terminal.

    Raises: StorageError: the disk is full, or the folder cannot be written.
    """
    found = _open(path, shape)
    if found is not None:
        return found
    with _lock(path):
        found = _open(path, shape)  # another process may have built it while this one waited
        if found is not None:
            return found
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)  # a killed build's; this process holds its lock
        _build(path, shape, maps_of, title=title, show_progress=show_progress)
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return the finished array, or None where there is none to be trusted."""
    if not path.is_file():
        return None
    try:
        maps = np.load(path, mmap_mode="r")
        if maps.shape != shape or maps.dtype != np.float32:
            raise ValueError(f"it is {maps.dtype} {maps.shape}, not float32 {shape}")
        if path.stat().st_size != maps.offset + maps.nbytes:
            raise ValueError("it has the wrong length")
    except (OSError, ValueError) as error:
        _log.warning("the cached maps %s are damaged (%s) and are built anew", path, error)
        return None
    return maps  # type: ignore[no-any-return]


def _build(
    path: Path,
    shape: tuple[int, ...],
    maps_of: Callable[[slice], NDArray[np.float32]],
    *,
    title: str,
    show_progress: bool,
) -> None:
    n_bytes = 4 * int(np.prod(shape))
    _log.info("working out the maps of %d radiographs, %.0f MB: %s", shape[0], n_bytes / 1e6, path)
    started_s = time.monotonic()
    # Written front to back, not through a memory map: where the disk runs full, a write raises,
    # and a map kills the process.
    with open_atomically(path) as file, _bar(title, shape[0], show=show_progress) as advance:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        for start in range(0, shape[0], BATCH):
            maps = maps_of(slice(start, start + BATCH))
            file.write(maps.astype("<f4", copy=False).tobytes())
            advance(len(maps))
    seconds = time.monotonic() - started_s
    _log.info("maps of %d radiographs in %.0f s, %.1f/s", shape[0], seconds, shape[0] / seconds)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold this file's lock: one process builds, any other waits here."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _log.info("another process is working out these maps; waiting for it")
            lock.acquire()
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _bar(title: str, total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a bar on stderr by so many radiographs."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (show and console.is_terminal),
    ) as progress:
        task = progress.add_task(title, total=total, rate=0.0)
        started_s = time.monotonic()
        n_done = 0

        def advance(count: int) -> None:
            nonlocal n_done
            n_done += count
            rate = n_done / max(time.monotonic() - started_s, 1e-9)
            progress.update(task, advance=count, rate=rate)

        yield advance
