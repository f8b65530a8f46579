"""Localisation figures against their definitions, counted pixel by pixel and pair by pair."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope.core.types import Region
from pneumoscope.metrics.localisation import (
    RSNA_THRESHOLDS,
    best_iou,
    iou,
    is_hit,
    mean_best_iou,
    peak_point,
    pointing_game,
    rsna_image_score,
    rsna_score,
)

SIDE = 24


def box(x: float, y: float, width: float, height: float, score: float = math.nan) -> Region:
    return Region(x=x, y=y, width=width, height=height, score=score)


def box_strategy(*, has_score: bool = False):
    corner = st.integers(0, 11)
    side = st.integers(1, 12)
    score = st.sampled_from([0.1, 0.5, 0.9]) if has_score else st.just(math.nan)
    return st.builds(box, corner, corner, side, side, score)


def painted(region: Region) -> np.ndarray:
    picture = np.zeros((SIDE, SIDE), dtype=bool)
    picture[
        int(region.y) : int(region.y + region.height), int(region.x) : int(region.x + region.width)
    ] = True
    return picture


@given(box_strategy(), box_strategy())
def test_iou_is_shared_over_covered_pixels(a: Region, b: Region) -> None:
    pixels_a, pixels_b = painted(a), painted(b)
    oracle = (pixels_a & pixels_b).sum() / (pixels_a | pixels_b).sum()
    assert iou(a, b) == pytest.approx(oracle, abs=1e-12)
    assert iou(a, b) == iou(b, a)
    assert iou(a, a) == 1


coordinate = st.floats(-1e5, 1e5)
length = st.floats(1e-3, 1e5)


@given(*[st.builds(box, coordinate, coordinate, length, length)] * 2)
def test_iou_of_any_boxes_is_a_share(a: Region, b: Region) -> None:
    assert 0 <= iou(a, b) <= 1
    assert 0 <= iou(a, a) <= 1


def test_boxes_that_touch_or_are_empty_share_nothing() -> None:
    assert iou(box(0, 0, 2, 2), box(2, 0, 2, 2)) == 0
    assert iou(box(0, 0, 2, 2), box(2, 2, 2, 2)) == 0
    assert iou(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 0


def test_peak_is_the_middle_of_the_highest_cell() -> None:
    cam = np.full((4, 5), -7.0)
    cam[2, 3] = -1.0
    assert peak_point(cam, height_px=40, width_px=100) == (70.0, 25.0)
    assert peak_point(np.zeros((2, 2)), height_px=8, width_px=8) == (2.0, 2.0)


def test_a_point_hits_on_the_edge_and_not_beyond() -> None:
    boxes = [box(10, 20, 5, 6), box(50, 50, 1, 1)]
    for point in ((10, 20), (15, 26), (12, 23), (50.5, 50.5)):
        assert is_hit(point, boxes)
    for point in ((9.9, 23), (15.1, 23), (12, 19.9), (12, 26.1), (40, 40)):
        assert not is_hit(point, boxes)
    assert not is_hit((1, 1), [])


def test_pointing_game_counts_marked_images_alone() -> None:
    boxes = [[box(0, 0, 2, 2)], [], [box(0, 0, 2, 2), box(8, 8, 2, 2)], [box(0, 0, 2, 2)]]
    assert pointing_game([(1, 1), (1, 1), (9, 9), (5, 5)], boxes) == pytest.approx(2 / 3)
    assert math.isnan(pointing_game([(1, 1)], [[]]))
    with pytest.raises(ValueError, match="zip"):
        pointing_game([(1, 1)], [[], []])


@given(
    st.lists(box_strategy(), max_size=3),
    st.lists(box_strategy(), min_size=1, max_size=3),
)
def test_best_iou_is_the_largest_of_all_pairs(regions, boxes) -> None:
    best = 0.0
    for pair in itertools.product(regions, boxes):
        a, b = (painted(region) for region in pair)
        best = max(best, (a & b).sum() / (a | b).sum())
    assert best_iou(regions, boxes) == pytest.approx(best, abs=1e-12)


def test_mean_best_iou_counts_an_image_without_regions_as_zero() -> None:
    truth = [box(0, 0, 4, 4)]
    regions = [[box(0, 0, 4, 2)], [], [box(1, 1, 1, 1)]]
    assert mean_best_iou(regions, [truth, truth, []]) == pytest.approx((0.5 + 0) / 2)
    assert math.isnan(mean_best_iou([[]], [[]]))
    assert math.isnan(best_iou([box(0, 0, 1, 1)], []))


def rsna_by_definition(regions, boxes) -> float:
    """Oracle: the challenge's page, read out loud; IoU by pixels."""
    if not boxes:
        return 0.0 if regions else math.nan
    precisions = []
    for percent in (40, 45, 50, 55, 60, 65, 70, 75):
        unmatched = list(range(len(boxes)))
        true_positive = false_positive = 0
        for region in sorted(regions, key=lambda region: -region.score):
            overlaps = {}
            for index in unmatched:
                a, b = painted(region), painted(boxes[index])
                # In whole numbers, so that "greater than" is exact.
                if 100 * int((a & b).sum()) > percent * int((a | b).sum()):
                    overlaps[index] = (a & b).sum() / (a | b).sum()
            if overlaps:
                unmatched.remove(max(overlaps, key=overlaps.__getitem__))
                true_positive += 1
            else:
                false_positive += 1
        precisions.append(true_positive / (true_positive + false_positive + len(unmatched)))
    return float(np.mean(precisions))


@given(
    st.lists(box_strategy(has_score=True), max_size=4),
    st.lists(box_strategy(), max_size=4),
)
def test_rsna_score_is_the_challenges_definition(regions, boxes) -> None:
    expected = rsna_by_definition(regions, boxes)
    assert rsna_image_score(regions, boxes) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_rsna_thresholds() -> None:
    assert pytest.approx(RSNA_THRESHOLDS) == [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]


def test_rsna_score_by_hand() -> None:
    truth = [box(0, 0, 10, 10)]
    assert rsna_image_score(truth, truth) == 1
    # IoU 0.5: above 0.40 and 0.45 alone, because 0.50 must be passed, not reached.
    assert rsna_image_score([box(0, 0, 10, 5)], truth) == pytest.approx(2 / 8)
    # Right once and wrong once: TP 1, FP 1.
    assert rsna_image_score([box(0, 0, 10, 10), box(50, 0, 5, 5)], truth) == pytest.approx(1 / 2)
    # A second box on the same finding is a false positive.
    assert rsna_image_score([*truth, *truth], truth) == pytest.approx(1 / 2)
    # One of two findings: TP 1, FN 1.
    assert rsna_image_score(truth, [*truth, box(50, 0, 5, 5)]) == pytest.approx(1 / 2)
    assert rsna_image_score([], truth) == 0


def test_the_higher_score_is_matched_first() -> None:
    b, c = box(0, 0, 10, 10), box(0, 4, 10, 10)
    x = box(0, 2, 10, 10)
    y = box(0, 0, 10, 9)
    overlaps = (iou(x, b), iou(x, c), iou(y, b), iou(y, c))
    assert overlaps == pytest.approx((2 / 3, 2 / 3, 0.9, 5 / 14))
    x_first = rsna_image_score([box(0, 2, 10, 10, 0.9), box(0, 0, 10, 9, 0.1)], [b, c])
    y_first = rsna_image_score([box(0, 2, 10, 10, 0.1), box(0, 0, 10, 9, 0.9)], [b, c])
    # x takes b, the first of equals, up to 0.65, and y finds nothing: 1 of 3. Above, x finds
    # nothing and y takes b: 1 of 3 again.
    assert x_first == pytest.approx(1 / 3)
    # y takes b, and up to 0.65 x takes c: 2 of 2, then 1 of 3.
    assert y_first == pytest.approx((6 * 1 + 2 / 3) / 8)


def test_regions_without_a_score_keep_their_order_behind_the_others() -> None:
    b, c = box(0, 0, 10, 10), box(0, 4, 10, 10)
    x, y = box(0, 2, 10, 10), box(0, 0, 10, 9)
    assert rsna_image_score([x, y], [b, c]) == pytest.approx(1 / 3)
    assert rsna_image_score([y, x], [b, c]) == pytest.approx((6 + 2 / 3) / 8)
    scored = box(0, 0, 10, 9, 0.0)
    assert rsna_image_score([x, scored], [b, c]) == pytest.approx((6 + 2 / 3) / 8)


def test_a_region_on_a_negative_image_scores_zero_and_none_does_not_count() -> None:
    truth = [box(0, 0, 10, 10)]
    assert rsna_score([truth, []], [truth, []]) == 1
    assert rsna_score([truth, truth], [truth, []]) == 0.5
    assert rsna_score([truth, []], [truth, truth]) == 0.5
    assert math.isnan(rsna_score([[], []], [[], []]))
