"""Recipes as text: find the file, refuse doubtful YAML, apply changes, write it back."""

import difflib
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from pneumoscope.core.errors import RecipeError, UsageError


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key that stands twice: one of the two would be silently ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise yaml.constructor.ConstructorError(
                    None, None, "a list or a mapping is no key", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def strict_yaml(text: str) -> Any:
    """Return what YAML text holds.

    Raises: yaml.YAMLError: it is no YAML, has a key twice or one that can't be a key, is nested
        too deeply, or has a value that is none, such as the date 2024-13-45.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # the loader is a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML lets those of int(), date() and its own lookups through
        raise yaml.YAMLError(f"one of its values can't be read ({error})") from error


def names_in(folder: Traversable) -> list[str]:
    """Return the names of the recipes that lie in a folder."""
    return sorted(
        item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")
    )


def read_recipe(
    name_or_path: str | Path,
    *,
    names: Sequence[str],
    folder: Traversable,
    what: str,
    changes: Sequence[str],
) -> tuple[dict[str, Any], str]:
    """Return a recipe's keys with changes applied, and what to call it in messages.

    Args:
        name_or_path: One of ``names``, or a path that ends in ``.yaml`` or ``.yml``.
        names: Those shipped.
        folder: Where they lie.
        what: What such a recipe is called: "recipe", "DCGAN recipe".
        changes: Each ``dotted.key=value``, the value in YAML.

    Raises:
        RecipeError: there is none of that name, the file is missing or is no YAML mapping.
        UsageError: a change is not of the form ``key=value``.
    """
    text, where = _read_text(name_or_path, names=names, folder=folder, what=what)
    try:
        data = strict_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of keys to values; this is not.")
    for change in changes:
        _apply_change(data, change)
    return data, where


def as_yaml(recipe: BaseModel) -> str:
    """Return a recipe as YAML with every default written out."""
    return yaml.safe_dump(
        recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )


def _read_text(
    name_or_path: str | Path, *, names: Sequence[str], folder: Traversable, what: str
) -> tuple[str, str]:
    """Return the YAML text and the name to call it by in messages."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: the recipe can't be read: {error}") from error
    name = str(name_or_path)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"{name}: there is no {what} of that name.{hint} Shipped are {', '.join(names)}; "
            f"a recipe of your own is named by its file, ending in .yaml."
        )
    return (folder / f"{name}.yaml").read_text(encoding="utf-8"), name


def _apply_change(data: dict[str, Any], change: str) -> None:
    """Set one dotted key; the schema checks afterwards whether it exists and fits."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {change}: write it as key=value, such as training.epochs=2.")
    try:
        value = strict_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change}: the value is not valid YAML: {error}") from error
    *parents, last = key.strip().split(".")
    place: Any = data
    for parent in parents:
        place = _step_into(place, parent, change)
    if isinstance(place, list):
        index = _list_index(place, last, change)
        place[index] = value
    else:
        place[last] = value


def _step_into(place: Any, key: str, change: str) -> Any:
    """Return the mapping or list under ``key``, made if it is not there yet."""
    if isinstance(place, list):
        inner = place[_list_index(place, key, change)]
    else:
        if place.get(key) is None:
            place[key] = {}
        inner = place[key]
    if not isinstance(inner, dict | list):
        raise UsageError(f"--set {change}: {key} is a plain value, nothing lies below it.")
    return inner


def _list_index(place: list[Any], key: str, change: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise UsageError(f"--set {change}: {key} is not one of the places 0 to {len(place) - 1}.")
    return int(key)
