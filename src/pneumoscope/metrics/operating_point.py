"""Choose thresholds on the tuning split, by rules that can be repeated."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.core.types import OperatingPoint
from pneumoscope.metrics.checks import OneClassError, check_both_classes, checked_probability
from pneumoscope.metrics.confusion import ConfusionMatrix, wilson_interval

# Nearer to 0 or 1 than float32 can tell from 1; a logit of -16.1 or 16.1.
_PROBABILITY_FLOOR = 1e-7
# Standard deviation, in logits, below which the kernel never shrinks, however alike a class scores.
_MIN_BANDWIDTH = 0.1
# Where the classes are apart, the threshold keeps this share of the gap from either of them.
_GAP_MARGIN = 0.05
_GRID_SIZE = 401
_ZOOM_SIZE = 41


def balanced_threshold(probability: ArrayLike, target: ArrayLike) -> float:
    """Return the threshold that maximises the smoothed Youden index.

    The empirical index (sensitivity + specificity - 1) has a plateau wherever no radiograph scores,
    so that where the classes barely overlap a single one decides. Instead:

    1. Probabilities are clipped to [1e-7, 1 - 1e-7] and taken to logits. No threshold is found
       beyond these, logits of -16.1 and 16.1: a network that puts both classes there calls all
       alike until it is calibrated, as a bundle is.
    2. Each class's distribution of logits is smoothed by a logistic kernel whose standard deviation
       is Silverman's 0.9 A n ** -0.2, at least 0.1, with n the radiographs of the class and A the
       smaller of its standard deviation (divisor n) and its interquartile range / 1.349; where
       that range is 0, A is the standard deviation. The kernel's scale is its standard deviation
       times sqrt(3) / pi.
    3. At a logit t the smoothed sensitivity is the mean over positives of
       sigmoid((logit - t) / scale), the smoothed false-positive rate the same over negatives, and
       the index their difference.
    4. Its maximum is sought between the smallest and the largest logit. Where every positive scores
       above every negative, it is sought inside the gap only, 5 % of its width from either end.
       The middle is taken of a plateau. The sigmoid of that logit is the threshold.

    Args:
        probability: (N,) P(pneumonia), in [0, 1].
        target: (N,) True where the reference standard is positive.

    Returns: A probability; radiographs at or above it are called positive.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class, or a
        probability lies outside [0, 1].
    Source: Youden (1950), Cancer 3(1), 32-35; kernel smoothing for it, Fluss, Faraggi and Reiser
        (2005), Biometrical Journal 47(4), 458-472; bandwidth, Silverman (1986), Density Estimation,
        equation 3.31.
    """
    values, targets = checked_probability(probability, target)
    check_both_classes(targets, figure="balanced_threshold")
    clipped = np.clip(values, _PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
    # Sorted, so that the order of the radiographs cannot change a last digit of a sum.
    logits = np.log(clipped) - np.log1p(-clipped)
    positive, negative = np.sort(logits[targets]), np.sort(logits[~targets])
    low, high = min(positive[0], negative[0]), max(positive[-1], negative[-1])
    gap = positive[0] - negative[-1]
    if gap > 0:
        low, high = negative[-1] + _GAP_MARGIN * gap, positive[0] - _GAP_MARGIN * gap
    best = _maximise_index(positive, negative, low=float(low), high=float(high))
    return 1 / (1 + math.exp(-best))


def sensitive_threshold(
    probability: ArrayLike, target: ArrayLike, *, min_sensitivity: float = 0.95
) -> float:
    """Return the largest threshold whose sensitivity on these radiographs is high enough.

    It is the score of a positive radiograph: the k-th largest of M, k the smallest whole number
    with k / M >= min_sensitivity.

    Args:
        probability: (N,) P(pneumonia), in [0, 1].
        target: (N,) True where the reference standard is positive; at least one is.
        min_sensitivity: Above 0, at most 1.

    Returns: A probability; radiographs at or above it are called positive.
    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or no positive, a
        probability lies outside [0, 1], or min_sensitivity is not above 0 and at most 1.
    """
    values, targets = checked_probability(probability, target)
    if not 0 < min_sensitivity <= 1:
        raise ValueError(f"min_sensitivity: {min_sensitivity}; give a value above 0, at most 1.")
    descending = np.sort(values[targets])[::-1]
    if descending.size == 0:
        raise OneClassError("sensitive_threshold: there is no positive radiograph.")
    share = np.arange(1, descending.size + 1) / descending.size
    return float(descending[np.searchsorted(share, min_sensitivity)])


def choose_operating_points(
    probability: ArrayLike, target: ArrayLike
) -> tuple[OperatingPoint, ...]:
    """Return the points ``balanced`` and ``sensitive`` of the tuning split, with Wilson intervals.

    The intervals take radiographs as independent, and the points as given: having been chosen on
    these radiographs, they look a little better here than elsewhere.

    Args:
        probability: (N,) P(pneumonia) on the tuning split, in [0, 1].
        target: (N,) True where the reference standard is positive.

    Raises: ValueError: the arrays differ in shape, are empty, hold NaN or only one class, or a
        probability lies outside [0, 1].
    """
    values, targets = checked_probability(probability, target)
    thresholds = {
        "balanced": balanced_threshold(values, targets),
        "sensitive": sensitive_threshold(values, targets),
    }
    return tuple(
        _operating_point(name, threshold, values, targets) for name, threshold in thresholds.items()
    )


def _operating_point(
    name: str, threshold: float, values: NDArray[np.float64], targets: NDArray[np.bool_]
) -> OperatingPoint:
    matrix = ConfusionMatrix.from_calls(targets, values >= threshold)
    return OperatingPoint(
        name=name,
        threshold=threshold,
        sensitivity=matrix.sensitivity,
        specificity=matrix.specificity,
        measured_on="tuning",
        sensitivity_interval=wilson_interval(matrix.true_positive, matrix.n_positive),
        specificity_interval=wilson_interval(matrix.true_negative, matrix.n_negative),
    )


def _kernel_scale(logits: NDArray[np.float64]) -> float:
    deviation = float(logits.std())
    lower, upper = np.quantile(logits, [0.25, 0.75])
    robust = float(upper - lower) / 1.349
    # Half of a class clipped to one value has no interquartile range, but the class has a spread.
    spread = min(deviation, robust) if robust > 0 else deviation
    bandwidth = max(_MIN_BANDWIDTH, 0.9 * spread * math.pow(logits.size, -0.2))
    return bandwidth * math.sqrt(3) / math.pi


def _maximise_index(
    positive: NDArray[np.float64], negative: NDArray[np.float64], *, low: float, high: float
) -> float:
    """Return the logit in [low, high] with the largest smoothed Youden index."""
    positive_scale, negative_scale = _kernel_scale(positive), _kernel_scale(negative)
    size = _GRID_SIZE
    while True:
        grid = np.linspace(low, high, size)
        # A loop, because (grid, N) at once would take gigabytes for a large tuning split.
        index = np.array(
            [
                _mean_sigmoid((positive - t) / positive_scale)
                - _mean_sigmoid((negative - t) / negative_scale)
                for t in grid
            ]
        )
        # Differences below this are rounding.
        is_top = index >= index.max() - 1e-13
        first = int(np.argmax(is_top))
        n_top = int(np.argmin(np.append(is_top[first:], False)))
        if n_top > 2 or high - low < 1e-9:
            return float((grid[first] + grid[first + n_top - 1]) / 2)
        low, high = float(grid[max(first - 1, 0)]), float(grid[min(first + n_top, size - 1)])
        size = _ZOOM_SIZE


def _mean_sigmoid(x: NDArray[np.float64]) -> float:
    # tanh, because exp would overflow far from the threshold
    return float(np.mean(0.5 * (1 + np.tanh(x / 2))))
