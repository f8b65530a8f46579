"""What the nearest neighbours of two sets tell: precision, recall, coverage, and copies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.distribution_distance import checked_sets

_BLOCK = 512  # candidates a step: memory grows with one set, not with the product of two

# What `_search` asks of each block of candidates.
_LeftOut = Callable[[NDArray[np.int64]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifold:
    """Which samples lie where the reference lies, and the other way round.

    Around each row of a set lies a ball that reaches to its k-th nearest neighbour in that set,
    its surface included. The figures are means of these arrays, so that a caller can resample them.
    """

    k: int
    is_inside: NDArray[np.bool_]  # (M,) samples in the ball of some reference row
    n_balls: NDArray[np.int64]  # (M,) in how many such balls each sample lies
    is_reached: NDArray[np.bool_]  # (N,) reference rows in the ball of some sample
    is_covered: NDArray[np.bool_]  # (N,) reference rows whose own ball holds a sample

    @property
    def precision(self) -> float:
        """Share of samples that lie where the reference lies."""
        return float(self.is_inside.mean())

    @property
    def recall(self) -> float:
        """Share of the reference that lies where samples lie."""
        return float(self.is_reached.mean())

    @property
    def density(self) -> float:
        """Reference balls that hold a sample, over k: near 1 for one distribution; may exceed 1."""
        return float(self.n_balls.mean() / self.k)

    @property
    def coverage(self) -> float:
        """Share of the reference that has a sample nearby."""
        return float(self.is_covered.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Each candidate's nearest row of a reference set, and how near that row's own neighbours are.

    A candidate is suspect where it lies nearer to its row than any row of another group does.
    """

    index: NDArray[np.int64]  # (M,) of the reference
    distance: NDArray[np.float64]  # (M,) to it
    neighbour: NDArray[np.int64]  # (M,) the row of another group that is nearest to ``index``
    neighbour_distance: NDArray[np.float64]  # (M,) from ``index`` to it

    @property
    def is_closer(self) -> NDArray[np.bool_]:
        """(M,) True where the candidate is nearer than that neighbour; a tie is not nearer."""
        return self.distance < self.neighbour_distance


def squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, M) squared Euclidean distances between the rows of (N, D) and (M, D).

    Exact for gray values: sums of products of whole numbers below 256 fit a double.
    """
    squared: NDArray[np.float64] = a @ b.T
    squared *= -2
    squared += np.einsum("ij,ij->i", a, a)[:, None]
    squared += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(squared, 0, out=squared)


def precision_recall_coverage(
    reference: NDArray[Any], samples: NDArray[Any], *, k: int = 5
) -> Manifold:
    """Return how well samples and reference lie in each other's neighbourhoods.

    Precision and recall hang on the sizes of the sets and on k: compare them only where these are
    the same.

    Args:
        reference: (N, D), N > k.
        samples: (M, D), M > k.
        k: How far a ball reaches, in neighbours; a row is not its own.

    Raises: ValueError: wrong shapes, k below 1, k rows or fewer, or a value that is not finite.
    Source: precision and recall Kynkäänniemi et al. (2019), NeurIPS, arXiv:1904.06991; density and
        coverage, and k = 5, Naeem et al. (2020), ICML, arXiv:2002.09797.
    """
    if k < 1:
        raise ValueError(f"k: {k}; give 1 or more.")
    reference, samples = checked_sets(reference, samples, least=k + 1)
    between = squared_distances(reference, samples)  # (N, M)
    reach = _kth_nearest(squared_distances(reference, reference), k)
    sample_reach = _kth_nearest(squared_distances(samples, samples), k)
    is_in_ball = between <= reach[:, None]
    return Manifold(
        k=k,
        is_inside=np.any(is_in_ball, axis=0),
        n_balls=is_in_ball.sum(axis=0),
        is_reached=np.any(between <= sample_reach[None, :], axis=1),
        is_covered=np.any(is_in_ball, axis=1),
    )


def nearest_rows(
    candidates: NDArray[Any],
    reference: NDArray[Any],
    *,
    group: ArrayLike,
    own: NDArray[Any] | None = None,
) -> Nearest:
    """Return each candidate's nearest reference row.

    Args:
        candidates: (M, D), M >= 1.
        reference: (N, D).
        group: (N,) which reference rows belong together, such as radiographs of one patient: these
            are no measure for how near two patients come to each other. Three groups or more.
        own: (M,) the group of each candidate, whose rows are neither its nearest nor the neighbour
            that this is set against, as if the group were new; None where the candidates have none.

    Raises: ValueError: wrong shapes, too few rows or groups, or a value that is not finite.
    Source: the comparison with the row's own neighbour is the authenticity of Alaa et al. (2022),
        ICML, arXiv:2102.08921.
    """
    candidate_set, values = checked_sets(candidates, reference, least=1)
    identity, groups = _checked_group(group, len(values))
    if own is not None and np.shape(own) != (len(candidate_set),):
        raise ValueError(f"own: shape {np.shape(own)}; give one of {len(candidate_set)} rows each.")

    def left_out(rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        is_own = np.zeros((1, len(values)), dtype=np.bool_)
        if own is not None:
            is_own = own[rows, None] == identity[None, :]
        return is_own, is_own

    return _search(candidate_set, values, groups, left_out)


def nearest_in_company(reference: NDArray[Any], *, group: ArrayLike) -> Nearest:
    """Return each reference row's nearest other row, which may be of its own group.

    The neighbour that the distance is set against is of a third group: neither the row's own nor
    that of its nearest row.

    Args:
        reference: (N, D).
        group: (N,) as in `nearest_rows`.

    Raises: ValueError: as `nearest_rows`.
    """
    values, _ = checked_sets(reference, reference, least=1)
    _, groups = _checked_group(group, len(values))
    everyone = np.arange(len(values))
    return _search(
        values,
        values,
        groups,
        lambda rows: (rows[:, None] == everyone, groups[rows, None] == groups[None, :]),
    )


def _search(
    candidates: NDArray[np.float64],
    reference: NDArray[np.float64],
    groups: NDArray[np.int64],
    left_out: _LeftOut,
) -> Nearest:
    """Return the nearest rows, a block of candidates at a time.

    ``left_out`` takes the block's row numbers and returns (rows, N) or (1, N) twice: what can't be
    their nearest row, and what can't be the neighbour that this is set against.
    """
    parts = []
    for start in range(0, len(candidates), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(candidates)))
        not_nearest, not_third = left_out(rows)
        first = _nearest(candidates[rows], reference, not_nearest)
        is_same = groups[first[0], None] == groups[None, :]
        parts.append((*first, *_nearest(reference[first[0]], reference, is_same | not_third)))
    index, distance, neighbour, neighbour_distance = map(np.concatenate, zip(*parts, strict=True))
    return Nearest(
        index=index, distance=distance, neighbour=neighbour, neighbour_distance=neighbour_distance
    )


def _nearest(
    rows: NDArray[np.float64], reference: NDArray[np.float64], is_left_out: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each row's nearest in the reference, and how far that is."""
    squared = np.where(is_left_out, np.inf, squared_distances(rows, reference))
    index = squared.argmin(axis=1)
    return index, np.sqrt(squared[np.arange(len(rows)), index])


def _kth_nearest(squared: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return (N,) the squared distance of each row to its k-th nearest other."""
    np.fill_diagonal(squared, np.inf)
    result: NDArray[np.float64] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return result


def _checked_group(group: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (N,) the groups as given, and (N,) their numbers."""
    identity = np.asarray(group)
    if identity.shape != (n,):
        raise ValueError(f"group: shape {identity.shape}; give one value for each of {n} rows.")
    groups, index = np.unique(identity, return_inverse=True)
    if len(groups) < 3:
        raise ValueError(f"group: {len(groups)} groups; a nearest neighbour's own needs three.")
    return identity, index.astype(np.int64)
