"""Spearman's rank correlation, with numpy alone."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rho: the correlation of two arrays' ranks, equal values sharing theirs.

    Args:
        a: Any shape; flattened.
        b: As many values, in the same order.

    Returns: -1 to 1; NaN where an array is constant or holds NaN, because it then has no ranks.
    Raises: ValueError: the shapes differ, or there are fewer than two values.
    Source: Spearman (1904), American Journal of Psychology 15(1), 72-101.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.size < 2:
        raise ValueError(
            f"shapes {first.shape} and {second.shape}: give two arrays of one shape with two "
            "values or more."
        )
    if np.isnan(first).any() or np.isnan(second).any():
        return math.nan
    x, y = _centred_ranks(first), _centred_ranks(second)
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale > 0 else math.nan


def _centred_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return ranks minus their mean; equal values get the mean of the ranks that they take up."""
    _, place, count = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # the highest rank, from 1, of each different value
    rank = (last - (count - 1) / 2)[place.ravel()]
    return np.asarray(rank - (values.size + 1) / 2, dtype=np.float64)
