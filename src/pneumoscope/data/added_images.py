"""Images added to a training split: generated ones, and the two controls for them.

The controls answer what a gain or a loss with generated images may come from. `resampled` sends as
many real radiographs through the same small square: their blur, too, marks a class. `repeated`
adds the same radiographs as they are: the classes are balanced as much, and an epoch is as long.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.errors import DatasetError, SplitError
from pneumoscope.core.types import CLASS_NAMES
from pneumoscope.data.added_recipe import AddedRecipe
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.generated_note import SAMPLE_FACTS, read_sample_facts
from pneumoscope.data.open import open_dataset


@dataclass(frozen=True)
class AddedImages:
    """M images of one class, as the network is to be given them before any augmentation."""

    pixels: NDArray[np.uint8]  # (M, size, size)
    contents: tuple[str, ...]  # (M,) names for what each shows: equal only where the pixels are
    n_shared: int  # the first so many are the same for every seed
    target: int
    facts: dict[str, Any]  # the `added` part of run.json

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)


def draw_evenly(rows: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """Return ``count`` of the rows, each as often as any other or once more.

    Whole passes through all rows come first, in the order given, so that they are the same for
    every seed; the seed draws who is in the last, unfinished pass.

    Args:
        rows: (N,) different numbers.
        count: How many to return; more than N repeats them.
        seed: The run's.

    Returns: (count,).
    Raises: ValueError: there is no row to draw from.
    """
    if len(rows) == 0:
        raise ValueError("there is nothing to draw from")
    n_passes, n_left = divmod(count, len(rows))
    last = np.random.default_rng([seed, len(rows)]).choice(rows, size=n_left, replace=False)
    return np.concatenate([np.tile(rows, n_passes), np.sort(last)])


def draw_added(
    recipe: AddedRecipe,
    dataset: Dataset,
    cache: DecodedCache,
    rows: NDArray[np.int64],
    *,
    seed: int,
    cache_folder: Path | None = None,
    show_progress: bool = True,
) -> AddedImages:
    """Return a control's images: real ones again, `resampled` or `repeated`.

    Both kinds draw the same radiographs for the same seed.

    Args:
        recipe: One that is not `generated`.
        dataset: Where the radiographs are.
        cache: The dataset at the network's size.
        rows: (N,) the training split's readable rows of the recipe's class.
        seed: The run's seed.
        cache_folder: Where decoded caches lie, instead of `cache_root()`.
        show_progress: Draw a bar on stderr, if that is a terminal.

    Raises:
        DatasetError: there is no such row.
        StorageError: the decoded cache could not be written.
    """
    if len(rows) == 0:
        raise DatasetError(
            f"{dataset.name}: its training split has no {CLASS_NAMES[recipe.target]} radiograph, "
            "so added.kind has nothing to draw from. Add some, or train without `added`."
        )
    drawn = draw_evenly(np.sort(rows), recipe.count, seed=seed)
    hashes = [cache.sha256[row] for row in drawn]
    way, pixels = "", cache.pixels[drawn]
    if recipe.size_px is not None:
        small = open_cache(
            dataset, size_px=recipe.size_px, folder=cache_folder, show_progress=show_progress
        )
        way = f" by way of {recipe.size_px} px"
        pixels = _enlarge(small.pixels[drawn], size_px=cache.pixels.shape[-1])
    return AddedImages(
        pixels=pixels,
        contents=tuple(content + way for content in hashes),
        n_shared=recipe.count - recipe.count % len(rows),
        target=recipe.target,
        facts=_facts(recipe, hashes),
    )


def open_generated(
    recipe: AddedRecipe,
    folder: Path,
    *,
    size_px: int,
    cache_folder: Path | None = None,
    show_progress: bool = True,
) -> AddedImages:
    """Return the first ``recipe.count`` images of a folder that `gan sample` wrote.

    Args:
        recipe: One that is `generated`.
        folder: With manifest.csv; all its images are generated, train, and are of one class.
        size_px: The network's.
        cache_folder: Where decoded caches lie, instead of `cache_root()`.
        show_progress: Draw a bar on stderr, if that is a terminal.

    Raises:
        DatasetError: there is no such folder, or its images are too few, unreadable, of another
            class or size, or not generated.
        SplitError: some of its images are in another split than train.
        StorageError: the decoded cache could not be written.
    """
    dataset = open_dataset(folder)
    rows = _check_manifest(recipe, dataset)
    _check_sizes(recipe, dataset, rows)
    side = recipe.size_px or size_px
    cache = open_cache(dataset, size_px=side, folder=cache_folder, show_progress=show_progress)
    unreadable = [cache.failures[row] for row in rows.tolist() if row in cache.failures]
    if unreadable:
        raise DatasetError(
            f"{folder}: {len(unreadable)} of the first {recipe.count:,} images can't be read, the "
            f"first: {unreadable[0]} Write the folder again with `pneumoscope gan sample`."
        )
    hashes = [cache.sha256[row] for row in rows]
    facts = _facts(recipe, hashes)
    gan = read_sample_facts(dataset.manifest.root / SAMPLE_FACTS)
    return AddedImages(
        pixels=_enlarge(cache.pixels[rows], size_px=size_px),
        contents=tuple(hashes),
        n_shared=recipe.count,
        target=recipe.target,
        facts=facts | {"path": str(dataset.source), "gan": gan},
    )


def _check_manifest(recipe: AddedRecipe, dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows to take. Raises: DatasetError, SplitError: the table does not fit."""
    table, where = dataset.manifest.table, dataset.source
    _refuse(
        table.filter(pl.col("origin") != "generated"),
        f"{where}: {{}} images are not generated (origin {{}}). added.kind is `generated`, so that "
        "real radiographs can't slip in twice: give a folder that `pneumoscope gan sample` wrote.",
        column="origin",
    )
    wrong_split = table.filter(pl.col("split") != "train")
    if wrong_split.height:
        raise SplitError(
            f"{where}: {wrong_split.height:,} generated images are in {wrong_split['split'][0]}; "
            "they may only train. Set their split to train, or take them out."
        )
    _refuse(
        table.filter(~pl.col("target").eq_missing(recipe.target)),
        f"{where}: {{}} images have the target {{}}, and added.target is {recipe.target} "
        f"({CLASS_NAMES[recipe.target]}). Give samples of that class, or change added.target.",
        column="target",
    )
    if table.height < recipe.count:
        raise DatasetError(
            f"{where}: has {table.height:,} generated images, and added.count asks for "
            f"{recipe.count:,}. Write more with `pneumoscope gan sample --count {recipe.count}`, "
            "or lower added.count."
        )
    return np.arange(recipe.count, dtype=np.int64)


def _refuse(wrong: pl.DataFrame, message: str, *, column: str) -> None:
    if wrong.height:
        value = wrong[column][0]
        raise DatasetError(
            message.format(f"{wrong.height:,}", "unknown" if value is None else value)
        )


def _check_sizes(recipe: AddedRecipe, dataset: Dataset, rows: NDArray[np.int64]) -> None:
    """Refuse images of another size: the recipe's controls would then not be theirs.

    Raises: DatasetError: one has; or the folder is no folder of image files.
    """
    if not isinstance(dataset, FileDataset):
        raise DatasetError(
            f"{dataset.source}: is no folder of image files. Give the folder that "
            "`pneumoscope gan sample` wrote."
        )
    for row in rows.tolist():
        try:
            with Image.open(dataset.path(row)) as image:
                size = image.size
        except OSError:
            continue  # decoding will say what is wrong with it
        if size != (recipe.size_px, recipe.size_px):
            raise DatasetError(
                f"{dataset.describe_row(row)}: is {size[0]} x {size[1]} px, and added.size_px is "
                f"{recipe.size_px}. Give samples of that size, or change added.size_px."
            )


def _enlarge(pixels: NDArray[np.uint8], *, size_px: int) -> NDArray[np.uint8]:
    """Return (M, size_px, size_px), resized as `open_cache` resizes a file of that size."""
    shape = (size_px, size_px)
    if pixels.shape[1:] == shape:
        return np.array(pixels)
    result = np.empty((len(pixels), *shape), dtype=np.uint8)
    for place, square in enumerate(pixels):
        image = Image.fromarray(np.asarray(square))
        result[place] = np.asarray(image.resize(shape, Image.Resampling.BILINEAR))
    return result


def _facts(recipe: AddedRecipe, hashes: list[str]) -> dict[str, Any]:
    """Return what run.json says. The same files in the same order have the same fingerprint."""
    content = json.dumps([recipe.target, hashes]).encode()
    return {
        "kind": recipe.kind,
        "target": recipe.target,
        "count": recipe.count,
        "size_px": recipe.size_px,
        "n_different": len(set(hashes)),
        "fingerprint": hashlib.sha256(content).hexdigest(),
    }
