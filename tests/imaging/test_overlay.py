"""Overlays: what is drawn where, and that the words stay legible."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.types import Region
from pneumoscope.imaging import overlay
from pneumoscope.imaging.colour_map import COLOURS
from pneumoscope.imaging.overlay import MIN_WIDTH_PX, draw_overlay

FOOTER = "Research use only. Not a medical device: no diagnosis or treatment may rest on it."


def radiograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 160, size=(height, width)).astype(np.uint8)


def peak(row: int, column: int, strength: float = 9) -> NDArray[np.float32]:
    cam = np.zeros((7, 7), np.float32)
    cam[row, column] = strength
    return cam


def picture_in(page: Image.Image, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the part (H, W, 3) of the page that is the radiograph, found by its left edge."""
    height, width = pixels.shape
    left = (page.width - width) // 2
    array = np.asarray(page).astype(np.int64)
    tops = [
        top
        for top in range(page.height - height + 1)
        if (array[top : top + height, left, 0] == pixels[:, 0]).all()
    ]
    assert len(tops) == 1, "the left edge, which has no evidence, is the radiograph itself"
    return array[tops[0] : tops[0] + height, left : left + width]


@pytest.mark.parametrize(("height", "width"), [(224, 224), (592, 968), (1416, 1776), (700, 90)])
def test_the_radiograph_keeps_its_resolution_and_its_unremarkable_parts(
    height: int, width: int
) -> None:
    pixels = radiograph(height, width)
    page = draw_overlay(
        pixels, peak(3, 5), logit=0.2, threshold_logit=0.1, title="pneumonia", footer=FOOTER
    )
    assert page.mode == "RGB"
    assert page.width == max(width, MIN_WIDTH_PX)
    drawn = picture_in(page, pixels)
    left_half = drawn[:, : width // 3]
    assert (left_half == pixels[:, : width // 3, None]).all(), "no evidence, no colour"
    spread = drawn.max(axis=2) - drawn.min(axis=2)
    y, x = np.unravel_index(spread.argmax(), spread.shape)
    assert abs(y / height - 3.5 / 7) < 0.12, "the colour is strongest where the evidence is"
    assert abs(x / width - 5.5 / 7) < 0.12


def test_a_large_picture_takes_no_float_arrays_of_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = radiograph(1500, 2001)
    cam = np.random.default_rng(1).normal(size=(7, 9)).astype(np.float32)
    tracemalloc.start()
    found = draw_overlay(pixels, cam, logit=0.2, threshold_logit=0.1)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * pixels.size
    monkeypatch.setattr(overlay, "_STRIP_PX", 10_000)
    whole = draw_overlay(pixels, cam, logit=0.2, threshold_logit=0.1)
    assert found.tobytes() == whole.tobytes(), "the strips leave no trace"


def test_a_picture_without_evidence_is_left_gray() -> None:
    pixels = radiograph(300, 500)
    page = draw_overlay(pixels, peak(3, 3, -9), logit=-3, threshold_logit=0)
    assert (picture_in(page, pixels) == pixels[..., None]).all()


def test_stronger_evidence_is_further_along_the_colour_map() -> None:
    pixels = np.full((350, 490), 100, np.uint8)
    strength = []
    for logit in (1.0, 2.0, 3.0, 3.9):  # the same everywhere; the legend reaches to 4
        page = np.asarray(draw_overlay(pixels, np.zeros((7, 7)), logit=logit, threshold_logit=0))
        colour = page[page.shape[0] // 2, page.shape[1] // 2].astype(int)
        strength.append(colour[0] - colour[2])  # plasma runs from blue over red to yellow
    assert strength == sorted(strength)
    assert len(set(strength)) == len(strength)


def test_anatomy_shows_through_the_strongest_evidence() -> None:
    dark, light = (np.full((300, 400), level, np.uint8) for level in (40, 200))
    middles = []
    for pixels in (dark, light):
        page = np.asarray(draw_overlay(pixels, np.zeros((7, 7)), logit=9, threshold_logit=0))
        middles.append(page[page.shape[0] // 2 - 20, 200].astype(int))
    assert ((middles[1] - middles[0]) > 50).all()


def test_boxes_are_drawn_at_their_pixels() -> None:
    pixels = np.full((300, 400), 100, np.uint8)
    region = Region(x=250, y=100, width=80, height=60, score=0.93)
    pages = [
        np.asarray(
            draw_overlay(pixels, np.zeros((7, 7)), logit=-1, threshold_logit=0, regions=regions)
        )
        for regions in ((), (region,))
    ]
    top = (pages[0][:, 0] == 100).all(axis=1).argmax()
    changed = (pages[0] != pages[1]).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (columns.min(), columns.max()) == (250, 329)
    assert (rows.min() - top, rows.max() - top) == (100, 159)
    assert (pages[1][top + 100, 300] == 255).all(), "a white outline"


@pytest.mark.parametrize("threshold", [-math.inf, math.inf])
def test_an_infinite_operating_point_can_be_drawn(threshold: float) -> None:
    page = draw_overlay(radiograph(80, 80), peak(1, 1), logit=0, threshold_logit=threshold)
    assert page.height > 80


@pytest.mark.parametrize(("low", "high"), [(-30.0, 90.0), (0.0, 0.01), (-0.4, 7.6), (1234.5, 1240)])
def test_the_legend_has_ticks_on_any_scale(low: float, high: float) -> None:
    cam = np.array([[low, high]])
    page = draw_overlay(radiograph(90, 90), cam, logit=float(cam.mean()), threshold_logit=low)
    assert page.width == MIN_WIDTH_PX


def test_long_words_are_broken_into_lines_and_add_height() -> None:
    pixels = radiograph(200, 200)
    short, long = (
        draw_overlay(pixels, np.zeros((7, 7)), logit=0, threshold_logit=0, footer=footer)
        for footer in ("Short.", FOOTER)
    )
    assert long.height > short.height
    bright = np.asarray(long)[-20:].max(axis=2) > 120
    assert bright.any(), "the last line is on the page"
    assert not bright[:, -4:].any(), "and no line runs over its edge"


def test_the_colour_map_is_even_to_the_eye() -> None:
    rgb = np.frombuffer(COLOURS, np.uint8).reshape(256, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]  # IEC 61966-2-1
    lightness = 116 * np.cbrt(luminance) - 16  # CIE 1976; every step is above its linear part
    steps = np.diff(lightness)
    assert (steps > -0.05).all()
    assert steps.max() < 3 * steps.mean()


@pytest.mark.parametrize("size", [(44_000, 400), (60_000, 300)])
def test_tall_and_narrow_pictures_can_be_drawn(size: tuple[int, int]) -> None:
    page = draw_overlay(
        np.zeros(size, np.uint8), peak(3, 3), logit=1.0, threshold_logit=0.0, footer=FOOTER
    )
    assert page.width == MIN_WIDTH_PX
    assert page.height > size[0]
