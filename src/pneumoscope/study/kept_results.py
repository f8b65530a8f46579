"""Keep what a study measured without the weights: small files, fit for version control.

A run's weights are tens of megabytes and its results a few hundred kilobytes. From the results
alone every table, interval and test can be made again, and `run_study` takes them up as it takes up
any measured run.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from pneumoscope.core.errors import RunError
from pneumoscope.core.files import storage_error, write_bytes, write_json, write_text
from pneumoscope.report.results import METRICS_FILE, load_evaluation
from pneumoscope.study.study_costs import COSTS_FILE, known_costs
from pneumoscope.study.study_runs import StudyRun
from pneumoscope.study.test_reads import READS_FILE
from pneumoscope.training.run_state import FACTS_FILE, RECIPE_FILE

# In this order: metrics.json says that there are results, so it is the last.
_AS_THEY_ARE = (RECIPE_FILE, "history.csv", "predictions-tuning.csv", "predictions-test.csv")


def keep_results(runs: Sequence[StudyRun], to: Path, *, study: Path) -> list[Path]:
    """Copy the results of a study's measured runs, and their systems' costs, to a folder.

    Args:
        runs: Those that are not measured are passed over, as are those that lie in ``to`` already.
        to: Gets a folder a run, called by system and seed, and ``costs.json``.
        study: The study's folder, whose ``costs.json`` is meant.

    Returns: The run folders in ``to`` that were written.

    Paths of the machine are not copied: of a folder its name stays.

    Raises:
        RunError: ``to`` holds results of other weights under a run's name; they and their system's
            costs stay, the others are copied.
        StorageError: a file can't be read or written.
    """
    written, refused = [], []
    for run in runs:
        target = to / run.name
        if run.state != "measured" or run.folder.resolve() == target.resolve():
            continue
        if _holds_others(target, run.folder):
            refused.append(run)
            continue
        _copy(run.folder, target)
        written.append(target)
    measured = {run.system.name for run in runs if run.state == "measured"}
    # A bundle of other weights than those whose results stay has no place beside them.
    _keep_costs(measured - {run.system.name for run in refused}, to, study=study)
    if refused:
        targets = ", ".join(str(to / run.name) for run in refused)
        raise RunError(
            f"{targets}: has results of other weights than the study's run of "
            "that name. They stay; move them away, or give another --keep."
        )
    return written


def _holds_others(target: Path, folder: Path) -> bool:
    if not (target / METRICS_FILE).is_file():
        return False
    kept, new = (load_evaluation(each / METRICS_FILE).run for each in (target, folder))
    return kept.checkpoint_sha256 != new.checkpoint_sha256


def _copy(folder: Path, target: Path) -> None:
    try:
        for name in _AS_THEY_ARE:
            if (folder / name).is_file():  # a run measured through its bundle may lack one
                write_bytes(target / name, (folder / name).read_bytes())
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        write_json(target / FACTS_FILE, _with_names_alone(facts))
        if (folder / READS_FILE).is_file():
            lines = (folder / READS_FILE).read_text(encoding="utf-8").splitlines()
            write_text(target / READS_FILE, "".join(map(_read_with_name_alone, lines)))
        write_bytes(target / METRICS_FILE, (folder / METRICS_FILE).read_bytes())
    except OSError as error:
        raise storage_error(target, error) from error


def _with_names_alone(value: Any) -> Any:
    """Return a JSON value in which every absolute path is its last part."""
    if isinstance(value, dict):
        return {key: _with_names_alone(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_names_alone(each) for each in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value


def _read_with_name_alone(line: str) -> str:
    try:
        read = json.loads(line)
    except ValueError:
        return line + "\n"  # cut off by a kill, and passed over by whoever reads the log
    return json.dumps(_with_names_alone(read), ensure_ascii=False) + "\n"


def _keep_costs(systems: set[str], to: Path, *, study: Path) -> None:
    kept, measured = known_costs(to), known_costs(study)
    merged = kept | {
        name: costs.model_copy(update={"bundle": PurePath(costs.bundle).name})
        for name, costs in measured.items()
        if name in systems
    }
    if merged != kept:
        write_json(to / COSTS_FILE, {name: each.model_dump() for name, each in merged.items()})
