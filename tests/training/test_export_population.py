"""Whose radiographs a bundle says that it learned from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pneumoscope.data.manifest import make_manifest
from pneumoscope.training.export_population import Population, describe_population
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import load_recipe, recipe_names
from pneumoscope.training.run_data import RunData

KERMANY = {
    "train/NORMAL/IM-0115-0001.jpeg": 0,
    "train/NORMAL/NORMAL2-IM-1427-0001.jpeg": 0,
    "train/PNEUMONIA/person1_bacteria_1.jpeg": 1,
    "train/PNEUMONIA/Person7_Virus_6 (1).jpeg": 1,
}
THIRD_VERSION = {"NORMAL-1003233-0001.jpeg": 0, "BACTERIA-1008087-0001.jpeg": 1}
MEDMNIST = {"pneumoniamnist_64.npz#train/0": 0, "pneumoniamnist_64.npz#train/1": 1}
ADULTS = {"0.png": 0, "1.png": 1}
# As viewers call what they export: the normals' names are those of the Kermany set, too.
EXPORTED = {"NORMAL/IM-0001-0001.jpg": 0, "PNEUMONIA/IM-0001-0001.jpg": 1}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("pneumoscope-1")


def describe(recipe: Recipe, names: dict[str, int], **columns: list[Any]) -> Population:
    """Describe a bundle whose training radiographs are all of these but the last, a tuning one."""
    names = names | {"tuning.png": 1}
    known = {
        "path": list(names),
        "target": list(names.values()),
        "patient_id": list(names),
        "split": ["train"] * len(names),
    }
    manifest = make_manifest(known | columns, root=Path(), name="set")
    rows = np.arange(len(names) - 1)
    data = SimpleNamespace(cache=SimpleNamespace(manifest=manifest), training=rows)
    return describe_population(recipe, cast(RunData, data))


@pytest.mark.parametrize("names", [KERMANY, THIRD_VERSION, MEDMNIST])
def test_of_the_data_that_it_describes_the_recipes_words_are_taken(
    recipe: Recipe, names: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    found = describe(recipe, names)
    assert found.card.description.startswith("children of one to five years")
    assert (found.card.view_positions, found.card.age_years) == (("AP",), (1, 5))
    assert "Adults" in found.limits[0]
    assert "Kermany" in found.attribution
    assert caplog.text == ""


@pytest.mark.parametrize("names", [ADULTS, EXPORTED])
def test_of_other_data_they_are_not(
    recipe: Recipe, names: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    found = describe(recipe, names, view_position=["PA", "PA", "LL"], age_years=[40, 71, 3])
    assert found.card.description == ""
    assert (found.card.view_positions, found.card.age_years) == (("PA",), (40, 71))
    assert (found.limits, found.attribution) == ((), "")
    assert "Describe them in the recipe's population" in caplog.text
    unknown = describe(recipe, names).card
    assert (unknown.view_positions, unknown.age_years) == (None, None)


def test_of_a_mixture_only_the_attribution_stays(recipe: Recipe) -> None:
    found = describe(recipe, KERMANY | ADULTS)
    assert (found.card.description, found.card.age_years, found.limits) == ("", None, ())
    assert "Kermany" in found.attribution


def test_what_the_manifest_knows_wins(recipe: Recipe) -> None:
    card = describe(recipe, KERMANY, age_years=[2, 3, 4, 3, 9]).card
    assert (card.view_positions, card.age_years) == (("AP",), (2, 4))
    assert card.description.startswith("children")


def test_a_recipe_that_speaks_of_whatever_it_trains_on_is_believed(recipe: Recipe) -> None:
    told = recipe.population.model_copy(update={"of": None, "description": "adults of our ward"})
    found = describe(recipe.model_copy(update={"population": told}), ADULTS)
    assert found.card.description == "adults of our ward"


def test_every_shipped_population_is_bound_to_its_data() -> None:
    told = [load_recipe(name).population for name in recipe_names()]
    assert [population.of for population in told if population is not None] == ["kermany"] * 8


def test_a_few_known_values_do_not_speak_for_all(recipe: Recipe) -> None:
    names = {f"{number}.png": number % 2 for number in range(20)}
    for n_unknown, is_told in ((2, True), (3, False)):
        known = 20 - n_unknown
        views, ages = ["PA"] * known + [None] * n_unknown, [44.0] * known + [None] * n_unknown
        card = describe(recipe, names, view_position=[*views, "PA"], age_years=[*ages, 44.0]).card
        told = (("PA",), (44, 44)) if is_told else (None, None)
        assert (card.view_positions, card.age_years) == told
