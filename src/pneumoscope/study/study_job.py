"""One run of a study in a process of its own: train it, measure it, and say how that went.

A process of its own, because a run that the system kills for want of memory must not take the rest
of the study with it, and because training never gives its memory back. It stops cleanly, its last
whole epoch kept, when the study's process ends: its standard input is then closed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pneumoscope.core.errors import InUseError, PneumoscopeError
from pneumoscope.core.files import write_json, write_text
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.detector.bundle import open_bundle
from pneumoscope.report.results import METRICS_FILE
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.evaluate_bundle import evaluate_bundle
from pneumoscope.study.study_plan import MeasuredBy
from pneumoscope.study.study_runs import StudyRun
from pneumoscope.training.recipe_file import load_recipe, recipe_yaml
from pneumoscope.training.run_folder import BUNDLE_FILE, open_run
from pneumoscope.training.run_state import hold_folder

_STOPPED = 130
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """What one process is to do."""

    recipe: str  # a YAML file
    data: str
    folder: str  # of the run
    seed: int
    added: str | None  # folder of generated images
    store_epochs: bool
    measured_by: MeasuredBy
    is_trained: bool  # nothing but measuring is left


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: Literal["measured", "failed", "stopped", "in use"]
    error: str | None = None  # the error's type
    reason: str | None = None


def do_job(job: Job, dataset: Dataset, *, show_progress: bool = True) -> None:
    """Train the run where that is left to do, then read test, unless that was done before.

    Raises:
        InUseError: another process is training or measuring it.
        PneumoscopeError: whatever went wrong; see `fit`, `evaluate_run`, `evaluate_bundle`.
    """
    folder = Path(job.folder)
    if not job.is_trained:
        _train(job, dataset, folder, show_progress=show_progress)
    # Held from the look for results to their writing: two studies with one run would else both
    # find none, and read test twice.
    with hold_folder(folder):
        if not (folder / METRICS_FILE).is_file():
            _measure(job, dataset, folder, show_progress=show_progress)


def _train(job: Job, dataset: Dataset, folder: Path, *, show_progress: bool) -> None:
    from pneumoscope.training.fitting import fit  # torch and Lightning take seconds

    recipe, added = load_recipe(job.recipe), None if job.added is None else Path(job.added)
    fit(
        recipe,
        dataset,
        folder,
        seed=job.seed,
        resume=True,
        added=added,
        show_progress=show_progress,
        store_epochs=job.store_epochs,
    )


def _measure(job: Job, dataset: Dataset, folder: Path, *, show_progress: bool) -> None:
    run = open_run(folder)
    if job.measured_by == "run":
        evaluate_run(run, dataset)
        return
    bundle = folder / BUNDLE_FILE
    if not bundle.is_file():
        from pneumoscope.training.export import export_bundle

        export_bundle(run, dataset, bundle, show_progress=show_progress)
    evaluate_bundle(open_bundle(bundle), dataset, out=folder, show_progress=show_progress)


def make_job(run: StudyRun, dataset: Dataset, *, added: Path | None, jobs_folder: Path) -> Job:
    """Return the job of a run, its recipe written where the process finds it."""
    recipe = jobs_folder / f"{run.name}.recipe.yaml"
    write_text(recipe, recipe_yaml(run.system.recipe))
    return Job(
        recipe=str(recipe),
        data=str(dataset.source),
        folder=str(run.folder),
        seed=run.seed,
        added=None if added is None else str(added),
        store_epochs=run.system.store_epochs,
        measured_by=run.system.measured_by,
        is_trained=run.state == "trained",
    )


def run_job(
    job: Job, *, name: str, jobs_folder: Path, n_threads: int | None, stop: threading.Event
) -> Outcome:
    """Do a job in a process of its own and return how it ended.

    Args:
        job: What to do.
        name: Of the run; its log is ``NAME.log``.
        jobs_folder: Where the job, its outcome and its log are written.
        n_threads: Of the process; None leaves that to the libraries.
        stop: Once set, the process is interrupted; its last whole epoch is kept.
    """
    task, answer = jobs_folder / f"{name}.job.json", jobs_folder / f"{name}.outcome.json"
    write_json(task, asdict(job))
    answer.unlink(missing_ok=True)
    environment = dict(os.environ)
    if n_threads is not None:
        environment["OMP_NUM_THREADS"] = str(n_threads)
    with (jobs_folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pneumoscope.study.study_job", str(task), str(answer)],
            stdin=subprocess.PIPE,  # closed by the end of this process, whatever ends it
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C comes to it once, through its standard input
        )
        has_been_told = False
        while process.poll() is None:
            if stop.is_set() and not has_been_told and process.stdin is not None:
                process.stdin.close()
                has_been_told = True
            time.sleep(_POLL_S)
        if process.stdin is not None:
            process.stdin.close()
        code = process.returncode
    return _outcome(answer, code, log=jobs_folder / f"{name}.log")


def write_outcome(outcome: Outcome, *, name: str, jobs_folder: Path) -> None:
    """Write how a run's job ended, for the next call. Raises: StorageError: it can't be written."""
    write_json(jobs_folder / f"{name}.outcome.json", asdict(outcome))


def last_outcome(name: str, jobs_folder: Path, *, after: Path) -> Outcome | None:
    """Return how a run's last job ended; None where nothing readable says so.

    Args:
        name: Of the run.
        jobs_folder: Where outcomes are written.
        after: The run's run.json. Written later than the outcome it is another's work: a failed
            training says nothing of a run that was trained since.
    """
    path = jobs_folder / f"{name}.outcome.json"
    try:
        if after.is_file() and after.stat().st_mtime_ns > path.stat().st_mtime_ns:
            return None
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def outcome_of(error: BaseException) -> Outcome:
    """Return how a job ended that raised an error."""
    if isinstance(error, KeyboardInterrupt):
        return Outcome("stopped")
    if isinstance(error, InUseError):
        return Outcome("in use", error=type(error).__name__, reason=str(error))
    return Outcome("failed", error=type(error).__name__, reason=str(error) or type(error).__name__)


def _outcome(answer: Path, code: int, *, log: Path) -> Outcome:
    try:
        return Outcome(**json.loads(answer.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        hint = " Signal 9 is often the system's, for want of memory." if code == -9 else ""
        return Outcome(
            "failed", error="ProcessError", reason=f"its process {how}; see {log}.{hint}"
        )


def _stop_with_parent() -> None:
    """Interrupt this process once its standard input is closed."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def main(words: list[str]) -> int:
    """Do the job in the file ``words[0]`` and write its outcome to the file ``words[1]``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    content: dict[str, Any] = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    job, answer = Job(**content), Path(words[1])
    try:
        _stop_with_parent()  # here: its end may have come while this process was still starting
        do_job(job, open_dataset(Path(job.data)))
        outcome, code = Outcome("measured"), 0
    except KeyboardInterrupt as error:
        outcome, code = outcome_of(error), _STOPPED
    except PneumoscopeError as error:
        outcome, code = outcome_of(error), 1
    except Exception as error:
        # A bug in one run must not end the study; the log has the traceback.
        import traceback

        traceback.print_exc()
        outcome, code = outcome_of(error), 1
    write_json(answer, asdict(outcome))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
