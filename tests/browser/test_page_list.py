"""Many files: order, failures, and what is saved and printed of them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from pneumoscope.cli.app import app


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, radiographs: list[Path]) -> list[Path]:
    """Return three files that cannot be answered."""
    folder = tmp_path_factory.mktemp("bad")
    files = {
        "empty.png": b"",
        "words, and a comma.jpeg": b"no picture at all",
        "cut-short.jpeg": radiographs[0].read_bytes()[:9000],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


@pytest.fixture
def filled(server: Any, seen: Any, radiographs: list[Path], bad: list[Path]) -> Any:
    """Return the page with four radiographs and three files that fail, all done."""
    seen.open(server.url)
    seen.add(*radiographs[6:10], *bad)
    seen.wait_for_answers(7)
    return seen


def shell(files: list[Path], output_format: str) -> str:
    """Return what the shell prints for the same files."""
    result = CliRunner().invoke(
        app, ["predict", "--format", output_format, *map(str, files)], catch_exceptions=False
    )
    assert result.exit_code == 1  # some failed
    return result.stdout


def save(page: Page, name: str, folder: Path) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path.read_text(encoding="utf-8")


def test_the_json_is_that_of_predict(
    filled: Any, radiographs: list[Path], bad: list[Path], tmp_path: Path
) -> None:
    mine = json.loads(save(filled.page, "Save the answers as JSON", tmp_path))
    theirs = json.loads(shell([*radiographs[6:10], *bad], "json"))
    assert len(mine) == len(theirs) == 7
    for one, other in zip(mine, theirs, strict=True):
        assert list(one) == list(other)
        assert one["path"] == Path(other["path"]).name
        if "error" in other:
            assert one["error"]["type"] == other["error"]["type"]
            assert one["error"]["message"]
            continue
        assert one["sha256"] == other["sha256"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-3)
        assert one["operating_point"] == other["operating_point"]
        assert one["warnings"] == other["warnings"]
        assert one["bundle"] == other["bundle"]
        assert [list(region) for region in one["regions"]] == [
            list(region) for region in other["regions"]
        ]


def test_the_csv_has_the_columns_of_predict_and_the_values_of_the_json(
    filled: Any, radiographs: list[Path], bad: list[Path], tmp_path: Path
) -> None:
    text = save(filled.page, "Save the answers as CSV", tmp_path)
    rows = list(csv.DictReader(text.splitlines()))
    theirs = list(csv.DictReader(shell([*radiographs[6:10], *bad], "csv").splitlines()))
    assert list(rows[0]) == list(theirs[0])
    values = json.loads(save(filled.page, "Save the answers as JSON", tmp_path))
    for row, value, other in zip(rows, values, theirs, strict=True):
        assert row["path"] == value["path"]
        assert row["error_type"] == other["error_type"]
        if "error" in value:
            assert row["error_message"] == value["error"]["message"]
            assert row["sha256"] == ""
            continue
        assert float(row["probability"]) == value["probability"]
        assert float(row["logit"]) == value["logit"]
        assert json.loads(row["regions"]) == value["regions"]
        assert row["warnings"] == other["warnings"]
        assert row["bundle_sha256"] == other["bundle_sha256"]


def test_saved_answers_are_those_of_the_chosen_operating_point(filled: Any, tmp_path: Path) -> None:
    filled.page.get_by_role("radio", name="sensitive").check()
    values = json.loads(save(filled.page, "Save the answers as JSON", tmp_path))
    assert {value["operating_point"]["name"] for value in values if "label" in value} == {
        "sensitive"
    }


def test_a_file_that_fails_shows_its_reason(filled: Any, bad: list[Path]) -> None:
    for path in bad:
        filled.page.locator(".row-name", has_text=path.name).click()
        reason = filled.page.locator(".failure")
        expect(reason).to_contain_text(path.name)
        expect(reason).to_contain_text("UnreadableImageError")
    filled.page.get_by_role("button", name="Try failed ones again").click()
    filled.wait_for_answers(7)
    expect(filled.page.locator(".row[data-state=failed]")).to_have_count(3)


def test_columns_sort_both_ways_with_failures_last(filled: Any) -> None:
    def probabilities() -> list[str]:
        return filled.page.locator("td.column-probability").all_inner_texts()

    came = probabilities()
    assert came[4:] == ["", "", ""]
    heading = filled.page.get_by_role("button", name="Sort by Probability")
    heading.click()
    assert probabilities() == [*sorted(came[:4]), "", "", ""]
    column = filled.page.locator("th.column-probability")
    expect(column).to_have_attribute("aria-sort", "ascending")
    heading.click()
    assert probabilities() == [*sorted(came[:4], reverse=True), "", "", ""]
    expect(column).to_have_attribute("aria-sort", "descending")
    heading.click()
    assert probabilities() == came
    filled.page.get_by_role("button", name="Sort by Name").click()
    names = filled.page.locator(".row-file").all_inner_texts()
    assert names == sorted(names, key=str.lower)


def test_a_radiograph_can_be_removed_and_the_list_cleared(filled: Any) -> None:
    first = filled.page.locator(".row-file").first.inner_text()
    filled.page.get_by_role("button", name=f"Remove {first}").click()
    expect(filled.page.locator(".row")).to_have_count(6)
    # The next one is in view now.
    assert filled.page.locator(".answer-file").inner_text() != first
    filled.page.get_by_role("button", name="Clear the list").click()
    expect(filled.page.get_by_role("heading", name="Bring a radiograph")).to_be_visible()


def test_what_is_printed_has_a_card_for_each_file(
    filled: Any, bad: list[Path], screenshots: Path
) -> None:
    page: Page = filled.page
    assert page.locator(".printed").count() == 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    cards = page.locator(".printed")
    expect(cards).to_have_count(7)
    for index in range(4):
        text = cards.nth(index).inner_text()
        assert "Research use only. Not a medical device." in text
        assert "the age is unknown" in text
        drawn = cards.nth(index).locator("canvas").first
        n_levels = drawn.evaluate(
            """canvas => {
              const { width, height } = canvas;
              return new Set(canvas.getContext("2d").getImageData(0, 0, width, height).data).size;
            }"""
        )
        assert n_levels > 100  # a picture, not a blank
    assert bad[0].name in cards.nth(4).inner_text()
    expect(page.locator(".header")).to_be_hidden()
    page.set_viewport_size({"width": 794, "height": 1123})
    page.screenshot(path=screenshots / "print.png", full_page=True)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(cards).to_have_count(0)
