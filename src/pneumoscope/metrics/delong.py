"""Intervals and paired tests for AUROC, after DeLong; one radiograph or several a patient."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.core.types import Estimate
from pneumoscope.metrics.checks import check_both_classes, checked_pair, patient_index
from pneumoscope.metrics.confusion import Z_95
from pneumoscope.metrics.curves import midranks


@dataclass(frozen=True, slots=True)
class DeLongResult:
    """Two AUROCs on the same radiographs, and their difference a - b."""

    auroc_a: float
    auroc_b: float
    difference: float
    low: float  # 95 % interval of the difference, kept in [-1, 1]
    high: float
    p_value: float  # two-sided, of no difference


@dataclass(frozen=True, slots=True)
class _Placements:
    """Where each radiograph stands among those of the other class; both means are the AUROC."""

    positive: NDArray[np.float64]  # (M,) share of negatives scored below each positive, ties 1/2
    negative: NDArray[np.float64]  # (N,) share of positives scored above each negative, ties 1/2

    @property
    def auroc(self) -> float:
        return float(self.positive.mean())


@dataclass(frozen=True, slots=True)
class _Patients:
    """Which patient, 0 to P - 1, each radiograph of either class belongs to."""

    positive: NDArray[np.intp]  # (M,)
    negative: NDArray[np.intp]  # (N,)
    n: int

    @property
    def n_positive(self) -> int:
        return int(np.unique(self.positive).size)

    @property
    def n_negative(self) -> int:
        return int(np.unique(self.negative).size)


def delong_interval(
    score: ArrayLike, target: ArrayLike, *, patient_id: ArrayLike | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of AUROC; see `delong_estimate`.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    """
    estimate = delong_estimate(score, target, patient_id=patient_id)
    return estimate.low, estimate.high


def delong_estimate(
    score: ArrayLike, target: ArrayLike, *, patient_id: ArrayLike | None = None
) -> Estimate:
    """Return AUROC with its 95 % interval, and how the interval was made.

    The usual way, ``delong``: DeLong's variance, carried to the logit scale by the delta method
    (Pepe 2003), where the interval is logit(AUROC) -+ 1.96 SE / (AUROC (1 - AUROC)), and back, so
    that it stays in [0, 1]. With several radiographs of some patient the variance is Obuchowski's,
    which reduces to DeLong's for one each: ``delong by patient``.

    That variance is 0 or undefined in two cases, which get an interval of another kind:

    - AUROC is exactly 1 (or 0), ``exact pairs``: k disjoint pairs of a positive and a negative
      from different patients are k independent trials, all of them ordered right. The exact
      (Clopper-Pearson) interval is then [0.025 ** (1 / k), 1]. It is conservative.
    - All placements are equal, or a class has one patient, ``hanley-mcneil``: Hanley and McNeil's
      variance for the number of patients in each class, on the logit scale.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia.
        target: (N,) True where the reference standard is positive.
        patient_id: (N,) the patient of each radiograph; None takes them as independent.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44(3), 837-845; Sun and Xu (2014),
        IEEE Signal Processing Letters 21(11), 1389-1393; Pepe (2003), The Statistical Evaluation
        of Medical Tests, section 5.2; Obuchowski (1997), Biometrics 53(2), 567-578; Hanley and
        McNeil (1982), Radiology 143(1), 29-36.
    """
    scores, targets = checked_pair(score, target)
    check_both_classes(targets, figure="delong")
    patients = _patients(patient_id, targets)
    placements = _placements(scores, targets)
    area = placements.auroc
    # Either end is recognised by the placements, not by the mean: a mean may round to 1.
    if (placements.positive == 1).all() or (placements.positive == 0).all():
        low, high = _exact_pairs_interval(area > 0.5, patients)
        return Estimate(value=area, low=low, high=high, n=scores.size, method="exact pairs")
    variance = _variance(placements.positive - area, placements.negative - area, patients)
    has_several = patients.n < targets.size
    method = "delong by patient" if has_several else "delong"
    if not variance > 0:
        variance = _hanley_mcneil_variance(area, patients.n_positive, patients.n_negative)
        method = "hanley-mcneil"
    low, high = _logit_interval(area, variance)
    return Estimate(value=area, low=low, high=high, n=scores.size, method=method)


def delong_paired(
    score_a: ArrayLike,
    score_b: ArrayLike,
    target: ArrayLike,
    *,
    patient_id: ArrayLike | None = None,
) -> DeLongResult:
    """Compare the AUROCs of two detectors on the same radiographs.

    Where both order every pair of radiographs alike, the difference is 0 without doubt: its
    interval is [0, 0] and the p-value 1. Where the variance is 0 or undefined although the
    detectors differ (a class with one patient, or both AUROCs at an end), interval and p-value
    are NaN.

    Args:
        score_a: (N,) of detector a; any scale on which larger means more likely pneumonia.
        score_b: (N,) of detector b, in the same order; its scale may be another.
        target: (N,) True where the reference standard is positive.
        patient_id: (N,) the patient of each radiograph; None takes them as independent.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class.
    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44(3), 837-845; with several
        radiographs of some patient, Obuchowski (1997), Biometrics 53(2), 567-578.
    """
    scores_a, targets = checked_pair(score_a, target, name="score_a")
    scores_b, _ = checked_pair(score_b, target, name="score_b")
    check_both_classes(targets, figure="delong_paired")
    patients = _patients(patient_id, targets)
    a, b = _placements(scores_a, targets), _placements(scores_b, targets)
    positive, negative = a.positive - b.positive, a.negative - b.negative
    difference = float(positive.mean())
    if not positive.any() and not negative.any():
        return DeLongResult(a.auroc, b.auroc, 0.0, 0.0, 0.0, 1.0)
    variance = _variance(positive - difference, negative - difference, patients)
    if not variance > 0:
        return DeLongResult(a.auroc, b.auroc, difference, math.nan, math.nan, math.nan)
    error = math.sqrt(variance)
    return DeLongResult(
        auroc_a=a.auroc,
        auroc_b=b.auroc,
        difference=difference,
        low=max(-1.0, difference - Z_95 * error),
        high=min(1.0, difference + Z_95 * error),
        p_value=math.erfc(abs(difference) / error / math.sqrt(2)),
    )


def _placements(scores: NDArray[np.float64], targets: NDArray[np.bool_]) -> _Placements:
    # Sun and Xu: a rank among all, less the rank in one's own class, counts the others below.
    ranks = midranks(scores)
    positive, negative = scores[targets], scores[~targets]
    below_positive = ranks[targets] - midranks(positive)
    above_negative = positive.size - (ranks[~targets] - midranks(negative))
    return _Placements(below_positive / negative.size, above_negative / positive.size)


def _patients(patient_id: ArrayLike | None, targets: NDArray[np.bool_]) -> _Patients:
    if patient_id is None:
        index = np.arange(targets.size)
    else:
        index = patient_index(patient_id, targets.size)
    return _Patients(index[targets], index[~targets], int(index.max()) + 1)


def _variance(
    positive: NDArray[np.float64], negative: NDArray[np.float64], patients: _Patients
) -> float:
    """Return Obuchowski's variance of centred placements; NaN with one patient in a class."""
    n_positive, n_negative = patients.n_positive, patients.n_negative
    if n_positive < 2 or n_negative < 2:
        return math.nan
    x = np.bincount(patients.positive, weights=positive, minlength=patients.n) / positive.size
    y = np.bincount(patients.negative, weights=negative, minlength=patients.n) / negative.size
    variance = n_positive / (n_positive - 1) * float(x @ x)
    variance += n_negative / (n_negative - 1) * float(y @ y)
    variance += 2 * patients.n / (patients.n - 1) * float(x @ y)
    # Equal placements leave rounding behind (their mean is not quite each of them), not variance.
    return variance if variance > 1e-24 else 0.0


def _exact_pairs_interval(is_perfect: bool, patients: _Patients) -> tuple[float, float]:
    # A patient with radiographs of both classes can stand on either side of one pair only.
    n_pairs = max(1, min(patients.n_positive, patients.n_negative, patients.n // 2))
    bound = 0.025 ** (1 / n_pairs)
    return (bound, 1.0) if is_perfect else (0.0, 1 - bound)


def _hanley_mcneil_variance(area: float, n_positive: int, n_negative: int) -> float:
    both_above = area / (2 - area)  # two positives both above one negative
    both_below = 2 * area**2 / (1 + area)  # one positive above two negatives
    spread = area * (1 - area)
    spread += (n_positive - 1) * (both_above - area**2)
    spread += (n_negative - 1) * (both_below - area**2)
    return spread / (n_positive * n_negative)


def _logit_interval(area: float, variance: float) -> tuple[float, float]:
    odds = area / (1 - area)
    # Beyond e**700 a float overflows; the interval is [0, 1] to every digit long before.
    factor = math.exp(min(Z_95 * math.sqrt(variance) / (area * (1 - area)), 700.0))
    return odds / (odds + factor), 1 / (1 + 1 / (odds * factor))
