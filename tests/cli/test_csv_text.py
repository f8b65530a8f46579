"""CSV that a spreadsheet opens: text stays text, numbers stay numbers, and nothing is lost."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope.cli.csv_text import as_text, csv_line

ROOT = Path(__file__).parents[2]
# Written by hand, and what the page is held to as well.
CELLS = json.loads((ROOT / "tests" / "golden" / "csv-cells.json").read_text(encoding="utf-8"))
AWKWARD = st.text(alphabet="=+-@\t\r\n;,\"'a \uff1d")


def read_back(cell: str) -> str:
    """Return the text of a cell, as the documentation says."""
    return re.sub(r"(^|[;\t\r\n])'", r"\1", cell)


@pytest.mark.parametrize("each", CELLS, ids=lambda each: repr(each["text"]))
def test_text_is_no_formula_and_can_be_read_back(each: dict[str, str]) -> None:
    assert as_text(each["text"]) == each["cell"]
    assert read_back(each["cell"]) == each["text"]


def test_the_documentation_tells_how_to_read_it_back() -> None:
    assert r"""re.sub(r"(^|[;\t\r\n])'", r"\1", cell)""" in (ROOT / "docs" / "bundle.md").read_text(
        encoding="utf-8"
    )


@given(st.lists(AWKWARD, min_size=2, max_size=4))
def test_any_text_survives_and_starts_no_formula_at_any_separator(texts: list[str]) -> None:
    """Oracle: OWASP's list, at the start of whatever any of the usual separators cuts out."""
    line = csv_line(texts)
    (cells,) = csv.reader(io.StringIO(line, newline=""))
    assert [read_back(cell) for cell in cells] == texts
    for cell in cells:
        for piece in re.split(r"[;\t\r\n]", cell):
            assert not piece.startswith(("=", "+", "-", "@", "\uff1d"))


def test_numbers_are_left_as_they_are() -> None:
    assert csv_line(["a", -1.5, 1e-9, -3]) == "a,-1.5,1e-09,-3"
