"""From predictions to figures: what `evaluate` and `compare` work out, without reading a file."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pneumoscope.core.types import Estimate, OperatingPoint
from pneumoscope.data.predictions import Predictions
from pneumoscope.metrics.confusion import ConfusionMatrix
from pneumoscope.metrics.curves import auroc
from pneumoscope.metrics.delong import delong_estimate
from pneumoscope.metrics.measure import measure_at
from pneumoscope.metrics.operating_point import choose_operating_points
from pneumoscope.report.results import (
    ClassificationReport,
    ClassRow,
    Confusion,
    Measured,
    PointResult,
    ReportedFigure,
    SubgroupResult,
)

HALF = "0.5"  # the operating point that the sources used
BALANCED = "balanced"
RULES = {
    BALANCED: "maximises the smoothed Youden index on the tuning split",
    "sensitive": "the largest threshold with sensitivity 0.95 or more on the tuning split",
    HALF: "fixed beforehand, as the sources did",
}
_WORD = re.compile(r"[a-z0-9]+")


def thresholds_from_tuning(tuning: Predictions) -> dict[str, float]:
    """Return the threshold of each operating point: balanced, sensitive, and 0.5.

    Args:
        tuning: Predictions on the tuning split, never on test.
    """
    points: Sequence[OperatingPoint] = choose_operating_points(tuning.probability, tuning.target)
    return {point.name: point.threshold for point in points} | {HALF: 0.5}


def measure_point(
    name: str, threshold: float, *, tuning: Predictions, evaluated: Predictions
) -> PointResult:
    """Return what a threshold achieves on the evaluated split, and on the tuning split."""
    on_tuning = measure_at(
        tuning.probability, tuning.target, tuning.patient_id, threshold=threshold
    )
    figures = measure_at(
        evaluated.probability, evaluated.target, evaluated.patient_id, threshold=threshold
    )
    return PointResult(
        name=name,
        threshold=threshold,
        rule=RULES[name],
        on_tuning={key: Measured.of(on_tuning[key]) for key in ("sensitivity", "specificity")},
        confusion=Confusion.of(confusion_at(evaluated, threshold)),
        figures=measured(figures),
    )


def measured(estimates: Mapping[str, Estimate]) -> dict[str, Measured]:
    """Return estimates as records."""
    return {name: Measured.of(estimate) for name, estimate in estimates.items()}


def confusion_at(predictions: Predictions, threshold: float) -> ConfusionMatrix:
    """Return the confusion matrix at a threshold; at or above it is called pneumonia."""
    return ConfusionMatrix.from_calls(predictions.target, predictions.probability >= threshold)


def measure_subgroups(
    predictions: Predictions, thresholds: Mapping[str, float]
) -> list[SubgroupResult]:
    """Return sensitivity and AUROC for each subtype of pneumonia, in the alphabet's order.

    A subtype's AUROC sets its radiographs against all normal ones, by their logits: normals have no
    subtype.
    """
    target = predictions.target
    subtype = np.asarray([name or "" for name in predictions.subtype], dtype=np.str_)
    results = []
    for name in sorted(set(subtype[target].tolist()) - {""}):
        is_member = target & (subtype == name)
        patient_id = predictions.patient_id[is_member]
        sensitivity = {
            point: measure_at(
                predictions.probability[is_member],
                target[is_member],
                patient_id,
                threshold=threshold,
            )["sensitivity"]
            for point, threshold in thresholds.items()
        }
        rows = is_member | ~target
        area = delong_estimate(
            predictions.logit[rows],
            target[rows],
            patient_id=predictions.patient_id[rows],
        )
        results.append(
            SubgroupResult(
                name=name,
                n=int(np.count_nonzero(is_member)),
                sensitivity=measured(sensitivity),
                auroc=Measured.of(area),
            )
        )
    return results


def log_loss(predictions: Predictions) -> float:
    """Return the mean binary cross-entropy, in nats, worked out from the logits.

    From logits, because a probability that rounds to 1 would make one confident error infinite.
    """
    logit, target = predictions.logit, predictions.target
    return float(np.mean(np.logaddexp(0.0, np.where(target, -logit, logit))))


def classification_report(predictions: Predictions, *, threshold: float) -> ClassificationReport:
    """Return precision, recall and F1 of both classes, and their averages over classes."""
    matrix = confusion_at(predictions, threshold)
    normal = _as_normal(matrix)
    rows = [
        ClassRow(
            name=name,
            precision=side.ppv,
            recall=side.sensitivity,
            f1=side.f1,
            support=side.n_positive,
        )
        for name, side in (("normal", normal), ("pneumonia", matrix))
    ]
    return ClassificationReport(
        threshold=threshold,
        classes=rows,
        macro_average=_average("macro average", rows, weights=[1.0] * len(rows)),
        weighted_average=_average("weighted average", rows, weights=[r.support for r in rows]),
        accuracy=matrix.accuracy,
    )


def beside_reported(
    reported: Mapping[str, float], *, runs: Sequence[Predictions], threshold: float = 0.5
) -> list[ReportedFigure]:
    """Return each reported figure beside ours of the same kind, the mean over the runs.

    The kind is told by the words of the figure's name: ``best_accuracy`` is an accuracy,
    ``pneumonia_precision`` a PPV, ``normal_recall`` a specificity.

    Args:
        reported: The source's figures by name.
        runs: Predictions on the same radiographs, one a run.
        threshold: Of our calls; the sources used 0.5.
    """
    matrices = [confusion_at(run, threshold) for run in runs]
    losses = [log_loss(run) for run in runs]
    rows = []
    for name, value in reported.items():
        kind = _kind(name)
        if kind == "loss":
            ours, ours_is = float(np.mean(losses)), "log loss, without regularisers"
        elif kind == "auroc":
            areas = [auroc(run.logit, run.target) for run in runs]
            ours, ours_is = float(np.mean(areas)), "AUROC"
        elif kind in _FIGURES:
            ours_is, figure = _FIGURES[kind]
            ours = float(np.mean([figure(matrix) for matrix in matrices]))
            ours_is = f"{ours_is} at {threshold:g}"
        else:
            ours, ours_is = math.nan, "not measured"
        rows.append(
            ReportedFigure(
                name=name,
                reported=value,
                ours=ours,
                ours_is=ours_is,
                difference=ours - value,
            )
        )
    return rows


def _as_normal(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """Return the same counts with normal as the class that is looked for."""
    return ConfusionMatrix(
        true_positive=matrix.true_negative,
        false_negative=matrix.false_positive,
        false_positive=matrix.false_negative,
        true_negative=matrix.true_positive,
    )


def _average(name: str, rows: Sequence[ClassRow], *, weights: Sequence[float]) -> ClassRow:
    def mean(key: str) -> float:
        values = [getattr(row, key) for row in rows]
        return float(np.average(values, weights=weights))

    return ClassRow(
        name=name,
        precision=mean("precision"),
        recall=mean("recall"),
        f1=mean("f1"),
        support=sum(row.support for row in rows),
    )


_FIGURES: dict[str, tuple[str, Callable[[ConfusionMatrix], float]]] = {
    "accuracy": ("accuracy", lambda matrix: matrix.accuracy),
    "precision": ("PPV", lambda matrix: matrix.ppv),
    "recall": ("sensitivity", lambda matrix: matrix.sensitivity),
    "f1": ("F1", lambda matrix: matrix.f1),
    "normal precision": ("NPV", lambda matrix: matrix.npv),
    "normal recall": ("specificity", lambda matrix: matrix.specificity),
    "normal f1": ("F1 of normal", lambda matrix: _as_normal(matrix).f1),
}
_SYNONYMS = {
    "acc": "accuracy",
    "auc": "auroc",
    "ppv": "precision",
    "sensitivity": "recall",
    "npv": "normal precision",
    "specificity": "normal recall",
}


def _kind(name: str) -> str:
    words: list[str] = _WORD.findall(name.lower())
    for word in words:
        kind = _SYNONYMS.get(word, word)
        if kind in ("loss", "auroc"):
            return kind
        if kind in _FIGURES:
            is_normal = "normal" in words and f"normal {kind}" in _FIGURES
            return f"normal {kind}" if is_normal else kind
    return ""
