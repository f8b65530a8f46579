"""The detector that ships: its file, its card, and what it says of the example radiographs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pneumoscope as ps
from pneumoscope.detector.bundle import SHIPPED_BUNDLE
from pneumoscope.detector.prediction import Prediction

EXAMPLES = Path(__file__).parents[2] / "examples" / "radiographs"


@pytest.fixture(scope="module")
def detector() -> ps.Detector:
    return ps.load()


@pytest.fixture(scope="module")
def answers(detector: ps.Detector) -> dict[Path, Prediction]:
    found = {}
    for path in sorted(EXAMPLES.glob("*/*.jpeg")):
        found[path] = detector.predict(path)
    assert len(found) == 16
    return found


def test_the_file_is_small_and_is_what_its_hash_says() -> None:
    data = SHIPPED_BUNDLE.read_bytes()
    assert len(data) <= 25_000_000
    stated = SHIPPED_BUNDLE.with_name(f"{SHIPPED_BUNDLE.name}.sha256").read_text().split()
    assert stated == [hashlib.sha256(data).hexdigest(), SHIPPED_BUNDLE.name]


def test_its_card_states_population_points_results_and_limits(detector: ps.Detector) -> None:
    card = detector.card
    assert (card.name, card.recipe) == ("pneumoscope-1", "pneumoscope-1")
    assert card.population.age_years == (1, 5)
    assert card.population.view_positions == ("AP",)
    assert {point.name for point in card.operating_points} == {"balanced", "sensitive"}
    assert all(point.measured_on == "tuning" for point in card.operating_points)
    (result,) = card.results
    assert (result.split, result.n) == ("test", 624)
    assert {"auroc", "ece", "specificity_at_balanced"} <= set(result.figures)
    assert card.limits
    assert "CC BY 4.0" in card.attribution


def test_at_least_14_of_the_16_examples_are_right(answers: dict[Path, Prediction]) -> None:
    right = [answer.label == path.parent.name.lower() for path, answer in answers.items()]
    assert sum(right) >= 14


def test_regions_lie_in_the_picture_and_only_where_pneumonia_is_called(
    answers: dict[Path, Prediction],
) -> None:
    for path, answer in answers.items():
        with Image.open(path) as picture:
            width, height = picture.size
        assert bool(answer.regions) == (answer.label == "pneumonia")
        for region in answer.regions:
            assert 0 <= region.x < region.x + region.width <= width
            assert 0 <= region.y < region.y + region.height <= height


def test_its_map_is_exact(answers: dict[Path, Prediction]) -> None:
    """A linear head on the mean: mean(cam) and one bias give every logit."""
    bias = [answer.logit - answer.cam.astype(np.float64).mean() for answer in answers.values()]
    assert np.ptp(bias) < 1e-3


def test_a_copy_squeezed_to_224_px_and_compressed_is_answered_alike(
    detector: ps.Detector, real_data: Path, answers: dict[Path, Prediction]
) -> None:
    """The training copies were made so; a detector that knows them by that fails on files."""
    shift = []
    for path, answer in answers.items():
        copy = detector.predict(real_data / "val" / path.parent.name / path.name)
        shift.append(answer.logit - copy.logit)
    assert abs(np.mean(shift)) < 0.5
