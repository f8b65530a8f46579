"""Which measured runs may stand in a study's table: those whose results hold together."""

import hashlib
import math
from collections.abc import Callable, Sequence

from pneumoscope.core.errors import PneumoscopeError, RunError
from pneumoscope.report.results import METRICS_FILE
from pneumoscope.study.compare import run_figures
from pneumoscope.study.measured_run import MeasuredRun, load_measured
from pneumoscope.study.study_runs import StudyRun

_TOLERANCE = 1e-9


def refuse_damaged(runs: Sequence[StudyRun]) -> list[StudyRun]:
    """Return the runs; a measured one whose results can't stand in the table fails with the reason.

    That is one whose metrics.json says other than its predictions, or another seed; and one that
    differs from most others (from the first, if as many) in the recipe's name that its results
    have, among its system's, or in the radiographs of its predictions, among all.
    """
    loaded: dict[str, MeasuredRun] = {}
    checked = []
    for run in runs:
        if run.state == "measured":
            try:
                loaded[run.name] = _load(run)
            except PneumoscopeError as error:
                run = run.failed(str(error), error=type(error).__name__)
        checked.append(run)
    checked = _refuse_the_odd(
        checked,
        {name: each.evaluation.run.recipe for name, each in loaded.items()},
        within=lambda run: run.system.name,
        reason="{metrics}: names another recipe ({found}) than the other runs of {system} "
        "({usual}), so no mean over them can be made. Evaluate the run again, or take up another.",
    )
    return _refuse_the_odd(
        checked,
        {name: _radiographs(each) for name, each in loaded.items()},
        within=lambda run: "",
        reason="{folder}: its predictions-test.csv has other radiographs, targets or patients than "
        "those of the other runs, so they can't be compared. Evaluate the run again, or take up "
        "another.",
    )


def _load(run: StudyRun) -> MeasuredRun:
    """Return a run's results.

    Raises: RunError: they are damaged, or figures in metrics.json are not what its predictions
        give: one of the two files was changed.
    """
    metrics, measured = run.folder / METRICS_FILE, load_measured(run.folder)
    seed = measured.evaluation.run.seed
    if seed != run.seed:
        raise RunError(
            f"{metrics}: is of seed {seed}, but the run in that folder has seed {run.seed}. "
            "Evaluate the run again, or take up another."
        )
    for name, (said, given) in run_figures(measured).items():
        is_same = math.isclose(said, given, abs_tol=_TOLERANCE)
        if not is_same and not (math.isnan(said) and math.isnan(given)):
            raise RunError(
                f"{metrics}: {name} is {said}, but predictions-test.csv beside it gives {given}. "
                "One of them was changed; evaluate the run again."
            )
    return measured


def _radiographs(run: MeasuredRun) -> str:
    facts = run.predictions.table.select("path", "target", "patient_id")
    return hashlib.sha256(facts.write_csv().encode()).hexdigest()


def _refuse_the_odd(
    runs: Sequence[StudyRun],
    found: dict[str, str],
    *,
    within: Callable[[StudyRun], str],
    reason: str,
) -> list[StudyRun]:
    """Return the runs; a measured one fails whose ``found`` most others of its group don't have."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        if run.state == "measured":
            groups.setdefault(within(run), []).append(found[run.name])
    usual = {group: max(values, key=values.count) for group, values in groups.items()}
    checked = []
    for run in runs:
        if run.state == "measured" and found[run.name] != usual[within(run)]:
            facts = {
                "metrics": run.folder / METRICS_FILE,
                "folder": run.folder,
                "system": run.system.name,
                "found": found[run.name],
                "usual": usual[within(run)],
            }
            run = run.failed(reason.format(**facts), error=RunError.__name__)
        checked.append(run)
    return checked
