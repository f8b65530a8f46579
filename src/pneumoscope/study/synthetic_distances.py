"""How far samples lie from real radiographs, beside how far real ones lie from one another.

Distances and neighbourhoods hang on the sizes of the sets. So the samples are always set beside
another half of the real radiographs, of the same size, against the same reference.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.distribution_distance import (
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
)
from pneumoscope.metrics.neighbours import Manifold, precision_recall_coverage
from pneumoscope.report.results import Measured
from pneumoscope.report.synthetic_results import (
    OTHER_HALF,
    EqualSizes,
    Spread,
    WholeSets,
)
from pneumoscope.study.synthetic_copies import measured_share

N_DRAWS = 20
MAX_SIZE = 4000  # the work grows with the square and the cube, the precision hardly

Embedded = tuple[NDArray[np.float64], NDArray[np.int64]]  # (N, D), and (N,) whose each row is


def half_size(patient: NDArray[np.int64]) -> int:
    """Return how many pictures each of two halves can have that share no patient."""
    n_of_largest = int(np.bincount(np.unique(patient, return_inverse=True)[1]).max())
    return min((patient.size - n_of_largest + 1) // 2, MAX_SIZE)


def at_equal_sizes(
    real: Embedded,
    others: Mapping[str, Embedded],
    *,
    n: int,
    k: int,
    seed: int,
    advance: Callable[[int], None],
    n_draws: int = N_DRAWS,
) -> EqualSizes:
    """Return the figures of each set against a reference of real radiographs, all of one size.

    In each draw, ``n`` real radiographs are the reference, ``n`` of other patients are the other
    half, and ``n`` are drawn from each of the other sets.

    Args:
        real: What the GAN learnt from.
        others: By their names; each has ``n`` pictures or more.
        n: At most `half_size` of the real ones.
        k: Neighbours that a ball reaches to.
        seed: Of the draws.
        advance: Told of each finished draw.
        n_draws: How often the halves are drawn.
    """
    rng = np.random.default_rng(seed)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in (*others, OTHER_HALF)}
    for _ in range(n_draws):
        order = _patient_by_patient(real[1], rng)
        reference = order[:n]
        rest = order[n:]
        rest = rest[~np.isin(real[1][rest], real[1][reference])]
        sets = {
            name: features[_patient_by_patient(patient, rng)[:n]]
            for name, (features, patient) in others.items()
        } | {OTHER_HALF: real[0][rest[:n]]}
        for name, features in sets.items():
            figures[name].append(figures_between(real[0][reference], features, k=k))
        advance(1)
    return EqualSizes(
        n=n,
        n_draws=n_draws,
        columns={name: _spreads(drawn) for name, drawn in figures.items()},
    )


def figures_between(
    reference: NDArray[np.float64], samples: NDArray[np.float64], *, k: int
) -> dict[str, float]:
    """Return every figure between two sets of embeddings, (N, D) and (M, D)."""
    manifold = precision_recall_coverage(reference, samples, k=k)
    return {
        "frechet_distance": frechet_distance(reference, samples),
        "kernel_distance": kernel_distance(reference, samples),
        "precision": manifold.precision,
        "recall": manifold.recall,
        "density": manifold.density,
        "coverage": manifold.coverage,
    }


def between_whole_sets(
    real: Embedded, samples: NDArray[np.float64], *, k: int, n_resamples: int
) -> WholeSets:
    """Return the figures between all real radiographs and all samples, with 95 % intervals."""
    features, patient = real
    chosen = np.arange(len(features))[:MAX_SIZE]
    features, patient, samples = features[chosen], patient[chosen], samples[:MAX_SIZE]
    own = np.arange(len(samples))
    manifold = precision_recall_coverage(features, samples, k=k)
    kernel = kernel_distance_interval(features, samples, group_a=patient, group_b=own)
    distance = frechet_distance(features, samples)
    n = len(features) + len(samples)
    return WholeSets(
        n_real=len(features),
        n_samples=len(samples),
        figures={
            "frechet_distance": Measured(
                value=distance,
                low=np.nan,
                high=np.nan,
                n=n,
                method="no interval: resampling would raise the distance itself",
            ),
            "kernel_distance": Measured(
                value=kernel.value,
                low=kernel.low,
                high=kernel.high,
                n=n,
                method="jackknife over patients and samples",
            ),
            **_manifold_figures(manifold, patient=patient, n_resamples=n_resamples),
        },
    )


def _manifold_figures(
    manifold: Manifold, *, patient: NDArray[np.int64], n_resamples: int
) -> dict[str, Measured]:
    """Return the four figures; what each is a mean over varies, the balls are held."""
    own = np.arange(manifold.is_inside.size)

    def share(is_true: NDArray[np.bool_], unit: NDArray[np.int64]) -> Measured:
        found = measured_share(is_true, unit, n_resamples=n_resamples)
        return found.model_copy(update={"method": f"{found.method}, neighbourhoods held"})

    return {
        "precision": share(manifold.is_inside, own),
        "recall": share(manifold.is_reached, patient),
        "density": _density(manifold.n_balls / manifold.k, own, n_resamples=n_resamples),
        "coverage": share(manifold.is_covered, patient),
    }


def _density(values: NDArray[np.float64], own: NDArray[np.int64], *, n_resamples: int) -> Measured:
    low, high = bootstrap_by_patient(np.mean, own, values, n_resamples=n_resamples)
    method = "bootstrap by samples, neighbourhoods held"
    if low == high:  # no share, so that Wilson knows nothing of it: 0 where no ball holds a sample
        low = high = np.nan
        method = "no interval: no resample changes it"
    return Measured(value=float(values.mean()), low=low, high=high, n=values.size, method=method)


def _patient_by_patient(patient: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (N,) row numbers in random order, a patient's rows one after the other."""
    patients, index = np.unique(patient, return_inverse=True)
    rank = rng.permutation(len(patients))[index]
    return np.lexsort((rng.permutation(len(patient)), rank))


def _spreads(drawn: list[dict[str, float]]) -> dict[str, Spread]:
    spreads = {}
    for name in drawn[0]:
        values = [figures[name] for figures in drawn]
        low, high = np.quantile(values, [0.025, 0.975])
        spreads[name] = Spread(mean=float(np.mean(values)), low=float(low), high=float(high))
    return spreads
