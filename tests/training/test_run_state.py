"""Whether a run may begin in a folder, may go on there, or must leave it alone."""

import threading
import time
from pathlib import Path

import filelock
import pytest

from pneumoscope.core.errors import InUseError, RunError, UsageError
from pneumoscope.core.files import open_atomically
from pneumoscope.training.run_state import (
    ROWS_KEY,
    check_same_radiographs,
    check_same_rows,
    has_run,
    hold_folder,
    rows_fingerprint,
)


def left_by_a_kill(folder: Path, name: str) -> None:
    """Leave what `open_atomically` leaves that was killed before the rename."""
    with open_atomically(folder / name):
        (temporary,) = folder.glob(f".{name}.*")
    temporary.write_text("half")
    (folder / name).unlink()


@pytest.mark.parametrize(
    "names", [["recipe.yaml"], [], ["recipe.yaml", "run.json"]], ids=["recipe", "none", "both"]
)
def test_what_a_kill_leaves_at_the_beginning_does_not_hinder_the_run(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        left_by_a_kill(tmp_path, name)
    assert not has_run(tmp_path, resume=True)
    (tmp_path / "recipe.yaml").touch()
    assert not has_run(tmp_path, resume=True)
    with pytest.raises(RunError, match="holds other files"):
        has_run(tmp_path, resume=False)
    (tmp_path / "run.json").touch()
    assert has_run(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["thesis.txt", ".thesis.txt.1234.tmp", ".git", "run.json.tmp"])
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / name).touch()
    with pytest.raises(RunError, match="holds other files"):
        has_run(tmp_path, resume=True)


def test_who_only_asks_whether_a_folder_is_in_use_hinders_no_run(tmp_path: Path) -> None:
    lock = filelock.FileLock(tmp_path / ".lock", thread_local=False)
    lock.acquire()
    asks = threading.Timer(0.2, lock.release)
    asks.start()
    with hold_folder(tmp_path):
        assert not lock.is_locked
    asks.join()
    with lock:
        started_s = time.monotonic()
        with pytest.raises(InUseError, match="another process"), hold_folder(tmp_path):
            pass
        assert time.monotonic() - started_s < 10  # a run at work is told of, not waited for


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with (
        pytest.raises(UsageError, match="run: is a file, and a run needs a folder"),
        hold_folder(tmp_path / "run"),
    ):
        pass
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("fingerprint", "was trained on other radiographs (fingerprint aaaaaaaaaaaa, now bbbb"),
        ("tuning_fingerprint", "was trained with another tuning split"),
        ("subtype_fingerprint", "was trained with other subtypes"),
    ],
)
def test_a_run_goes_on_with_what_it_has_learnt_from(tmp_path: Path, key: str, reason: str) -> None:
    keys = ("fingerprint", "tuning_fingerprint", "subtype_fingerprint")
    whole = dict.fromkeys(keys, "a" * 64)
    check_same_radiographs(tmp_path, before=whole, now=whole)
    with pytest.raises(RunError) as caught:
        check_same_radiographs(tmp_path, before=whole, now=whole | {key: "b" * 64})
    assert reason in str(caught.value)
    older = {"fingerprint": "a" * 64}  # a run of an earlier version: judged by what it tells
    check_same_radiographs(tmp_path, before=older, now=whole)


def test_a_run_goes_on_with_rows_of_the_same_numbers(tmp_path: Path) -> None:
    paths = ["a", "b", "c", "d"]
    begun = {ROWS_KEY: rows_fingerprint(paths, ([0, 1], [2]))}
    check_same_rows(tmp_path, before=begun, now=begun)
    check_same_rows(tmp_path, before={}, now=begun)  # of an earlier version
    others = (
        (["b", "a", "c", "d"], ([0, 1], [2])),  # another order
        ([*paths, "e"], ([0, 1], [2])),  # more rows: changes are drawn for all of them
        (paths, ([0, 2], [1])),
    )
    for names, rows in others:
        now = {ROWS_KEY: rows_fingerprint(names, rows)}
        with pytest.raises(RunError, match="in another order, or among other rows"):
            check_same_rows(tmp_path, before=begun, now=now)
