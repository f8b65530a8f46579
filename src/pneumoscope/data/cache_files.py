"""The files of a decoded cache: array, index, and what a killed build leaves of them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np
from numpy.typing import NDArray

_SCHEMA = 1


def write_header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin a .npy file of uint8, which the caller fills in C order."""
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def make_index(key: str, failures: dict[int, str], *, root: Path) -> dict[str, Any]:
    """Return what `read_index` reads, ready to be written as JSON."""
    facts = {
        "schema": _SCHEMA,
        "key": key,
        "root": str(root),
        "failures": {str(row): failures[row] for row in sorted(failures)},
    }
    return {**facts, "checksum": _checksum(facts)}


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_index(file: Path, *, key: str, n_rows: int) -> tuple[dict[int, str], str]:
    """Return the failures that an index lists, and the dataset's root that they speak of.

    Raises: OSError, ValueError: there is no such file, or it is damaged.
    """
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("its index is nested beyond measure") from error
    if not isinstance(index, dict) or index.pop("checksum", None) != _checksum(index):
        raise ValueError("its index fails its own checksum")
    if index["schema"] != _SCHEMA or index["key"] != key:
        raise ValueError("its index belongs to another cache")
    failures = {int(row): str(message) for row, message in index["failures"].items()}
    if any(not 0 <= row < n_rows for row in failures):
        raise ValueError("its index lists a row that does not exist")
    return failures, str(index["root"])


def map_pixels(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Open the array read-only.

    Raises: OSError, ValueError: there is no such file, or it isn't wholly such an array.
    """
    pixels = np.lib.format.open_memmap(file, mode="r")
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(f"its array is {pixels.dtype} {pixels.shape}, not uint8 {shape}")
    if file.stat().st_size != pixels.offset + pixels.nbytes:
        raise ValueError("its array file has the wrong length")
    return pixels


def clean_up(folder: Path, *, own: Path) -> None:
    """Delete what killed builds left. A build in progress holds its lock, and is left alone."""
    for leftover in folder.glob("*.building"):
        if leftover == own:
            shutil.rmtree(leftover)  # the caller holds this lock
            continue
        lock = filelock.FileLock(leftover.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            continue
        try:
            shutil.rmtree(leftover, ignore_errors=True)
        finally:
            lock.release()
