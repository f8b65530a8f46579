"""Whose radiographs a bundle says that it learned from."""

import logging
from dataclasses import dataclass
from typing import Any

import polars as pl

from pneumoscope.data.kermany_names import is_of_kermany
from pneumoscope.data.manifest import Manifest
from pneumoscope.detector.card import PopulationCard
from pneumoscope.training.recipe import PopulationRecipe, Recipe
from pneumoscope.training.run_data import RunData

_log = logging.getLogger(__name__)
_ENOUGH = 0.9  # of the training radiographs


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The parts of a card that depend on whose radiographs trained."""

    card: PopulationCard
    limits: tuple[str, ...]
    attribution: str


def describe_population(recipe: Recipe, data: RunData) -> Population:
    """Return what the manifest knows of the training radiographs, and else what the recipe says.

    The recipe's words are taken where all real training radiographs are those that it describes
    (`PopulationRecipe.of`). Otherwise what the manifest does not know stays unknown, and a warning
    says so; the attribution stays as long as some of the radiographs are.
    """
    manifest: Manifest = data.cache.manifest
    table = manifest.table[data.training.tolist()]
    told, attribution = _words_that_hold(recipe, table)
    views = sorted(set(_mostly_known(table["view_position"])))
    ages = _mostly_known(table["age_years"])
    view_positions, age_years = tuple(views) or None, None
    if ages:
        age_years = (float(min(ages)), float(max(ages)))
    if told is None:
        card = PopulationCard(view_positions=view_positions, age_years=age_years)
        return Population(card=card, limits=(), attribution=attribution)
    card = PopulationCard(
        description=told.description,
        modalities=_tuple(told.modalities),
        view_positions=view_positions or _tuple(told.view_positions),
        age_years=age_years or told.age_years,
    )
    return Population(card=card, limits=tuple(told.limits), attribution=attribution)


def _mostly_known(column: pl.Series) -> list[Any]:
    """Return a column's known values; none where too few are known to speak for all."""
    known = column.drop_nulls().to_list()
    return known if len(known) >= _ENOUGH * len(column) else []


def _words_that_hold(recipe: Recipe, table: pl.DataFrame) -> tuple[PopulationRecipe | None, str]:
    """Return the recipe's population, or None where it is of other data; and the attribution."""
    told = recipe.population
    if told is None:
        return None, ""
    if told.of is None:
        return told, told.attribution
    real = table.filter(origin="real").select("path", "target")
    is_of = [is_of_kermany(path, target) for path, target in real.iter_rows()]
    # Of normals alone the names are not sure: viewers call what they export IM-0001-0001, too.
    has_some = any(is_of[row] for row in (real["target"] == 1).arg_true())
    if has_some and all(is_of):
        return told, told.attribution
    _log.warning(
        "%s: its population is of %s, and %d of %d real training radiographs are not called as "
        "that set's are. The bundle says what their manifest knows (view, age) and no more. "
        "Describe them in the recipe's population, with `of: null`",
        recipe.name,
        told.of,
        len(is_of) - sum(is_of),
        len(is_of),
    )
    return None, told.attribution if has_some else ""


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
