"""Spearman's rank correlation against SciPy's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pneumoscope.metrics.rank_correlation import rank_correlation


@pytest.mark.parametrize("seed", range(8))
def test_it_equals_scipys_with_and_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 49))
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    a, b = rng.integers(0, 4, size=(2, 49))  # four levels, so ties are certain
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


values = st.lists(st.integers(-5, 5), min_size=2, max_size=12, unique=True)


@given(values, st.randoms(use_true_random=False))
def test_only_order_counts(order, random) -> None:
    other = order[:]
    random.shuffle(other)
    a, b = np.array(order, dtype=float), np.array(other, dtype=float)
    rho = rank_correlation(a, b)
    assert -1 <= rho <= 1
    assert rank_correlation(np.exp(a), b**3) == pytest.approx(rho, abs=1e-12)
    assert rank_correlation(-a, b) == pytest.approx(-rho, abs=1e-12)
    assert rank_correlation(a, a) == pytest.approx(1, abs=1e-12)
    assert rank_correlation(a, a) <= 1


def test_maps_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 5)).astype(np.float32)
    expected = spearmanr(a.ravel(), b.ravel()).statistic
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def test_what_has_no_ranks_is_undefined() -> None:
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert math.isnan(rank_correlation([1, math.nan, 1], [1, 2, 3]))
    assert math.isnan(rank_correlation([1, 2, 3], [1, math.nan, 1]))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        rank_correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="two values or more"):
        rank_correlation([1], [1])
