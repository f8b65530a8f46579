import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.curves import auroc
from pneumoscope.metrics.delong import delong_estimate, delong_interval, delong_paired

Z = norm.ppf(0.975)


def placements(score: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Oracle: each radiograph's placement among the other class, from the (M, N) comparisons."""
    positive, negative = score[target][:, None], score[~target][None, :]
    kernel = (positive > negative) + 0.5 * (positive == negative)
    return kernel.mean(axis=1), kernel.mean(axis=0)


def delong_covariance(scores: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Oracle: DeLong et al. (1988), equations 4 to 6: S10 / m + S01 / n."""
    pairs = [placements(score, target) for score in scores]
    m, n = int(target.sum()), int((~target).sum())
    s10 = np.atleast_2d(np.cov(np.stack([p for p, _ in pairs])))
    s01 = np.atleast_2d(np.cov(np.stack([q for _, q in pairs])))
    return s10 / m + s01 / n


def clustered_variance(score: np.ndarray, target: np.ndarray, patient: np.ndarray) -> float:
    """Oracle: Obuchowski (1997), patient by patient."""
    v10, v01 = placements(score, target)
    area, m, n = v10.mean(), len(v10), len(v01)
    positive_patient, negative_patient = patient[target], patient[~target]
    i10, i01 = len(set(positive_patient)), len(set(negative_patient))
    i = len(set(patient))
    s10 = s01 = s11 = 0.0
    for one in set(patient):
        x = sum(v10[positive_patient == one] - area)
        y = sum(v01[negative_patient == one] - area)
        s10 += i10 / ((i10 - 1) * m) * x * x
        s01 += i01 / ((i01 - 1) * n) * y * y
        s11 += i / (i - 1) * x * y
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def logit_interval(area: float, variance: float) -> tuple[float, float]:
    half = Z * math.sqrt(variance) / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))


def draw(seed: int, *, n: int = 70) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated detectors whose scores tie, and targets."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 3 == 0
    shared = rng.normal(size=n) + target
    a, b = (np.round(shared + rng.normal(scale=s, size=n), 1) for s in (0.6, 1.2))
    return a, b, target


@pytest.mark.parametrize("seed", range(4))
def test_interval_equals_brute_force_placement_values(seed: int) -> None:
    score, _, target = draw(seed)
    variance = delong_covariance([score], target)[0, 0]
    expected = logit_interval(auroc(score, target), variance)
    assert delong_interval(score, target) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_paired_test_equals_brute_force_covariance(seed: int) -> None:
    a, b, target = draw(seed)
    covariance = delong_covariance([a, b], target)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    result = delong_paired(a, b, target)
    assert result.auroc_a == pytest.approx(auroc(a, target))
    assert result.auroc_b == pytest.approx(auroc(b, target))
    assert result.difference == pytest.approx(auroc(a, target) - auroc(b, target))
    assert result.low == pytest.approx(result.difference - Z * error)
    assert result.high == pytest.approx(result.difference + Z * error)
    assert result.p_value == pytest.approx(2 * norm.sf(abs(result.difference) / error))


def test_interval_covers_the_true_auroc_in_95_of_100() -> None:
    # Two unit normals 1.5 apart: AUROC = Phi(1.5 / sqrt 2) = 0.856.
    rng = np.random.default_rng(7)
    truth = norm.cdf(1.5 / math.sqrt(2))
    target = np.arange(80) < 40
    n_covered = 0
    for _ in range(1000):
        low, high = delong_interval(rng.normal(size=80) + 1.5 * target, target)
        n_covered += low <= truth <= high
    assert 930 <= n_covered <= 975


def test_interval_by_patient_equals_obuchowski() -> None:
    score, _, target = draw(3)
    patient = np.random.default_rng(3).integers(0, 30, size=target.size)  # both classes in some
    estimate = delong_estimate(score, target, patient_id=patient)
    variance = clustered_variance(score, target, patient)
    expected = logit_interval(auroc(score, target), variance)
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-12)
    assert estimate.method == "delong by patient"


def test_copies_of_a_patients_radiographs_add_no_certainty() -> None:
    a, b, target = draw(5)
    patient = np.arange(target.size).astype(str)
    copies = [np.tile(values, 3) for values in (a, b, target, patient)]
    assert delong_interval(copies[0], copies[2], patient_id=copies[3]) == pytest.approx(
        delong_interval(a, target), abs=1e-12
    )
    assert delong_paired(*copies[:3], patient_id=copies[3]).p_value == pytest.approx(
        delong_paired(a, b, target).p_value, abs=1e-12
    )


def test_interval_by_patient_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(11)
    patient = np.repeat(np.arange(120), 3)
    target = patient % 2 == 0
    score = rng.normal(size=120)[patient] + 0.3 * rng.normal(size=360) + 1.2 * target
    low, high = delong_interval(score, target, patient_id=patient)
    expected = bootstrap_by_patient(auroc, patient, score, target)
    assert (low, high) == pytest.approx(expected, abs=0.015)
    as_if_independent = delong_interval(score, target)
    assert high - low > 1.4 * (as_if_independent[1] - as_if_independent[0])


@pytest.mark.parametrize(("n_positive", "n_negative"), [(1, 1), (8, 30), (388, 134)])
def test_perfect_auroc_has_the_exact_interval_of_disjoint_pairs(
    n_positive: int, n_negative: int
) -> None:
    target = np.arange(n_positive + n_negative) < n_positive
    k = min(n_positive, n_negative)
    expected = binomtest(k, k).proportion_ci(method="exact")
    estimate = delong_estimate(target * 1.0, target)
    assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, "exact pairs")
    assert estimate.low == pytest.approx(expected.low)
    inverted = delong_estimate(-1.0 * target, target)
    assert (inverted.low, inverted.high) == pytest.approx((0.0, 1 - expected.low))


def test_perfect_auroc_counts_patients_not_radiographs() -> None:
    target = np.arange(40) < 20
    patient = np.arange(40) // 4  # five patients a class
    estimate = delong_estimate(target * 1.0, target, patient_id=patient)
    assert estimate.low == pytest.approx(binomtest(5, 5).proportion_ci(method="exact").low)


def test_a_patient_of_both_classes_stands_in_one_pair_only() -> None:
    target = np.arange(40) < 20
    patient = np.arange(40) % 20  # twenty patients, each with one radiograph of either class
    estimate = delong_estimate(target * 1.0, target, patient_id=patient)
    assert estimate.low == pytest.approx(binomtest(10, 10).proportion_ci(method="exact").low)


def test_rounding_is_not_taken_for_a_variance() -> None:
    # Two patients with the same seven radiographs: no difference between patients to learn from.
    score, target = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5]), np.arange(7) < 3
    estimate = delong_estimate(
        np.tile(score, 2), np.tile(target, 2), patient_id=np.repeat(["a", "b"], 7)
    )
    assert estimate.method == "hanley-mcneil"
    assert estimate.high - estimate.low > 0.5


def test_constant_score_has_the_rank_sum_tests_null_variance() -> None:
    m, n = 12, 20
    target = np.arange(m + n) < m
    # Var(U) / (mn)^2 under no difference (Mann & Whitney 1947): (m + n + 1) / (12 mn).
    expected = logit_interval(0.5, (m + n + 1) / (12 * m * n))
    estimate = delong_estimate(np.full(m + n, 0.3), target)
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate.method == "hanley-mcneil"


def test_one_positive_radiograph_still_gets_a_wide_interval() -> None:
    low, high = delong_interval(np.array([0.5, 0.1, 0.2, 0.9]), np.array([1, 0, 0, 0]))
    assert 0 <= low < 0.25
    assert 0.9 < high <= 1


def test_same_order_is_no_difference() -> None:
    score, _, target = draw(2)
    for other in (score, 3 * score - 7, np.exp(score)):
        result = delong_paired(score, other, target)
        assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_difference_without_a_variance_has_no_p_value() -> None:
    target = np.array([True, True, False, False])
    result = delong_paired(target * 1.0, -1.0 * target, target)
    assert result.difference == 1.0
    assert math.isnan(result.p_value)
    assert math.isnan(result.low)
    assert math.isnan(result.high)


def test_bad_input_is_refused() -> None:
    score, target = np.array([0.1, 0.2]), np.array([True, False])
    with pytest.raises(ValueError, match="score_b: shape"):
        delong_paired(score, score[:1], target)
    with pytest.raises(ValueError, match="both classes"):
        delong_interval(score, np.array([True, True]))
    with pytest.raises(ValueError, match="both classes"):
        delong_paired(score, score, np.array([False, False]))
    with pytest.raises(ValueError, match="patient_id: shape"):
        delong_interval(score, target, patient_id=["a"])
