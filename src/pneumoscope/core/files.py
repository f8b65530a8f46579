"""Write a file so that a reader, or a kill at any moment, finds the old or the new one whole."""

import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pneumoscope.core.errors import StorageError


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the name ``path`` only once it is complete and on disk.

    Raises: StorageError: the disk is full, or the folder cannot be written. What stood at
        ``path`` before is untouched, and no temporary file stays behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, because a rename is atomic only within one file system.
        prefix, suffix = _temporary_affixes(path.name)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would lock colleagues out of a shared run folder
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str, *, of: str) -> bool:
    """Tell whether ``name`` is one under which `open_atomically` writes a file called ``of``.

    A kill leaves such a file behind; whoever looks into the folder may pass it over.
    """
    prefix, suffix = _temporary_affixes(of)
    return name.startswith(prefix) and name.endswith(suffix)


def _temporary_affixes(name: str) -> tuple[str, str]:
    return f".{name}.", ".tmp"


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically; see `open_atomically`."""
    with open_atomically(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `open_atomically`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. NaN and infinities become null (RFC 8259)."""
    text = json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def json_ready(value: Any) -> Any:
    """Return the value with every non-finite float replaced by None, however deep it lies."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def append_line(path: Path, line: str) -> None:
    """Add one line to a log file, making its folder, and wait until it is on disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet. Raises: StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def sync_folder(folder: Path) -> None:
    """Wait until the folder's own entries (names, renames) are on disk."""
    if os.name == "nt":
        return  # Windows cannot open a folder for this
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, those of shared folders among them, know no fsync of a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error that tells what to do about a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "The disk is full: free some space"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "The folder cannot be written: change its permissions"
    else:
        advice = f"{error.strerror or error}: mend that"
    return StorageError(f"{path}: not written. {advice}, or choose another place, and run again.")
