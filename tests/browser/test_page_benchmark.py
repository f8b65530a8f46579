"""The benchmark of the page: its bars, and that it measures what a person waits for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.options import parse_arguments
from benchmarks.page_parts import compare_page
from benchmarks.processes import read_result
from benchmarks.table import markers
from playwright.sync_api import Browser

from benchmarks import __main__ as program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "values", "verdicts"),
    [
        ("load_s", [3.5, 2.9, 2.9], ["met", "met", "met"]),
        ("load_s", [3.0], ["missed", "met", "met"]),
        ("first_s", [1.0], ["met", "missed", "met"]),
        ("later_s", [0.1, 0.31, 0.3], ["met", "met", "missed"]),
    ],
)
def test_bars_are_for_the_medians(name: str, values: list[float], verdicts: list[str]) -> None:
    found: dict[str, Any] = {"load_s": [1.0], "first_s": [0.5], "later_s": [0.1]}
    rows = compare_page(found | {name: values})
    assert [row.verdict for row in rows] == verdicts


def test_page_has_a_section_and_needs_no_data() -> None:
    options = parse_arguments(["--only", "page"])
    assert (options.data, program.section_name(options)) == (None, "page")
    markers(ROOT / "docs" / "benchmarks.md", "page")


# The fixtures are asked for only to skip where there is no browser or no page.
@pytest.mark.usefixtures("built", "chromium")
def test_piece_measures_a_real_page(chromium: Browser, radiographs: list[Path]) -> None:
    words = ["page", "--folder", str(radiographs[0].parent), "--threads", "1"]
    command = [sys.executable, "-m", "benchmarks.page_side", *words, "--distinct", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = read_result(done.stdout, command=command)
    assert (len(found["load_s"]), len(found["first_s"]), len(found["later_s"])) == (1, 1, 2)
    assert found["is_isolated"] == [True]
    assert found["versions"]["chromium"] == chromium.version
    assert all(seconds > 0 for name in ("load_s", "first_s", "later_s") for seconds in found[name])
