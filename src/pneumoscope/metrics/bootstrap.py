"""Intervals for any figure by drawing patients, not radiographs, again and again."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.metrics.checks import OneClassError, patient_index

# A figure that is undefined on 19 draws of 20 has no interval worth the name.
_MAX_DRAWS_PER_RESAMPLE = 20


def bootstrap_by_patient(
    statistic: Callable[..., float],
    patient_id: ArrayLike,
    *arrays: NDArray[Any],
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a figure, whole patients resampled with replacement.

    A resample on which the figure is undefined (NaN, or the figure needs two classes and one came)
    is drawn again, so that the interval is that of the figure given that it exists. Both ends are
    NaN where the figure is undefined on the data themselves, where all radiographs are of one
    patient, or where more than 19 draws of 20 leave the figure undefined.

    Args:
        statistic: Takes the resampled ``arrays``, in their order, and returns the figure.
        patient_id: (N,) the patient of each radiograph.
        arrays: Each (N, ...), one row a radiograph.
        n_resamples: How many resamples, 1 or more.
        seed: Same seed, same patients in every resample, whatever the figure.

    Raises: ValueError: an array's length is not N, N is 0, or n_resamples is below 1.
    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    values = resample_by_patient(statistic, patient_id, *arrays, n_resamples=n_resamples, seed=seed)
    if values.size == 0:
        return math.nan, math.nan
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def resample_by_patient(
    statistic: Callable[..., ArrayLike],
    patient_id: ArrayLike,
    *arrays: NDArray[Any],
    n_resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return one or several figures on each resample of whole patients, with replacement.

    A resample on which a figure is undefined (NaN, or it needs two classes and one came) is drawn
    again, so that what is returned holds given that the figures exist.

    Args:
        statistic: Takes the resampled ``arrays``, in their order, and returns a figure, or (K,).
        patient_id: (N,) the patient of each radiograph.
        arrays: Each (N, ...), one row a radiograph.
        n_resamples: How many resamples, 1 or more.
        seed: Same seed, same patients in every resample, whatever the figure.

    Returns: (n_resamples,) or (n_resamples, K). Empty where a figure is undefined on the data
        themselves, where all radiographs are of one patient, or where more than 19 draws of 20
        leave it undefined.

    Raises: ValueError: an array's length is not N, N is 0, or n_resamples is below 1.
    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples: {n_resamples}; give 1 or more.")
    n = np.size(patient_id)
    lengths = [len(array) for array in arrays]
    if n == 0 or any(length != n for length in lengths):
        raise ValueError(
            f"arrays: {lengths} rows, but there are {n} patient identities; "
            "give one of each a radiograph, and at least one radiograph."
        )
    draw_rows = _row_drawer(patient_index(patient_id, n))
    if draw_rows is None or _value(statistic, arrays) is None:
        return np.empty(0)
    rng = np.random.default_rng(seed)
    values: list[NDArray[np.float64]] = []
    for _ in range(n_resamples * _MAX_DRAWS_PER_RESAMPLE):
        rows = draw_rows(rng)
        value = _value(statistic, tuple(array[rows] for array in arrays))
        if value is not None:
            values.append(value)
        if len(values) == n_resamples:
            return np.array(values)
    return np.empty(0)


def _value(
    statistic: Callable[..., ArrayLike], arrays: tuple[NDArray[Any], ...]
) -> NDArray[np.float64] | None:
    """Return the figures, or None where one of them is undefined."""
    try:
        value = np.asarray(statistic(*arrays), dtype=np.float64)
    except OneClassError:
        return None
    return None if np.isnan(value).any() else value


def _row_drawer(
    patient: NDArray[np.intp],
) -> Callable[[np.random.Generator], NDArray[np.intp]] | None:
    """Return a function that draws the rows of P patients out of P; None for one patient."""
    by_patient = np.argsort(patient, kind="stable")
    size = np.bincount(patient)
    first = np.cumsum(size) - size  # where a patient's rows begin in by_patient
    n_patients = size.size
    if n_patients < 2:
        return None

    def draw(rng: np.random.Generator) -> NDArray[np.intp]:
        drawn = rng.integers(n_patients, size=n_patients)
        sizes = size[drawn]
        ends = np.cumsum(sizes)
        # 0, 1, 2, ... within each drawn patient, from that patient's first row on
        within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        rows: NDArray[np.intp] = by_patient[np.repeat(first[drawn], sizes) + within]
        return rows

    return draw
