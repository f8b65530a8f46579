"""Whether a figure's mean over seeds differs from 0, for other patients and other seeds alike.

A network trained with several seeds on one test split is a multi-reader, multi-case study with the
seeds in the readers' place: each seed answers the same patients, so its figures vary with the
training's chance and, all together, with who was photographed. Resampling a handful of seeds can't
tell how far another seed might lie: from three that agree in sign no draw ever crosses 0, which
happens by chance one time in four. The field's own analysis knows how little three seeds say, by
its degrees of freedom.

Sources: Obuchowski and Rockette (1995), Communications in Statistics - Simulation and Computation
24(2), 285-308; Hillis (2007), Statistics in Medicine 26(3), 596-619, for the degrees of freedom.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from pneumoscope.metrics.bootstrap import resample_by_patient

_ROUNDING = 1e-12  # figures are ratios of counts of order 1: less than this is no difference


@dataclass(frozen=True)
class MeanOverSeeds:
    """The mean of a figure over S seeds, with what is known of it."""

    by_seed: NDArray[np.float64]  # (S,)
    mean: float
    sd: float  # over seeds, divisor S - 1; NaN with one seed
    standard_error: float  # of the mean, over patients and seeds; NaN where there is none
    degrees_of_freedom: float  # from S - 1 to infinity
    low: float  # 95 % interval
    high: float
    p_value: float  # two-sided, of no difference from 0


def mean_over_seeds(
    statistic: Callable[..., ArrayLike],
    patient_id: ArrayLike,
    *arrays: NDArray[Any],
    n_resamples: int = 1000,
) -> MeanOverSeeds:
    """Return a figure's mean over seeds with an interval over patients and seeds.

    The variance of the mean is that of the figure over seeds, divided by S, plus the mean
    covariance between two seeds, which is the patients' share; below 0 it counts as 0. It is at
    least the variance over patients of these very seeds' mean: seeds that agree by luck can't make
    it less, since with no variance between seeds at all that much would be left. The ratio of mean
    to standard error is taken as t-distributed with Hillis's degrees of freedom. With one seed the
    variance is that over patients alone, and the distribution normal.

    Args:
        statistic: Of the resampled ``arrays``; returns (S,), a value a seed. For a paired
            difference it returns the differences.
        patient_id: (N,) the patient of each radiograph.
        arrays: Each (N, ...), one row a radiograph.
        n_resamples: Of patients, for the covariances.

    Returns: Interval and p-value NaN where the figure does not vary or is undefined; p is 1 where
        it is 0 for all seeds and does not vary.

    Raises: ValueError: an array's length is not N, N is 0, or n_resamples is below 1.
    """
    by_seed = np.asarray(statistic(*arrays), dtype=np.float64)
    n_seeds = by_seed.size
    mean = float(by_seed.mean())
    sd = float(by_seed.std(ddof=1)) if n_seeds > 1 else math.nan
    resampled = resample_by_patient(statistic, patient_id, *arrays, n_resamples=n_resamples)
    if len(resampled) < 2:
        standard_error = degrees = math.nan
    elif n_seeds == 1:
        standard_error, degrees = float(resampled.std(ddof=1)), math.inf
    else:
        standard_error, degrees = _error_and_degrees(resampled, sd)
    low = high = p_value = math.nan
    if standard_error > _ROUNDING:
        half = float(student_t.ppf(0.975, degrees)) * standard_error
        low, high = mean - half, mean + half
        p_value = float(2 * student_t.sf(abs(mean) / standard_error, degrees))
    elif standard_error <= _ROUNDING and abs(mean) <= _ROUNDING:
        p_value = 1.0
    return MeanOverSeeds(by_seed, mean, sd, standard_error, degrees, low, high, p_value)


def _error_and_degrees(resampled: NDArray[np.float64], sd: float) -> tuple[float, float]:
    """Return the standard error of the mean and Hillis's degrees of freedom, of (B, S) figures."""
    n_seeds = resampled.shape[1]
    covariance = np.cov(resampled, rowvar=False)
    between = float(covariance.sum() - covariance.trace()) / (n_seeds * (n_seeds - 1))
    of_seeds = sd**2 / n_seeds
    of_patients = float(resampled.mean(axis=1).var(ddof=1))
    variance = max(of_seeds + max(between, 0.0), of_patients)
    degrees = math.inf
    if sd > _ROUNDING:
        degrees = variance**2 * (n_seeds - 1) / of_seeds**2
    return math.sqrt(variance), degrees
