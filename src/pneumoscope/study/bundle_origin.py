"""Where a bundle comes from: the run that it is of, and the radiographs that it learnt from."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import PneumoscopeError
from pneumoscope.data.cache import DecodedCache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.splits import Roles, assign_roles
from pneumoscope.detector.bundle import Bundle
from pneumoscope.detector.card import BundleCard
from pneumoscope.study.evaluate import is_training_data_same
from pneumoscope.training.run_data import roles_of, without_copies
from pneumoscope.training.run_folder import RunFolder, open_run
from pneumoscope.training.run_state import FACTS_FILE

_log = logging.getLogger(__name__)


def run_of(bundle: Bundle, *, out: Path) -> RunFolder | None:
    """Return the run that a bundle is of, where the bundle or its results lie in the run's folder.

    Args:
        bundle: An open bundle.
        out: The folder of its results.

    Returns: None where neither folder holds a run, or only one that the card does not name.
    """
    for folder in (bundle.path.parent, out):
        if not (folder / FACTS_FILE).is_file():
            continue
        try:
            run = open_run(folder, needs_finished=False)
        except PneumoscopeError as error:
            _log.warning("%s is not taken for the run of the bundle: %s", folder, error)
            continue
        if _names(bundle.card, run):
            return run
    return None


def _names(card: BundleCard, run: RunFolder) -> bool:
    taught = run.facts.get("data", {}).get("fingerprint")
    return (run.recipe.name, run.facts.get("seed"), taught) == (
        card.recipe,
        card.seed,
        card.training_data.fingerprint,
    )


def has_taught(
    dataset: Dataset,
    roles: Roles,
    cache: DecodedCache,
    *,
    card: BundleCard,
    run: RunFolder | None,
) -> bool:
    """Tell whether a dataset's training and tuning images are those that a bundle learnt from.

    The card has one fingerprint of both, and does not say how its recipe told them apart. How large
    a share of the official train tunes makes no difference to both together, unless copies are left
    out; whether the official val tunes does, so that both ways are tried. A run knows.

    Args:
        dataset: That may have.
        roles: As `assign_roles` gives them by default.
        cache: The dataset, decoded.
        card: The bundle's.
        run: The bundle's, where it is there.
    """
    if run is not None:
        return is_training_data_same(run, dataset, roles_of(run.recipe, dataset), cache)
    wanted = card.training_data.fingerprint
    if cache.fingerprint(_used_rows(roles, cache)) == wanted:
        return True
    tuned_on_val = assign_roles(dataset.manifest, tuning_from="val")
    return cache.fingerprint(_used_rows(tuned_on_val, cache)) == wanted


def _used_rows(roles: Roles, cache: DecodedCache) -> NDArray[np.int64]:
    """Return the rows that a run with these roles trains and tunes on, as `prepare_data` does."""
    training, tuning = (rows[cache.is_readable[rows]] for rows in (roles.training, roles.tuning))
    training, tuning, _ = without_copies(cache, training, tuning, test=roles.test)
    return np.concatenate([training, tuning])
