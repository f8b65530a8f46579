"""Every figure of merit of one detector on one split, each with its 95 % interval."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.core.types import Estimate
from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.calibration import brier_score, expected_calibration_error
from pneumoscope.metrics.checks import (
    check_both_classes,
    checked_pair,
    checked_probability,
    patient_index,
)
from pneumoscope.metrics.confusion import ConfusionMatrix, wilson_interval
from pneumoscope.metrics.curves import average_precision
from pneumoscope.metrics.delong import delong_estimate

_BOOTSTRAP = "bootstrap by patient"


def measure_at(
    probability: ArrayLike, target: ArrayLike, patient_id: ArrayLike, *, threshold: float
) -> dict[str, Estimate]:
    """Return accuracy, sensitivity, specificity, PPV, NPV, F1 and MCC at one threshold.

    Proportions have ``wilson`` intervals where every patient has one radiograph. Radiographs of one
    patient are alike, so with several of some patient they are ``bootstrap by patient``, as are F1
    and MCC always. A proportion of exactly 0 or 1 is the same in every resample, which says nothing
    about its uncertainty: it gets ``wilson over patients``, with as many trials as patients are in
    the denominator (one trial a patient, the most careful view). An F1 or MCC that no resample
    changes has no interval: NaN, and the method says so.

    One class is enough: figures that need the other are NaN, with n = 0 where that is their
    denominator.

    Args:
        probability: (N,) P(pneumonia), in [0, 1].
        target: (N,) True where the reference standard is positive.
        patient_id: (N,) the patient of each radiograph.
        threshold: A probability; radiographs at or above it are called positive.

    Returns: Keys accuracy, sensitivity, specificity, ppv, npv, f1, mcc; ``n`` is the denominator,
        all radiographs for accuracy, F1 and MCC.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN, or a probability or the
        threshold lies outside [0, 1].
    """
    values, targets = checked_probability(probability, target)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: {threshold}; it is a probability, in [0, 1].")
    patient = patient_index(patient_id, targets.size)
    calls = values >= threshold
    is_right = targets == calls
    everything = np.ones_like(targets)
    matrix = ConfusionMatrix.from_calls(targets, calls)
    return {
        "accuracy": _proportion(is_right, everything, patient),
        "sensitivity": _proportion(is_right, targets, patient),
        "specificity": _proportion(is_right, ~targets, patient),
        "ppv": _proportion(is_right, calls, patient),
        "npv": _proportion(is_right, ~calls, patient),
        "f1": bootstrap_estimate(matrix.f1, _f1, patient, targets, calls),
        "mcc": bootstrap_estimate(matrix.mcc, _mcc, patient, targets, calls),
    }


def measure_scores(
    score: ArrayLike, target: ArrayLike, patient_id: ArrayLike, *, probability: ArrayLike
) -> dict[str, Estimate]:
    """Return the figures that need no threshold: AUROC, average precision, Brier score and ECE.

    AUROC and average precision only rank, and rank by the score: a probability rounds to 1 where
    the network is very sure, which would tie radiographs that its logits tell apart.

    AUROC has the interval of `delong_estimate`, which heeds patients with several radiographs; the
    others are ``bootstrap by patient``. The interval of ECE tends to lie high, and can even leave
    out its value, because each resample adds chance gaps of its own. An average precision of
    exactly 1 has no interval (NaN): no resample changes it.

    Args:
        score: (N,) any scale on which larger means more likely pneumonia; best the logit.
        target: (N,) True where the reference standard is positive.
        patient_id: (N,) the patient of each radiograph.
        probability: (N,) P(pneumonia), in [0, 1], for Brier score and ECE.

    Returns: Keys auroc, average_precision, brier, ece; ``n`` is N.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class, or a
        probability lies outside [0, 1].
    """
    scores, targets = checked_pair(score, target)
    probabilities, _ = checked_probability(probability, target)
    check_both_classes(targets, figure="measure_scores")
    patient = patient_index(patient_id, targets.size)
    figures: dict[str, tuple[Callable[..., float], NDArray[np.float64]]] = {
        "average_precision": (average_precision, scores),
        "brier": (brier_score, probabilities),
        "ece": (expected_calibration_error, probabilities),
    }
    estimates = {"auroc": delong_estimate(scores, targets, patient_id=patient)}
    for name, (figure, values) in figures.items():
        estimates[name] = bootstrap_estimate(
            figure(values, targets), figure, patient, values, targets
        )
    return estimates


def _proportion(
    is_success: NDArray[np.bool_], is_counted: NDArray[np.bool_], patient: NDArray[np.intp]
) -> Estimate:
    """Estimate the share of successes among the radiographs that count."""
    n = int(np.count_nonzero(is_counted))
    successes = int(np.count_nonzero(is_success & is_counted))
    value = successes / n if n else math.nan
    has_one_each = int(patient.max()) + 1 == patient.size
    if has_one_each or n == 0:
        low, high = wilson_interval(successes, n)
        return Estimate(value=value, low=low, high=high, n=n, method="wilson")
    if successes in (0, n):
        n_patients = int(np.unique(patient[is_counted]).size)
        low, high = wilson_interval(n_patients if successes else 0, n_patients)
        return Estimate(value=value, low=low, high=high, n=n, method="wilson over patients")
    low, high = bootstrap_by_patient(_share, patient, is_success, is_counted)
    return Estimate(value=value, low=low, high=high, n=n, method=_BOOTSTRAP)


def bootstrap_estimate(
    value: float,
    statistic: Callable[..., float],
    patient: ArrayLike,
    *arrays: NDArray[np.bool_] | NDArray[np.float64],
) -> Estimate:
    """Return a figure's value with its interval over patients.

    Args:
        value: Of the figure on the data themselves.
        statistic: Works the figure out from resampled ``arrays``.
        patient: (N,) the patient of each radiograph.
        arrays: Each (N, ...), one row a radiograph.

    Returns: Without an interval (NaN), and so said by the method, where no resample changes the
        figure: that tells nothing of another sample.
    """
    low, high = bootstrap_by_patient(statistic, patient, *arrays)
    method = _BOOTSTRAP
    if low == high:
        low, high = math.nan, math.nan
        method = f"{_BOOTSTRAP} (no resample differs: no interval)"
    return Estimate(value=value, low=low, high=high, n=np.size(patient), method=method)


def _share(is_success: NDArray[np.bool_], is_counted: NDArray[np.bool_]) -> float:
    n = int(np.count_nonzero(is_counted))
    return int(np.count_nonzero(is_success & is_counted)) / n if n else math.nan


def _f1(target: NDArray[np.bool_], is_called: NDArray[np.bool_]) -> float:
    return ConfusionMatrix.from_calls(target, is_called).f1


def _mcc(target: NDArray[np.bool_], is_called: NDArray[np.bool_]) -> float:
    return ConfusionMatrix.from_calls(target, is_called).mcc
