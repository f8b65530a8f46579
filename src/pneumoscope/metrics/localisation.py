"""How well boxes and peaks agree with the boxes that people or a drawing marked.

Every figure has a form for one image, for resampling, and its mean over the images. Lists run
image by image; within an image, order does not matter.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.types import Region

RSNA_THRESHOLDS = tuple(hundredths / 100 for hundredths in range(40, 80, 5))  # 0.40 to 0.75

Point = tuple[float, float]  # x (to the right) and y (down), in the image's own pixels


def iou(a: Region, b: Region) -> float:
    """Return the area that two boxes share over the area that they cover, in [0, 1].

    Boxes that only touch, or have no area, share nothing.

    Source: Jaccard (1912), New Phytologist 11(2), 37-50.
    """
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    # Right edges are rounded sums, so equal boxes can seem to share a little more than they have.
    return min(1.0, shared / (a.width * a.height + b.width * b.height - shared))


def peak_point(cam: NDArray[np.floating], *, height_px: int, width_px: int) -> Point:
    """Return the middle of a map's highest cell, in pixels of the image.

    Bilinear upsampling has its maximum there too. Of equal cells the first counts, row by row.

    Args:
        cam: (h, w), which covers the whole image.
        height_px: The image's height.
        width_px: The image's width.
    """
    row, column = np.unravel_index(int(np.argmax(cam)), cam.shape)
    height, width = cam.shape
    return (float(column) + 0.5) * width_px / width, (float(row) + 0.5) * height_px / height


def is_hit(point: Point, boxes: Sequence[Region]) -> bool:
    """Return True where a point lies in one of an image's boxes; their edges count as inside."""
    x, y = point
    return any(
        box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height for box in boxes
    )


def pointing_game(points: Sequence[Point], boxes: Sequence[Sequence[Region]]) -> float:
    """Return the share of images whose point lies in one of their boxes.

    Images without boxes are not counted; NaN where none has any. There is no tolerance round a
    box, and one point an image, whether or not the image is called pneumonia.

    Args:
        points: One an image.
        boxes: Of each image.

    Raises: ValueError: not as many points as images.
    Source: Zhang et al. (2018), IJCV 126, 1084-1102, without its 15 pixels of tolerance.
    """
    pairs = zip(points, boxes, strict=True)
    return _mean([float(is_hit(point, truth)) for point, truth in pairs if truth])


def best_iou(regions: Sequence[Region], boxes: Sequence[Region]) -> float:
    """Return the largest IoU of any of an image's regions with any of its boxes.

    0 without regions; NaN without boxes.
    """
    if not boxes:
        return math.nan
    return max((iou(region, box) for region in regions for box in boxes), default=0.0)


def mean_best_iou(regions: Sequence[Sequence[Region]], boxes: Sequence[Sequence[Region]]) -> float:
    """Return the mean of `best_iou` over the images with boxes; NaN where none has any.

    An image in which nothing was found counts with 0.

    Raises: ValueError: not as many lists of regions as of boxes.
    """
    return _mean([best_iou(*pair) for pair in zip(regions, boxes, strict=True)])


def rsna_image_score(regions: Sequence[Region], boxes: Sequence[Region]) -> float:
    """Return one image's score in the RSNA challenge; NaN where it does not count.

    At each IoU threshold, 0.40 to 0.75 in steps of 0.05, the regions are matched in descending
    order of score (of equal ones, and of those without a score, the first first): a region takes,
    of the boxes that no region has taken, the one with the largest IoU, where that is above the
    threshold. A region with a box is a true positive, one without a false positive, and a box
    without a region a false negative; the score is the mean over thresholds of TP / (TP + FP + FN).
    Any region on an image without boxes gives 0; an image with neither does not count.

    The challenge's page leaves open which box a region takes where several would do; the largest
    IoU is the choice made here. It says "greater than" the threshold, so an IoU of exactly 0.5 is
    no match at 0.5.

    Source: RSNA Pneumonia Detection Challenge (2018), Kaggle, page "Evaluation".
    """
    if not boxes:
        return 0.0 if regions else math.nan
    order = sorted(regions, key=lambda region: _worst_if_nan(region.score), reverse=True)
    overlap = np.array([[iou(region, box) for box in boxes] for region in order])
    scores = []
    for threshold in RSNA_THRESHOLDS:
        n_matched = _count_matches(overlap, threshold) if order else 0
        scores.append(n_matched / (len(order) + len(boxes) - n_matched))
    return sum(scores) / len(scores)


def rsna_score(regions: Sequence[Sequence[Region]], boxes: Sequence[Sequence[Region]]) -> float:
    """Return the RSNA challenge's metric: the mean of `rsna_image_score` over images that count.

    NaN where no image counts: none has a region or a box.

    Raises: ValueError: not as many lists of regions as of boxes.
    """
    return _mean([rsna_image_score(*pair) for pair in zip(regions, boxes, strict=True)])


def _count_matches(overlap: NDArray[np.float64], threshold: float) -> int:
    """Return how many regions find a box. (regions in order, boxes) -> 0 to the fewer of them."""
    is_free = np.ones(overlap.shape[1], dtype=np.bool_)
    for row in overlap:
        best = int(np.argmax(np.where(is_free, row, -1.0)))
        if is_free[best] and row[best] > threshold:
            is_free[best] = False
    return int(np.count_nonzero(~is_free))


def _worst_if_nan(score: float) -> float:
    return -math.inf if math.isnan(score) else score


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers; NaN where there is none."""
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan
