"""The shipped bundle tells radiographs from other pictures; no dataset is needed."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pneumoscope.detector.bundle import open_bundle

_TESTS = Path(__file__).parents[1]
_LEAST_SHARE = 0.99


@pytest.fixture(scope="module")
def not_radiographs() -> dict[str, Callable[..., Any]]:
    return runpy.run_path(str(_TESTS / "not_radiographs.py"))


@pytest.mark.parametrize("with_variants", [False, True])
def test_nearly_every_other_picture_is_flagged(
    not_radiographs: dict[str, Callable[..., Any]], with_variants: bool
) -> None:
    bundle = open_bundle()
    pictures = not_radiographs["collect"]()
    assert len({picture.source for picture in pictures}) >= 100
    if with_variants:
        pictures = [new for picture in pictures[::4] for new in not_radiographs["vary"](picture)]
    threshold = bundle.card.atypicality.threshold
    missed = [
        picture.name
        for picture in pictures
        if not bundle.run(picture.pixels[None, None]).atypicality[0] > threshold
    ]
    assert len(missed) <= (1 - _LEAST_SHARE) * len(pictures), missed


def test_the_threshold_flags_two_percent_of_tuning() -> None:
    card = open_bundle().card.atypicality
    assert card.share_flagged_on_tuning == pytest.approx(0.02, abs=0.002)
