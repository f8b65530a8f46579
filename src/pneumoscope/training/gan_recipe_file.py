"""Find, read and change the recipes of DCGANs."""

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pneumoscope.core.errors import RecipeError
from pneumoscope.core.schema import reasons_of
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.recipe_text import as_yaml, names_in, read_recipe


def gan_recipe_names() -> list[str]:
    """Return the names of the DCGAN recipes that come with the package."""
    return names_in(_folder())


def _folder() -> Traversable:
    return resources.files("pneumoscope") / "recipes" / "gan"


def load_gan_recipe(name_or_path: str | Path, *, changes: Sequence[str] = ()) -> GanRecipe:
    """Return a shipped recipe by name, or one from a YAML file, with changes applied.

    Args:
        name_or_path: ``dcgan-64``, or a path that ends in ``.yaml`` or ``.yml``.
        changes: Each ``dotted.key=value``, the value in YAML, such as ``epochs=2``.

    Raises:
        RecipeError: the file is missing, is not YAML, or describes something impossible.
        UsageError: a change is not of the form ``key=value``.
    """
    data, where = read_recipe(
        name_or_path,
        names=gan_recipe_names(),
        folder=_folder(),
        what="DCGAN recipe",
        changes=changes,
    )
    return parse_gan_recipe(data, where=where)


def parse_gan_recipe(data: dict[str, Any], *, where: str) -> GanRecipe:
    """Return the recipe, or raise RecipeError with each wrong key's path and the reason."""
    try:
        return GanRecipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(
            f"{where}: this DCGAN recipe can't be used:\n{reasons_of(error)}"
        ) from error


def gan_recipe_yaml(recipe: GanRecipe) -> str:
    """Return the recipe as YAML, every default written out; `load_gan_recipe` reads it back."""
    return as_yaml(recipe)
