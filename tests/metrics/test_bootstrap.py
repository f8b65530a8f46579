import math

import numpy as np
import pytest

from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.curves import auroc


def mean(values: np.ndarray) -> float:
    return float(values.mean())


@pytest.mark.parametrize("n_copies", [1, 4])
def test_width_follows_the_standard_error_over_patients(n_copies: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    patient = np.arange(200).astype(str)
    # Copies of a patient's radiograph carry no news: the error stays sd / sqrt(patients).
    low, high = bootstrap_by_patient(
        mean, np.tile(patient, n_copies), np.tile(values, n_copies), n_resamples=4000
    )
    expected = 2 * 1.96 * values.std() / math.sqrt(200)
    assert high - low == pytest.approx(expected, rel=0.06)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02)


def test_patients_come_whole_and_rows_stay_together() -> None:
    patient = np.array(["b", "a", "b", "c", "a", "b"])
    seen: list[dict[str, int]] = []

    def look(drawn: np.ndarray, row: np.ndarray) -> float:
        np.testing.assert_array_equal(patient[row], drawn)
        seen.append({name: int((row == i).sum()) for i, name in enumerate("012345")})
        assert len(set(np.bincount(row, minlength=6)[[0, 2, 5]])) == 1  # all of b's, equally often
        assert len(set(np.bincount(row, minlength=6)[[1, 4]])) == 1
        return float(len(row))

    low, high = bootstrap_by_patient(look, patient, patient, np.arange(6), n_resamples=300)
    assert len(seen) == 301  # the data themselves, then every resample
    assert (low, high) == (3.0, 9.0)  # three times c (1 radiograph) to three times b (3)


def test_same_seed_same_interval() -> None:
    values, patient = np.arange(30.0), np.arange(30)
    first = bootstrap_by_patient(mean, patient, values, seed=1, n_resamples=50)
    assert bootstrap_by_patient(mean, patient, values, seed=1, n_resamples=50) == first
    assert bootstrap_by_patient(mean, patient, values, seed=2, n_resamples=50) != first


def test_resample_of_one_class_is_drawn_again() -> None:
    # One positive of six: a third of all resamples hold none.
    target = np.array([True] + [False] * 5)
    n_defined = 0

    def counted(score: np.ndarray, target: np.ndarray) -> float:
        nonlocal n_defined
        value = auroc(score, target)
        n_defined += 1
        return value

    score = np.array([0.5, 0.1, 0.2, 0.6, 0.7, 0.3])
    low, high = bootstrap_by_patient(counted, np.arange(6), score, target, n_resamples=200)
    assert n_defined == 201
    assert 0 <= low < 0.6 < high <= 1


def test_undefined_figure_has_no_interval() -> None:
    def never(values: np.ndarray) -> float:
        return math.nan

    def only_on_the_data(values: np.ndarray) -> float:
        return 1.0 if len(np.unique(values)) == len(values) else math.nan

    patient = np.arange(12)
    for statistic in (never, only_on_the_data):
        low, high = bootstrap_by_patient(statistic, patient, np.arange(12.0), n_resamples=50)
        assert math.isnan(low)
        assert math.isnan(high)


def test_one_patient_has_no_interval() -> None:
    low, high = bootstrap_by_patient(mean, ["a", "a", "a"], np.arange(3.0))
    assert math.isnan(low)
    assert math.isnan(high)


def test_errors_of_the_statistic_are_not_swallowed() -> None:
    def broken(values: np.ndarray) -> float:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        bootstrap_by_patient(broken, np.arange(5), np.arange(5.0))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="arrays"):
        bootstrap_by_patient(mean, np.arange(5), np.arange(4.0))
    with pytest.raises(ValueError, match="arrays"):
        bootstrap_by_patient(mean, [], np.array([]))
    with pytest.raises(ValueError, match="n_resamples"):
        bootstrap_by_patient(mean, np.arange(5), np.arange(5.0), n_resamples=0)
