"""Compare runs on the same radiographs: recipes over their seeds, recipe against recipe."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.calibration import (
    Calibration,
    brier_score,
    expected_calibration_error,
    recover_calibration,
)
from pneumoscope.metrics.confusion import ConfusionMatrix
from pneumoscope.metrics.curves import auroc, average_precision
from pneumoscope.report.comparison_page import write_comparison
from pneumoscope.report.comparison_results import (
    COMPARED_POINTS,
    Comparison,
    OverSeeds,
    RecipeResult,
)
from pneumoscope.report.results import (
    METRICS_FILE,
    POINT_FIGURE_NAMES,
    Evaluation,
    Reported,
    load_evaluation,
)
from pneumoscope.study.measurement import BALANCED, beside_reported
from pneumoscope.study.paired_tests import (
    TEST_METHOD,
    UNLIKE_SEEDS_METHOD,
    Detector,
    paired_tests,
    untested_pairs,
)
from pneumoscope.training.recipe_file import load_recipe
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.run_state import RECIPE_FILE

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


@dataclass(frozen=True)
class MeasuredRun:
    """A run whose test split was read, with its results."""

    folder: Path
    evaluation: Evaluation
    predictions: Predictions  # sorted by path
    calibration: Calibration  # which made its probabilities of its logits

    def threshold(self, point: str) -> float:
        """Return the run's own threshold of an operating point. Raises: RunError: it has none."""
        return self.evaluation.point(point).threshold


@dataclass(frozen=True)
class _Group:
    """The runs of one recipe, by seed."""

    label: str
    runs: list[MeasuredRun]


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
            radiographs, or two are of one recipe and seed.
        StorageError: a file can't be written.
    """
    if not runs:
        raise UsageError("There is no run to compare. Name one or more run folders.")
    folders = [run.resolve() for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"{folder} is named twice. Name each run once.")
    loaded = [load_measured(run) for run in runs]
    _check_same_radiographs(loaded)
    groups = _group(loaded, labels or {})
    detectors = [detector_of(group.label, group.runs) for group in groups]
    first = loaded[0]
    target, patient_id = first.predictions.target, first.predictions.patient_id
    tests = paired_tests(detectors, target=target, patient_id=patient_id)
    has_unlike_seeds = len({tuple(detector.seeds) for detector in detectors}) > 1
    comparison = Comparison(
        notice=_notice(loaded),
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


def load_measured(folder: Path) -> MeasuredRun:
    """Return a run's results on test.

    A bundle's calibration is worked out from its logits and probabilities side by side, to about
    1e-7 of log odds: the table has all that is needed, whichever version wrote it, and the bundle
    itself may be elsewhere by now.

    Raises: RunError: they are missing, damaged, or of another split.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run folder. Check the path.")
    evaluation = load_evaluation(folder / METRICS_FILE)
    if evaluation.data.split != "test":
        raise RunError(
            f"{folder}: holds results on the {evaluation.data.split} split; runs are compared on "
            f"test. Run: pneumoscope evaluate {folder} --data DATASET"
        )
    predictions = read_predictions(folder / "predictions-test.csv")
    if len(predictions) != evaluation.data.n:
        raise RunError(
            f"{folder}: predictions-test.csv has {len(predictions):,} rows, but metrics.json was "
            f"made from {evaluation.data.n:,}. Evaluate the run again."
        )
    try:
        calibration = recover_calibration(predictions.logit, predictions.probability)
    except ValueError as error:
        raise RunError(
            f"{folder}: no figures can be worked out from its predictions-test.csv ({error}) "
            "Evaluate the run again."
        ) from error
    return MeasuredRun(
        folder,
        _with_recipe_hash(folder, evaluation),
        Predictions(predictions.table.sort("path")),
        calibration,
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


def _with_recipe_hash(folder: Path, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with its recipe's hash as this version works it out."""
    recipe = folder / RECIPE_FILE
    if not recipe.is_file():
        return evaluation  # results that were written elsewhere than to their run
    sha256 = recipe_sha256(load_recipe(recipe))
    run = evaluation.run.model_copy(update={"recipe_sha256": sha256})
    return evaluation.model_copy(update={"run": run})


def _check_same_radiographs(runs: Sequence[MeasuredRun]) -> None:
    facts = ["path", "target", "patient_id"]
    first = runs[0]
    expected = first.predictions.table.select(facts)
    for run in runs[1:]:
        is_same_content = run.evaluation.data.fingerprint == first.evaluation.data.fingerprint
        table = run.predictions.table.select(facts)
        if table.equals(expected) and is_same_content:
            continue
        n_shared = len(set(run.predictions.path) & set(first.predictions.path))
        raise RunError(
            f"{first.folder} and {run.folder} were evaluated on different radiographs: "
            f"{len(first.predictions):,} of {first.evaluation.data.name} and "
            f"{len(run.predictions):,} of {run.evaluation.data.name}, {n_shared:,} of the same "
            f"name{'' if is_same_content else ', whose content or targets differ'}. "
            "Evaluate both on one dataset, then compare."
        )


def _group(runs: Sequence[MeasuredRun], labels: Mapping[str, str]) -> list[_Group]:
    """Return the runs by recipe, in the order in which the recipes came, seeds ascending."""
    by_recipe: dict[tuple[str, str], list[MeasuredRun]] = {}
    for run in runs:
        record = run.evaluation.run
        by_recipe.setdefault((record.recipe, record.recipe_sha256), []).append(run)
    names = [name for name, _ in by_recipe]
    groups = []
    for (name, sha256), members in by_recipe.items():
        members.sort(key=lambda run: run.evaluation.run.seed)
        for one, other in itertools.pairwise(members):
            if one.evaluation.run.seed == other.evaluation.run.seed:
                raise RunError(
                    f"{one.folder} and {other.folder} are both {name}, seed "
                    f"{one.evaluation.run.seed}: a mean over seeds counts each once. "
                    "Leave one of them out."
                )
        # Two recipes of one name: one of them was changed, as with --set.
        label = name if names.count(name) == 1 else f"{name} ({sha256[:6]})"
        groups.append(_Group(labels.get(sha256, label), members))
    return groups


def _recipe_result(group: _Group, *, n_resamples: int) -> RecipeResult:
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


def _notice(runs: Sequence[MeasuredRun]) -> str | None:
    notices = {run.evaluation.notice: None for run in runs if run.evaluation.notice}
    return " ".join(notices) or None


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
