"""What a study is to do: its YAML file, checked wholly before anything runs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from pneumoscope.core.errors import RecipeError
from pneumoscope.core.schema import RecipePart, reasons_of
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import load_recipe
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.recipe_text import strict_yaml

_NAME = r"^[a-z0-9][a-z0-9._-]*$"
MeasuredBy = Literal["run", "bundle"]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class SystemPlan(RecipePart):
    """One system: a recipe and its seeds."""

    recipe: str = Field(description="A shipped recipe's name, or a YAML file beside the study's.")
    name: str | None = Field(
        default=None, pattern=_NAME, description="What to call it; by default the recipe's name."
    )
    changes: list[str] = Field(default=[], description="As `train --set`: KEY=VALUE each.")
    seeds: Seeds | None = Field(default=None, description="Instead of the study's own.")
    measured_by: MeasuredBy = Field(
        default="run",
        description="`run`: the network as trained. `bundle`: its exported file, whose "
        "probabilities are calibrated.",
    )
    store_epochs: bool = Field(default=False, description="Keep every epoch's weights.")


class ContrastPlan(RecipePart):
    """A question that is answered by pairs of systems with the same seeds."""

    question: str = Field(min_length=1, description="In words.")
    of: list[str] = Field(min_length=1, description="Each of these systems ...")
    against: list[Annotated[list[str], Field(min_length=1)]] = Field(
        min_length=1, description="... against each of its own list, in the same order."
    )

    def pairs(self) -> list[tuple[str, str]]:
        """Return every (system, the system it is set against)."""
        return [
            (name, other)
            for name, others in zip(self.of, self.against, strict=True)
            for other in others
        ]


class StudyPlan(RecipePart):
    """Recipes times seeds, and what is asked of them."""

    name: str = Field(pattern=_NAME, description="The study's own name.")
    title: str = Field(min_length=1, description="One line: what it is about.")
    seeds: Seeds = Field(default=[0, 1, 2], description="Of every system that names none.")
    systems: list[SystemPlan] = Field(min_length=1, description="What is trained and measured.")
    contrasts: list[ContrastPlan] = Field(default=[], description="Questions answered by pairs.")


@dataclass(frozen=True)
class System:
    """One system of a study, its recipe loaded."""

    name: str
    recipe: Recipe
    recipe_sha256: str
    seeds: tuple[int, ...]
    measured_by: MeasuredBy
    store_epochs: bool


@dataclass(frozen=True)
class Study:
    """A study whose recipes are all there."""

    plan: StudyPlan
    systems: tuple[System, ...]

    def pairs(self) -> list[tuple[str, str, str]]:
        """Return every (question, system, the system it is set against)."""
        return [
            (contrast.question, *pair)
            for contrast in self.plan.contrasts
            for pair in contrast.pairs()
        ]


def load_study(path: Path) -> Study:
    """Return the study that a YAML file describes.

    Raises: RecipeError: the file is missing, is not YAML, describes something impossible, or names
        a recipe that is not there. Each reason has the key's path.
    """
    try:
        content = strict_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: the study can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from error
    try:
        plan = StudyPlan.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{path}: this study can't be used:\n{reasons_of(error)}") from error
    systems = tuple(_load_system(system, plan, path, i) for i, system in enumerate(plan.systems))
    _check_systems(systems, path)
    _check_contrasts(plan, {system.name for system in systems}, path)
    _check_pairs(plan, systems, path)
    return Study(plan, systems)


def _load_system(system: SystemPlan, plan: StudyPlan, path: Path, index: int) -> System:
    is_file = system.recipe.endswith((".yaml", ".yml"))
    name_or_path = path.parent / system.recipe if is_file else system.recipe
    try:
        recipe = load_recipe(name_or_path, changes=system.changes)
    except RecipeError as error:
        raise RecipeError(f"{path}: systems.{index}.recipe: {error}") from error
    seeds = tuple(dict.fromkeys(plan.seeds if system.seeds is None else system.seeds))
    return System(
        name=system.name or recipe.name,
        recipe=recipe,
        recipe_sha256=recipe_sha256(recipe),
        seeds=seeds,
        measured_by=system.measured_by,
        store_epochs=system.store_epochs,
    )


def _check_systems(systems: tuple[System, ...], path: Path) -> None:
    """Refuse two systems of one name, or of one recipe: their runs could not be told apart."""
    for what, values in (
        ("name", [system.name for system in systems]),
        ("recipe", [system.recipe_sha256 for system in systems]),
    ):
        value, n = Counter(values).most_common(1)[0]
        if n > 1:
            twins = [s.name for s in systems if value in (s.name, s.recipe_sha256)]
            raise RecipeError(
                f"{path}: systems: {' and '.join(twins)} have the same {what}. "
                + ("Give one a `name`." if what == "name" else "Keep one, or change it.")
            )


def _check_contrasts(plan: StudyPlan, names: set[str], path: Path) -> None:
    for index, contrast in enumerate(plan.contrasts):
        where = f"{path}: contrasts.{index}"
        if len(contrast.of) != len(contrast.against):
            raise RecipeError(
                f"{where}: `of` has {len(contrast.of)} systems, `against` {len(contrast.against)} "
                "lists. Give one list for each system."
            )
        for name in [*contrast.of, *(other for others in contrast.against for other in others)]:
            if name not in names:
                raise RecipeError(
                    f"{where}: {name!r} is not among the systems: {', '.join(sorted(names))}."
                )


def _check_pairs(plan: StudyPlan, systems: tuple[System, ...], path: Path) -> None:
    """Refuse pairs that can never be set against each other, or would count twice after Holm."""
    seeds_of = {system.name: system.seeds for system in systems}
    seen: set[tuple[str, frozenset[str]]] = set()
    for index, contrast in enumerate(plan.contrasts):
        for a, b in contrast.pairs():
            where = f"{path}: contrasts.{index}: {a} against {b}"
            if a == b:
                raise RecipeError(f"{where}: that is one system. Set it against another.")
            if not set(seeds_of[a]) & set(seeds_of[b]):
                seeds = " and ".join(", ".join(map(str, seeds_of[name])) for name in (a, b))
                raise RecipeError(
                    f"{where}: they have no seed in common ({seeds}), and a pair is of the same "
                    "seed. Give both one under `seeds`."
                )
            pair = contrast.question, frozenset((a, b))
            if pair in seen:  # in whichever order, it is the same test
                raise RecipeError(f"{where}: the question has this pair twice. Keep one.")
            seen.add(pair)
