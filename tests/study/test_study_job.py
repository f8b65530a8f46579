"""What becomes of a run's process: its answer, its death, and its end with the study."""

import dataclasses
import json
import stat
import sys
import threading
import time

import filelock
import pytest

from pneumoscope.core.errors import InUseError, RecipeError
from pneumoscope.study import study_job
from pneumoscope.study.study_job import Job, Outcome, do_job, outcome_of, run_job


@pytest.fixture
def job() -> Job:
    return Job(
        recipe="r.yaml",
        data="nowhere",
        folder="run",
        seed=0,
        added=None,
        store_epochs=False,
        measured_by="run",
        is_trained=False,
    )


@pytest.fixture
def play(job, tmp_path, monkeypatch):
    """Return a function that does the job by a shell script in the place of Python."""

    def run(script: str, *, stop: threading.Event | None = None) -> Outcome:
        program = tmp_path / "python"
        # Its arguments: -m, the module, the job's file, the answer's.
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(program))
        return run_job(
            job,
            name="gray-s0",
            jobs_folder=tmp_path,
            n_threads=3,
            stop=stop or threading.Event(),
        )

    return run


def test_the_answer_is_what_the_process_wrote(play, tmp_path) -> None:
    answer = '{"state": "failed", "error": "DivergedError", "reason": "nan"}'
    script = (
        f'echo on threads $OMP_NUM_THREADS; echo \'{answer}\' > "$4"; cp "$3" {tmp_path}/seen.json'
    )
    assert play(script) == Outcome("failed", error="DivergedError", reason="nan")
    assert (tmp_path / "gray-s0.log").read_text() == "on threads 3\n"
    assert json.loads((tmp_path / "seen.json").read_text())["data"] == "nowhere"


def test_a_process_that_is_killed_is_a_failure_with_its_reason(play) -> None:
    outcome = play("kill -9 $$")
    assert outcome.state == "failed"
    assert "killed by signal 9" in (outcome.reason or "")
    assert "want of memory" in (outcome.reason or "")
    assert "ended with status 3" in (play("exit 3").reason or "")


def test_an_older_answer_is_not_taken_for_this_ones(play, tmp_path) -> None:
    (tmp_path / "gray-s0.outcome.json").write_text('{"state": "measured"}')
    assert play("exit 0").state == "failed"


def test_a_stop_closes_the_processs_input(play) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    started_s = time.monotonic()
    outcome = play('cat > /dev/null; echo \'{"state": "stopped"}\' > "$4"; exit 130', stop=stop)
    assert outcome == Outcome("stopped")
    assert time.monotonic() - started_s < 20


def test_a_real_process_tells_its_error(job, tmp_path) -> None:
    outcome = run_job(
        job, name="gray-s0", jobs_folder=tmp_path, n_threads=1, stop=threading.Event()
    )
    assert (outcome.state, outcome.error) == ("failed", "DatasetError")
    assert "nowhere: no such file or folder" in (outcome.reason or "")


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert outcome_of(MemoryError()) == Outcome("failed", error="MemoryError", reason="MemoryError")
    assert outcome_of(RecipeError("no")).reason == "no"
    assert outcome_of(KeyboardInterrupt()) == Outcome("stopped")


def test_two_processes_do_not_read_test_of_one_run(job, tmp_path, monkeypatch) -> None:
    trained = dataclasses.replace(job, folder=str(tmp_path), is_trained=True)
    reads: list[bool] = []

    def measure(run, dataset) -> None:
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(tmp_path / ".lock").acquire(timeout=0)
        reads.append(True)
        (tmp_path / "metrics.json").touch()

    monkeypatch.setattr(study_job, "open_run", lambda folder: None)
    monkeypatch.setattr(study_job, "evaluate_run", measure)
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(InUseError) as caught:
        do_job(trained, None)  # type: ignore[arg-type]
    assert reads == []
    assert outcome_of(caught.value).state == "in use"
    for _ in range(2):
        do_job(trained, None)  # type: ignore[arg-type]
    assert reads == [True]
