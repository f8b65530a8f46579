"""The page's answers are the shell's; what is drawn is what imaging/overlay.py draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import pneumoscope as ps
from pneumoscope.detector.predict import Detector
from pneumoscope.imaging.overlay import draw_overlay
from pneumoscope.imaging.read import read_radiograph


@pytest.fixture(scope="module")
def detector() -> Detector:
    return ps.load()


@pytest.mark.parametrize("way", ["Run on this device", "Run on the server"])
def test_an_example_is_answered_as_at_the_shell(
    way: str, server: Any, seen: Any, detector: Detector, radiographs: list[Path]
) -> None:
    seen.open(server.url, way=way)
    seen.page.get_by_role("button", name="Example 1").click()
    seen.wait_for_answers(1)
    name = seen.page.locator(".answer-file").inner_text()
    oracle = detector.predict(next(path for path in radiographs if path.name == name))
    assert seen.probability() == pytest.approx(oracle.probability, abs=1.1e-3)
    expect(seen.page.locator(".verdict-label")).to_have_text(oracle.label.capitalize())
    assert seen.page.locator(".region").count() == len(oracle.regions)
    warnings = seen.page.locator(".warning").all_inner_texts()
    assert warnings == list(oracle.warnings)
    facts = seen.page.locator(".facts").inner_text()
    assert oracle.bundle["sha256"][:12] in facts
    assert ("on this device" if "device" in way else "on the server") in facts


def test_the_operating_point_switches_without_a_new_request(
    server: Any, seen: Any, detector: Detector, radiographs: list[Path]
) -> None:
    points = [point.name for point in detector.card.operating_points]
    oracles = {}
    for path in radiographs:
        both = [detector.predict(path, operating_point=name) for name in points]
        if both[0].label != both[-1].label:
            oracles[path] = both
    if not oracles:  # none lies between the two: any one will do
        oracles[radiographs[8]] = [
            detector.predict(radiographs[8], operating_point=name) for name in points
        ]
    path, answers = next(iter(oracles.items()))
    seen.open(server.url, way="Run on the server")
    seen.add(path)
    seen.wait_for_answers(1)
    asked: list[str] = []
    seen.page.on("request", lambda request: "/api/" in request.url and asked.append(request.url))
    for name, oracle in zip(points, answers, strict=True):
        seen.page.get_by_role("radio", name=name).check()
        expect(seen.page.locator(".verdict-label")).to_have_text(oracle.label.capitalize())
        expect(seen.page.locator(".region")).to_have_count(len(oracle.regions))
        shown = seen.page.locator(".scale").get_attribute("aria-label")
        assert f"{oracle.operating_point.threshold:.3f}" in shown
    assert asked == []


def test_the_overlay_is_that_of_the_shell(
    server: Any, seen: Any, detector: Detector, radiographs: list[Path]
) -> None:
    # The smallest of those called pneumonia fits in the viewer, one pixel as one.
    path = min(radiographs[8:], key=lambda each: each.stat().st_size)
    pixels = read_radiograph(path.read_bytes(), name=path.name).pixels
    height, width = pixels.shape
    seen.page.set_viewport_size({"width": width + 1100, "height": height + 500})
    seen.open(server.url)
    seen.add(path)
    seen.wait_for_answers(1)
    seen.page.keyboard.press("b")  # regions have their own lettering in each
    seen.page.keyboard.press("1")
    drawn = seen.canvas()
    # Half a pixel is rounded up, onto the grid of the screen.
    top, left = (drawn.shape[0] - height + 1) // 2, (drawn.shape[1] - width + 1) // 2
    mine = drawn[top : top + height, left : left + width].astype(int)
    answer = detector.predict(path)
    sheet = np.asarray(
        draw_overlay(pixels, answer.cam, logit=answer.logit, threshold_logit=answer.threshold_logit)
    ).astype(int)
    shift = first_row(sheet)
    theirs = sheet[shift : shift + height, (sheet.shape[1] - width) // 2 :][:, :width]
    difference = np.abs(mine - theirs)
    assert difference.mean() < 0.5
    assert difference.max() <= 3
    # And it is no match for the bare radiograph.
    assert np.abs(mine - pixels[..., None]).mean() > 5


def first_row(sheet: np.ndarray) -> int:
    """Return where the picture begins on the shell's sheet: below a strip of one colour."""
    return int(np.argmax((sheet != sheet[0, 0]).any(axis=(1, 2))))


def test_each_tool_changes_what_is_drawn_and_reset_brings_it_back(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.open(server.url)
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    page: Page = seen.page
    before = seen.canvas()
    stage = page.locator(".stage").bounding_box()
    centre = (stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)

    def drag(*, across: int, up: int) -> None:
        page.mouse.move(*centre)
        page.mouse.down()
        page.mouse.move(centre[0] + across, centre[1] - up, steps=4)
        page.mouse.up()

    def is_gray(picture: np.ndarray) -> bool:
        return int(np.ptp(picture.astype(int), axis=2).max()) <= 1

    page.get_by_role("button", name="Regions").click()
    page.get_by_role("button", name="Evidence overlay").click()
    bare = seen.canvas()
    assert not is_gray(before)
    assert is_gray(bare)
    page.get_by_role("button", name="Invert").click()
    # Only the picture is inverted; the black beside it stays.
    inverted = seen.canvas()
    inside = (slice(bare.shape[0] // 2 - 50, bare.shape[0] // 2 + 50), slice(200, 400))
    np.testing.assert_allclose(255 - bare[inside].astype(int), inverted[inside], atol=1)
    page.get_by_role("button", name="Invert").click()

    page.get_by_role("button", name="Window and level").click()
    drag(across=0, up=60)
    assert seen.canvas()[inside].mean() > bare[inside].mean() + 40  # brighter
    page.get_by_role("button", name="Reset the view").click()
    np.testing.assert_array_equal(seen.canvas(), before)
    drag(across=-150, up=0)
    page.get_by_role("button", name="Evidence overlay").click()
    page.get_by_role("button", name="Regions").click()
    assert seen.canvas()[inside].std() > 1.5 * bare[inside].std()  # more contrast

    page.get_by_role("button", name="Reset the view").click()
    page.get_by_role("button", name="Pan").click()
    drag(across=80, up=0)
    np.testing.assert_array_equal(seen.canvas()[:, 120:240], before[:, 40:160])
    page.get_by_role("button", name="Fit the whole picture").click()
    np.testing.assert_array_equal(seen.canvas(), before)
    page.mouse.move(*centre)
    page.mouse.wheel(0, -400)
    page.get_by_text("W 255").wait_for()
    assert not np.array_equal(seen.canvas(), before)
    page.get_by_role("button", name="Reset the view").click()
    np.testing.assert_array_equal(seen.canvas(), before)


def test_the_opacity_slider_goes_from_bare_to_the_colours_alone(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.open(server.url)
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    seen.page.keyboard.press("b")
    slider = seen.page.get_by_role("slider", name="Opacity of the overlay")
    colour = []
    for value in (0, 25, 50, 100):
        slider.fill(str(value))
        colour.append(np.ptp(seen.canvas().astype(int), axis=2).max())
    assert colour[0] <= 1
    assert colour == sorted(colour)
    # Plasma's strongest colour is (240, 249, 33).
    assert colour[-1] > 180


def test_choosing_a_region_zooms_to_it(server: Any, seen: Any, radiographs: list[Path]) -> None:
    seen.open(server.url)
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    zoom = seen.page.locator(".readout span").first
    before = int(zoom.inner_text().removesuffix(" %"))
    seen.page.locator(".region").first.click()
    expect(zoom).not_to_have_text(f"{before} %")
    assert int(zoom.inner_text().removesuffix(" %")) > before
