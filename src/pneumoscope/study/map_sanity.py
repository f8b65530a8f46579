"""Whether the map depends on what the network has learnt.

A map that looks the same when every weight is random shows the picture's edges, or the
architecture's habits, not the detector's evidence. So the trained network's maps are set against
those of networks with fresh random weights, radiograph by radiograph.

Source: Adebayo et al. (2018), Sanity Checks for Saliency Maps, NeurIPS, arXiv:1810.03292: the model
parameter randomisation test, all layers at once.
"""

import logging
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.dataset import Dataset
from pneumoscope.metrics.rank_correlation import rank_correlation
from pneumoscope.report.results import MapSanity
from pneumoscope.study.localisation import measured_mean, spread
from pneumoscope.training.maps import map_rows, random_network
from pneumoscope.training.run_folder import RunFolder

BAR = 0.2  # mean |rho| at or below it
MAX_RADIOGRAPHS = 64
# One random network may resemble the trained one by luck. No run's own seed is as large.
RANDOM_SEEDS = (1_000_003, 1_000_033, 1_000_037)

_log = logging.getLogger(__name__)


def check_maps(run: RunFolder, dataset: Dataset, rows: NDArray[np.int64]) -> MapSanity | None:
    """Return how far a run's maps resemble those of the same network with random weights.

    Args:
        run: A finished run.
        dataset: Where the radiographs are.
        rows: (N,) readable rows of its manifest; of more than 64, 64 evenly spread ones are used.

    Returns: None where the map has one position, so that there is no order to compare.
    Raises: RunError: the run has no usable checkpoint.
    """
    rows = spread(rows, MAX_RADIOGRAPHS)
    trained = map_rows(run, dataset, rows).cam
    if trained[0].size < 2:
        _log.warning("the map has a single position: its sanity can't be checked")
        return None
    others = [
        map_rows(run, dataset, rows, network=random_network(run.recipe, seed=seed)).cam
        for seed in RANDOM_SEEDS
    ]
    patient_id = np.asarray(
        dataset.manifest.table["patient_id"][rows.tolist()].to_list(), dtype=np.str_
    )
    return compare_maps(trained, others, patient_id=patient_id)


def compare_maps(
    trained: NDArray[np.floating],
    others: Sequence[NDArray[np.floating]],
    *,
    patient_id: NDArray[np.str_],
) -> MapSanity:
    """Return the rank correlations of N maps with their randomised counterparts.

    Args:
        trained: (N, h, w).
        others: The same of each random network.
        patient_id: (N,).
    """
    rho = np.array(
        [
            [rank_correlation(cam, other) for cam, other in zip(trained, maps, strict=True)]
            for maps in others
        ]
    )  # (networks, N); NaN where either map is constant
    is_defined = ~np.isnan(rho).any(axis=0)
    mean_abs = measured_mean(np.abs(rho).mean(axis=0), patient_id)
    n_positions = trained[0].size
    return MapSanity(
        n=len(trained),
        n_constant=int(np.count_nonzero(~is_defined)),
        n_networks=len(others),
        map_height=trained.shape[1],
        map_width=trained.shape[2],
        mean_abs_rho=mean_abs,
        mean_rho=measured_mean(rho.mean(axis=0), patient_id),
        chance_abs_rho=math.sqrt(2 / (math.pi * (n_positions - 1))),
        bar=BAR,
        is_met=bool(mean_abs.value <= BAR),
    )
