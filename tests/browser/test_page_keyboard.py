"""The page by keyboard alone, and as a screen reader finds it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "browser" / "node_modules" / "axe-core" / "axe.min.js"


def focused(page: Page) -> str:
    """Return the name of what has the focus."""
    return page.evaluate(
        "() => document.activeElement.getAttribute('aria-label') ?? "
        "document.activeElement.innerText.trim()"
    )


def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press Tab until something of that name has the focus, as a person would."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if name in focused(page):
            return
    pytest.fail(f"Tab never comes to {name!r}")


def test_everything_can_be_done_without_a_mouse(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    page: Page = seen.page
    seen.open(server.url)
    tab_to(page, "Example 1")
    page.keyboard.press("Enter")
    seen.wait_for_answers(1)
    seen.add(radiographs[0])  # the browser's own window for files cannot be driven
    seen.wait_for_answers(2)

    first = page.locator(".answer-file").inner_text()
    page.keyboard.press("j")
    expect(page.locator(".answer-file")).not_to_have_text(first)
    page.keyboard.press("k")
    expect(page.locator(".answer-file")).to_have_text(first)

    before = seen.canvas()
    steps = {
        "o": "o",
        "b": "b",
        "i": "i",
        "+": "f",
        "1": "f",
        "]": "[",
    }
    for there, back in steps.items():
        page.keyboard.press(there)
        assert not np.array_equal(seen.canvas(), before), there
        page.keyboard.press(back)
        np.testing.assert_array_equal(seen.canvas(), before, err_msg=there)

    tab_to(page, "Radiograph ")
    page.keyboard.press("ArrowRight")
    assert not np.array_equal(seen.canvas(), before)
    page.keyboard.press("r")
    page.keyboard.press("w")
    page.keyboard.press("ArrowUp")
    assert seen.canvas().mean() > before.mean()
    page.keyboard.press("r")
    np.testing.assert_array_equal(seen.canvas(), before)

    point = page.locator(".points input:checked")
    assert point.get_attribute("value") == "balanced"
    page.keyboard.press("t")
    assert point.get_attribute("value") == "sensitive"
    page.keyboard.press("t")
    assert point.get_attribute("value") == "balanced"

    tab_to(page, first, back=True)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".answer-file")).to_have_text(radiographs[0].name)
    page.keyboard.press("Delete")
    expect(page.locator(".row")).to_have_count(1)


def expect_focus(page: Page, name: str) -> None:
    """Wait until what has the focus is of that name; the rows are drawn a moment later."""
    expect(page.locator(":focus")).to_have_accessible_name(name)


@pytest.fixture
def five_broken(server: Any, seen: Any, tmp_path: Path) -> Page:
    """Return the page with b, d, a, e and c in its list, none of them a picture."""
    files = [tmp_path / f"{name}.png" for name in "bdaec"]
    for file in files:
        file.write_bytes(b"nothing")
    seen.open(server.url)
    seen.add(*files)
    seen.wait_for_answers(5)
    return seen.page


def test_the_focus_goes_to_the_next_row_when_one_is_removed(five_broken: Page) -> None:
    page = five_broken
    page.get_by_role("button", name="Sort by Name").click()
    tab_to(page, "Remove b.png")
    for left in ("c.png", "d.png", "e.png"):  # as the rows are shown, not as the files came
        page.keyboard.press("Enter")
        expect_focus(page, f"Remove {left}")
        expect(page.locator("[aria-current]")).to_have_text(left)
    page.keyboard.press("Enter")  # none is below
    expect_focus(page, "Remove a.png")
    page.keyboard.press("Enter")
    expect_focus(page, "Bring a radiograph")
    page.keyboard.press("Tab")
    assert focused(page) == "Choose files"


def test_the_focus_stays_in_the_list_when_rows_are_deleted_by_key(five_broken: Page) -> None:
    page = five_broken
    page.get_by_role("button", name="Sort by Name").click()
    page.locator(".row-name", has_text="d.png").click()
    for left in ("e.png", "c.png", "b.png", "a.png"):
        page.keyboard.press("Delete")
        expect_focus(page, left)
    page.keyboard.press("Delete")
    expect_focus(page, "Bring a radiograph")


def test_removing_a_row_that_is_not_in_view_leaves_the_one_that_is(five_broken: Page) -> None:
    page = five_broken
    page.get_by_role("button", name="Remove d.png").click()
    expect_focus(page, "Remove a.png")
    expect(page.locator("[aria-current]")).to_have_text("b.png")
    page.keyboard.press("Delete")  # the row that has the focus
    expect_focus(page, "Remove e.png")
    expect(page.locator(".row-file")).to_have_text(["b.png", "e.png", "c.png"])
    expect(page.locator("[aria-current]")).to_have_text("b.png")


def test_the_focus_goes_to_the_heading_when_the_list_is_cleared(five_broken: Page) -> None:
    five_broken.get_by_role("button", name="Clear the list").click()
    expect_focus(five_broken, "Bring a radiograph")


def test_a_dialog_keeps_the_focus_and_gives_it_back(server: Any, seen: Any) -> None:
    page: Page = seen.page
    seen.open(server.url)
    tab_to(page, "About the bundle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="About this bundle")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        # Between the last and the first stop a browser's own window has the focus.
        assert page.evaluate(
            "() => document.activeElement === document.body || "
            "document.activeElement.closest('dialog') !== null"
        )
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert focused(page) == "About the bundle"


def test_single_keys_can_be_turned_off_for_good(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    page: Page = seen.page
    seen.open(server.url)
    page.keyboard.press("?")
    page.get_by_role("checkbox", name="Use single keys as commands").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    overlay = page.get_by_role("button", name="Evidence overlay")
    page.keyboard.press("o")
    expect(overlay).to_have_attribute("aria-pressed", "true")
    overlay.click()
    expect(overlay).to_have_attribute("aria-pressed", "false")


def test_an_answer_is_read_aloud(server: Any, seen: Any, radiographs: list[Path]) -> None:
    seen.open(server.url)
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    live = seen.page.locator("[aria-live=polite]")
    expect(live).to_contain_text(f"{radiographs[8].name}: pneumonia, probability")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(
    theme: str,
    width: int,
    server: Any,
    seen: Any,
    radiographs: list[Path],
    tmp_path: Path,
    screenshots: Path,
) -> None:
    page: Page = seen.page
    page.set_viewport_size({"width": width, "height": 900})
    seen.open(server.url)
    if theme == "light":
        page.get_by_role("button", name="Use the light theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", theme)

    def check(what: str) -> None:
        page.screenshot(path=screenshots / f"{what}-{theme}-{width}.png", full_page=True)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("() => axe.run()")
        serious = [
            (each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], what
        assert len(found["passes"]) > 10  # it did look
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    check("welcome")
    broken = tmp_path / "broken.jpeg"
    broken.write_bytes(b"nothing")
    seen.add(radiographs[8], radiographs[0], broken)
    seen.wait_for_answers(3)
    check("answer")
    page.locator(".row-name").nth(1).click()
    expect(page.locator(".verdict-label")).to_have_text("Normal")
    check("normal")
    page.locator(".row-name").nth(2).click()
    page.locator(".failure").wait_for()
    check("failure")
    for name in ("About the bundle", "Keyboard"):
        page.get_by_role("button", name=name).click()
        page.get_by_role("dialog").wait_for()
        check(name.lower().replace(" ", "-"))
        page.keyboard.press("Escape")


def test_it_is_dark_until_light_is_chosen_and_that_is_remembered(server: Any, seen: Any) -> None:
    page: Page = seen.page
    page.emulate_media(color_scheme="light")
    seen.open(server.url)

    def brightness() -> float:
        return float(np.mean(np.asarray(seen.screen())))

    assert brightness() < 90
    page.get_by_role("button", name="Use the light theme").click()
    page.reload()
    page.get_by_role("button", name="Use the dark theme").wait_for()
    assert brightness() > 160


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_part_fits_from_a_phone_to_a_wide_screen(
    theme: str, server: Any, seen: Any, radiographs: list[Path], screenshots: Path
) -> None:
    page: Page = seen.page
    seen.open(server.url)
    if theme == "light":
        page.get_by_role("button", name="Use the light theme").click()
    seen.add(*radiographs[7:10])
    seen.wait_for_answers(3)
    for width, height in [(360, 760), (768, 1024), (1024, 768), (1440, 900), (2560, 1300)]:
        page.set_viewport_size({"width": width, "height": height})
        assert seen.canvas().shape[1] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for part in (".list", ".toolbar", ".stage", ".legend", ".verdict", ".points"):
            box = page.locator(part).bounding_box()
            assert box["x"] >= 0, part
            assert box["x"] + box["width"] <= width, part
            assert box["height"] > 20, part
        page.screenshot(path=screenshots / f"fits-{theme}-{width}.png", full_page=True)
