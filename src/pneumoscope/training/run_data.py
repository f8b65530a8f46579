"""Who trains and who tunes in one run, and the record of it."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.added_images import AddedImages
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.joined_rows import JoinedRows
from pneumoscope.data.manifest import refuse_passed_over
from pneumoscope.data.splits import Roles, assign_roles, check_roles
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.inference import readable_rows
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_state import ROWS_KEY, rows_fingerprint

_log = logging.getLogger(__name__)

COPY_REASON = "exact copy of a tuning or test image"  # why a radiograph neither trains nor tunes
_SUBTYPES = {"bacterial": 1, "bacteria": 1, "viral": 2, "virus": 2}  # 0 is normal


@dataclass(frozen=True)
class RunData:
    """A dataset made ready for one recipe.

    Rows are the dataset's own, and behind them the added images, which only train.
    """

    cache: DecodedCache  # of the dataset's own rows
    training: NDArray[np.int64]  # (N,) row numbers
    tuning: NDArray[np.int64]
    target: NDArray[np.float32]  # (all rows,) 0 or 1; NaN where unknown
    subtype: NDArray[np.int64]  # (all rows,) 0 normal, 1 bacterial, 2 viral; -1 where unknown
    facts: dict[str, Any]  # the `data` part of run.json
    added: AddedImages | None = None

    @property
    def n_own(self) -> int:
        """Rows that are the dataset's own."""
        return len(self.cache.sha256)

    @property
    def pixels(self) -> NDArray[np.uint8] | JoinedRows[np.uint8]:
        """(all rows, H, W) gray values."""
        if self.added is None:
            return self.cache.pixels
        return JoinedRows([self.cache.pixels, self.added.pixels])

    @property
    def training_target(self) -> NDArray[np.bool_]:
        """(N,) True where a training radiograph is positive."""
        return np.asarray(self.target[self.training] == 1, dtype=np.bool_)


def roles_of(recipe: Recipe | GanRecipe, dataset: Dataset) -> Roles:
    """Return the dataset's roles as the recipe's split says."""
    # One function for both: whom a detector tunes or tests on, its generator must not see.
    return assign_roles(
        dataset.manifest,
        tuning_fraction=recipe.split.tuning_fraction,
        tuning_from=recipe.split.tuning_from,
        salt=recipe.split.salt,
    )


def prepare_data(
    recipe: Recipe,
    dataset: Dataset,
    *,
    cache_folder: Path | None,
    strict: bool,
    show_progress: bool,
) -> RunData:
    """Split the dataset, decode it, and leave out what must neither train nor tune.

    Raises:
        SplitError: a split can't be used: empty, one class, mixed origins.
        DatasetError: with ``strict``, a radiograph can't be read, or files are passed over;
            without, none can.
        StorageError: the decoded cache could not be written.
    """
    if strict:
        refuse_passed_over(dataset.manifest)
    roles = roles_of(recipe, dataset)
    check_roles(dataset.manifest, roles, needs=("training", "tuning"))
    cache = open_cache(
        dataset, size_px=recipe.input.size_px, folder=cache_folder, show_progress=show_progress
    )
    tuning = readable_rows(cache, dataset, roles.tuning, strict=strict)
    training = readable_rows(cache, dataset, roles.training, strict=strict)
    training, tuning, copies = without_copies(cache, training, tuning, test=roles.test)
    kept = Roles(training=training, tuning=tuning, test=roles.test, unused=roles.unused)
    check_roles(dataset.manifest, kept, needs=("training", "tuning"))
    table = dataset.manifest.table
    used = np.sort(np.concatenate([training, tuning]))
    left_out = [
        {"path": table["path"][row], "reason": reason} for row, reason in cache.failures.items()
    ] + [{"path": table["path"][int(row)], "reason": COPY_REASON} for row in copies]
    passed_over = dataset.manifest.passed_over.items()
    left_out += [{"path": path, "reason": reason} for path, reason in passed_over]
    facts = {
        "name": dataset.name,
        "path": str(dataset.source),
        "fingerprint": cache.fingerprint(used),
        "tuning_fingerprint": cache.fingerprint(tuning),
        ROWS_KEY: rows_fingerprint(table["path"].to_list(), (training, tuning)),
        "origins": dict(sorted(Counter(table["origin"][used.tolist()].to_list()).items())),
        "n_training": len(training),
        "n_tuning": len(tuning),
        "n_test": len(roles.test),
        "n_unused": len(roles.unused),
        "left_out": left_out,
    }
    target = table["target"].cast(float).fill_null(float("nan")).to_numpy().astype(np.float32)
    subtype = _subtype_classes(target, table["subtype"].to_list())
    if recipe.training.subtype_loss_weight and not (subtype[training] > 0).any():
        _log.warning(
            "%s: no pneumonia radiograph of the training split has a known subtype (%s), so the "
            "subtype loss sees normals only and teaches nothing. Fill the column subtype, or train "
            "without it: --set training.subtype_loss_weight=0 --set network.has_subtype_head=false",
            dataset.name,
            ", ".join(_SUBTYPES),
        )
    if recipe.training.subtype_loss_weight:
        paths = table["path"][training.tolist()].to_list()
        facts["subtype_fingerprint"] = _subtype_fingerprint(paths, subtype[training])
    return RunData(
        cache=cache,
        training=training,
        tuning=tuning,
        target=target,
        subtype=subtype,
        facts=facts,
    )


def _subtype_classes(target: NDArray[np.float32], subtypes: list[str | None]) -> NDArray[np.int64]:
    """Return (N,) class numbers: 0 normal, 1 bacterial, 2 viral, -1 where nobody knows."""
    classes = [_SUBTYPES.get((subtype or "").strip().lower(), -1) for subtype in subtypes]
    of_positive = np.array(classes, dtype=np.int64)
    return np.where(target == 0, 0, of_positive)


def _subtype_fingerprint(paths: list[str], subtype: NDArray[np.int64]) -> str:
    """Return the SHA-256 of what training radiographs teach of subtypes, whatever their order."""
    lines = sorted(
        json.dumps([path, kind]) for path, kind in zip(paths, subtype.tolist(), strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def without_copies(
    cache: DecodedCache,
    training: NDArray[np.int64],
    tuning: NDArray[np.int64],
    *,
    test: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return training, tuning, and the rows taken out of them: a copy trains last and tests first.

    Args:
        cache: Of the dataset, at whatever size.
        training: (N,) readable row numbers.
        tuning: (M,) readable row numbers.
        test: (K,) row numbers.
    """
    is_test = is_copy_of(cache, tuning, test)
    is_copy = is_copy_of(cache, training, np.concatenate([tuning, test]))
    copies = np.concatenate([tuning[is_test], training[is_copy]])
    return training[~is_copy], tuning[~is_test], copies


def is_copy_of(
    cache: DecodedCache, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows' files are byte for byte among the others', under whatever name.

    Args:
        cache: Whatever size it is decoded at: the files' own bytes are compared.
        rows: (N,) readable row numbers.
        others: (M,) row numbers.

    Returns: (N,).
    """
    # The same picture under two patients' names would let the network recognise it.
    contents = {cache.sha256[row] for row in others if cache.is_readable[row]}
    return np.array([cache.sha256[row] in contents for row in rows], dtype=np.bool_)
