import itertools

import numpy as np
import pytest
from sklearn import metrics as sk

from pneumoscope.metrics.curves import (
    auroc,
    average_precision,
    midranks,
    precision_recall_curve,
    roc_curve,
)


def count_pairs(score: np.ndarray, target: np.ndarray) -> float:
    """Oracle: the definition of AUROC, pair by pair (Hanley & McNeil 1982)."""
    pairs = list(itertools.product(score[target], score[~target]))
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


def draw_scores(seed: int, *, n_levels: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Few levels, so that ties are certain."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_levels, size=60) / n_levels, np.arange(60) % 3 == 0


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_pair_counting_when_scores_tie(seed: int) -> None:
    score, target = draw_scores(seed)
    assert auroc(score, target) == pytest.approx(count_pairs(score, target), abs=1e-12)


def test_auroc_at_its_ends_and_of_a_constant() -> None:
    target = np.array([True, True, False])
    assert auroc(np.array([3.0, 2.0, 1.0]), target) == 1.0
    assert auroc(np.array([1.0, 1.0, 2.0]), target) == 0.0
    assert auroc(np.array([7.0, 7.0, 7.0]), target) == 0.5
    assert auroc(np.array([np.inf, 0.0, -np.inf]), target) == 1.0


def test_midranks_of_a_hand_worked_example() -> None:
    np.testing.assert_array_equal(
        midranks(np.array([5.0, 1.0, 5.0, 2.0, 5.0])), [4.0, 1.0, 4.0, 2.0, 4.0]
    )


@pytest.mark.parametrize("seed", range(3))
def test_roc_curve_equals_scikit_learn(seed: int) -> None:
    score, target = draw_scores(seed)
    curve = roc_curve(score, target)
    expected = sk.roc_curve(target, score, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, expected[0])
    np.testing.assert_allclose(curve.sensitivity, expected[1])
    np.testing.assert_array_equal(curve.threshold, expected[2])


@pytest.mark.parametrize("seed", range(3))
def test_precision_recall_curve_equals_scikit_learn(seed: int) -> None:
    score, target = draw_scores(seed)
    curve = precision_recall_curve(score, target)
    ppv, sensitivity, threshold = sk.precision_recall_curve(target, score)
    np.testing.assert_allclose(curve.ppv, ppv[::-1])
    np.testing.assert_allclose(curve.sensitivity, sensitivity[::-1])
    np.testing.assert_array_equal(curve.threshold, [np.inf, *threshold[::-1]])


@pytest.mark.parametrize("n_levels", [2, 8, 10**6])
def test_average_precision_equals_scikit_learn(n_levels: int) -> None:
    score, target = draw_scores(3, n_levels=n_levels)
    assert average_precision(score, target) == pytest.approx(
        sk.average_precision_score(target, score), abs=1e-12
    )


@pytest.mark.parametrize("figure", [auroc, average_precision, roc_curve, precision_recall_curve])
def test_bad_input_is_refused(figure) -> None:
    with pytest.raises(ValueError, match="needs both classes, but there are 2 positive and 0"):
        figure(np.array([0.1, 0.2]), np.array([True, True]))
    with pytest.raises(ValueError, match="score: shape"):
        figure(np.array([0.1, 0.2, 0.3]), np.array([True, False]))
    with pytest.raises(ValueError, match="score: has NaN"):
        figure(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="target: shape"):
        figure(np.array([]), np.array([], dtype=bool))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        figure(np.array([0.1, 0.2]), np.array([1.0, np.nan]))


def test_targets_of_0_and_1_mean_the_same_as_booleans() -> None:
    score, target = draw_scores(1)
    assert auroc(score, target.astype(np.int8)) == auroc(score, target)
