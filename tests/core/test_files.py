import errno
import json
import os
import stat
from pathlib import Path

import pytest

from pneumoscope.core.errors import MissingExtraError, StorageError
from pneumoscope.core.files import append_line, open_atomically, write_json, write_text
from pneumoscope.core.optional import import_extra


def write_half(path: Path, error: Exception) -> None:
    with open_atomically(path) as file:
        file.write(b"half")
        raise error


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(StorageError, match="disk is full"):
        write_half(path, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_json_has_null_for_what_json_cannot_say(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": (1, "é")})
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None,
        "b": [None, 1.5],
        "c": [1, "é"],
    }


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not written"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_lines_are_added(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_missing_extra_names_itself() -> None:
    with pytest.raises(MissingExtraError, match=r"Flying needs wings.*pneumoscope\[sky\]"):
        import_extra("wings.feathers", extra="sky", purpose="Flying")


def test_a_broken_dependency_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenwing.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        import_extra("brokenwing", extra="sky", purpose="Flying")


@pytest.mark.parametrize(
    ("number", "is_told"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_a_file_system_that_cannot_sync_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_told: bool
) -> None:
    sync = os.fsync

    def sync_files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_files_alone)
    if is_told:
        with pytest.raises(StorageError, match="not written"):
            write_text(tmp_path / "a.txt", "new")
    else:
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
