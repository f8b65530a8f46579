"""Phantoms: repeatable, and nothing but the opacities tells the targets apart."""

import math
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pneumoscope.core.errors import UsageError
from pneumoscope.imaging.phantom import Phantom, draw_phantom
from pneumoscope.imaging.phantom_anatomy import draw_anatomy


@cache
def draw(seed: int, target: int, size_px: int = 128) -> Phantom:
    return draw_phantom(np.random.default_rng([11, seed]), target=target, size_px=size_px)


def inside(phantom: Phantom) -> np.ndarray:
    """Return True within any box."""
    mask = np.zeros(phantom.pixels.shape, bool)
    for box in phantom.boxes:
        mask[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = True
    return mask


@pytest.mark.parametrize("size_px", [32, 64, 100, 256, 301])
@pytest.mark.parametrize("target", [0, 1])
def test_any_size_gives_gray_pixels_that_use_the_range(size_px: int, target: int) -> None:
    phantom = draw(1, target, size_px)
    assert phantom.pixels.shape == (size_px, size_px)
    assert phantom.pixels.dtype == np.uint8
    assert np.ptp(phantom.pixels) > 120


def test_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="31 px"):
        draw_phantom(np.random.default_rng(0), target=0, size_px=31)


def test_the_same_state_draws_the_same_and_another_draws_another() -> None:
    again = draw_phantom(np.random.default_rng([11, 3]), target=1, size_px=128)
    np.testing.assert_array_equal(again.pixels, draw(3, 1).pixels)
    assert [(b.x, b.y, b.width, b.height) for b in again.boxes] == [
        (b.x, b.y, b.width, b.height) for b in draw(3, 1).boxes
    ]
    assert (draw(4, 1).pixels != draw(3, 1).pixels).mean() > 0.5


@pytest.mark.parametrize("seed", range(40))
def test_boxes_lie_in_the_image_and_only_positives_have_them(seed: int) -> None:
    assert draw(seed, 0).boxes == ()
    boxes = draw(seed, 1).boxes
    assert 1 <= len(boxes) <= 3
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.width >= 2
        assert box.height >= 2
        assert box.x + box.width <= 128
        assert box.y + box.height <= 128
        assert math.isnan(box.score)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_chest_without_opacities_differs_in_the_boxes_alone(seed: int) -> None:
    plain, marked = draw(seed, 0), draw(seed, 1)
    brighter = marked.pixels.astype(float) - plain.pixels
    for box in marked.boxes:
        part = brighter[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)]
        assert part.mean() > 1  # gray levels
        assert part.mean() > 4 * abs(brighter[~inside(marked)].mean())
    # Scattered radiation carries a little of it elsewhere, as it does in a patient.
    assert np.abs(brighter[~inside(marked)]).mean() < 2


def test_opacities_lie_in_the_lungs() -> None:
    for seed in range(15):
        lungs = draw_anatomy(np.random.default_rng([11, seed]), size_px=128).lungs
        change = draw(seed, 1).pixels.astype(float) - draw(seed, 0).pixels
        assert change[lungs > 0.5].sum() > 0.7 * change.clip(0).sum()


def test_opacities_vary_in_size_number_and_contrast() -> None:
    sides, contrasts = [], []
    for seed in range(40):
        change = draw(seed, 1).pixels.astype(float) - draw(seed, 0).pixels
        for box in draw(seed, 1).boxes:
            sides.append(math.sqrt(box.width * box.height))
            part = change[int(box.y) : int(box.y + box.height)]
            contrasts.append(part[:, int(box.x) : int(box.x + box.width)].mean())
    assert {len(draw(seed, 1).boxes) for seed in range(40)} == {1, 2, 3}
    assert max(sides) > 3 * min(sides)
    assert max(contrasts) > 5 * min(contrasts)
    assert min(contrasts) < 6  # some are hard to see


def test_lungs_are_darker_than_the_middle_and_the_heart_leans_to_the_images_right() -> None:
    leans = []
    for seed in range(20):
        pixels = draw(seed, 0).pixels.astype(float)
        anatomy = draw_anatomy(np.random.default_rng([11, seed]), size_px=128)
        in_middle = (np.abs(anatomy.x) < 0.08) & (np.abs(anatomy.y) < 0.3)
        assert pixels[anatomy.lungs > 0.9].mean() + 30 < pixels[in_middle].mean()
        at_heart = (anatomy.y > 0.1) & (anatomy.y < 0.3)
        sides = [at_heart & (side * anatomy.x > 0.1) & (side * anatomy.x < 0.3) for side in (-1, 1)]
        leans.append(pixels[sides[1]].mean() - pixels[sides[0]].mean())
    assert np.mean(leans) > 10


@pytest.fixture(scope="module")
def many() -> list[np.ndarray]:
    """Return 200 small phantoms, every other one with opacities."""
    return [
        draw_phantom(np.random.default_rng([5, i]), target=i % 2, size_px=64).pixels
        for i in range(200)
    ]


@pytest.mark.parametrize("statistic", [np.mean, np.std, np.median, np.min, np.max, np.ptp])
def test_no_global_statistic_tells_the_targets_apart(statistic, many: list[np.ndarray]) -> None:
    value = [statistic(pixels) for pixels in many]
    assert 0.35 < roc_auc_score(np.arange(200) % 2, value) < 0.65
