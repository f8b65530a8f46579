"""Run a study: recipes times seeds, each trained and measured once, then one table and one page."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import filelock

from pneumoscope.core.errors import PneumoscopeError, RunError, UsageError, WeightsError
from pneumoscope.core.files import make_folder
from pneumoscope.data.dataset import Dataset
from pneumoscope.report.study_results import StudyResult
from pneumoscope.study.kept_results import keep_results
from pneumoscope.study.study_checks import refuse_damaged
from pneumoscope.study.study_costs import Costing, check_pictures
from pneumoscope.study.study_data import Expected, StudyData
from pneumoscope.study.study_job import (
    Job,
    Outcome,
    do_job,
    last_outcome,
    make_job,
    outcome_of,
    run_job,
    write_outcome,
)
from pneumoscope.study.study_plan import Study
from pneumoscope.study.study_runs import (
    StudyRun,
    find_run,
    open_runs,
    plan_runs,
    refuse_other_samples,
    run_folders,
    state_of,
)
from pneumoscope.study.study_table import make_table
from pneumoscope.training.added_data import check_added
from pneumoscope.training.run_folder import RunFolder, open_run
from pneumoscope.training.run_state import FACTS_FILE

_log = logging.getLogger(__name__)

JOBS_FOLDER = "jobs"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class StudyOptions:
    """How a study is run.

    Attributes:
        runs: Folders with runs of earlier work, or such runs themselves.
        added: Folder of generated images, for the recipes that train with them.
        only: Names of the systems to work on; None for all. The table has all.
        trains: False leaves what is not trained as it is.
        works: False trains nothing, reads nothing and exports nothing: the table alone.
        n_jobs: Runs side by side.
        n_threads: Of each run's process; None leaves that to the libraries.
        has_processes: False does every run in this process, one after another.
        pictures: Folder of pictures to time detectors on, instead of the examples.
        keep: Folder that gets every measured run's results, without weights; see `keep_results`.
        n_resamples: Of patients, for the intervals.
        show_progress: Draw progress bars on stderr.
        tell: Takes a line for people whenever something happens.
    """

    runs: Sequence[Path] = ()
    added: Path | None = None
    only: Collection[str] | None = None
    trains: bool = True
    works: bool = True
    n_jobs: int = 1
    n_threads: int | None = None
    has_processes: bool = True
    pictures: Path | None = None
    keep: Path | None = None
    n_resamples: int = 1000
    show_progress: bool = True
    tell: Tell = field(default=_log.info)


def run_study(
    study: Study, dataset: Dataset, out: Path, options: StudyOptions | None = None
) -> StudyResult:
    """Do what is left to do of a study, and write its table and page.

    It may be killed at any time and run again: finished runs are not trained again, begun ones go
    on from their last whole epoch, and a test split that was read is not read again. A run that
    fails is told in the table with its reason, and tried again the next time.

    Args:
        study: What to do.
        dataset: Trains, tunes and tests every system.
        out: Folder for runs, jobs, bundles, table and page.
        options: How.

    Returns: What ``study.json`` holds.

    Raises:
        UsageError: ``only`` names a system that the study lacks, or ``pictures`` has no picture.
        RunError: another process runs a study in ``out``, or a folder of ``runs`` is not there or
            has no run.
        SplitError, DatasetError: the dataset can't be used for any of the systems.
        RunError: ``keep`` holds other runs' results; told when all else is done.
        StorageError: a file can't be written.
        KeyboardInterrupt: stopped; what was trained is kept.
    """
    options = options or StudyOptions()
    _check_only(study, options)
    earlier = open_runs(run_folders(options.runs))
    data = StudyData(dataset, added=options.added, show_progress=options.show_progress)
    make_folder(out)
    if not options.works:
        runs = _settled(_find(study, data, out, earlier, options), out, tried=())
        return _finish(study, runs, out, data, options, costing=None)
    if options.pictures is not None:
        check_pictures(options.pictures)
    lock = filelock.FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise RunError(
            f"{out}: another process runs a study here. Wait for it, choose another --out, or look "
            "at what is finished with --table-only."
        ) from error
    try:
        runs = _work(study, data, out, earlier, options)
        costing = Costing(out, dataset, pictures=options.pictures, only=options.only)
        return _finish(study, runs, out, data, options, costing=costing)
    finally:
        lock.release()


def _finish(
    study: Study,
    runs: Sequence[StudyRun],
    out: Path,
    data: StudyData,
    options: StudyOptions,
    *,
    costing: Costing | None,
) -> StudyResult:
    """Write the table and the page, and keep results where that was asked for."""
    runs = refuse_damaged(runs)
    result = make_table(study, runs, out, data, costing=costing, n_resamples=options.n_resamples)
    if options.keep is not None:
        for folder in keep_results(runs, options.keep, study=out):
            options.tell(f"{folder.name}: its results are kept in {folder}")
    return result


def _check_only(study: Study, options: StudyOptions) -> None:
    names = [system.name for system in study.systems]
    for name in options.only or ():
        if name not in names:
            raise UsageError(f"--only {name}: the study has no such system: {', '.join(names)}.")


def _find(
    study: Study,
    data: StudyData,
    out: Path,
    earlier: Sequence[RunFolder],
    options: StudyOptions,
) -> list[StudyRun]:
    """Return every run with its state; a recipe whose data can't be had fails, the rest go on."""
    runs, expected = [], _expected(study, data)
    for run in plan_runs(study, out):
        wanted = expected[run.system.name]
        if isinstance(wanted, PneumoscopeError):
            runs.append(run.failed(str(wanted), error=type(wanted).__name__))
            continue
        try:
            runs.append(find_run(run, wanted, earlier))
        except PneumoscopeError as error:
            runs.append(run.failed(str(error), error=type(error).__name__))
    _tell_taken_up(runs, options)
    return runs


def _tell_taken_up(runs: Sequence[StudyRun], options: StudyOptions) -> None:
    for place in options.runs:
        folders = run_folders([place])
        lying = [run for run in runs if run.folder.resolve() in folders]
        used = [run for run in lying if run.state not in ("missing", "failed")]
        options.tell(f"{place}: {len(used)} of {len(folders)} run folders taken up")


def _expected(study: Study, data: StudyData) -> dict[str, Expected | PneumoscopeError]:
    """Return each system's radiographs, or why they can't be had.

    Raises: PneumoscopeError: no system's can: that of the first, for the dataset can't be used.
    """
    found: dict[str, Expected | PneumoscopeError] = {}
    for system in study.systems:
        try:
            found[system.name] = data.expected(system.recipe)
        except PneumoscopeError as error:
            found[system.name] = error
    errors = [each for each in found.values() if isinstance(each, PneumoscopeError)]
    if len(errors) == len(found):
        raise errors[0]
    return found


def _work(
    study: Study,
    data: StudyData,
    out: Path,
    earlier: Sequence[RunFolder],
    options: StudyOptions,
) -> list[StudyRun]:
    """Do every run that is left to do, and return all with the state that they end in."""
    runs = {run.name: run for run in _find(study, data, out, earlier, options)}
    for run in runs.values():
        if run.state == "failed":  # told now, not only once the others are done
            options.tell(f"{run.name}: failed" + _because(run))
        elif run.state == "missing" and run.reason:
            options.tell(f"{run.name}: {run.reason}")
    tried: set[str] = set()
    while todo := [run for run in runs.values() if _is_to_do(run, options, tried)]:
        tried |= {run.name for run in todo}
        for run in _do_all(todo, data, out, options):
            runs[run.name] = run
        # Runs that another process was training when this one began may have ended since.
        for name, run in runs.items():
            if run.state == "in use":
                runs[name] = _look_again(run, data)
    return _settled(list(runs.values()), out, tried=tried)


def _settled(runs: list[StudyRun], out: Path, *, tried: Collection[str]) -> list[StudyRun]:
    """Return the runs as the table is to tell them: also how those not tried now failed before."""
    settled = []
    for run in refuse_other_samples(runs):
        if run.state in ("missing", "unfinished", "trained") and run.name not in tried:
            last = last_outcome(run.name, out / JOBS_FOLDER, after=run.folder / FACTS_FILE)
            if last is not None and last.state == "failed":
                run = replace(_failed(run, last), has_failed_before=True)
        settled.append(run)
    return settled


def _is_to_do(run: StudyRun, options: StudyOptions, tried: Collection[str]) -> bool:
    if run.name in tried or (options.only and run.system.name not in options.only):
        return False
    return run.state == "trained" or (options.trains and run.state in ("missing", "unfinished"))


def _do_all(
    todo: Sequence[StudyRun], data: StudyData, out: Path, options: StudyOptions
) -> Iterator[StudyRun]:
    """Do runs, as many side by side as the options say, and yield each with its new state."""
    left, n_begun = list(todo), 0
    # What no seed of a system can be trained for want of: it is tried, or waited for, no more.
    hopeless = _without_samples(todo, data)
    for name, outcome in hopeless.items():
        options.tell(f"{name}: fails, the others go on ({outcome.reason})")
    running: dict[Future[Outcome], StudyRun] = {}
    stop = threading.Event()
    n_jobs = options.n_jobs if options.has_processes else 1
    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            while left or running:
                while left and len(running) < n_jobs:
                    run = left.pop(0)
                    n_begun += 1
                    if run.system.name in hopeless and run.state != "trained":
                        outcome = hopeless[run.system.name]
                        write_outcome(outcome, name=run.name, jobs_folder=out / JOBS_FOLDER)
                        yield _ended(run, outcome, data)
                        continue
                    options.tell(f"{n_begun} of {len(todo)}: {run.name}: {_what(run)}")
                    job = make_job(
                        run,
                        data.dataset,
                        added=data.added_for(run.system.recipe),
                        jobs_folder=out / JOBS_FOLDER,
                    )
                    running[_begin(pool, job, run, data, out, options, stop)] = run
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    run, outcome = running.pop(future), future.result()
                    write_outcome(outcome, name=run.name, jobs_folder=out / JOBS_FOLDER)
                    ended = _ended(run, outcome, data)
                    if outcome.error == WeightsError.__name__:
                        hopeless[run.system.name] = outcome
                    options.tell(f"{run.name}: {ended.state}" + _because(ended))
                    yield ended
        finally:
            stop.set()  # whoever still runs keeps its last whole epoch


def _without_samples(todo: Sequence[StudyRun], data: StudyData) -> dict[str, Outcome]:
    """Return the systems that lack the generated images to train with, and what they fail by."""
    lacking = {}
    for run in todo:
        recipe = run.system.recipe
        try:
            check_added(recipe, data.added_for(recipe))
        except UsageError as error:
            if run.state != "trained":  # nothing but measuring is left
                lacking[run.system.name] = outcome_of(error)
    return lacking


def _begin(
    pool: ThreadPoolExecutor,
    job: Job,
    run: StudyRun,
    data: StudyData,
    out: Path,
    options: StudyOptions,
    stop: threading.Event,
) -> Future[Outcome]:
    """Begin a run in a process of its own; or do it here, and return how that ended."""
    if options.has_processes:
        return pool.submit(
            run_job,
            job,
            name=run.name,
            jobs_folder=out / JOBS_FOLDER,
            n_threads=options.n_threads,
            stop=stop,
        )
    here: Future[Outcome] = Future()
    try:
        do_job(job, data.dataset, show_progress=options.show_progress)
        here.set_result(Outcome("measured"))
    except Exception as error:
        # Whatever it is, the other runs go on.
        _log.info("%s failed", run.name, exc_info=error)
        here.set_result(outcome_of(error))
    return here


def _ended(run: StudyRun, outcome: Outcome, data: StudyData) -> StudyRun:
    if outcome.state == "failed":
        return _failed(run, outcome)
    if outcome.state == "stopped":
        return replace(run, state="unfinished", reason="stopped")
    if outcome.state == "in use":
        return replace(run, state="in use", reason=outcome.reason)
    return _look_again(run, data)


def _failed(run: StudyRun, outcome: Outcome) -> StudyRun:
    return run.failed(f"{outcome.error}: {outcome.reason}", error=outcome.error)


def _look_again(run: StudyRun, data: StudyData) -> StudyRun:
    if run.state == "in use" and not (run.folder / "run.json").is_file():
        return run  # another process has it, and has not begun to write
    try:
        folder = open_run(run.folder, needs_finished=False)
        expected = data.expected(run.system.recipe)
        state, reason = state_of(folder, expected, system=run.system)
    except PneumoscopeError as error:
        return run.failed(str(error), error=type(error).__name__)
    return replace(run, state=state, reason=reason)


def _what(run: StudyRun) -> str:
    if run.state == "trained":
        return f"measuring {run.folder}"
    return f"{'training' if run.state == 'missing' else 'going on with'} {run.folder}"


def _because(run: StudyRun) -> str:
    return f" ({run.reason})" if run.reason else ""
