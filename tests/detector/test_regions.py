"""Regions, against torch's interpolation and SciPy's labelling."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pneumoscope.core.types import Region
from pneumoscope.detector.card import CalibrationCard
from pneumoscope.detector.regions import find_regions

CALIBRATION = CalibrationCard(temperature=1.7, bias=-0.3, fitted_on="tuning", n=10)


def find_by_definition(
    cam: NDArray[np.float64], *, logit: float, threshold: float, height: int, width: int
) -> list[Region]:
    """Oracle: the rule of the module, with other people's interpolation and labelling."""
    local = torch.from_numpy(cam - cam.mean() + logit)[None, None]
    grid = torch.nn.functional.interpolate(
        local, size=(64, 64), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    labels, n = ndimage.label(grid >= threshold + 0.5 * (grid.max() - threshold))
    at_peak = labels[np.unravel_index(grid.argmax(), grid.shape)]
    found = []
    for label in range(1, n + 1):
        rows, columns = np.nonzero(labels == label)
        if len(rows) < 41 and label != at_peak:
            continue
        peak = grid[labels == label].max()
        x, y = np.floor(columns.min() * width / 64), np.floor(rows.min() * height / 64)
        right = np.ceil((columns.max() + 1) * width / 64)
        bottom = np.ceil((rows.max() + 1) * height / 64)
        score = 1 / (1 + np.exp(-(peak - 0.3) / 1.7))
        found.append(Region(x=x, y=y, width=right - x, height=bottom - y, score=score))
    return sorted(found, key=lambda region: (-region.score, region.y, region.x))


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_those_of_the_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = [(7, 7), (5, 9), (14, 14), (1, 3), (70, 20)][seed % 5]
    cam = rng.normal(0, 2, size=shape)
    logit, threshold = float(rng.uniform(0, 3)), float(rng.uniform(-2, 0))
    height, width = (int(n) for n in rng.integers(30, 2000, size=2))
    found = find_regions(
        cam,
        logit=logit,
        threshold_logit=threshold,
        height_px=height,
        width_px=width,
        calibration=CALIBRATION,
    )
    expected = find_by_definition(cam, logit=logit, threshold=threshold, height=height, width=width)
    assert len(found) == len(expected) >= 1
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.x, ours.y, ours.width, ours.height) == (
            theirs.x,
            theirs.y,
            theirs.width,
            theirs.height,
        )
        assert ours.score == pytest.approx(theirs.score, abs=1e-9)


def test_none_where_the_logit_is_below_the_operating_point() -> None:
    cam = np.zeros((7, 7))
    cam[3, 3] = 50  # strong evidence in one place, and the radiograph is normal all the same
    assert find_regions(cam, logit=0.9, threshold_logit=1.0, height_px=90, width_px=90) == ()
    assert find_regions(cam, logit=1.0, threshold_logit=1.0, height_px=90, width_px=90) != ()


def test_a_box_lies_round_its_peak_in_the_pictures_own_pixels() -> None:
    cam = np.zeros((7, 7))
    cam[1, 5] = 9
    (region,) = find_regions(cam, logit=2, threshold_logit=0, height_px=700, width_px=1400)
    assert 0 <= region.x < 1100 < region.x + region.width <= 1400  # centre of column 5
    assert 0 <= region.y < 150 < region.y + region.height <= 700  # centre of row 1
    assert region.width == pytest.approx(2 * region.height, abs=50)


def test_two_places_give_two_boxes_and_the_stronger_comes_first() -> None:
    cam = np.zeros((7, 7))
    cam[5, 1], cam[1, 5] = 8, 10
    first, second = find_regions(cam, logit=1, threshold_logit=0, height_px=70, width_px=70)
    assert first.x > second.x
    assert first.score > second.score


def test_even_evidence_everywhere_is_the_whole_picture() -> None:
    (region,) = find_regions(
        np.zeros((7, 7)), logit=1, threshold_logit=-1, height_px=50, width_px=33
    )
    assert (region.x, region.y, region.width, region.height) == (0, 0, 33, 50)
    assert region.score == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (64, 65)])
def test_boxes_stay_inside_the_smallest_picture(size: tuple[int, int]) -> None:
    cam = np.zeros((7, 7))
    cam[6, 6] = 9
    (region,) = find_regions(cam, logit=1, threshold_logit=0, height_px=size[0], width_px=size[1])
    assert region.width >= 1
    assert region.height >= 1
    assert region.x + region.width == size[1]
    assert region.y + region.height == size[0]


def test_an_operating_point_that_calls_everything_still_gives_regions() -> None:
    cam = np.zeros((7, 7))
    cam[3, 3] = 9
    found = find_regions(cam, logit=-2, threshold_logit=float("-inf"), height_px=70, width_px=70)
    assert len(found) == 1
    assert found[0].width < 30
