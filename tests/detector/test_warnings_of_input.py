"""Which input a bundle warns of."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pneumoscope.core.types import Radiograph
from pneumoscope.detector.card import BundleCard
from pneumoscope.detector.warnings_of_input import code_of, warn_of_input

POPULATION = {"modalities": ["CR", "DX"], "view_positions": ["AP", "PA"], "age_years": [1, 5]}
FINE: dict[str, Any] = {"modality": "DX", "view_position": "AP", "age_years": 3.0}


def warn(
    tiny: ModuleType,
    *,
    population: dict[str, object] | None = None,
    size: tuple[int, int] = (300, 400),
    atypicality: float = 0.5,
    **facts: Any,
) -> tuple[str, ...]:
    card = BundleCard.model_validate(
        tiny.tiny_card(population=POPULATION if population is None else population)
    )
    radiograph = Radiograph(pixels=np.zeros(size, np.uint8), **(FINE | facts))
    return warn_of_input(radiograph, card, atypicality=atypicality)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"age_years": 1.0},
        {"age_years": 5.9},
        {"modality": None, "view_position": None},
        {"size": (128, 900)},
        {"size": (100, 90), "file_size_px": (800, 720)},
        {"atypicality": 0.98},
    ],
)
def test_input_like_the_training_data_gives_none(tiny: ModuleType, facts: dict[str, Any]) -> None:
    assert warn(tiny, **facts) == ()


@pytest.mark.parametrize(
    ("facts", "warning"),
    [
        ({"age_years": None}, "age: the age is unknown; the bundle was trained on ages 1 to 5"),
        ({"age_years": 63.0}, "age: the age is 63 years; "),
        ({"age_years": 6.0}, "age: the age is 6 years; "),
        ({"age_years": 0.5}, "age: the age is 0.5 years; "),
        ({"view_position": "LL"}, "view: the view is LL; the bundle was trained on AP and PA only"),
        ({"modality": "MG"}, "modality: the modality is MG; "),
        ({"size": (127, 900)}, "size: the picture has 900 x 127 pixels; a side below 128 "),
        ({"is_colour": True}, "colour: the picture is coloured"),
        ({"atypicality": 0.981}, "atypical: unlike the training radiographs (0.981, threshold"),
    ],
)
def test_each_kind_of_other_input_has_its_warning(
    tiny: ModuleType, facts: dict[str, Any], warning: str
) -> None:
    (given,) = warn(tiny, **facts)
    assert given.startswith(warning)
    assert given.endswith(".")


def test_what_the_card_leaves_open_is_not_warned_of(tiny: ModuleType) -> None:
    facts = {"age_years": None, "view_position": "LL", "modality": "MG"}
    assert warn(tiny, population={}, **facts) == ()


def test_all_at_once_in_a_fixed_order(tiny: ModuleType) -> None:
    facts = {"age_years": 80, "view_position": "LL", "modality": "MG", "is_colour": True}
    given = warn(tiny, size=(8, 8), atypicality=1, **facts)
    codes = ["age", "view", "modality", "size", "colour", "atypical"]
    assert [code_of(each) for each in given] == codes
