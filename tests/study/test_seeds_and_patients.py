import math

import numpy as np
import pytest
from scipy import stats

from pneumoscope.study.seeds_and_patients import mean_over_seeds

PATIENT = np.arange(120)


def by_seed(values: np.ndarray) -> np.ndarray:
    """Return (S,) means of (N, S)."""
    return values.mean(axis=0)


def study(
    rng: np.random.Generator, *, seed_sd: float, patient_sd: float, own_sd: float, n_seeds: int = 3
) -> np.ndarray:
    """Return (N, S) differences with no true effect: seed + patient + both."""
    seed = rng.normal(0, seed_sd, n_seeds)
    patient = rng.normal(0, patient_sd, (PATIENT.size, 1))
    return seed + patient + rng.normal(0, own_sd, (PATIENT.size, n_seeds))


def test_standard_error_and_degrees_of_freedom_are_those_worked_out_by_hand() -> None:
    rng = np.random.default_rng(0)
    patient = rng.normal(0, 1, (PATIENT.size, 1))
    shifts = np.array([-0.12, 0.02, 0.1])
    values = patient + shifts  # the seeds share all that varies with patients
    found = mean_over_seeds(by_seed, PATIENT, values, n_resamples=6000)
    of_seeds = shifts.var(ddof=1) / 3
    of_patients = patient.var() / PATIENT.size
    assert found.by_seed == pytest.approx(values.mean(axis=0))
    assert found.mean == pytest.approx(values.mean())
    assert found.sd == pytest.approx(shifts.std(ddof=1))
    assert found.standard_error**2 == pytest.approx(of_seeds + of_patients, rel=0.05)
    expected = (of_seeds + of_patients) ** 2 / (of_seeds**2 / 2)
    assert found.degrees_of_freedom == pytest.approx(expected, rel=0.1)
    half = stats.t.ppf(0.975, found.degrees_of_freedom) * found.standard_error
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_without_a_patients_share_it_is_the_t_test_over_seeds() -> None:
    shifts = np.array([0.05, 0.09, 0.02, 0.11])

    def statistic(values: np.ndarray) -> np.ndarray:
        return shifts

    found = mean_over_seeds(statistic, PATIENT, PATIENT, n_resamples=20)
    oracle = stats.ttest_1samp(shifts, 0)
    interval = oracle.confidence_interval(0.95)
    assert found.degrees_of_freedom == pytest.approx(3)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_seeds_that_answer_alike_leave_the_patients_alone() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(0.1, 1, (PATIENT.size, 1))
    for n_seeds in (1, 3):
        found = mean_over_seeds(by_seed, PATIENT, np.repeat(value, n_seeds, 1), n_resamples=4000)
        assert found.degrees_of_freedom > 1e6
        error = value.std() / math.sqrt(PATIENT.size)
        assert found.standard_error == pytest.approx(error, rel=0.03)
        z = found.mean / found.standard_error
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.01)
    assert math.isnan(mean_over_seeds(by_seed, PATIENT, value, n_resamples=5).sd)


@pytest.mark.parametrize(
    ("seed_sd", "patient_sd", "own_sd"),
    [(0.056, 0.0, 0.0), (0.056, 0.16, 0.05), (0.0, 0.3, 0.05), (0.0, 0.0, 0.5)],
    ids=["seeds", "seeds and patients", "patients", "neither"],
)
def test_three_seeds_without_an_effect_are_called_different_one_time_in_twenty(
    seed_sd: float, patient_sd: float, own_sd: float
) -> None:
    """A resampling of three seeds would do so up to one time in four: if they agree in sign."""
    rng = np.random.default_rng(2)
    n_studies = 500
    p_values, is_covered = [], []
    for _ in range(n_studies):
        values = study(rng, seed_sd=seed_sd, patient_sd=patient_sd, own_sd=own_sd)
        found = mean_over_seeds(by_seed, PATIENT, values, n_resamples=60)
        p_values.append(found.p_value)
        is_covered.append(found.low <= 0 <= found.high)
    share = np.mean(np.array(p_values) <= 0.05)
    assert share < 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_studies)
    assert share > 0.005  # nor is it never
    assert np.mean(is_covered) == pytest.approx(1 - share)


def test_seeds_that_agree_by_luck_leave_the_variance_over_patients() -> None:
    """Each seed calls 4 of 120 more, never the same ones: no variance between seeds is seen."""
    values = np.zeros((PATIENT.size, 3))
    for seed in range(3):
        values[4 * seed : 4 * seed + 4, seed] = 1.0
    values += np.array([0.0, 1e-17, -1e-17])  # as sums in another order differ
    found = mean_over_seeds(by_seed, PATIENT, values, n_resamples=6000)
    share = 12 / PATIENT.size  # of the patients that add a third each to the mean
    error = math.sqrt(share * (1 - share) / PATIENT.size) / 3
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(found.mean / error), rel=0.5)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_few_calls_that_differ_are_not_called_different_too_often(size: float) -> None:
    """Rare, unshared differences: the covariance between seeds is as often below 0 as above."""
    rng = np.random.default_rng(3)
    n_studies = 400
    p_values = []
    for _ in range(n_studies):
        more, fewer = (rng.random((PATIENT.size, 3)) < 0.02 for _ in range(2))
        values = size * (more.astype(float) - fewer)
        p_values.append(mean_over_seeds(by_seed, PATIENT, values, n_resamples=60).p_value)
    assert np.min(p_values) > 1e-4
    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_studies)


def test_what_does_not_vary_has_no_interval() -> None:
    nothing = mean_over_seeds(by_seed, PATIENT, np.zeros((PATIENT.size, 3)), n_resamples=20)
    assert math.isnan(nothing.low)
    assert nothing.p_value == 1.0
    same = mean_over_seeds(by_seed, PATIENT, np.ones((PATIENT.size, 3)), n_resamples=20)
    assert math.isnan(same.low)
    assert math.isnan(same.p_value)
    undefined = mean_over_seeds(
        by_seed, PATIENT, np.full((PATIENT.size, 3), np.nan), n_resamples=20
    )
    assert math.isnan(undefined.mean)
    assert math.isnan(undefined.p_value)
