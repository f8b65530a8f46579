"""How far predicted probabilities can be taken at their word."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.checks import checked_probability
from pneumoscope.metrics.confusion import wilson_interval


@dataclass(frozen=True, slots=True)
class ReliabilityBins:
    """Predicted against observed share of pneumonia in B bins of equal width.

    Bin k holds k / B <= P(pneumonia) < (k + 1) / B; the last one holds 1 too. An empty bin has NaN.
    """

    n: NDArray[np.int64]  # (B,) radiographs
    mean_probability: NDArray[np.float64]  # (B,)
    fraction_positive: NDArray[np.float64]  # (B,)
    low: NDArray[np.float64]  # (B,) Wilson 95 % interval of fraction_positive
    high: NDArray[np.float64]  # (B,)


def brier_score(probability: ArrayLike, target: ArrayLike) -> float:
    """Return the mean squared error of predicted probabilities.

    Args:
        probability: (N,) P(pneumonia) after calibration, in [0, 1].
        target: (N,) True where the reference standard is positive.

    Returns: Unitless; 0 is perfect, and a constant 0.5 scores 0.25.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN, or a probability lies
        outside [0, 1].
    Source: Brier (1950), Monthly Weather Review 78(1), 1-3.
    """
    values, targets = checked_probability(probability, target)
    return float(np.mean((values - targets) ** 2))


def expected_calibration_error(
    probability: ArrayLike, target: ArrayLike, *, n_bins: int = 10
) -> float:
    """Return the mean gap between predicted and observed share of pneumonia.

    Bins are of equal width over P(pneumonia), not over the confidence in the called class, and
    weigh as many radiographs as they hold. Chance alone makes it positive, so that even
    well-calibrated probabilities score above 0 in a small sample.

    Args:
        probability: (N,) P(pneumonia) after calibration, in [0, 1].
        target: (N,) True where the reference standard is positive.
        n_bins: How many bins, 1 or more.

    Returns: 0 (perfect) to 1.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN, a probability lies outside
        [0, 1], or there is no bin.
    Source: Naeini, Cooper and Hauskrecht (2015), AAAI, 2901-2907.
    """
    values, targets = checked_probability(probability, target)
    index = _bin_index(values, n_bins)
    # n_bin / N times the gap of the means is the gap of the sums over N; an empty bin adds 0.
    gap = np.bincount(index, weights=values - targets, minlength=n_bins)
    return float(np.abs(gap).sum() / values.size)


def reliability(probability: ArrayLike, target: ArrayLike, *, n_bins: int = 10) -> ReliabilityBins:
    """Return the points of a reliability diagram.

    Args:
        probability: (N,) P(pneumonia) after calibration, in [0, 1].
        target: (N,) True where the reference standard is positive.
        n_bins: How many bins, 1 or more.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN, a probability lies outside
        [0, 1], or there is no bin.
    """
    values, targets = checked_probability(probability, target)
    index = _bin_index(values, n_bins)
    n = np.bincount(index, minlength=n_bins)
    n_positive = np.bincount(index[targets], minlength=n_bins)
    total = np.bincount(index, weights=values, minlength=n_bins)
    divisor = np.where(n > 0, n, np.nan)
    interval = np.array(
        [wilson_interval(int(k), int(size)) for k, size in zip(n_positive, n, strict=True)]
    )
    return ReliabilityBins(
        n=n.astype(np.int64),
        mean_probability=total / divisor,
        fraction_positive=n_positive / divisor,
        low=interval[:, 0],
        high=interval[:, 1],
    )


def _bin_index(values: NDArray[np.float64], n_bins: int) -> NDArray[np.intp]:
    if n_bins < 1:
        raise ValueError(f"n_bins: {n_bins}; give 1 or more.")
    # k / n_bins, not k * (1 / n_bins): 3 * 0.1 is above 0.3, which would drop 0.3 into bin 2.
    inner_edges = np.arange(1, n_bins) / n_bins
    return np.searchsorted(inner_edges, values, side="right")
