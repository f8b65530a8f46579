"""The golden answers that the browser is held to are still the detector's."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "answers.json"


def assert_alike(made: Any, kept: Any, where: str = "") -> None:
    """Compare exactly, but for the last digits, which a processor may round otherwise."""
    assert type(made) is type(kept), where
    if isinstance(made, dict):
        assert list(made) == list(kept), where
        for key in made:
            assert_alike(made[key], kept[key], f"{where}.{key}")
    elif isinstance(made, list):
        assert len(made) == len(kept), where
        for index, pair in enumerate(zip(made, kept, strict=True)):
            assert_alike(*pair, f"{where}[{index}]")
    else:
        assert made == (pytest.approx(kept, rel=1e-12) if isinstance(made, float) else kept), where


def test_golden_answers_are_the_detectors(load_test_module: Callable[[str], ModuleType]) -> None:
    made = json.loads(load_test_module("golden/make_answers.py").make())
    assert_alike(made, json.loads(GOLDEN.read_text(encoding="utf-8")))
