"""Compare runs on the same radiographs: recipes over their seeds, recipe against recipe."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.calibration import brier_score, expected_calibration_error
from pneumoscope.metrics.confusion import ConfusionMatrix
from pneumoscope.metrics.curves import auroc, average_precision
from pneumoscope.report.comparison_page import write_comparison
from pneumoscope.report.comparison_results import (
    COMPARED_POINTS,
    Comparison,
    OverSeeds,
    RecipeResult,
)
from pneumoscope.report.results import POINT_FIGURE_NAMES, Reported
from pneumoscope.study.compare_groups import (
    RecipeRuns,
    check_same_radiographs,
    group_by_recipe,
)
from pneumoscope.study.measured_run import MeasuredRun, load_measured
from pneumoscope.study.measurement import BALANCED, beside_reported
from pneumoscope.study.paired_tests import (
    TEST_METHOD,
    UNLIKE_SEEDS_METHOD,
    Detector,
    paired_tests,
    untested_pairs,
)
from pneumoscope.study.records import of_training

_METHOD = (
    "Each figure is the mean over a recipe's seeds, with the standard deviation (divisor n - 1) "
    "over seeds and a 95 % interval of that mean: patients are resampled ({n_resamples:,} times), "
    "seeds are not, so the interval is that of these trained networks on other patients. A figure "
    "that no resample changes has no interval.",
    "AUROC and average precision rank the radiographs by a run's logits, which do not round to 1 "
    "as probabilities do.",
    "At the balanced point every run is taken at its own threshold, chosen on its own tuning "
    "predictions; at 0.5 all at 0.5.",
)
# These two only rank, and do so by the logit, whose order no rounding takes away.
_RANKINGS: dict[str, Callable[..., float]] = {
    "auroc": auroc,
    "average_precision": average_precision,
}
_SCORES: dict[str, Callable[..., float]] = _RANKINGS | {
    "brier": brier_score,
    "ece": expected_calibration_error,
}


def compare_runs(
    runs: Sequence[Path],
    out: Path,
    *,
    n_resamples: int = 1000,
    labels: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare evaluated runs, and write ``comparison.{json,md,html}`` and the figures.

    Runs of one recipe that differ in seed alone are one row. Nothing is predicted or read anew:
    all comes from the runs' ``metrics.json`` and ``predictions-test.csv``.

    Args:
        runs: Run folders whose test split was read, all on the same radiographs.
        out: Folder for the results.
        n_resamples: Of patients, for the intervals.
        labels: What to call a recipe, by its hash; by default its own name.

    Raises:
        UsageError: no run is given, or one is given twice.
        RunError: a run is not evaluated yet or damaged, the runs were evaluated on different
            radiographs, two are of one recipe and seed, or a recipe's were measured in different
            ways or trained with different generated images.
        StorageError: a file can't be written.
    """
    if not runs:
        raise UsageError("There is no run to compare. Name one or more run folders.")
    folders = [run.resolve() for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"{folder} is named twice. Name each run once.")
    loaded = [load_measured(run) for run in runs]
    check_same_radiographs(loaded)
    groups = group_by_recipe(loaded, labels or {})
    detectors = [detector_of(group.label, group.runs) for group in groups]
    first = loaded[0]
    target, patient_id = first.predictions.target, first.predictions.patient_id
    tests = paired_tests(detectors, target=target, patient_id=patient_id)
    has_unlike_seeds = len({tuple(detector.seeds) for detector in detectors}) > 1
    comparison = Comparison(
        notice=_notice(groups),
        compared=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        data=first.evaluation.data,
        recipes=[_recipe_result(group, n_resamples=n_resamples) for group in groups],
        tests=tests,
        untested=untested_pairs(detectors),
        method=_method(
            loaded,
            n_resamples=n_resamples,
            n_pairs=len(tests),
            has_unlike_seeds=has_unlike_seeds,
        ),
    )
    curves = [(detector.label, detector.margin, target) for detector in detectors]
    write_comparison(comparison, out, curves=curves)
    return comparison


def detector_of(label: str, runs: Sequence[MeasuredRun]) -> Detector:
    """Return runs on the same radiographs, one a seed, as one detector."""
    return Detector(
        label=label,
        seeds=[run.evaluation.run.seed for run in runs],
        logit=np.array([run.predictions.logit for run in runs]),
        calibration=[run.calibration for run in runs],
        probability=np.array([run.predictions.probability for run in runs]),
        threshold=np.array([run.threshold(BALANCED) for run in runs]),
    )


def run_figures(run: MeasuredRun) -> dict[str, tuple[float, float]]:
    """Return the compared figures of one run: as metrics.json says, and as its predictions give.

    Earlier versions ranked by the probability, whose rounding can tie what logits tell apart. What
    they said of AUROC and average precision is given by the predictions, too, and is no damage.

    Raises: RunError: its predictions hold what no figure can be worked out from, or metrics.json
        lacks an operating point.
    """
    predictions, evaluation = run.predictions, run.evaluation
    figures = {}
    try:
        for name, statistic in _SCORES.items():
            said = evaluation.scores[name].value
            columns = [*_scored([run], name), predictions.probability]
            values = [statistic(column, predictions.target) for column in columns]
            figures[name] = (said, _nearest(values, said))
        for point in COMPARED_POINTS:
            (is_called,) = _calls([run], point)
            for name in POINT_FIGURE_NAMES:
                said = evaluation.point(point).figures[name].value
                given = point_figure(name)(is_called, predictions.target)
                figures[f"{name} at {point}"] = (said, given)
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{run.folder}: no figures can be worked out from its predictions-test.csv and "
            f"metrics.json ({error}). Evaluate the run again."
        ) from error
    return figures


def _nearest(values: Sequence[float], wanted: float) -> float:
    return min(values, key=lambda value: abs(value - wanted))


def _recipe_result(group: RecipeRuns, *, n_resamples: int) -> RecipeResult:
    runs = group.runs
    first = runs[0].evaluation.run
    reported = runs[0].evaluation.reported
    return RecipeResult(
        label=group.label,
        recipe=first.recipe,
        title=first.title,
        source_title=first.source_title,
        recipe_sha256=first.recipe_sha256,
        seeds=[run.evaluation.run.seed for run in runs],
        runs=[str(run.folder) for run in runs],
        readings=[run.evaluation.reading for run in runs],
        n_parameters=first.n_parameters,
        scores={
            name: _over_seeds(statistic, runs, _scored(runs, name), n_resamples=n_resamples)
            for name, statistic in _SCORES.items()
        },
        points={
            point: {
                name: _over_seeds(
                    point_figure(name), runs, _calls(runs, point), n_resamples=n_resamples
                )
                for name in POINT_FIGURE_NAMES
            }
            for point in COMPARED_POINTS
        },
        thresholds={point: [run.threshold(point) for run in runs] for point in COMPARED_POINTS},
        reported=Reported(
            how=reported.how,
            figures=beside_reported(
                {figure.name: figure.reported for figure in reported.figures},
                runs=[run.predictions for run in runs],
            ),
            confusion=reported.confusion,
        ),
    )


def _scored(runs: Sequence[MeasuredRun], name: str) -> list[NDArray[np.float64]]:
    """Return for each run the (N,) logits or probabilities that a figure rests on."""
    if name in _RANKINGS:
        return [run.predictions.logit for run in runs]
    return [run.predictions.probability for run in runs]


def _calls(runs: Sequence[MeasuredRun], point: str) -> list[NDArray[np.bool_]]:
    return [run.predictions.probability >= run.threshold(point) for run in runs]


def point_figure(name: str) -> Callable[..., float]:
    """Return a function of (N,) calls and (N,) targets that works out a figure of a threshold."""

    def figure(is_called: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
        return float(getattr(ConfusionMatrix.from_calls(target, is_called), name))

    return figure


def _over_seeds(
    statistic: Callable[..., float],
    runs: Sequence[MeasuredRun],
    answers: Sequence[NDArray[np.float64]] | Sequence[NDArray[np.bool_]],
    *,
    n_resamples: int,
) -> OverSeeds:
    """Return a figure's mean, spread and interval over seeds.

    Args:
        statistic: Of one seed's answers and the targets.
        runs: One a seed.
        answers: For each seed (N,) logits, probabilities or calls.
        n_resamples: Of patients.
    """
    predictions = runs[0].predictions
    by_seed = np.array([statistic(answer, predictions.target) for answer in answers])

    def mean(target: NDArray[np.bool_], *resampled: NDArray[np.generic]) -> float:
        return float(np.mean([statistic(answer, target) for answer in resampled]))

    low, high = bootstrap_by_patient(
        mean, predictions.patient_id, predictions.target, *answers, n_resamples=n_resamples
    )
    if low == high:  # a figure that no resample changes says nothing about its uncertainty
        low = high = math.nan
    return OverSeeds(
        mean=float(by_seed.mean()),
        sd=float(by_seed.std(ddof=1)) if by_seed.size > 1 else math.nan,
        minimum=float(by_seed.min()),
        maximum=float(by_seed.max()),
        low=low,
        high=high,
        by_seed=by_seed.tolist(),
    )


def _notice(groups: Sequence[RecipeRuns]) -> str | None:
    """Return what must be known before any figure: of all runs, and of what some learnt from."""
    notices: dict[str, None] = {}
    caveats: dict[str, dict[str, list[str]]] = {}  # by line and recipe: the seeds
    for group in groups:
        for run in group.runs:
            if run.evaluation.notice:
                notices[run.evaluation.notice] = None
            for line in of_training(run.evaluation.caveats):
                seeds = caveats.setdefault(line, {}).setdefault(group.label, [])
                seeds.append(str(run.evaluation.run.seed))
    told = [
        ", ".join(
            f"{label} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)})"
            for label, seeds in whose.items()
        )
        + f": {line}"
        for line, whose in caveats.items()
    ]
    return " ".join([*notices, *told]) or None


def _method(
    runs: Sequence[MeasuredRun], *, n_resamples: int, n_pairs: int, has_unlike_seeds: bool
) -> list[str]:
    lines = [line.format(n_resamples=n_resamples) for line in _METHOD]
    if n_pairs:
        lines += [line.format(n_pairs=n_pairs) for line in TEST_METHOD]
    if has_unlike_seeds:
        lines.append(UNLIKE_SEEDS_METHOD)
    if len({run.evaluation.run.training_fingerprint for run in runs}) > 1:
        lines.append("The runs were not all trained on the same radiographs.")
    return lines
