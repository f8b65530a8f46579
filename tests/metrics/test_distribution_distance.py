import itertools

import numpy as np
import pytest
import scipy.linalg

from pneumoscope.metrics.distribution_distance import (
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
)


def whitened(n: int, n_dimensions: int, seed: int) -> np.ndarray:
    """Rows whose sample mean is exactly 0 and sample covariance (divisor n - 1) exactly I."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, n_dimensions))
    orthogonal, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return orthogonal * np.sqrt(n - 1)


def frechet_by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    """Oracle: the formula of Dowson and Landau with scipy's matrix root."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    shift = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return float(shift + np.trace(cov_a + cov_b - 2 * np.real(root)))


def kernel_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    """Oracle: the unbiased estimator of Gretton et al. (2012), pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3)

    within_a = [kernel(x, y) for x, y in itertools.permutations(a, 2)]
    within_b = [kernel(x, y) for x, y in itertools.permutations(b, 2)]
    between = [kernel(x, y) for x in a for y in b]
    return float(np.mean(within_a) + np.mean(within_b) - 2 * np.mean(between))


def test_frechet_of_diagonal_normals_is_the_closed_form() -> None:
    mean_a, mean_b = np.array([1.0, -2, 0, 3, 5]), np.array([0.0, 1, 0, 3, -1])
    sd_a, sd_b = np.array([1.0, 2, 0.5, 3, 0]), np.array([2.0, 2, 1.5, 0.1, 4])
    a = whitened(40, 5, seed=1) * sd_a + mean_a
    b = whitened(60, 5, seed=2) * sd_b + mean_b
    expected = ((mean_a - mean_b) ** 2).sum() + ((sd_a - sd_b) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(50, 70), (9, 70), (70, 9)])
def test_frechet_agrees_with_scipys_matrix_root(n: int, m: int) -> None:
    """Also where a set has only just as many rows as its covariance has rank."""
    rng = np.random.default_rng(n)
    mixing = rng.normal(size=(8, 8))
    a, b = rng.normal(size=(n, 8)), rng.normal(size=(m, 8)) @ mixing + 0.3
    assert frechet_distance(a, b) == pytest.approx(frechet_by_sqrtm(a, b), rel=1e-6)


def test_frechet_with_fewer_rows_than_dimensions_is_that_of_the_span() -> None:
    """Rows in 4 of 60 dimensions, turned: the distance is that of the 4 dimensions alone."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(12, 4)), 2 * rng.normal(size=(15, 4)) + 1
    turn, _ = np.linalg.qr(rng.normal(size=(60, 60)))
    expected = frechet_by_sqrtm(a, b)
    assert frechet_distance(a @ turn[:4], b @ turn[:4]) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_a_set_with_itself_is_zero() -> None:
    a = np.random.default_rng(0).normal(size=(30, 50))
    assert 0 <= frechet_distance(a, a) < 1e-9


@pytest.mark.parametrize(("n", "m"), [(7, 7), (5, 11)])
def test_kernel_distance_is_its_definition(n: int, m: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(n, 6)), rng.normal(size=(m, 6)) + 0.4
    assert kernel_distance(a, b) == pytest.approx(kernel_by_loops(a, b), rel=1e-10)


def test_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    """Unbiased at 12 against 12; a biased one (with the pairs of a row and itself) is not."""
    rng = np.random.default_rng(5)
    values = [
        kernel_distance(rng.normal(size=(12, 10)), rng.normal(size=(12, 10))) for _ in range(2000)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert error < 0.01
    assert min(values) < 0


def test_jackknife_is_leaving_out_one_group_after_the_other() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(9, 3)), rng.normal(size=(8, 3)) + 0.5
    group_a, group_b = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5]), np.array([9, 8, 7, 6, 6, 5, 4, 3])
    variance = 0.0
    for groups, leave in (
        (group_a, lambda group: kernel_by_loops(a[group_a != group], b)),
        (group_b, lambda group: kernel_by_loops(a, b[group_b != group])),
    ):
        left_out = np.array([leave(group) for group in np.unique(groups)])
        count = len(left_out)
        variance += (count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()
    found = kernel_distance_interval(a, b, group_a=group_a, group_b=group_b)
    assert found.value == pytest.approx(kernel_by_loops(a, b), rel=1e-10)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-8)
    assert (found.high + found.low) / 2 == pytest.approx(found.value, rel=1e-10)


def test_jackknife_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The truth in closed form: with x ~ N(0, 1), y ~ N(m, 1) in one dimension, k = (xy + 1)³."""
    shift, rng, hits = 0.7, np.random.default_rng(7), 0

    def expected_kernel(p: float, q: float) -> float:
        """Return E (xy + 1)³ of independent x ~ N(p, 1) and y ~ N(q, 1)."""
        second = (p**2 + 1) * (q**2 + 1)
        third = (p**3 + 3 * p) * (q**3 + 3 * q)
        return third + 3 * second + 3 * p * q + 1

    truth = expected_kernel(0, 0) + expected_kernel(shift, shift) - 2 * expected_kernel(0, shift)
    for _ in range(300):
        a, b = rng.normal(size=(150, 1)), rng.normal(size=(150, 1)) + shift
        own = np.arange(150)
        found = kernel_distance_interval(a, b, group_a=own, group_b=own)
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 300 <= 0.99


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "of one D"),
        (np.zeros(3), np.zeros((3, 4)), "of one D"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "2 are needed"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "not finite"),
    ],
)
def test_sets_that_have_no_distance_are_refused(distance, a, b, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        distance(a, b)


@pytest.mark.parametrize(
    ("group", "reason"), [(np.arange(4), "each of 5 rows"), (np.array([0, 0, 0, 1, 1]), "2 groups")]
)
def test_groups_that_give_no_interval_are_refused(group: np.ndarray, reason: str) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 2))
    with pytest.raises(ValueError, match=reason):
        kernel_distance_interval(rows, rows, group_a=group, group_b=np.arange(5))
