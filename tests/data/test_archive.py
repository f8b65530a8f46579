"""Archives that try to do what archives must not, and some that are all right."""

import errno
import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from pneumoscope.core.errors import DownloadError, StorageError
from pneumoscope.data.archive import unpack_safely

LIMITS = {"max_bytes": 10_000_000, "max_files": 100}
CONTENT = {"a.txt": b"one", "deep/er/b.txt": b"two" * 1000, "empty.txt": b""}


def make_zip(path: Path, members, *, compression=zipfile.ZIP_DEFLATED) -> Path:
    """Write members: name or ZipInfo -> bytes."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members, *, mode="w:gz") -> Path:
    """Write members: (TarInfo, bytes)."""
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_info(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def zip_info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix, so the mode counts
    info.external_attr = mode << 16
    return info


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse(archive: Path, reason: str, **limits) -> None:
    """Check that an archive is refused, and that nothing is there that was not before."""
    place = archive.parent
    before = sorted(place.rglob("*"))
    outside = sorted(place.parent.iterdir())
    with pytest.raises(DownloadError, match=reason):
        unpack_safely(archive, place / "out", **{**LIMITS, **limits})
    assert sorted(place.rglob("*")) == before
    assert sorted(place.parent.iterdir()) == outside


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_unpacks_a_zip(place, compression):
    archive = make_zip(place / "x", CONTENT.items(), compression=compression)
    assert unpack_safely(archive, place / "new" / "out", **LIMITS) == place / "new" / "out"
    assert read_tree(place / "new") == {f"out/{name}": data for name, data in CONTENT.items()}
    assert stat.S_IMODE((place / "new" / "out").stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_unpacks_a_tar(place, mode):
    members = [(tar_info("folder", tarfile.DIRTYPE), b"")]
    members += [(tar_info(name), data) for name, data in CONTENT.items()]
    archive = make_tar(place / "x", members, mode=mode)
    unpack_safely(archive, place / "out", **LIMITS)
    assert read_tree(place / "out") == CONTENT
    assert (place / "out" / "folder").is_dir()


def test_an_empty_folder_may_be_there_and_a_full_one_not(place):
    archive = make_zip(place / "x", CONTENT.items())
    (place / "out").mkdir()
    unpack_safely(archive, place / "out", **LIMITS)
    with pytest.raises(StorageError, match="is there already"):
        unpack_safely(archive, place / "out", **LIMITS)
    assert read_tree(place / "out") == CONTENT


ESCAPES = [
    "../evil.txt",
    "a/../../evil.txt",
    "/evil.txt",
    "//evil.txt",
    "C:/evil.txt",
    "c:evil.txt",
    "..\\evil.txt",
    "a\\evil.txt",
    "\\\\host\\share\\evil.txt",
    "evil\n.txt",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_zip_member_that_escapes_is_refused(place, name):
    refuse(make_zip(place / "x", [("good.txt", b"1"), (name, b"evil")]), "outside the folder")


@pytest.mark.parametrize("name", ESCAPES)
def test_a_tar_member_that_escapes_is_refused(place, name):
    members = [(tar_info("good.txt"), b"1"), (tar_info(name), b"evil")]
    refuse(make_tar(place / "x", members), "outside the folder")


def test_a_name_that_ends_at_a_null_is_refused(place):
    archive = make_zip(place / "x", [("goodX../evil", b"1")])
    archive.write_bytes(archive.read_bytes().replace(b"goodX", b"good\0"))
    refuse(archive, "outside the folder")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_zip_member_that_is_no_file_is_refused(place, mode):
    info = zip_info("link", mode | 0o777)
    refuse(make_zip(place / "x", [(info, b"/etc"), ("link/passwd", b"")]), "a link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_a_tar_member_that_is_no_file_is_refused(place, kind):
    refuse(make_tar(place / "x", [(tar_info("l", kind, link="a"), b"")]), "a link or a device")


def test_too_many_members_are_refused(place):
    members = [(f"{number}.txt", b"") for number in range(11)]
    refuse(make_zip(place / "x", members), "more than 10 members", max_files=10)
    members = [(tar_info(name), data) for name, data in members]
    refuse(make_tar(place / "y", members), "more than 10 members", max_files=10)


def test_a_bomb_that_declares_itself_is_refused(place):
    bomb = make_zip(place / "x", [("a", bytes(600_000)), ("b", bytes(600_000))])
    assert bomb.stat().st_size < 5_000
    refuse(bomb, "more than 1,000,000 bytes", max_bytes=1_000_000)
    bomb = make_tar(place / "y", [(tar_info("a"), bytes(1_000_001))])
    refuse(bomb, "more than 1,000,000 bytes", max_bytes=1_000_000)


def test_exactly_the_limits_are_allowed(place):
    archive = make_zip(place / "x", [("a", bytes(500)), ("b", bytes(500))])
    unpack_safely(archive, place / "out", max_bytes=1000, max_files=2)
    assert len(read_tree(place / "out")) == 2


def test_a_bomb_that_lies_of_its_size_is_refused(place):
    archive = make_zip(place / "x", [("a", bytes(5_000_000))])
    data = archive.read_bytes()
    lie = data.replace(struct.pack("<L", 5_000_000), struct.pack("<L", 50))
    assert lie != data
    archive.write_bytes(lie)
    refuse(archive, "damaged|larger", max_bytes=1000)


def test_two_members_of_one_name_are_refused(place):
    archive = make_tar(place / "x", [(tar_info("a"), b"1"), (tar_info("a"), b"2")])
    refuse(archive, "two members are called")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_a_folder_too_is_refused(place, names):
    refuse(make_zip(place / "x", [(name, b"1") for name in names]), "a file and a folder|two mem")


def test_an_encrypted_zip_is_refused(place):
    archive = make_zip(place / "x", [("a", b"secret")])
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flag in the member's own header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the archive's table
    archive.write_bytes(data)
    refuse(archive, r"'a' is encrypted\. Nothing")


def test_an_unknown_compression_is_refused(place):
    archive = make_zip(place / "x", [("a", b"text" * 100)])
    data = bytearray(archive.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 97
    archive.write_bytes(data)
    refuse(archive, "can't be read")


def test_flipped_bits_are_noticed(place):
    archive = make_zip(place / "x", [("a", os.urandom(5000))], compression=zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[2000] ^= 1
    archive.write_bytes(data)
    refuse(archive, "damaged")


@pytest.mark.parametrize("n_bytes", [0, 10, 2000, 4900])
def test_a_zip_cut_short_is_refused(place, n_bytes):
    archive = make_zip(place / "x", [("a", os.urandom(5000))])
    archive.write_bytes(archive.read_bytes()[:n_bytes])
    refuse(archive, "neither a zip nor a tar|damaged")


@pytest.mark.parametrize("fraction", [0.2, 0.9])
def test_a_tar_cut_short_is_refused(place, fraction):
    members = [(tar_info(name), os.urandom(50_000)) for name in "abc"]
    archive = make_tar(place / "x", members)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * fraction)])
    refuse(archive, "damaged")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("fraction", [0.02, 0.6, 0.9999])
def test_a_tar_whose_stream_is_corrupt_is_refused(place, mode, fraction):
    archive = make_tar(place / "x", [(tar_info("a"), os.urandom(50_000))], mode=mode)
    data = bytearray(archive.read_bytes())
    data[int(len(data) * fraction)] ^= 0xFF
    archive.write_bytes(data)
    refuse(archive, "damaged|neither")


def test_a_tar_with_a_damaged_header_is_refused(place):
    archive = make_tar(place / "x", [(tar_info(name), b"1") for name in "abc"], mode="w")
    data = bytearray(archive.read_bytes())
    data[1024 + 10] ^= 1  # the second member's
    archive.write_bytes(data)
    refuse(archive, "damaged")
    archive.write_bytes(archive.read_bytes()[:1024])  # ends neatly behind the first member
    refuse(archive, "damaged")


def test_a_tar_that_goes_on_behind_its_end_is_refused(place):
    archive = make_tar(place / "x", [(tar_info("a"), b"1")], mode="w")
    archive.write_bytes(gzip.compress(archive.read_bytes() + bytes(17 * 2**20)))
    refuse(archive, "damaged")


def test_a_text_is_no_archive(place):
    (place / "x").write_text("<html>Please log in</html>")
    refuse(place / "x", "neither a zip nor a tar")
    (place / "y").write_bytes(gzip.compress(b"text"))
    refuse(place / "y", "neither a zip nor a tar")


def test_a_missing_archive_is_said(place):
    refuse(place / "x", "no such file")


def test_a_full_disk_leaves_nothing(place, monkeypatch):
    archive = make_zip(place / "x", CONTENT.items())
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil returns it
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1))
        with pytest.raises(StorageError, match="no room"):
            unpack_safely(archive, place / "out", **LIMITS)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        unpack_safely(archive, place / "out", **LIMITS)
    assert list(place.iterdir()) == [archive]
