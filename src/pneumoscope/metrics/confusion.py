"""Figures of merit at one threshold, from the four counts of a confusion matrix."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.checks import checked_target

# The 97.5th percentile of the normal law: every interval of this package is a two-sided 95 % one.
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """How many radiographs were called right and wrong, by class.

    Every figure is unitless, and NaN where its denominator is empty: a PPV without a positive call
    is unknown, not 0.
    """

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @classmethod
    def from_calls(cls, target: ArrayLike, is_called: ArrayLike) -> Self:
        """Count the four outcomes.

        Args:
            target: (N,) True where the reference standard is positive.
            is_called: (N,) True where the detector says pneumonia.

        Raises: ValueError: the arrays differ in shape, are empty, or hold more than 0 and 1.
        """
        targets, calls = checked_target(target), _checked_flags(is_called, "is_called")
        _check_same_shape(targets, calls, "target", "is_called")
        n_positive, n_called = int(np.count_nonzero(targets)), int(np.count_nonzero(calls))
        true_positive = int(np.count_nonzero(targets & calls))
        return cls(
            true_positive=true_positive,
            false_negative=n_positive - true_positive,
            false_positive=n_called - true_positive,
            true_negative=targets.size - n_positive - n_called + true_positive,
        )

    @property
    def n(self) -> int:
        """All radiographs."""
        return self.n_positive + self.n_negative

    @property
    def n_positive(self) -> int:
        """Radiographs whose target is positive."""
        return self.true_positive + self.false_negative

    @property
    def n_negative(self) -> int:
        """Radiographs whose target is negative."""
        return self.false_positive + self.true_negative

    @property
    def n_called(self) -> int:
        """Radiographs called positive."""
        return self.true_positive + self.false_positive

    @property
    def prevalence(self) -> float:
        """Share of radiographs whose target is positive."""
        return _ratio(self.n_positive, self.n)

    @property
    def accuracy(self) -> float:
        """Share of radiographs called right."""
        return _ratio(self.true_positive + self.true_negative, self.n)

    @property
    def sensitivity(self) -> float:
        """Share of the positive radiographs that are called positive (recall)."""
        return _ratio(self.true_positive, self.n_positive)

    @property
    def specificity(self) -> float:
        """Share of the negative radiographs that are called negative."""
        return _ratio(self.true_negative, self.n_negative)

    @property
    def ppv(self) -> float:
        """Positive predictive value: share of the positive calls that are right (precision)."""
        return _ratio(self.true_positive, self.n_called)

    @property
    def npv(self) -> float:
        """Negative predictive value: share of the negative calls that are right."""
        return _ratio(self.true_negative, self.n - self.n_called)

    @property
    def f1(self) -> float:
        """Harmonic mean of PPV and sensitivity; NaN without a positive target or call.

        Source: van Rijsbergen (1979), Information Retrieval, 2nd ed., chapter 7.
        """
        n_wrong = self.false_positive + self.false_negative
        return _ratio(2 * self.true_positive, 2 * self.true_positive + n_wrong)

    @property
    def mcc(self) -> float:
        """Matthews correlation, -1 to 1; NaN where a class or a kind of call is empty.

        Source: Matthews (1975), Biochimica et Biophysica Acta 405(2), 442-451.
        """
        margins = self.n_positive * self.n_negative * self.n_called * (self.n - self.n_called)
        if margins == 0:
            return math.nan
        difference = self.true_positive * self.true_negative
        difference -= self.false_positive * self.false_negative
        return difference / math.sqrt(margins)


@dataclass(frozen=True, slots=True)
class McNemarResult:
    """How often only one of two detectors is right, and whether chance explains the imbalance."""

    n_only_a: int  # radiographs that only detector a calls right
    n_only_b: int
    p_value: float  # two-sided, exact


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion, without continuity correction.

    Args:
        successes: 0 to ``n``.
        n: The trials, taken as independent. With 0 trials both ends are NaN.

    Raises: ValueError: ``successes`` is not in 0 to ``n``.
    Source: Wilson (1927), JASA 22(158), 209-212; method 3 of Newcombe (1998), Statistics in
        Medicine 17(8), 857-872.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes: {successes} of {n}; it must be 0 to n.")
    if n == 0:
        return math.nan, math.nan
    share = successes / n
    shrink = 1 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / shrink
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n)) / shrink
    # At the ends the formula gives exactly 0 or 1, but for rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def mcnemar_exact(is_right_a: ArrayLike, is_right_b: ArrayLike) -> McNemarResult:
    """Test whether two detectors have the same accuracy on the same radiographs.

    Exact and two-sided: under equal accuracy the radiographs that only one of them calls right
    fall to either like a fair coin. Radiographs are taken as independent.

    Args:
        is_right_a: (N,) True where detector a calls the radiograph right.
        is_right_b: (N,) the same for detector b, in the same order.

    Returns: The two counts and the p-value, 1 where neither or both count equally.
    Raises: ValueError: the arrays differ in shape, are empty, or hold more than 0 and 1.
    Source: McNemar (1947), Psychometrika 12(2), 153-157.
    """
    right_a = _checked_flags(is_right_a, "is_right_a")
    right_b = _checked_flags(is_right_b, "is_right_b")
    _check_same_shape(right_a, right_b, "is_right_a", "is_right_b")
    n_only_a = int(np.count_nonzero(right_a & ~right_b))
    n_only_b = int(np.count_nonzero(right_b & ~right_a))
    n = n_only_a + n_only_b
    # Logarithms, because 2**n overflows a float from 1,024 discordant radiographs on.
    tail = math.fsum(
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
        for k in range(min(n_only_a, n_only_b) + 1)
    )
    return McNemarResult(n_only_a, n_only_b, min(1.0, 2 * tail))


def _checked_flags(flags: ArrayLike, name: str) -> NDArray[np.bool_]:
    try:
        return checked_target(flags)
    except ValueError as error:
        raise ValueError(str(error).replace("target", name, 1)) from None


def _check_same_shape(
    first: NDArray[np.bool_], second: NDArray[np.bool_], first_name: str, second_name: str
) -> None:
    if first.shape != second.shape:
        raise ValueError(
            f"{second_name}: shape {second.shape}, but {first_name} has {first.shape}; "
            "give one of each a radiograph, in the same order."
        )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
