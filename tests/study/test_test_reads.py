import errno
import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import pneumoscope
from pneumoscope.core.errors import RunError, StorageError
from pneumoscope.study import test_reads
from pneumoscope.study.test_reads import code_commit, file_sha256, read_log, record_read


def record(folder: Path, *, dataset: str = "toy", fingerprint: str = "f1") -> int:
    return record_read(
        folder,
        split="test",
        dataset=dataset,
        fingerprint=fingerprint,
        n=50,
        checkpoint_sha256="c1",
        results=folder / "out",
    )


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_reading_is_one_json_line_with_everything(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(test_reads, "code_commit", lambda: "abc")
    assert record(tmp_path) == 1
    (line,) = (tmp_path / "test-reads.jsonl").read_text().splitlines()
    content = json.loads(line)
    time = datetime.fromisoformat(content.pop("time"))
    assert timedelta(0) <= datetime.now(UTC) - time < timedelta(minutes=1)
    assert content == {
        "split": "test",
        "dataset": "toy",
        "fingerprint": "f1",
        "n": 50,
        "checkpoint_sha256": "c1",
        "commit": "abc",
        "version": pneumoscope.__version__,
        "results": str(tmp_path / "out"),
    }


def test_readings_of_one_test_split_are_counted_and_none_is_lost(tmp_path) -> None:
    assert record(tmp_path) == 1
    assert record(tmp_path, dataset="other", fingerprint="f2") == 1  # another test split
    assert record(tmp_path) == 2
    assert record(tmp_path, dataset="renamed", fingerprint="f1") == 3  # the same images
    assert record(tmp_path, dataset="toy", fingerprint="f3") == 3  # an image was mended
    assert len(read_log(tmp_path)) == 5


def test_a_line_cut_off_by_a_kill_counts_and_swallows_nothing(tmp_path) -> None:
    record(tmp_path)
    with (tmp_path / "test-reads.jsonl").open("a") as log:
        log.write('{"time": "2026-01-0')
    assert record(tmp_path) == 3
    assert len((tmp_path / "test-reads.jsonl").read_text().splitlines()) == 3
    assert len(read_log(tmp_path)) == 2


def test_without_a_log_there_are_no_readings(tmp_path) -> None:
    assert read_log(tmp_path) == []


def test_a_log_that_cannot_be_written_is_an_error(tmp_path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"test-reads\.jsonl"):
        record(tmp_path)


def test_commit_is_that_of_the_tracked_code(tmp_path) -> None:
    code = tmp_path / "package"
    code.mkdir()
    assert code_commit(code) is None  # no checkout
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "of something else")
    (code / "__init__.py").write_text("")
    assert code_commit(code) is None  # untracked: as a package in a .venv inside a checkout
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert code_commit(code) == head
    (code / "__init__.py").write_text("changed = 1\n")
    assert code_commit(code) == f"{head}-dirty"


def test_commit_is_none_where_git_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_commit() is None
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(OSError()))
    assert code_commit() is None


def test_file_hash_is_sha256_of_the_content(tmp_path) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    assert file_sha256(path) == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(RunError, match=r"best2\.ckpt"):
        file_sha256(tmp_path / "best2.ckpt")
