"""Find radiographs that are one picture stored twice: re-encoded, resized, brighter, shifted a bit.

All chest radiographs look alike, so the comparison must be strict. Two pictures count as the same
where their 32 x 32 thumbnails correlate by at least `MIN_CORRELATION`. Measured on the 5,856
radiographs of the Kermany set at 224 px:

- the most alike *different* pictures reach 0.975 (0.980 at 28 px), so that, its exact copies
  aside, the set has no such pair;
- copies of 200 of them, saved as JPEG of quality 10, resized to 64 px, with noise of 10 gray
  levels, 30 % more contrast or one pixel of shift, all reach 0.985. So do 97 % or more of those
  cropped by 1 % a side, turned by 1 degree, or with a gamma of 1.5.

Not found: most copies that are cropped or shifted by 2 % or more, and those that are mirrored,
drawn upon, equalised, or shrunk below 64 px.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

logger = logging.getLogger(__name__)

THUMBNAIL_PX = 32
MIN_CORRELATION = 0.985
MAX_PAIRS = 200_000  # more than this is a set of near-identical pictures, not a list to mend

_N_COARSE = 8  # coarse search in the 8 x 8 lowest frequencies
_BLOCK = 1024  # rows a block: 1024 x 1024 float32 products stay in the processor's cache
_ROUNDING = 1e-4  # of float32 sums: the coarse search must not lose a pair by it


@dataclass(frozen=True, slots=True)
class NearPairs:
    """Pairs of rows that show the same picture."""

    first: NDArray[np.int64]  # (P,) the smaller row of each pair
    second: NDArray[np.int64]  # (P,)
    correlation: NDArray[np.float32]  # (P,) of the thumbnails, in [-1, 1]
    is_complete: bool  # False where the search ended at `MAX_PAIRS`


def make_thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean gray of each of 32 x 32 equal parts of a picture.

    Args:
        pixels: (H, W) display values of any size.
    """
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), dtype=np.uint8)


def find_near_pairs(
    thumbnails: NDArray[np.uint8],
    *,
    min_correlation: float = MIN_CORRELATION,
    max_pairs: int = MAX_PAIRS,
) -> NearPairs:
    """Return every pair of thumbnails whose correlation reaches the threshold.

    The search is exact. An orthonormal transform keeps distances, and leaving out frequencies
    only shortens them: a pair that is far apart in the lowest frequencies is far apart. So matrix
    products over 63 numbers a picture find the few candidates, and only those are correlated in
    full. 5,856 pictures take a second; the time grows with the square, the memory does not.

    Args:
        thumbnails: (N, 32, 32) display values, none of them constant.
        min_correlation: Pearson's r over the 1,024 values, above 0.
        max_pairs: Stop once this many pairs are found.
    """
    coarse = _lowest_frequencies(thumbnails)
    half_norm = (coarse**2).sum(axis=1) / 2
    # |a - b|^2 = 2 - 2 r for normalised pictures; and a.b - |a|^2/2 - |b|^2/2 = -|a - b|^2/2.
    limit = np.float32(-(1.0 - min_correlation) - _ROUNDING)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    n_found = 0
    n = len(thumbnails)
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n))
        for other in range(start, n, _BLOCK):
            columns = slice(other, min(other + _BLOCK, n))
            products = coarse[rows] @ coarse[columns].T
            products -= half_norm[rows, None]
            products -= half_norm[None, columns]
            first, second = np.nonzero(products >= limit)
            first, second = first + start, second + other
            is_above = second > first
            first, second = first[is_above], second[is_above]
            correlation = _correlate(thumbnails, first, second)
            is_same = correlation >= min_correlation
            found.append((first[is_same], second[is_same], correlation[is_same]))
            n_found += int(is_same.sum())
            if n_found >= max_pairs:
                logger.warning("more than %d near-duplicate pairs: the search ended", max_pairs)
                return _join(found, is_complete=False)
    return _join(found, is_complete=True)


def group_pairs(pairs: NearPairs) -> list[tuple[int, ...]]:
    """Return the groups of rows that pairs connect, each ascending, by their first row."""
    parent: dict[int, int] = {}

    def find(row: int) -> int:
        root = row
        while parent.setdefault(root, root) != root:
            root = parent[root]
        while parent[row] != root:
            parent[row], row = root, parent[row]
        return root

    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((find(first), find(second)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for row in sorted(parent):
        groups.setdefault(find(row), []).append(row)
    return [tuple(rows) for _, rows in sorted(groups.items())]


def _normalise(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, 1024) of mean 0 and length 1, so that a dot product is a correlation."""
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.maximum(length, np.finfo(np.float32).tiny)
    return values


def _lowest_frequencies(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, 63) coefficients of the orthonormal DCT-II of the normalised thumbnails."""
    position = np.arange(THUMBNAIL_PX) + 0.5
    frequency = np.arange(_N_COARSE)[:, None]
    basis = np.cos(np.pi / THUMBNAIL_PX * frequency * position) * np.sqrt(2 / THUMBNAIL_PX)
    basis[0] /= np.sqrt(2)
    # (64, 1024); the first, the mean, is 0 after normalising and is left out.
    planes = np.kron(basis, basis)[1:].astype(np.float32)
    blocks = [
        _normalise(thumbnails[start : start + _BLOCK]) @ planes.T
        for start in range(0, len(thumbnails), _BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.empty((0, len(planes)), dtype=np.float32)


def _correlate(
    thumbnails: NDArray[np.uint8], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (P,) the correlation of each pair, a block of pairs at a time."""
    correlation = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = _normalise(thumbnails[first[part]]), _normalise(thumbnails[second[part]])
        correlation[part] = np.einsum("ij,ij->i", a, b)
    return correlation


def _join(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]],
    *,
    is_complete: bool,
) -> NearPairs:
    if not found:
        empty = np.empty(0, dtype=np.int64)
        return NearPairs(empty, empty, np.empty(0, dtype=np.float32), is_complete)
    first, second, correlation = (np.concatenate(part) for part in zip(*found, strict=True))
    return NearPairs(first, second, correlation, is_complete)
