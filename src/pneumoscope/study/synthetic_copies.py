"""Did the generator copy? How near samples come to training radiographs, and how near patients do.

A sample is set against its own nearest training radiograph: is it nearer to it than the
radiograph of any other patient is? That alone says little, for in many dimensions a newcomer often
is. So the same is asked of real newcomers: each patient in turn is left out, and others were held
out from the generator. Controls go with it. Patients left out and blurred, a little, and until they
have as little fine detail as the samples: what a lack of sharpness does by itself. And copies
planted on purpose, blurred a little with their originals left in: what the check would find of a
generator that did nothing but copy.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.confusion import wilson_interval
from pneumoscope.metrics.neighbours import Nearest, nearest_in_company, nearest_rows
from pneumoscope.report.results import Measured
from pneumoscope.report.synthetic_results import (
    BLURRED,
    HELD_OUT,
    LEFT_OUT,
    MATCHED,
    PLANTED,
    SAME_PATIENT,
    SAMPLES,
    Copies,
    CopyRow,
    Pair,
)

N_PAIRS = 6  # shown of each kind in each space
_ORDER = (SAMPLES, LEFT_OUT, HELD_OUT, BLURRED, MATCHED, PLANTED, SAME_PATIENT)
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Search:
    """The nearest training radiographs of every kind of picture, in one space."""

    space: str
    unit: str
    scale: float  # what turns a Euclidean distance into the unit
    nearest: dict[str, Nearest]  # by kind
    whose: dict[str, NDArray[np.int64]]  # by kind: (M,) what is resampled together

    def distances(self) -> dict[str, _Floats]:
        """Return (M,) the distance to the nearest training radiograph, by kind."""
        return {kind: found.distance * self.scale for kind, found in self.nearest.items()}


@dataclass(frozen=True)
class Candidates:
    """Pictures of one kind, in one space, whose nearest training radiographs are looked for."""

    rows: _Floats  # (M, D)
    whose: NDArray[np.int64]  # (M,) a number a patient; of samples, one each
    is_left_out: bool = False  # the training radiographs of its own patient are no candidates


def search_copies(
    real: _Floats,
    patient: NDArray[np.int64],
    kinds: Mapping[str, Candidates],
    *,
    space: str,
    unit: str,
    scale: float = 1.0,
) -> Search:
    """Return the nearest training radiographs of every kind of picture.

    Patients left out, and those with several radiographs, are added to the kinds.

    Args:
        real: (N, D) different training radiographs.
        patient: (N,) whose each is.
        kinds: The others, the samples among them.
        space: "pixels" or "embedding".
        unit: Of the distances.
        scale: What turns a Euclidean distance into that unit.
    """
    everything = {**kinds, LEFT_OUT: Candidates(real, patient, is_left_out=True)}
    nearest = {
        kind: nearest_rows(
            each.rows, real, group=patient, own=each.whose if each.is_left_out else None
        )
        for kind, each in everything.items()
    }
    whose = {kind: each.whose for kind, each in everything.items()}
    has_several = np.bincount(patient)[patient] > 1
    if has_several.any():
        found = nearest_in_company(real, group=patient)
        nearest[SAME_PATIENT] = Nearest(
            index=found.index[has_several],
            distance=found.distance[has_several],
            neighbour=found.neighbour[has_several],
            neighbour_distance=found.neighbour_distance[has_several],
        )
        whose[SAME_PATIENT] = patient[has_several]
    return Search(space=space, unit=unit, scale=scale, nearest=nearest, whose=whose)


def summarise_copies(search: Search, *, n_resamples: int) -> Copies:
    """Return the memorisation check's figures in one space, each with a 95 % interval."""
    kinds = [kind for kind in _ORDER if kind in search.nearest]
    return Copies(
        space=search.space,
        unit=search.unit,
        rows=[_row(search, kind, n_resamples=n_resamples) for kind in kinds],
    )


def closest_pairs(search: Search, paths: list[str]) -> list[Pair]:
    """Return the pairs of sample and radiograph that look most like copies, the worst first.

    First those of the smallest distance, then, of the rest, those of the smallest share of the
    distance to the radiograph's neighbour: a distance alone favours pictures of little contrast.

    Args:
        search: That has samples.
        paths: (N,) of the training radiographs.
    """
    found = search.nearest[SAMPLES]
    ratio = found.distance / np.maximum(found.neighbour_distance, np.finfo(np.float64).tiny)
    by_distance = np.argsort(found.distance, kind="stable")[:N_PAIRS]
    by_ratio = np.argsort(ratio, kind="stable")
    by_ratio = by_ratio[~np.isin(by_ratio, by_distance)][:N_PAIRS]
    return [
        Pair(
            space=search.space,
            chosen_by=chosen_by,
            sample_index=int(sample),
            path=paths[found.index[sample]],
            distance=float(found.distance[sample] * search.scale),
            neighbour_path=paths[found.neighbour[sample]],
            neighbour_distance=float(found.neighbour_distance[sample] * search.scale),
        )
        for chosen_by, samples in (("distance", by_distance), ("ratio", by_ratio))
        for sample in samples
    ]


def _row(search: Search, kind: str, *, n_resamples: int) -> CopyRow:
    found, whose = search.nearest[kind], search.whose[kind]
    row = CopyRow(
        kind=kind,
        n=found.distance.size,
        closer=measured_share(found.is_closer, whose, n_resamples=n_resamples),
        smallest=float(found.distance.min() * search.scale),
        median=float(np.median(found.distance) * search.scale),
    )
    if kind == LEFT_OUT:
        return row
    left_out = search.nearest[LEFT_OUT]
    # The same patient is drawn with both rows; a sample or a patient held out is a unit of its own.
    is_shared = kind in (BLURRED, MATCHED, PLANTED, SAME_PATIENT)
    units = np.concatenate([search.whose[LEFT_OUT], whose if is_shared else -1 - whose])
    is_kind = np.arange(units.size) >= left_out.distance.size
    is_closer = np.concatenate([left_out.is_closer, found.is_closer])
    distance = np.concatenate([left_out.distance, found.distance])

    def share_below(percentile: float) -> Measured:
        def statistic(values: _Floats, chosen: NDArray[np.bool_]) -> float:
            if not chosen.any() or chosen.all():
                return np.nan
            bound = np.percentile(values[~chosen], percentile)
            return float((values[chosen] < bound).mean())

        drawn = _bootstrapped(statistic, units, distance, is_kind, n_resamples=n_resamples)
        if drawn.value not in (0.0, 1.0):
            return drawn
        # Hardly a resample differs then, which is no certainty.
        bound = np.percentile(left_out.distance, percentile)
        held = measured_share(found.distance < bound, whose, n_resamples=n_resamples)
        return held.model_copy(
            update={"low": min(held.low, drawn.low), "high": max(held.high, drawn.high)}
        )

    excess = _bootstrapped(_excess, units, is_closer, is_kind, n_resamples=n_resamples)
    if excess.low == excess.high:  # both shares are 0 or 1
        other = measured_share(left_out.is_closer, search.whose[LEFT_OUT], n_resamples=n_resamples)
        low, high = _difference_interval(row.closer, other)
        excess = excess.model_copy(update={"low": low, "high": high, "method": "Newcombe"})
    return row.model_copy(
        update={
            "excess": excess,
            "below_5th": share_below(5),
            "below_1st": share_below(1),
        }
    )


def measured_share(
    is_true: NDArray[np.bool_], unit: NDArray[np.int64], *, n_resamples: int
) -> Measured:
    """Return the share of True with its 95 % interval.

    Args:
        is_true: (N,).
        unit: (N,) what is resampled together. With one row each, and where no resample would
            differ (a share of 0 or 1), the interval is Wilson's, with the units for trials.
        n_resamples: Of the bootstrap.
    """
    n, n_units, value = is_true.size, int(np.unique(unit).size), float(is_true.mean())
    if n_units == n or value in (0.0, 1.0):
        low, high = wilson_interval(round(value * n_units), n_units)
        method = "Wilson"
    else:
        low, high = bootstrap_by_patient(np.mean, unit, is_true, n_resamples=n_resamples)
        method = "bootstrap by patient"
    return Measured(value=value, low=low, high=high, n=n, method=method)


def _excess(is_closer: NDArray[np.bool_], is_kind: NDArray[np.bool_]) -> float:
    """Return the kind's share less that of the patients left out."""
    if not is_kind.any() or is_kind.all():
        return float("nan")
    return float(is_closer[is_kind].mean() - is_closer[~is_kind].mean())


def _difference_interval(a: Measured, b: Measured) -> tuple[float, float]:
    """Return the 95 % interval of a - b, from those of two shares taken as independent.

    Source: Newcombe (1998), Statistics in Medicine 17(8), 873-890, method 10.
    """
    difference = a.value - b.value
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return difference - below, difference + above


def _bootstrapped(
    statistic: Callable[..., float],
    units: NDArray[np.int64],
    values: NDArray[Any],
    is_kind: NDArray[np.bool_],
    *,
    n_resamples: int,
) -> Measured:
    low, high = bootstrap_by_patient(statistic, units, values, is_kind, n_resamples=n_resamples)
    return Measured(
        value=statistic(values, is_kind),
        low=low,
        high=high,
        n=int(np.count_nonzero(is_kind)),
        method="bootstrap by patient and sample, nearest radiographs held",
    )
