"""What a bundle was not trained for, said of one radiograph.

Each warning is a sentence behind a stable code, as in "view: the view is LL; ...":

- age: outside the ages of the training radiographs, or unknown
- view: stated, and not one of those trained on
- modality: stated, and not one of those trained on
- size: too few pixels to see an infiltrate in
- colour: the channels differ, as in a photograph
- atypical: the embedding is unlike the training radiographs

A fact that the card leaves open, or that the file cannot state, gives no warning; only the age
does, because an adult's chest looks like a child's to no detector trained on children alone.
"""

from typing import Final, Literal

from pneumoscope.core.types import Radiograph
from pneumoscope.detector.card import BundleCard

WarningCode = Literal["age", "view", "modality", "size", "colour", "atypical"]

MIN_SIDE_PX: Final = 128


def warn_of_input(
    radiograph: Radiograph, card: BundleCard, *, atypicality: float
) -> tuple[str, ...]:
    """Return the warnings for one radiograph, in the order of `WarningCode`."""
    found = (
        ("age", _age(radiograph, card)),
        ("view", _view(radiograph, card)),
        ("modality", _modality(radiograph, card)),
        ("size", _size(radiograph, card)),
        ("colour", "the picture is coloured, and a radiograph is gray" * radiograph.is_colour),
        ("atypical", _atypical(card, atypicality)),
    )
    return tuple(f"{code}: {words}." for code, words in found if words)


def code_of(warning: str) -> str:
    """Return the code that a warning begins with."""
    return warning.partition(":")[0]


def _age(radiograph: Radiograph, card: BundleCard) -> str:
    if card.population.age_years is None:
        return ""
    low, high = card.population.age_years
    trained = f"the bundle was trained on ages {low:g} to {high:g} years"
    age = radiograph.age_years
    if age is None:
        return f"the age is unknown; {trained}"
    # Completed years: a child of five stays five until the day before the sixth birthday.
    return "" if low <= age < high + 1 else f"the age is {age:.3g} years; {trained}"


def _view(radiograph: Radiograph, card: BundleCard) -> str:
    view, trained = radiograph.view_position, card.population.view_positions
    if trained is None or view is None or view in trained:
        return ""
    return f"the view is {view}; the bundle was trained on {' and '.join(trained)} only"


def _modality(radiograph: Radiograph, card: BundleCard) -> str:
    modality, trained = radiograph.modality, card.population.modalities
    if trained is None or modality is None or modality in trained:
        return ""
    return f"the modality is {modality}; the bundle was trained on {' and '.join(trained)} only"


def _size(radiograph: Radiograph, card: BundleCard) -> str:
    height, width = radiograph.file_height_px, radiograph.file_width_px
    least = max(MIN_SIDE_PX, card.size_px // 2)
    if min(height, width) >= least:
        return ""
    return f"the picture has {width} x {height} pixels; a side below {least} shows too little"


def _atypical(card: BundleCard, atypicality: float) -> str:
    threshold = card.atypicality.threshold
    if atypicality <= threshold:
        return ""
    return (
        f"unlike the training radiographs ({atypicality:.3g}, threshold {threshold:.3g}); "
        "it may not be a chest radiograph"
    )
