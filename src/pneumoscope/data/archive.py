"""Unpack an archive that someone else made, without trusting a word in it."""

import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from pneumoscope.core.errors import DownloadError, StorageError
from pneumoscope.core.files import storage_error, sync_folder

_CHUNK_BYTES = 2**20
_MAX_PADDING = 16 * 2**20  # of a tar archive; tar itself fills up to 10 KiB
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
)
_NO_NAME = re.compile(r"[\\\x00-\x1f]|^[A-Za-z]:|^/")  # backslash, control, drive letter, absolute


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry, as the archive's own table describes it."""

    name: str
    n_bytes: int  # unpacked, as declared
    kind: str  # "file", "folder", or what is refused
    open: Callable[[], IO[bytes]]


def unpack_safely(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> Path:
    """Unpack a zip or tar archive as a new folder.

    Refused: members that would lie outside the folder (absolute, ``..``, drive letters,
    backslashes), links and devices, two members of one name, encrypted members, more than
    ``max_files`` members, more than ``max_bytes`` unpacked, whether declared or real. The folder
    takes its name only once everything is unpacked; nothing stays behind otherwise.

    Args:
        archive: The file; its content, not its name, says which kind it is.
        folder: Where to; it must not exist, or be empty.
        max_bytes: Most bytes that all members together may have, unpacked.
        max_files: Most members, folders included.

    Returns: ``folder``.

    Raises:
        DownloadError: the archive is missing, damaged or refused.
        StorageError: the disk is full, or the folder can't be written or isn't empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder}: is there already. Move it away, or choose another place.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, because a rename is atomic only within one file system.
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        with _open_archive(archive) as members:
            _unpack(archive, members, temporary, max_bytes=max_bytes, max_files=max_files)
        temporary.chmod(0o755)  # mkdtemp's 0700 would lock colleagues out
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _unpack(
    archive: Path, members: Iterator[_Member], folder: Path, *, max_bytes: int, max_files: int
) -> None:
    n_bytes = 0
    for n_members, member in enumerate(members, start=1):
        if n_members > max_files:
            raise _refused(archive, f"it has more than {max_files:,} members")
        target = folder / _check_name(archive, member.name)
        if member.kind == "folder":
            _make_folder(archive, target)
            continue
        if member.kind != "file":
            raise _refused(archive, f"{member.name!r} is {member.kind}")
        # Declared sizes first, before a byte is written; the real ones below, as they come.
        if n_bytes + member.n_bytes > max_bytes:
            raise _refused(archive, f"unpacked it has more than {max_bytes:,} bytes")
        if shutil.disk_usage(folder).free < member.n_bytes:
            raise StorageError(
                f"{folder.parent}: no room to unpack {archive.name}. Free some space, or choose "
                "another place, and run again."
            )
        _make_folder(archive, target.parent)
        n_bytes += _write_member(archive, member, target)


def _write_member(archive: Path, member: _Member, target: Path) -> int:
    """Write one file and return its size in bytes."""
    n_bytes = 0
    try:
        file = target.open("xb")
    except (FileExistsError, IsADirectoryError):
        raise _refused(archive, f"two members are called {member.name!r}") from None
    with file, _reading(archive), member.open() as source:
        while chunk := source.read(_CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > member.n_bytes:
                raise _refused(archive, f"{member.name!r} is larger than it declares")
            file.write(chunk)
    if n_bytes != member.n_bytes:
        raise _refused(archive, f"{member.name!r} is smaller than it declares")
    return n_bytes


def _make_folder(archive: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _refused(archive, f"{folder.name!r} is a file and a folder") from None


def _check_name(archive: Path, name: str) -> PurePosixPath:
    """Return the member's path below the folder."""
    path = PurePosixPath(name)
    if _NO_NAME.search(name) or ".." in path.parts or not name:
        raise _refused(archive, f"the member {name!r} would lie outside the folder")
    return path


def _refused(archive: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{archive}: not unpacked, because {reason}. Nothing was written. Get the archive again "
        "from its publisher; if it is still so, don't use it."
    )


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn what the archive modules raise for damage into one error."""
    try:
        yield
    except _DAMAGE as error:
        raise _refused(archive, f"it is damaged ({error})") from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's; bz2 tells of damage by one without a number
        raise _refused(archive, f"it is damaged ({error})") from error
    except (NotImplementedError, RuntimeError) as error:
        raise _refused(archive, f"it is packed in a way that can't be read ({error})") from error


@contextmanager
def _open_archive(archive: Path) -> Iterator[Iterator[_Member]]:
    """Yield the members of a zip or a tar archive."""
    if not archive.is_file():
        raise DownloadError(f"{archive}: there is no such file. Check the path.")
    try:
        is_zip = zipfile.is_zipfile(archive)
        is_tar = not is_zip and tarfile.is_tarfile(archive)
    except OSError as error:
        raise DownloadError(f"{archive}: can't be read ({error.strerror}).") from error
    if is_zip:
        with _reading(archive), zipfile.ZipFile(archive) as opened_zip:
            yield _zip_members(archive, opened_zip)
    elif is_tar:
        with _reading(archive), tarfile.open(archive) as opened_tar:
            yield _tar_members(opened_tar)
    else:
        raise _refused(archive, "it is neither a zip nor a tar archive, or it is cut short")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        file_type = stat.S_IFMT(info.external_attr >> 16)
        kind = "folder" if info.is_dir() else "file"
        if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a link or a device"
        elif info.flag_bits & 0x1:
            kind = "encrypted"
        # orig_filename, because `filename` is already mended: cut at NUL, backslashes turned.
        yield _Member(info.orig_filename, info.file_size, kind, partial(opened.open, info))


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    # Only plain files and folders, written by our own code: tarfile's filters, which not every
    # 3.11 has, are not needed.
    for info in opened:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "a link or a device"
        yield _Member(info.name, info.size, kind, partial(_open_in_tar, opened, info))
    # tarfile takes a damaged header for the end, and reads no compressed stream to its checksum.
    stream = opened.fileobj
    if stream is not None:
        stream.seek(opened.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it does not end as a tar archive does")
        for _ in range(_MAX_PADDING // _CHUNK_BYTES):
            if not stream.read(_CHUNK_BYTES):
                return
        raise tarfile.ReadError("it goes on behind its end")


def _open_in_tar(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name!r} has no content")
    return stream
