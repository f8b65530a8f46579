"""The golden files, which the browser is held to as well, decode to what the formulas say."""

import json
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.imaging.read import read_radiograph

FOLDER = Path(__file__).parents[1] / "golden" / "reading"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
FACTS = ("is_colour", "modality", "view_position", "age_years", "sex")


def test_every_golden_file_is_expected() -> None:
    there = {path.name for path in FOLDER.iterdir()} - {"expected.json"}
    assert there == set(EXPECTED)
    assert len(there) >= 19


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_file_decodes_as_written_down(name: str) -> None:
    expected = EXPECTED[name]
    radiograph = read_radiograph(FOLDER / name, scaled_to_px=expected.get("scaled_to_px"))
    pixels = np.array([list(bytes.fromhex(row)) for row in expected["rows"]])
    np.testing.assert_allclose(radiograph.pixels, pixels, atol=expected.get("tolerance", 0))
    facts = {fact: getattr(radiograph, fact) for fact in FACTS}
    assert facts == {fact: expected.get(fact) for fact in FACTS} | {
        "is_colour": expected.get("is_colour", False)
    }
    size = (radiograph.file_height_px, radiograph.file_width_px)
    assert size == (
        expected.get("file_height_px", len(pixels)),
        expected.get("file_width_px", len(pixels[0])),
    )
