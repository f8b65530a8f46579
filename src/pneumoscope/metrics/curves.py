"""ROC and precision-recall curves, and the areas under them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.checks import check_both_classes, checked_pair


@dataclass(frozen=True, slots=True)
class RocCurve:
    """One point a distinct score, from calling nothing positive to calling everything so.

    The first point is (0, 0) at an infinite threshold. A radiograph is called positive at or above
    the threshold.
    """

    false_positive_rate: NDArray[np.float64]  # (K + 1,), 1 - specificity, ascending
    sensitivity: NDArray[np.float64]  # (K + 1,), ascending
    threshold: NDArray[np.float64]  # (K + 1,), descending; the first is infinite


@dataclass(frozen=True, slots=True)
class PrecisionRecallCurve:
    """PPV against sensitivity, one point a distinct score, thresholds descending.

    The first point, at an infinite threshold, has sensitivity 0; its PPV is set to 1 so that the
    curve begins at the axis, as is the custom.
    """

    ppv: NDArray[np.float64]  # (K + 1,)
    sensitivity: NDArray[np.float64]  # (K + 1,), ascending
    threshold: NDArray[np.float64]  # (K + 1,), descending; the first is infinite


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    return (last_rank - (counts - 1) / 2)[inverse]


def auroc(score: ArrayLike, target: ArrayLike) -> float:
    """Return the chance that a positive radiograph scores above a negative one; ties count 1/2.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia.
        target: (N,) True where the reference standard is positive.

    Returns: 0 to 1; 0.5 is chance.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    Source: Hanley and McNeil (1982), Radiology 143(1), 29-36.
    """
    scores, targets = checked_pair(score, target)
    check_both_classes(targets, figure="auroc")
    n_positive = int(np.count_nonzero(targets))
    rank_sum = float(midranks(scores)[targets].sum())
    n_pairs = n_positive * (targets.size - n_positive)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / n_pairs


def roc_curve(score: ArrayLike, target: ArrayLike) -> RocCurve:
    """Return every point of the ROC curve, those on straight stretches included.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia.
        target: (N,) True where the reference standard is positive.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    """
    scores, targets = checked_pair(score, target)
    check_both_classes(targets, figure="roc_curve")
    threshold, true_positive, false_positive = _cumulative_counts(scores, targets)
    return RocCurve(
        false_positive_rate=np.concatenate([[0.0], false_positive / false_positive[-1]]),
        sensitivity=np.concatenate([[0.0], true_positive / true_positive[-1]]),
        threshold=np.concatenate([[np.inf], threshold]),
    )


def precision_recall_curve(score: ArrayLike, target: ArrayLike) -> PrecisionRecallCurve:
    """Return every point of the precision-recall curve.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia.
        target: (N,) True where the reference standard is positive.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    """
    scores, targets = checked_pair(score, target)
    check_both_classes(targets, figure="precision_recall_curve")
    threshold, true_positive, false_positive = _cumulative_counts(scores, targets)
    return PrecisionRecallCurve(
        ppv=np.concatenate([[1.0], true_positive / (true_positive + false_positive)]),
        sensitivity=np.concatenate([[0.0], true_positive / true_positive[-1]]),
        threshold=np.concatenate([[np.inf], threshold]),
    )


def average_precision(score: ArrayLike, target: ArrayLike) -> float:
    """Return the mean PPV over the steps of sensitivity, without interpolation.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia.
        target: (N,) True where the reference standard is positive.

    Returns: 0 to 1; chance gives the prevalence.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    Source: Su, Yuan and Zhu (2015), ICTIR, 349-352; the same steps as scikit-learn's.
    """
    curve = precision_recall_curve(score, target)
    return float(np.sum(np.diff(curve.sensitivity) * curve.ppv[1:]))


def _cumulative_counts(
    scores: NDArray[np.float64], targets: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return distinct scores, descending, with the positives and negatives at or above each."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    is_last_of_its_score = np.append(ordered[1:] != ordered[:-1], True)
    last = np.flatnonzero(is_last_of_its_score)
    true_positive = np.cumsum(targets[order], dtype=np.int64)[last]
    return ordered[last], true_positive, (last + 1) - true_positive
