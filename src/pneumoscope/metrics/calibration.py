"""How far predicted probabilities can be taken at their word, and how to mend them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.checks import check_both_classes, checked_pair, checked_probability
from pneumoscope.metrics.confusion import wilson_interval

_MAX_STEPS = 200
_SAME = 1e-12  # float64 probabilities differ less where they are the same sigmoid
# Bundles give float32, and onnxruntime approximates the sigmoid: both are right to about 1e-7.
_LEAST_TOLD = 1e-5
_MISFIT = 1e-4
_SMALLEST_STEP = 1e-10


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns a logit into a probability: sigmoid((logit + bias) / temperature)."""

    temperature: float  # above 0
    bias: float  # in logits

    def log_odds(self, logit: ArrayLike) -> NDArray[np.float64]:
        """Return log(p / (1 - p)) of logits of any shape: unbounded, where p would round to 1."""
        values = np.asarray(logit, dtype=np.float64)
        return np.asarray((values + self.bias) / self.temperature, dtype=np.float64)

    def probability(self, logit: ArrayLike) -> NDArray[np.float64]:
        """Return P(pneumonia) of logits of any shape, in [0, 1]."""
        return np.exp(-np.logaddexp(0, -self.log_odds(logit)))


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


def fit_calibration(logit: ArrayLike, target: ArrayLike) -> Calibration:
    """Return the calibration under which these radiographs' targets are the likeliest.

    Targets are smoothed as Platt does, positives to (N+ + 1) / (N+ + 2) and negatives to
    1 / (N- + 2), so that the fit stays finite where a threshold parts the classes. Newton steps,
    halved until the loss falls.

    Args:
        logit: (N,) before the sigmoid, of radiographs that taught the network nothing.
        target: (N,) True where the reference standard is positive.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN, an infinite logit or only
        one class; or positives do not score higher than negatives, so that no temperature fits.
    Source: Platt (1999), Advances in Large Margin Classifiers, 61-74; the steps, Lin, Lin and Weng
        (2007), Machine Learning 68(3), 267-276.
    """
    values, targets = checked_pair(logit, target, name="logit")
    check_both_classes(targets, figure="fit_calibration")
    if not np.isfinite(values).all():
        raise ValueError("logit: has infinite values; leave those radiographs out.")
    # In units of their own spread, so that logits in the thousands are as easy as those near 1.
    centre, spread = float(values.mean()), float(values.std())
    slope, offset = _fit_sigmoid((values - centre) / spread, targets) if spread > 0 else (0.0, 0.0)
    if slope <= 0:
        raise ValueError(
            "fit_calibration: positives do not score higher than negatives, so no temperature "
            "above 0 fits. The detector tells nothing, or its sign is wrong."
        )
    return Calibration(temperature=spread / slope, bias=offset * spread / slope - centre)


def recover_calibration(logit: ArrayLike, probability: ArrayLike) -> Calibration:
    """Return the calibration by which these probabilities were worked out from these logits.

    Over the logits the log odds of the probabilities lie on a straight line, which is fitted by
    least squares where both p and 1 - p are above 1e-5. A rounding of p moves the log odds
    1 / (p (1 - p)) times as far, so squared residuals weigh (p (1 - p)) ** 2. Where the sigmoid
    alone gives the probabilities the answer is exact: temperature 1 and bias 0. With one such
    logit the temperature is taken as 1, with none the bias as 0, too.

    Args:
        logit: (N,) before the sigmoid.
        probability: (N,) in [0, 1]; float32 is exact enough.

    Raises: ValueError: the arrays differ in shape, are empty or hold NaN or infinity, or no
        calibration gives these probabilities to within 1e-4.
    """
    z, p = np.asarray(logit, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if z.shape != p.shape or z.ndim != 1 or z.size == 0:
        raise ValueError(
            f"logit: shape {z.shape}, but probability has {p.shape}; give one of each."
        )
    if not (np.isfinite(z).all() and np.isfinite(p).all()):
        raise ValueError("logit or probability: has no number, or an infinite one, in it.")
    plain = Calibration(temperature=1.0, bias=0.0)
    if np.abs(plain.probability(z) - p).max() <= _SAME:
        return plain
    is_told = np.minimum(p, 1 - p) > _LEAST_TOLD
    found = _line_through(z[is_told], p[is_told]) if is_told.any() else plain
    if found is None or np.abs(found.probability(z) - p).max() > _MISFIT:
        raise ValueError(
            "probability: is not sigmoid((logit + bias) / temperature) for any temperature and "
            "bias. One of the two was changed."
        )
    return found


def _line_through(z: NDArray[np.float64], p: NDArray[np.float64]) -> Calibration | None:
    """Return the calibration that fits best; None where p does not rise with the logit."""
    log_odds = np.log(p) - np.log1p(-p)
    weight = (p * (1 - p)) ** 2
    z_mean = float(np.average(z, weights=weight))
    mean = float(np.average(log_odds, weights=weight))
    slope = 1.0
    if np.ptp(z) > 0:
        away = weight * (z - z_mean)
        slope = float(away @ (log_odds - mean) / (away @ (z - z_mean)))
    return Calibration(temperature=1 / slope, bias=mean / slope - z_mean) if slope > 0 else None


def _fit_sigmoid(z: NDArray[np.float64], target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return (slope, offset) that minimise the cross-entropy of sigmoid(slope * z + offset)."""
    n_positive = int(np.count_nonzero(target))
    n_negative = target.size - n_positive
    wanted = np.where(target, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(slope: float, offset: float) -> float:
        x = slope * z + offset
        return float(np.sum(np.logaddexp(0, x) - wanted * x))

    slope, offset = 0.0, math.log((n_positive + 1) / (n_negative + 1))
    now = loss(slope, offset)
    for _ in range(_MAX_STEPS):
        p = np.exp(-np.logaddexp(0, -(slope * z + offset)))
        weight = p * (1 - p)
        # Damped by a hair, because far out every weight is 0 and nothing could be divided by.
        a, b, c = weight @ (z * z) + 1e-12, weight @ z, weight.sum() + 1e-12
        by_slope, by_offset = (p - wanted) @ z, float(np.sum(p - wanted))
        determinant = a * c - b * b
        d_slope = -(c * by_slope - b * by_offset) / determinant
        d_offset = -(a * by_offset - b * by_slope) / determinant
        step = 1.0
        while step > _SMALLEST_STEP:
            then = loss(slope + step * d_slope, offset + step * d_offset)
            if then <= now + 1e-4 * step * (by_slope * d_slope + by_offset * d_offset):
                break
            step /= 2
        else:
            break  # no step gets lower: rounding is all that is left
        slope, offset = float(slope + step * d_slope), float(offset + step * d_offset)
        if max(abs(d_slope), abs(d_offset)) * step < _SMALLEST_STEP:
            break
        now = then
    return slope, offset


def _bin_index(values: NDArray[np.float64], n_bins: int) -> NDArray[np.intp]:
    if n_bins < 1:
        raise ValueError(f"n_bins: {n_bins}; give 1 or more.")
    # k / n_bins, not k * (1 / n_bins): 3 * 0.1 is above 0.3, which would drop 0.3 into bin 2.
    inner_edges = np.arange(1, n_bins) / n_bins
    return np.searchsorted(inner_edges, values, side="right")
