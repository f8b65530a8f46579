"""Mix images into a run's training split, and keep them out of every other."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pneumoscope.core.errors import DatasetError, RunError, UsageError
from pneumoscope.data.added_images import AddedImages, draw_added, open_generated
from pneumoscope.data.dataset import Dataset
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData
from pneumoscope.training.run_folder import RunFolder

_log = logging.getLogger(__name__)


def check_added(recipe: Recipe, folder: Path | None) -> None:
    """Refuse a recipe that lacks the folder of its generated images, or has no use for one.

    Raises: UsageError: it does.
    """
    wants_folder = recipe.added is not None and recipe.added.kind == "generated"
    if wants_folder and folder is None:
        raise UsageError(
            f"{recipe.name}: trains with generated images. Write them with `pneumoscope gan "
            "sample`, and give that folder with --added DIR."
        )
    if folder is not None and not wants_folder:
        raise UsageError(
            f"--added {folder}: {recipe.name} adds no generated images, so nothing would come of "
            "it. Leave it out, or choose a recipe whose added.kind is `generated`."
        )


def with_added(
    data: RunData,
    recipe: Recipe,
    dataset: Dataset,
    *,
    folder: Path | None,
    seed: int,
    cache_folder: Path | None,
    show_progress: bool,
) -> RunData:
    """Return the data with the recipe's added images in its training split; tuning stays.

    Args:
        data: The dataset's own part.
        recipe: What to add, if anything.
        dataset: The one that ``data`` is of.
        folder: Of the generated images, where the recipe wants such.
        seed: The run's: it draws the real radiographs of a control.
        cache_folder: Where decoded caches lie, instead of the platform's place.
        show_progress: Draw progress bars on stderr.

    Raises:
        UsageError: the folder is missing, or of no use.
        DatasetError: the images don't fit the recipe; `open_generated` lists how.
        SplitError: generated images are in another split than train.
        StorageError: the decoded cache could not be written.
    """
    check_added(recipe, folder)
    if recipe.added is None:
        return data
    options: dict[str, Any] = {"cache_folder": cache_folder, "show_progress": show_progress}
    rows = data.training[data.target[data.training] == recipe.added.target]
    if folder is not None:
        added = open_generated(recipe.added, folder, size_px=recipe.input.size_px, **options)
        _check_generated(data, added, folder=folder)
        added = _with_generators_training(data.cache.fingerprint(rows), added, folder=folder)
    else:
        added = draw_added(recipe.added, dataset, data.cache, rows, seed=seed, **options)
    n_added, target = len(added), np.float32(added.target)
    subtype = 0 if added.target == 0 else -1
    return replace(
        data,
        training=np.concatenate([data.training, data.n_own + np.arange(n_added)]),
        target=np.concatenate([data.target, np.full(n_added, target)]),
        subtype=np.concatenate([data.subtype, np.full(n_added, subtype)]),
        facts=data.facts | {"added": added.facts},
        added=added,
    )


def _check_generated(data: RunData, added: AddedImages, *, folder: Path) -> None:
    """Refuse a real radiograph that is called generated: one of test could train under its name."""
    n_own = len(set(added.contents) & set(data.cache.sha256))
    if n_own:
        raise DatasetError(
            f"{folder}: {n_own:,} of its images are byte for byte images of {data.facts['name']}, "
            "so nothing generated them. Write the folder again with `pneumoscope gan sample`."
        )


def _with_generators_training(fingerprint: str, added: AddedImages, *, folder: Path) -> AddedImages:
    """Return the images with the fact whether their generator learned from what trains here.

    Where it did not, or nothing says so, the log tells: a generator carries what it saw into its
    images. Were those radiographs of tuning or test, the epoch, the thresholds or the figures would
    be chosen or measured on what has trained.
    """
    trained_on = (added.facts["gan"] or {}).get("trained_on")
    is_same = None if trained_on is None else trained_on == fingerprint
    if is_same is None:
        _log.warning(
            "%s: nothing says which radiographs its generator was trained on (sample.json is "
            "missing, damaged or has no `trained_on`); if tuning or test radiographs were among "
            "them, no figure of this run can be trusted",
            folder.name,
        )
    elif not is_same:
        _log.warning(
            "%s: its generator was trained on other radiographs (fingerprint %s) than the training "
            "split has (%s); if tuning or test radiographs were among them, no figure of this run "
            "can be trusted",
            folder.name,
            str(trained_on)[:12],
            fingerprint[:12],
        )
    return replace(added, facts=added.facts | {"is_generator_on_same_training": is_same})


def check_same_added(earlier: RunFolder, facts: dict[str, Any] | None) -> None:
    """Refuse to go on with other images than a run was begun with.

    Args:
        earlier: The run.
        facts: The `added` part of what would be its data now; None where nothing is added.

    Raises: RunError: they differ.
    """
    before, now = (
        "none" if part is None else part["fingerprint"][:12]
        for part in (earlier.facts["data"].get("added"), facts)
    )
    if before != now:
        raise RunError(
            f"{earlier.path}: was trained with other added images (fingerprint {before}, now "
            f"{now}), so it can't be resumed. Give the folder that it was begun with, or choose "
            "another --out."
        )


def check_finished(earlier: RunFolder, folder: Path | None, *, cache_folder: Path | None) -> None:
    """Refuse a finished run for the result of another folder of generated images.

    Raises:
        RunError: it was trained with another.
        DatasetError, SplitError, StorageError: the folder can't be used.
    """
    recipe = earlier.recipe
    if recipe.added is not None and folder is not None:
        added = open_generated(
            recipe.added,
            folder,
            size_px=recipe.input.size_px,
            cache_folder=cache_folder,
            show_progress=False,
        )
        check_same_added(earlier, added.facts)
