import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from pneumoscope.metrics import neighbours
from pneumoscope.metrics.neighbours import (
    nearest_in_company,
    nearest_rows,
    precision_recall_coverage,
    squared_distances,
)


def reach_of(rows: np.ndarray, k: int) -> np.ndarray:
    """Oracle: sklearn's distance to the k-th nearest other row."""
    found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(rows)
    return found.kneighbors(rows)[0][:, k]


def is_in(point: np.ndarray, centre: np.ndarray, reach: float) -> bool:
    return math.dist(point, centre) <= reach


def nearest_by_loops(row: np.ndarray, reference: np.ndarray, allowed: list[int]) -> int:
    return min(allowed, key=lambda i: math.dist(row, reference[i]))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_coverage_are_their_definitions(k: int) -> None:
    rng = np.random.default_rng(k)
    real, samples = rng.normal(size=(31, 4)), 0.7 * rng.normal(size=(24, 4)) + 0.6
    reach, sample_reach = reach_of(real, k), reach_of(samples, k)
    balls = [[is_in(y, x, r) for x, r in zip(real, reach, strict=True)] for y in samples]
    found = precision_recall_coverage(real, samples, k=k)
    assert found.precision == pytest.approx(np.mean([any(row) for row in balls]))
    assert found.density == pytest.approx(sum(map(sum, balls)) / (k * len(samples)))
    assert found.recall == pytest.approx(
        np.mean(
            [any(is_in(x, y, r) for y, r in zip(samples, sample_reach, strict=True)) for x in real]
        )
    )
    assert found.coverage == pytest.approx(
        np.mean([any(is_in(y, x, r) for y in samples) for x, r in zip(real, reach, strict=True)])
    )
    assert 0 < found.recall < 1
    assert 0 < found.coverage < 1


def test_one_distribution_reaches_the_expected_coverage() -> None:
    """Naeem et al. (2020), lemma 2: 1 - (M-1)...(M-k) / (2M-1)...(2M-k) for M of each."""
    rng, m, k = np.random.default_rng(0), 120, 5
    found = [precision_recall_coverage(*rng.normal(size=(2, m, 4)), k=k) for _ in range(150)]
    missed = math.prod((m - i) / (2 * m - i) for i in range(1, k + 1))
    assert np.mean([each.coverage for each in found]) == pytest.approx(1 - missed, abs=0.004)
    assert np.mean([each.density for each in found]) == pytest.approx(1, abs=0.02)


def test_samples_of_one_mode_are_precise_and_recall_little() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 3)) + np.repeat([[0.0], [50.0]], 100, axis=0)
    found = precision_recall_coverage(real, rng.normal(size=(200, 3)))
    assert found.precision > 0.9
    assert found.recall == pytest.approx(0.5, abs=0.05)
    assert found.coverage == pytest.approx(0.5, abs=0.05)
    far = precision_recall_coverage(real, rng.normal(size=(200, 3)) + 500)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_the_surface_belongs_to_the_ball_and_a_row_is_not_its_own_neighbour() -> None:
    real = np.array([[0.0], [2.0], [10.0]])  # reaches at k = 1: 2, 2, 8
    found = precision_recall_coverage(real, np.array([[-2.0], [-2.5], [11.0], [12.0]]), k=1)
    assert found.is_inside.tolist() == [True, False, True, True]
    assert found.n_balls.tolist() == [1, 0, 1, 1]
    assert found.is_covered.tolist() == [True, False, True]
    assert found.is_reached.tolist() == [False, False, True]  # 11 reaches 10


def test_distances_of_gray_values_are_exact() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 256, (6, 5000)).astype(np.float64)
    b = a.copy()
    b[3, 7] += 1
    squared = squared_distances(a, b)
    assert squared.diagonal().tolist() == [0, 0, 0, 1, 0, 0]
    assert squared[0, 1] == ((a[0] - b[1]) ** 2).sum()


@pytest.fixture(params=[3, 512])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Search in blocks of 3 as well: their ends must not show."""
    monkeypatch.setattr(neighbours, "_BLOCK", request.param)
    return int(request.param)


@pytest.mark.usefixtures("block")
def test_nearest_rows_are_those_that_loops_find() -> None:
    rng = np.random.default_rng(3)
    real, group = rng.normal(size=(17, 5)), rng.integers(0, 7, 17)
    candidates = rng.normal(size=(10, 5))
    found = nearest_rows(candidates, real, group=group)
    for row, candidate in enumerate(candidates):
        index = nearest_by_loops(candidate, real, list(range(17)))
        others = [i for i in range(17) if group[i] != group[index]]
        neighbour = nearest_by_loops(real[index], real, others)
        assert (found.index[row], found.neighbour[row]) == (index, neighbour)
        assert found.distance[row] == pytest.approx(math.dist(candidate, real[index]))
        distance = math.dist(real[index], real[neighbour])
        assert found.neighbour_distance[row] == pytest.approx(distance)
        assert found.is_closer[row] == (found.distance[row] < distance)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("is_own_group_allowed", [False, True])
def test_the_own_group_is_left_out_or_in(is_own_group_allowed: bool) -> None:
    rng = np.random.default_rng(4)
    real, group = rng.normal(size=(20, 3)), np.repeat(np.arange(8), [1, 2, 3, 4, 1, 2, 3, 4])
    if is_own_group_allowed:
        found = nearest_in_company(real, group=group)
    else:
        found = nearest_rows(real, real, group=group, own=group)
    n_own = 0
    for row in range(20):
        allowed = [
            i for i in range(20) if i != row and (is_own_group_allowed or group[i] != group[row])
        ]
        index = nearest_by_loops(real[row], real, allowed)
        third = [i for i in range(20) if group[i] not in (group[row], group[index])]
        neighbour = nearest_by_loops(real[index], real, third)
        assert (found.index[row], found.neighbour[row]) == (index, neighbour)
        n_own += group[index] == group[row]
    assert (n_own > 0) == is_own_group_allowed


def test_copies_are_closer_and_newcomers_are_as_those_left_out() -> None:
    rng = np.random.default_rng(5)
    real, newcomers = rng.normal(size=(2, 600, 6))
    group = np.arange(600)
    copied = nearest_rows(real + rng.normal(0, 0.01, real.shape), real, group=group)
    assert copied.is_closer.all()
    assert (copied.index == group).all()
    left_out = nearest_rows(real, real, group=group, own=group).is_closer.mean()
    fresh = nearest_rows(newcomers, real, group=group).is_closer.mean()
    assert fresh == pytest.approx(left_out, abs=0.07)
    assert 0.2 < left_out < 0.6


def test_a_tie_is_not_closer() -> None:
    found = nearest_rows(np.array([[-1.0]]), np.array([[0.0], [1.0], [5.0]]), group=[0, 1, 2])
    assert found.distance.tolist() == found.neighbour_distance.tolist() == [1.0]
    assert not found.is_closer.any()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda rows: precision_recall_coverage(rows, rows, k=0), "k: 0"),
        (lambda rows: precision_recall_coverage(rows, rows, k=6), "7 are needed"),
        (lambda rows: precision_recall_coverage(rows, rows[:, :1]), "of one D"),
        (lambda rows: nearest_rows(rows, rows, group=np.zeros(5)), "each of 6 rows"),
        (lambda rows: nearest_rows(rows, rows, group=[0, 0, 0, 1, 1, 1]), "2 groups"),
        (lambda rows: nearest_rows(rows[:0], rows, group=np.arange(6)), "1 are needed"),
        (lambda rows: nearest_in_company(rows * np.nan, group=np.arange(6)), "not finite"),
        (
            lambda rows: nearest_rows(rows, rows, group=np.arange(6), own=np.arange(5)),
            "own: shape",
        ),
    ],
)
def test_sets_without_neighbours_are_refused(call, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call(np.random.default_rng(0).normal(size=(6, 2)))
