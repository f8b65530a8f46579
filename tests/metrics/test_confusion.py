import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from pneumoscope.metrics.confusion import ConfusionMatrix, mcnemar_exact, wilson_interval


def draw_calls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random(80) < 0.6
    return target, np.where(rng.random(80) < 0.8, target, ~target)


@pytest.mark.parametrize("seed", range(5))
def test_every_figure_equals_scikit_learn(seed: int) -> None:
    target, is_called = draw_calls(seed)
    matrix = ConfusionMatrix.from_calls(target, is_called)
    counts = (
        matrix.true_negative,
        matrix.false_positive,
        matrix.false_negative,
        matrix.true_positive,
    )
    assert counts == tuple(sk.confusion_matrix(target, is_called).ravel())
    assert matrix.accuracy == pytest.approx(sk.accuracy_score(target, is_called))
    assert matrix.sensitivity == pytest.approx(sk.recall_score(target, is_called))
    assert matrix.specificity == pytest.approx(sk.recall_score(~target, ~is_called))
    assert matrix.ppv == pytest.approx(sk.precision_score(target, is_called))
    assert matrix.npv == pytest.approx(sk.precision_score(~target, ~is_called))
    assert matrix.f1 == pytest.approx(sk.f1_score(target, is_called))
    assert matrix.mcc == pytest.approx(sk.matthews_corrcoef(target, is_called))
    assert matrix.prevalence == pytest.approx(np.mean(target))


def test_published_matrix_gives_the_figures_its_source_printed() -> None:
    # The gray-150 source: 383, 7 / 70, 164 gave accuracy 0.8766, precision 0.85, recall 0.98.
    matrix = ConfusionMatrix(
        true_positive=383, false_negative=7, false_positive=70, true_negative=164
    )
    assert round(matrix.accuracy, 4) == 0.8766
    assert round(matrix.ppv, 2) == 0.85
    assert round(matrix.sensitivity, 2) == 0.98
    assert round(matrix.npv, 2) == 0.96
    assert round(matrix.specificity, 2) == 0.70


def test_empty_denominator_is_nan_and_not_zero() -> None:
    never_called = ConfusionMatrix.from_calls(np.array([True, False]), np.array([False, False]))
    assert math.isnan(never_called.ppv)
    assert math.isnan(never_called.mcc)
    assert never_called.f1 == 0.0  # defined: one positive radiograph was missed
    no_positive = ConfusionMatrix.from_calls(np.array([False, False]), np.array([False, False]))
    assert math.isnan(no_positive.sensitivity)
    assert math.isnan(no_positive.f1)
    assert math.isnan(no_positive.mcc)
    always_called = ConfusionMatrix.from_calls(np.array([True, True]), np.array([True, True]))
    assert math.isnan(always_called.npv)
    assert math.isnan(always_called.specificity)


def test_mcc_of_a_million_radiographs_does_not_overflow() -> None:
    n = 10**6
    matrix = ConfusionMatrix(true_positive=n, false_negative=0, false_positive=0, true_negative=n)
    assert matrix.mcc == 1.0


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_values(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 7), (390, 390), (0, 234)])
def test_wilson_interval_equals_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_without_trials_is_nan() -> None:
    assert all(math.isnan(end) for end in wilson_interval(0, 0))


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(
    ("n_only_a", "n_only_b"), [(0, 1), (5, 5), (2, 11), (60, 31), (1, 0), (700, 800)]
)
def test_mcnemar_equals_the_binomial_test(n_only_a: int, n_only_b: int) -> None:
    # 4 radiographs both right, 3 both wrong: they must not count
    is_right_a = np.repeat([True, False, True, False], [n_only_a, n_only_b, 4, 3])
    is_right_b = np.repeat([False, True, True, False], [n_only_a, n_only_b, 4, 3])
    result = mcnemar_exact(is_right_a, is_right_b)
    assert (result.n_only_a, result.n_only_b) == (n_only_a, n_only_b)
    expected = binomtest(n_only_a, n_only_a + n_only_b, 0.5).pvalue
    assert result.p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_equal_detectors_is_one() -> None:
    is_right = np.array([True, False, True])
    assert mcnemar_exact(is_right, is_right).p_value == 1.0


def test_unequal_shapes_and_other_values_are_refused() -> None:
    with pytest.raises(ValueError, match="is_called: shape"):
        ConfusionMatrix.from_calls(np.array([True, False]), np.array([True]))
    with pytest.raises(ValueError, match="is_called: has values other"):
        ConfusionMatrix.from_calls(np.array([True, False]), np.array([0.2, 0.9]))
    with pytest.raises(ValueError, match="is_right_b: shape"):
        mcnemar_exact(np.array([True, False]), np.array([True]))
