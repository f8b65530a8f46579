"""What a DCGAN may be shown: radiographs of one class, of patients who only train."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import SplitError
from pneumoscope.core.types import CLASS_NAMES
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import refuse_passed_over
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.inference import readable_rows
from pneumoscope.training.run_data import COPY_REASON, is_copy_of, roles_of
from pneumoscope.training.run_state import ROWS_KEY, rows_fingerprint


@dataclass(frozen=True)
class GanData:
    """A dataset made ready for one DCGAN."""

    cache: DecodedCache
    rows: NDArray[np.int64]  # (N,) row numbers of the radiographs that it is shown
    facts: dict[str, Any]  # the `data` part of run.json

    def pixels(self) -> NDArray[np.uint8]:
        """Return (N, size, size) gray values, in memory: 20 MB for 1,200 radiographs of 128 px."""
        return np.asarray(self.cache.pixels[self.rows])


def prepare_gan_data(
    recipe: GanRecipe,
    dataset: Dataset,
    *,
    cache_folder: Path | None = None,
    strict: bool = False,
    show_progress: bool = True,
) -> GanData:
    """Choose the radiographs of the recipe's class in the training split, and decode them.

    A file that lies, byte for byte, in tuning or test too is left out, as `train` leaves it out.

    Args:
        recipe: Class, size and split.
        dataset: Where the radiographs are.
        cache_folder: Where decoded caches lie, instead of the platform's place.
        strict: Make an unreadable radiograph an error.
        show_progress: Draw a bar while decoding.

    Raises:
        SplitError: the class is absent, has less than a batch, or has generated images.
        DatasetError: a radiograph can't be read and ``strict`` is set, or none can.
        StorageError: the decoded cache could not be written.
    """
    if strict:
        refuse_passed_over(dataset.manifest)
    roles = roles_of(recipe, dataset)
    is_wanted = (dataset.manifest.table["target"] == recipe.target).fill_null(False).to_numpy()
    wanted = roles.training[is_wanted[roles.training]]
    _check_rows(wanted, recipe, dataset)
    cache = open_cache(
        dataset, size_px=recipe.size_px, folder=cache_folder, show_progress=show_progress
    )
    rows = readable_rows(cache, dataset, wanted, strict=strict)
    is_copy = is_copy_of(cache, rows, np.concatenate([roles.tuning, roles.test]))
    _check_rows(rows[~is_copy], recipe, dataset)
    reasons = {int(row): cache.failures[row] for row in wanted if row in cache.failures}
    reasons |= {int(row): COPY_REASON for row in rows[is_copy]}
    facts = {"target": recipe.target} | _describe(cache, rows[~is_copy], dataset, reasons)
    return GanData(cache=cache, rows=rows[~is_copy], facts=facts)


def _describe(
    cache: DecodedCache, rows: NDArray[np.int64], dataset: Dataset, left_out: dict[int, str]
) -> dict[str, Any]:
    """Return what run.json says of the radiographs that are shown, and why others are not."""
    table = dataset.manifest.table
    used = table[rows.tolist()]
    return {
        "name": dataset.name,
        "path": str(dataset.source),
        "fingerprint": cache.fingerprint(rows),
        # Of the rows that are shown alone: the others' number makes no difference here.
        ROWS_KEY: rows_fingerprint(used["path"].to_list(), (range(len(rows)),)),
        "origins": dict(sorted(Counter(used["origin"].to_list()).items())),
        "n_training": len(rows),
        "n_patients": used["patient_id"].n_unique(),
        "left_out": [
            {"path": table["path"][row], "reason": reason} for row, reason in left_out.items()
        ],
    }


def _check_rows(rows: NDArray[np.int64], recipe: GanRecipe, dataset: Dataset) -> None:
    """Refuse a class that is absent or too small for a batch, or that was itself generated."""
    kind = f"{CLASS_NAMES[recipe.target]} radiographs (target {recipe.target})"
    if len(rows) == 0:
        raise SplitError(
            f"{dataset.name}: the training split has no {kind}. Add some to train, or choose the "
            f"other class with --set target={1 - recipe.target}."
        )
    origins = Counter(dataset.manifest.table["origin"][rows.tolist()].to_list())
    if origins["generated"]:
        raise SplitError(
            f"{dataset.name}: {origins['generated']:,} of the {len(rows):,} {kind} of the training "
            "split are generated. A generator learns from radiographs alone: take them out."
        )
    if len(rows) < recipe.batch_size:
        raise SplitError(
            f"{dataset.name}: the training split has {len(rows):,} {kind}, less than one batch of "
            f"{recipe.batch_size}. Add radiographs, or lower it: --set batch_size={len(rows)}."
        )
