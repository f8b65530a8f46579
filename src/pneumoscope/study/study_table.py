"""From a study's runs to its table: every figure from a run's metrics.json or predictions."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pneumoscope
from pneumoscope.core.errors import WeightsError
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.report.comparison_results import Comparison
from pneumoscope.report.results import (
    METRICS_FILE,
    Confusion,
    Reported,
    ReportedFigure,
    load_evaluation,
)
from pneumoscope.report.study_page import write_study
from pneumoscope.report.study_results import (
    Contrast,
    RunOutcome,
    StudyResult,
    SystemResult,
)
from pneumoscope.study.compare import compare_runs, detector_of
from pneumoscope.study.measured_run import load_measured
from pneumoscope.study.measurement import beside_reported
from pneumoscope.study.paired_tests import paired_tests
from pneumoscope.study.study_contrasts import (
    CONTRAST_METHOD,
    correct_after_holm,
    holm_over_tests,
    paired_differences,
)
from pneumoscope.study.study_costs import Costing, costs_so_far, machine_name
from pneumoscope.study.study_data import StudyData
from pneumoscope.study.study_plan import Study, System
from pneumoscope.study.study_runs import StudyRun
from pneumoscope.training.run_folder import open_run

COMPARISON_FOLDER = "comparison"
_CONTRAST_RESAMPLES = 4  # times as many: a p-value of 0.001, corrected for eight, needs thousands
_METHOD = (
    "Every run was trained by its recipe alone; its epoch and its balanced threshold were chosen "
    "on the tuning split. Its figures come from a reading of its test split after that, whose "
    "number is in `reading`; all its readings, those by `pneumoscope epochs` among them, are in "
    "its test-reads.jsonl. A system without three measured runs says so.",
    "Training time and images/s are those of the machine that trained each run, named in "
    "study.json, and of whatever else it did meanwhile.",
)
_LATENCY = (
    "Latency is one picture's way from its file to the answer, with one thread, on the machine "
    "that it was measured on: {machines}."
)


def make_table(
    study: Study,
    runs: Sequence[StudyRun],
    out: Path,
    data: StudyData,
    *,
    costing: Costing | None,
    n_resamples: int,
) -> StudyResult:
    """Return what the runs show so far, and write ``study.{json,md,html}`` and ``comparison/``.

    Args:
        study: What was to be done.
        runs: Every run of it with its state; of the measured ones `refuse_damaged` has seen that
            their results hold together.
        out: The study's folder.
        data: The study's dataset.
        costing: Measures size and latency; None takes what was measured before.
        n_resamples: Of patients, for the intervals; contrasts have four times as many.

    Raises: StorageError: a file can't be written.
    """
    measured = [run for run in runs if run.state == "measured"]
    comparison = None
    if measured:
        comparison = compare_runs(
            [run.folder for run in measured],
            out / COMPARISON_FOLDER,
            n_resamples=n_resamples,
            labels={system.recipe_sha256: system.name for system in study.systems},
        )
    systems = [
        _system(system, [run for run in runs if run.system is system], out, comparison, costing)
        for system in study.systems
    ]
    contrasts = _contrasts(study, runs, n_resamples=n_resamples * _CONTRAST_RESAMPLES)
    result = StudyResult(
        notice=comparison.notice if comparison else None,
        name=study.plan.name,
        title=study.plan.title,
        studied=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        machine=machine_name(),
        data=comparison.data if comparison else None,
        systems=systems,
        tests=comparison.tests if comparison else [],
        untested=comparison.untested if comparison else [],
        contrasts=contrasts,
        method=_method(
            comparison, systems, contrasts, n_resamples=n_resamples * _CONTRAST_RESAMPLES
        ),
    )
    write_study(result, out, comparison=comparison)
    return result


def _method(
    comparison: Comparison | None,
    systems: Sequence[SystemResult],
    contrasts: Sequence[Contrast],
    *,
    n_resamples: int,
) -> list[str]:
    lines = [*_METHOD]
    timed: dict[str, list[str]] = {}  # names of systems by machine: costs may have come from others
    for system in systems:
        if system.costs and system.costs.n_pictures > 0:
            timed.setdefault(system.costs.machine, []).append(system.name)
    if timed:
        only = len(timed) == 1
        machines = [each if only else f"{each} ({', '.join(of)})" for each, of in timed.items()]
        lines.append(_LATENCY.format(machines="; ".join(machines)))
    lines += comparison.method if comparison else []
    if contrasts:
        lines += [line.format(n_resamples=n_resamples) for line in CONTRAST_METHOD]
    return lines


def _system(
    system: System,
    runs: Sequence[StudyRun],
    out: Path,
    comparison: Comparison | None,
    costing: Costing | None,
) -> SystemResult:
    recipe = system.recipe
    found = [
        each
        for each in (comparison.recipes if comparison else [])
        if each.recipe_sha256 == system.recipe_sha256
    ]
    if costing is not None:
        costs, no_costs = costing.measure(runs)
    else:
        costs = costs_so_far(runs, out)
        no_costs = None if costs else "not measured yet"
    reasons = {run.reason: None for run in runs if run.error == WeightsError.__name__}
    return SystemResult(
        name=system.name,
        recipe=recipe.name,
        recipe_sha256=system.recipe_sha256,
        title=recipe.title,
        source_title=recipe.source.title,
        unsaid=list(recipe.source.unsaid),
        reported=_reported(system, runs),
        runs=[_outcome(run) for run in runs],
        result=found[0] if found else None,
        not_reproducible=(
            "; ".join(map(str, reasons))
            if all(run.error == WeightsError.__name__ for run in runs)
            else None
        ),
        costs=costs,
        no_costs=no_costs,
    )


def _reported(system: System, runs: Sequence[StudyRun]) -> Reported:
    """Return what the source reported: from the recipe, since a bundle does not carry it."""
    reported = system.recipe.reported
    if reported is None:
        return Reported(how="Its source reported nothing.", figures=[])
    predictions = [
        load_measured(run.folder).calibrated_predictions for run in runs if run.state == "measured"
    ]
    figures = [
        ReportedFigure(
            name=name, reported=value, ours=math.nan, ours_is="not measured", difference=math.nan
        )
        for name, value in reported.figures.items()
    ]
    if predictions:
        figures = beside_reported(reported.figures, runs=predictions)
    return Reported(
        how=reported.how,
        figures=figures,
        confusion=Confusion(**reported.confusion) if len(reported.confusion) == 4 else None,
    )


def _outcome(run: StudyRun) -> RunOutcome:
    facts = {}
    if run.state in ("measured", "trained"):
        facts = open_run(run.folder).facts
    evaluation = load_evaluation(run.folder / METRICS_FILE) if run.state == "measured" else None
    by_bundle = evaluation is not None and evaluation.run.is_of_bundle
    return RunOutcome(
        seed=run.seed,
        state=run.state,
        reason=run.reason,
        has_failed_before=run.has_failed_before,
        folder=str(run.folder),
        metrics=str(run.folder / METRICS_FILE) if evaluation else None,
        is_taken_up=run.is_taken_up,
        measured_by=None if evaluation is None else ("bundle" if by_bundle else "run"),
        reading=evaluation.reading if evaluation else None,
        machine=facts.get("machine", {}),
        **{
            name: facts.get(name)
            for name in ("epochs_run", "best_epoch", "n_parameters", "seconds", "images_per_s")
        },
    )


def _contrasts(study: Study, runs: Sequence[StudyRun], *, n_resamples: int) -> list[Contrast]:
    measured = {(run.system.name, run.seed): run for run in runs if run.state == "measured"}
    seeds_of = {system.name: system.seeds for system in study.systems}
    contrasts = []
    for question, a, b in study.pairs():
        wanted = [seed for seed in seeds_of[a] if seed in seeds_of[b]]
        seeds = [seed for seed in wanted if (a, seed) in measured and (b, seed) in measured]
        differences, averaged = [], None
        if seeds:
            arms = [
                detector_of(name, [load_measured(measured[name, seed].folder) for seed in seeds])
                for name in (a, b)
            ]
            facts = _predictions(measured[a, seeds[0]])
            differences = paired_differences(
                *arms, target=facts.target, patient_id=facts.patient_id, n_resamples=n_resamples
            )
            averaged = paired_tests(arms, target=facts.target, patient_id=facts.patient_id)[0]
        contrasts.append(
            Contrast(
                question=question,
                a=a,
                b=b,
                seeds=seeds,
                n_wanted=len(wanted),
                differences=differences,
                averaged=averaged,
            )
        )
    return _with_holm(contrasts)


def _with_holm(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Return the contrasts with p-values corrected within each question."""
    by_question: dict[str, list[int]] = {}
    for place, contrast in enumerate(contrasts):
        by_question.setdefault(contrast.question, []).append(place)
    corrected = list(contrasts)
    for places in by_question.values():
        rows = correct_after_holm([contrasts[place].differences for place in places])
        tests = holm_over_tests([contrasts[place].averaged for place in places])
        for place, differences, averaged in zip(places, rows, tests, strict=True):
            update = {"differences": differences, "averaged": averaged}
            corrected[place] = contrasts[place].model_copy(update=update)
    return corrected


def _predictions(run: StudyRun) -> Predictions:
    """Return a run's answers on test, in the order of the paths."""
    return Predictions(read_predictions(run.folder / "predictions-test.csv").table.sort("path"))
