"""Where the evidence is: boxes round the peaks of a class activation map.

The rule, in full, so that the browser can repeat it (float64 throughout):

1. local = cam + (logit - mean(cam)), of shape (h, w): what the logit would be if the whole
   radiograph looked as this place does. No region where logit < threshold_logit.
2. It is enlarged bilinearly to a grid of 64 x 64 cells, whatever h and w. Cell i along a side lies
   at map position s = (i + 0.5) * h / 64 - 0.5, held within [0, h - 1]; the value is
   (1 - f) * local[a] + f * local[b] with a = floor(s), b = min(a + 1, h - 1), f = s - a, along the
   rows and then along the columns.
3. A cell is strong at or above the level half way from threshold_logit to the grid's largest value.
   An operating point of probability 0 counts as threshold_logit = logit.
4. Strong cells that share a side (4-neighbours) form a component. Components of fewer than 41 cells
   (1 % of the grid) are dropped, except the one with the grid's largest value (the first such cell
   in reading order).
5. A component in rows t to b and columns l to r (inclusive) becomes the box from
   x = floor(l * W / 64) to ceil((r + 1) * W / 64), and the same with H: whole pixels, inside the
   picture.
6. Its score is the calibrated probability of its largest local logit. Boxes are sorted by score,
   strongest first; equal ones by y, then x.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.types import Region
from pneumoscope.detector.card import CalibrationCard
from pneumoscope.detector.logit_scale import to_probability

GRID_CELLS: Final = 64  # along each side
PEAK_SHARE: Final = 0.5  # of the way from the operating point to the strongest evidence
MIN_CELLS: Final = 41  # 1 % of the grid; one position of a 7 x 7 map is 2 %


def find_regions(
    cam: NDArray[np.floating],
    *,
    logit: float,
    threshold_logit: float,
    height_px: int,
    width_px: int,
    calibration: CalibrationCard | None = None,
) -> tuple[Region, ...]:
    """Return boxes round the strongest evidence for pneumonia, strongest first.

    Args:
        cam: (h, w), signed, in logit units.
        logit: Of the whole radiograph, uncalibrated.
        threshold_logit: The operating point on the same scale.
        height_px: Rows of the file's own picture; boxes are in its pixels.
        width_px: Its columns.
        calibration: Turns a peak's local logit into the score; None is the plain sigmoid.

    Returns: None where ``logit < threshold_logit``, else at least one. Scores are in [0, 1].
    """
    if logit < threshold_logit:
        return ()
    grid = enlarge(local_logit(cam, logit=logit))
    peak = float(grid.max())
    base = threshold_logit if math.isfinite(threshold_logit) else logit
    components = _components(grid >= base + PEAK_SHARE * (peak - base))
    peak_cell = divmod(int(grid.argmax()), GRID_CELLS)
    regions = []
    for runs in components:
        has_peak = any(row == peak_cell[0] and a <= peak_cell[1] < b for row, a, b in runs)
        if not has_peak and sum(b - a for _, a, b in runs) < MIN_CELLS:
            continue
        strongest = max(float(grid[row, a:b].max()) for row, a, b in runs)
        left, right = _span(min(a for _, a, _ in runs), max(b for _, _, b in runs), width_px)
        top, bottom = _span(runs[0][0], runs[-1][0] + 1, height_px)
        regions.append(
            Region(
                x=left,
                y=top,
                width=right - left,
                height=bottom - top,
                score=to_probability(strongest, calibration),
            )
        )
    return tuple(sorted(regions, key=lambda region: (-region.score, region.y, region.x)))


def local_logit(cam: NDArray[np.floating], *, logit: float) -> NDArray[np.float64]:
    """Return (h, w) evidence whose mean is the radiograph's logit."""
    wide = cam.astype(np.float64)
    return wide + (logit - float(wide.mean()))


def enlarge(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (64, 64) values, bilinearly between the (h, w) given; see step 2 of the rule."""
    rows, columns = (_interpolation(n) for n in values.shape)
    grid: NDArray[np.float64] = rows @ values @ columns.T
    return grid


def _interpolation(n: int) -> NDArray[np.float64]:
    """Return (64, n) weights, two of them in a row."""
    cell = np.arange(GRID_CELLS)
    position = np.clip((cell + 0.5) * n / GRID_CELLS - 0.5, 0, n - 1)
    below = np.floor(position).astype(np.int64)
    fraction = position - below
    weights = np.zeros((GRID_CELLS, n))
    weights[cell, below] = 1 - fraction
    weights[cell, np.minimum(below + 1, n - 1)] += fraction
    return weights


def _components(is_strong: NDArray[np.bool_]) -> list[list[tuple[int, int, int]]]:
    """Return each 4-connected component as its runs (row, first column, column behind the last).

    Joining runs instead of cells keeps this to a fraction of a millisecond: it holds the
    interpreter's lock while other threads could infer.
    """
    edges = np.diff(np.pad(is_strong, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    runs = list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
    leader = list(range(len(runs)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for index, (row, start, end) in enumerate(runs):
        for other in range(index - 1, -1, -1):
            other_row, other_start, other_end = runs[other]
            if other_row < row - 1:
                break
            if other_row == row - 1 and other_start < end and start < other_end:
                leader[find(index)] = find(other)
    groups: dict[int, list[tuple[int, int, int]]] = {}
    for index, run in enumerate(runs):
        groups.setdefault(find(index), []).append(run)
    return list(groups.values())


def _span(first: int, behind: int, n_px: int) -> tuple[int, int]:
    """Return the whole pixels that cells ``first`` to ``behind - 1`` touch."""
    return first * n_px // GRID_CELLS, -(-behind * n_px // GRID_CELLS)
