import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss

from pneumoscope.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    reliability,
)

# By hand, ten bins: 0.05 and 0.09 in bin 0 (mean 0.07, none of 2 positive); 0.3 in bin 3, because
# the lower edge belongs to its bin (1 of 1); 0.92 and 1.0 in bin 9 (mean 0.96, 1 of 2).
PROBABILITY = np.array([0.05, 0.09, 0.30, 0.92, 1.00])
TARGET = np.array([False, False, True, True, False])


def ece_bin_by_bin(probability: np.ndarray, target: np.ndarray, n_bins: int) -> float:
    """Oracle: the definition, with one mask a bin."""
    total = 0.0
    for k in range(n_bins):
        is_last = k == n_bins - 1
        inside = (probability >= k / n_bins) & ((probability < (k + 1) / n_bins) | is_last)
        if inside.any():
            gap = abs(probability[inside].mean() - target[inside].mean())
            total += inside.sum() / len(target) * gap
    return total


def test_calibration_error_of_a_hand_made_table() -> None:
    expected = 2 / 5 * 0.07 + 1 / 5 * 0.7 + 2 / 5 * 0.46
    assert expected_calibration_error(PROBABILITY, TARGET) == pytest.approx(expected)


@pytest.mark.parametrize("n_bins", [1, 3, 10, 17])
def test_calibration_error_equals_its_definition(n_bins: int) -> None:
    rng = np.random.default_rng(0)
    probability = np.round(rng.random(300), 2)  # many values right on an edge
    target = rng.random(300) < probability**2
    assert expected_calibration_error(probability, target, n_bins=n_bins) == pytest.approx(
        ece_bin_by_bin(probability, target, n_bins)
    )


def test_bins_are_of_probability_not_of_confidence() -> None:
    # Calls are all right at confidence 0.9 to 1; folding 0.1 onto 0.9 would hide the two gaps.
    probability = np.array([0.15] * 10 + [0.85] * 10)
    target = np.array([True] * 3 + [False] * 7 + [True] * 10)
    assert expected_calibration_error(probability, target) == pytest.approx(0.15)


def test_reliability_of_a_hand_made_table() -> None:
    bins = reliability(PROBABILITY, TARGET)
    nan = np.nan
    np.testing.assert_array_equal(bins.n, [2, 0, 0, 1, 0, 0, 0, 0, 0, 2])
    np.testing.assert_allclose(
        bins.mean_probability, [0.07, nan, nan, 0.3, nan, nan, nan, nan, nan, 0.96]
    )
    np.testing.assert_allclose(
        bins.fraction_positive, [0, nan, nan, 1, nan, nan, nan, nan, nan, 0.5]
    )
    expected = binomtest(1, 2).proportion_ci(method="wilson")
    assert (bins.low[9], bins.high[9]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(bins.low[1])
    assert np.isnan(bins.high[1])


def test_every_tenth_opens_its_own_bin() -> None:
    tenths = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    np.testing.assert_array_equal(reliability(tenths, tenths > 0.5).n, np.ones(10))


def test_brier_score_equals_scikit_learn_and_a_constant_scores_a_quarter() -> None:
    rng = np.random.default_rng(1)
    probability, target = rng.random(50), rng.random(50) < 0.4
    expected = brier_score_loss(target, probability)
    assert brier_score(probability, target) == pytest.approx(expected)
    assert brier_score(np.full(50, 0.5), target) == 0.25


@pytest.mark.parametrize("figure", [brier_score, expected_calibration_error, reliability])
def test_bad_input_is_refused(figure) -> None:
    target = np.array([True, False])
    with pytest.raises(ValueError, match=r"\[0, 1\]. Were logits given"):
        figure(np.array([0.5, 1.5]), target)
    with pytest.raises(ValueError, match=r"\[0, 1\]. Were logits given"):
        figure(np.array([-0.1, 0.5]), target)
    with pytest.raises(ValueError, match="probability: has NaN"):
        figure(np.array([0.5, np.nan]), target)
    with pytest.raises(ValueError, match="probability: shape"):
        figure(np.array([0.5]), target)
    with pytest.raises(ValueError, match="target: shape"):
        figure(np.array([]), np.array([]))


def test_no_bin_is_refused() -> None:
    with pytest.raises(ValueError, match="n_bins"):
        expected_calibration_error(PROBABILITY, TARGET, n_bins=0)
