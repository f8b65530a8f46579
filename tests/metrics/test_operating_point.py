import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from pneumoscope.metrics.operating_point import (
    balanced_threshold,
    choose_operating_points,
    sensitive_threshold,
)


def draw_normals(
    seed: int, *, means: tuple[float, float], n: tuple[int, int], deviations=(1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and targets; normal laws on the logit scale, positives first."""
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(m, s, k) for m, s, k in zip(means, deviations, n, strict=True)]
    return expit(np.concatenate(drawn)), np.arange(sum(n)) < n[0]


def empirical_youden(probability: np.ndarray, target: np.ndarray) -> float:
    """The rule that is not stable: the score with the largest unsmoothed index."""
    levels = np.unique(probability)
    positive, negative = np.sort(probability[target]), np.sort(probability[~target])
    sensitivity = 1 - np.searchsorted(positive, levels) / positive.size
    false_positive_rate = 1 - np.searchsorted(negative, levels) / negative.size
    return float(levels[np.argmax(sensitivity - false_positive_rate)])


def test_balanced_is_the_midpoint_of_two_equal_normals() -> None:
    probability, target = draw_normals(0, means=(2.0, -1.0), n=(8000, 8000))
    assert logit(balanced_threshold(probability, target)) == pytest.approx(0.5, abs=0.05)


def test_balanced_is_where_the_densities_cross_when_spreads_differ() -> None:
    probability, target = draw_normals(1, means=(3.0, -1.0), n=(8000, 5000), deviations=(2.0, 1.0))
    crossing = brentq(lambda t: norm.pdf(t, 3, 2) - norm.pdf(t, -1, 1), -1, 3)
    assert logit(balanced_threshold(probability, target)) == pytest.approx(crossing, abs=0.1)


def test_balanced_does_not_depend_on_the_prevalence() -> None:
    probability, target = draw_normals(2, means=(1.0, -1.0), n=(12000, 1500))
    assert logit(balanced_threshold(probability, target)) == pytest.approx(0.0, abs=0.12)


@pytest.mark.parametrize("is_clipped", [False, True])
def test_balanced_equals_the_documented_rule_on_a_fine_grid(is_clipped: bool) -> None:
    probability, target = draw_normals(3, means=(2.0, -1.5), n=(40, 25), deviations=(1.5, 1.0))
    if is_clipped:  # most positives at one value: their interquartile range is 0
        probability = np.where(probability > 0.7, 0.9999, probability)
    grid = np.linspace(-4, 4, 80001)

    def smoothed(values: np.ndarray) -> np.ndarray:
        iqr = np.subtract(*np.percentile(values, [75, 25]))
        spread = min(np.std(values), iqr / 1.349) if iqr > 0 else np.std(values)
        bandwidth = 0.9 * spread * len(values) ** (-1 / 5)
        scale = max(0.1, bandwidth) * math.sqrt(3) / math.pi
        return np.mean([expit((x - grid) / scale) for x in values], axis=0)

    x = logit(probability)
    expected = grid[np.argmax(smoothed(x[target]) - smoothed(x[~target]))]
    assert logit(balanced_threshold(probability, target)) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("seed", range(20))
def test_balanced_lies_between_classes_that_are_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 60, size=2)
    negative = -rng.exponential(4.0, n[0])
    positive = rng.uniform(0.1, 3) + rng.exponential(rng.uniform(0.1, 5), n[1])
    probability = expit(np.concatenate([negative, positive]))
    threshold = balanced_threshold(probability, np.arange(n.sum()) >= n[0])
    assert probability[: n[0]].max() < threshold < probability[n[0] :].min()


def test_balanced_lies_below_a_positive_straggler_when_classes_are_apart() -> None:
    # The smoothed index alone peaks above that one radiograph, and calls it negative.
    probability, target = draw_normals(10, means=(6.0, -6.0), n=(100, 100))
    probability[0] = expit(logit(probability[~target].max()) + 0.1)
    threshold = balanced_threshold(probability, target)
    assert probability[~target].max() < threshold < probability[0]


def test_balanced_takes_the_middle_of_a_plateau() -> None:
    probability = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    assert balanced_threshold(probability, probability > 0.5) == pytest.approx(0.5)


def test_balanced_survives_scores_of_exactly_0_and_1_and_equal_scores() -> None:
    probability, target = draw_normals(4, means=(8.0, -3.0), n=(60, 40), deviations=(6.0, 2.0))
    probability = np.where(probability > 0.9999, 1.0, probability)
    probability[-1] = 0.0
    assert 0.05 < balanced_threshold(probability, target) < 0.99
    same = np.full(100, 0.7)
    assert balanced_threshold(same, target) == pytest.approx(0.7)


@pytest.mark.parametrize("means", [(6.0, -5.0), (2.5, -2.0)])
def test_balanced_varies_less_than_the_empirical_index(means: tuple[float, float]) -> None:
    # Fresh tuning sets of one law, not resamples of one set: in those the same few radiographs
    # decide the empirical index again and again, which hides how much it hangs on them.
    drawn = [
        draw_normals(seed, means=means, n=(388, 134), deviations=(2.5, 2.0)) for seed in range(60)
    ]
    balanced = np.var([logit(balanced_threshold(*sample)) for sample in drawn])
    empirical = np.var([logit(empirical_youden(*sample)) for sample in drawn])
    assert balanced < empirical / 1.5


def test_thresholds_do_not_depend_on_the_order() -> None:
    probability, target = draw_normals(7, means=(2.0, -2.0), n=(90, 50))
    order = np.random.default_rng(0).permutation(target.size)
    for rule in (balanced_threshold, sensitive_threshold):
        assert rule(probability[order], target[order]) == rule(probability, target)


def test_balanced_mirrors_when_the_classes_swap() -> None:
    probability, target = draw_normals(8, means=(2.0, -1.0), n=(70, 30), deviations=(2.0, 1.0))
    mirrored = balanced_threshold(1 - probability, ~target)
    assert mirrored == pytest.approx(1 - balanced_threshold(probability, target), abs=1e-6)


@pytest.mark.parametrize("n", [1, 7, 20, 39, 100])
@pytest.mark.parametrize("min_sensitivity", [0.5, 0.95, 1.0])
def test_sensitive_is_the_largest_threshold_that_suffices(n: int, min_sensitivity: float) -> None:
    rng = np.random.default_rng(n)
    probability = np.round(rng.random(n + 5), 2)  # ties
    target = np.arange(n + 5) < n
    threshold = sensitive_threshold(probability, target, min_sensitivity=min_sensitivity)
    positive = probability[target]
    assert np.mean(positive >= threshold) >= min_sensitivity
    assert np.mean(positive >= np.nextafter(threshold, 2)) < min_sensitivity


def test_operating_points_state_what_they_achieve() -> None:
    probability, target = draw_normals(9, means=(1.5, -1.5), n=(80, 60))
    balanced, sensitive = choose_operating_points(probability, target)
    assert [balanced.name, sensitive.name] == ["balanced", "sensitive"]
    assert balanced.threshold == balanced_threshold(probability, target)
    assert sensitive.threshold == sensitive_threshold(probability, target)
    assert sensitive.sensitivity >= 0.95
    for point in (balanced, sensitive):
        is_called = np.array([point.is_positive(p) for p in probability])
        assert point.sensitivity == np.mean(is_called[target])
        assert point.specificity == np.mean(~is_called[~target])
        assert point.measured_on == "tuning"
        for interval, n_right, n in (
            (point.sensitivity_interval, is_called[target].sum(), 80),
            (point.specificity_interval, (~is_called[~target]).sum(), 60),
        ):
            expected = binomtest(int(n_right), n).proportion_ci(method="wilson")
            assert interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("rule", [balanced_threshold, sensitive_threshold, choose_operating_points])
def test_bad_input_is_refused(rule) -> None:
    target = np.array([True, False])
    with pytest.raises(ValueError, match=r"\[0, 1\]. Were logits given"):
        rule(np.array([3.0, -2.0]), target)
    with pytest.raises(ValueError, match="probability: has NaN"):
        rule(np.array([0.5, np.nan]), target)
    with pytest.raises(ValueError, match="probability: shape"):
        rule(np.array([0.5]), target)
    with pytest.raises(ValueError, match="target: shape"):
        rule(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="positive"):
        rule(np.array([0.5, 0.6]), np.array([False, False]))


@pytest.mark.parametrize("min_sensitivity", [0.0, 1.1, math.nan])
def test_impossible_sensitivity_is_refused(min_sensitivity: float) -> None:
    with pytest.raises(ValueError, match="min_sensitivity"):
        sensitive_threshold(
            np.array([0.2, 0.8]), np.array([False, True]), min_sensitivity=min_sensitivity
        )
