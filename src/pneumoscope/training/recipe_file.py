"""Find, read, change and explain recipes. What is wrong is told with the key's path."""

import difflib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pneumoscope.core.errors import RecipeError
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_text import as_yaml, names_in, read_recipe

_NETWORK_KINDS = ("scratch", "backbone")


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return names_in(_folder())


def _folder() -> Traversable:
    return resources.files("pneumoscope") / "recipes"


def load_recipe(name_or_path: str | Path, *, changes: Sequence[str] = ()) -> Recipe:
    """Return a shipped recipe by name, or one from a YAML file, with changes applied.

    Args:
        name_or_path: ``gray-150``, or a path that ends in ``.yaml`` or ``.yml``.
        changes: Each ``dotted.key=value``, the value in YAML, such as ``training.epochs=2``.

    Raises:
        RecipeError: the file is missing, is not YAML, or describes something impossible.
        UsageError: a change is not of the form ``key=value``.
    """
    data, where = read_recipe(
        name_or_path, names=recipe_names(), folder=_folder(), what="recipe", changes=changes
    )
    return parse_recipe(data, where=where)


def parse_recipe(data: dict[str, Any], *, where: str) -> Recipe:
    """Return the recipe, or raise RecipeError with each wrong key's path and the reason."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        reasons = "\n".join(f"  {_explain_error(detail)}" for detail in error.errors())
        raise RecipeError(f"{where}: this recipe can't be used:\n{reasons}") from error


def recipe_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default written out; `load_recipe` reads it back."""
    return as_yaml(recipe)


def explain_recipe(recipe: BaseModel) -> str:
    """Return the recipe as YAML with the schema's explanation above every key."""
    return "\n".join(_explain_part(recipe, depth=0)) + "\n"


def _explain_error(detail: ErrorDetails) -> str:
    """Return one reason as ``path: what is wrong and what would be right``."""
    path = ".".join(str(part) for part in _without_kind(detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = _keys_beside(detail["loc"])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f" Did you mean {near[0]}?" if near else f" Known here: {', '.join(known)}."
        return f"{path}: unknown key.{hint}"
    if detail["type"] == "missing":
        return f"{path}: missing; it has no default."
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    shown = f" (found {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{path}: {message}{shown}" if path else message


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the schema knows where an unknown one was found."""
    model: type[BaseModel] = Recipe
    inner_models: list[type[BaseModel]] = []
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None and part in _kinds(inner_models):
            model = _kinds(inner_models)[str(part)]
            continue
        inner_models = _models_in(field.annotation) if field else []
        inner = inner_models[0] if inner_models else None
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the recipe parts inside ``X``, ``X | Y``, ``X | None`` or ``list[X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _kinds(models: Sequence[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Return the parts that a key ``kind`` tells apart, by their kind."""
    return {
        str(value): model
        for model in models
        if "kind" in model.model_fields
        for value in getattr(model.model_fields["kind"].annotation, "__args__", ())
    }


def _without_kind(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a place as it stands in the file: the checker adds the kind of network to it."""
    if len(location) > 1 and location[0] == "network" and location[1] in _NETWORK_KINDS:
        return location[0], *location[2:]
    return location


def _explain_part(part: BaseModel, *, depth: int) -> list[str]:
    """Return the lines of one mapping, each key under its explanation."""
    lines = []
    indent = "  " * depth
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        lines.append(f"{indent}# {field.description}")
        if isinstance(value, BaseModel):
            lines.append(f"{indent}{key}:")
            lines += _explain_part(value, depth=depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            lines.append(f"{indent}{key}:")
            for item in value:
                inner = yaml.safe_dump(
                    item.model_dump(mode="json"), default_flow_style=True, sort_keys=False
                )
                lines.append(f"{indent}  - {inner.strip()}")
        else:
            plain = part.model_dump(mode="json", include={key})
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=88).rstrip()
            lines += [indent + line for line in text.splitlines()]
    return lines
