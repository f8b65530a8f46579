"""How far apart two sets of embeddings lie as distributions: Fréchet and kernel distance.

Neither is the published FID or KID unless the embedding is Inception's: a distance is worth its
embedding, and must be named after it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z = 1.959964  # half the width of a 95 % normal interval, in standard errors
_DEGREE = 3


class KernelDistance(NamedTuple):
    """A squared maximum mean discrepancy with its 95 % interval."""

    value: float  # unbiased, so it may lie below 0
    low: float
    high: float


def frechet_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the squared Fréchet distance between the normal distributions fitted to two sets.

    |mean a - mean b|² + tr(A + B - 2 (A B)^(1/2)), with the covariances A and B (divisor n - 1).
    The trace of the root is the sum of the singular values of the product of the centred sets, so
    that covariances without full rank (fewer embeddings than dimensions) are no special case.

    The estimate is biased upwards, the more so the smaller the sets: compare two of these distances
    only where both come from sets of the same sizes.

    Args:
        a: (N, D), N >= 2.
        b: (M, D), M >= 2.

    Returns: In squared units of the embedding, 0 or more.
    Raises: ValueError: wrong shapes, fewer than two rows, or a value that is not finite.
    Source: Dowson and Landau (1982), J. Multivariate Analysis 12(3), 450-455; used on the
        embeddings of networks by Heusel et al. (2017), NeurIPS, arXiv:1706.08500.
    """
    a, b = checked_sets(a, b, least=2)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = _root(a - mean_a), _root(b - mean_b)
    # With A = X'X and B = Y'Y, the eigenvalues of A B are those of (Y X')'(Y X').
    root_trace = np.linalg.svd(root_b @ root_a.T, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * root_trace
    return float(max(((mean_a - mean_b) ** 2).sum() + spread, 0.0))


def kernel_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the squared maximum mean discrepancy under the kernel (x.y / D + 1)³, unbiased.

    Its expectation is 0 where both sets come from one distribution, whatever their sizes.

    Args:
        a: (N, D), N >= 2.
        b: (M, D), M >= 2.

    Raises: ValueError: wrong shapes, fewer than two rows, or a value that is not finite.
    Source: Bińkowski et al. (2018), ICLR, arXiv:1801.01401; the estimator is Gretton et al. (2012),
        JMLR 13, 723-773, lemma 6.
    """
    a, b = checked_sets(a, b, least=2)
    within_a, within_b = _kernel(a, a), _kernel(b, b)
    np.fill_diagonal(within_a, 0)
    np.fill_diagonal(within_b, 0)
    n, m = len(a), len(b)
    between = _kernel(a, b).mean()
    value = within_a.sum() / (n * (n - 1)) + within_b.sum() / (m * (m - 1)) - 2 * between
    return float(value)


def kernel_distance_interval(
    a: NDArray[Any], b: NDArray[Any], *, group_a: ArrayLike, group_b: ArrayLike
) -> KernelDistance:
    """Return the kernel distance with a 95 % interval by leaving out one group after the other.

    The jackknife's variances of the two independent sets are added, and the interval is normal.
    Resampling with replacement would not do: a row drawn twice is a pair at distance 0, which the
    estimator must not meet.

    Args:
        a: (N, D).
        b: (M, D).
        group_a: (N,) the patient of each row, for all of a patient's rows leave together.
        group_b: (M,) likewise.

    Raises: ValueError: as `kernel_distance`, or a set has fewer than three groups.
    Source: Arvesen (1969), Annals of Mathematical Statistics 40(6), 2076-2100.
    """
    a, b = checked_sets(a, b, least=2)
    within_a, within_b, between = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    np.fill_diagonal(within_a, 0)
    np.fill_diagonal(within_b, 0)
    part_a = _leave_one_out(within_a, between, _membership(group_a, len(a)))
    part_b = _leave_one_out(within_b, between.T, _membership(group_b, len(b)))
    n, m = len(a), len(b)
    mean_a, mean_b = within_a.sum() / (n * (n - 1)), within_b.sum() / (m * (m - 1))
    value = float(mean_a + mean_b - 2 * between.mean())
    error = float(np.sqrt(_jackknife_variance(part_a) + _jackknife_variance(part_b)))
    return KernelDistance(value, value - _Z * error, value + _Z * error)


def checked_sets(
    a: NDArray[Any], b: NDArray[Any], *, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two sets of embeddings in double precision.

    Raises: ValueError: not (N, D) and (M, D), fewer rows than ``least``, or a value that is not
        finite.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"sets: shapes {first.shape} and {second.shape}; give (N, D) and (M, D) of one D."
        )
    if min(len(first), len(second)) < least:
        raise ValueError(
            f"sets: {len(first)} and {len(second)} rows, but {least} are needed of each."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("sets: have values that are not finite; leave such rows out.")
    return first, second


def _root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R of min(N, D) rows whose R'R is the covariance of (N, D) centred rows."""
    n, n_dimensions = centred.shape
    if n > n_dimensions:  # the triangle of a QR decomposition says as much in fewer rows
        centred = np.asarray(np.linalg.qr(centred, mode="r"))
    root: NDArray[np.float64] = centred / np.sqrt(n - 1)
    return root


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, M) values of the kernel."""
    values: NDArray[np.float64] = (a @ b.T / a.shape[1] + 1) ** _DEGREE
    return values


def _membership(group: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return (G, N) with 1 where a row is of a group."""
    identity = np.asarray(group)
    if identity.shape != (n,):
        raise ValueError(f"group: shape {identity.shape}; give one value for each of {n} rows.")
    groups, index = np.unique(identity, return_inverse=True)
    if len(groups) < 3:
        raise ValueError(f"group: {len(groups)} groups; an interval needs three or more.")
    return np.asarray(np.arange(len(groups))[:, None] == index[None, :], dtype=np.float64)


def _leave_one_out(
    within: NDArray[np.float64], between: NDArray[np.float64], member: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (G,) what the distance is without each group, but for the other set's constant."""
    n, m = between.shape
    kept = n - member.sum(axis=1)
    # Pairs that go: those with one end in the group, counted from both sides, less those counted
    # twice because both ends are in it.
    inside = ((member @ within) * member).sum(axis=1)
    within_sum = within.sum() - 2 * (member @ within.sum(axis=1)) + inside
    between_sum = between.sum() - member @ between.sum(axis=1)
    result: NDArray[np.float64] = within_sum / (kept * (kept - 1)) - 2 * between_sum / (kept * m)
    return result


def _jackknife_variance(left_out: NDArray[np.float64]) -> float:
    n = len(left_out)
    return float((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
