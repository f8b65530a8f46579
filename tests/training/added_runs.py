"""Runs with added images, for tests: loaded with runpy."""

from pathlib import Path
from typing import Any

from pneumoscope.data.dataset import Dataset
from pneumoscope.training import fit
from pneumoscope.training.added_data import with_added
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData, prepare_data
from pneumoscope.training.run_folder import RunFolder

COUNT, SMALL_PX = 31, 20
KINDS = ("generated", "resampled", "repeated")


def with_key(recipe: Recipe, kind: str | None, **training: object) -> Recipe:
    """Return the recipe with images added to its training split."""
    size = {} if kind == "repeated" else {"size_px": SMALL_PX}
    added = None if kind is None else {"kind": kind, "target": 0, "count": COUNT} | size
    content = recipe.model_dump()
    return Recipe.model_validate(
        content | {"added": added, "training": content["training"] | {"epochs": 2} | training}
    )


def train(recipe: Recipe, dataset: Dataset, out: Path, **options: Any) -> RunFolder:
    options = {"cache_folder": out.parent / "cache"} | options
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False, **options)


def prepare(
    recipe: Recipe, dataset: Dataset, folder: Path, *, samples: Path | None = None, seed: int = 0
) -> RunData:
    options: dict[str, Any] = {"cache_folder": folder, "show_progress": False}
    data = prepare_data(recipe, dataset, strict=True, **options)
    return with_added(data, recipe, dataset, folder=samples, seed=seed, **options)
