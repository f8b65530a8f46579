"""A question answered by pairs: two systems, the same seeds, the same radiographs.

What varies is who was photographed and how the dice of training fell. Both are in the interval:
each resample draws patients, and S - 1 of the S seeds, pairs kept together. (Drawing S of S would
understate the seeds' share of the variance of the mean by (S - 1) / S, a third of it for three
seeds; Rao and Wu 1988, JASA 83(401), 231-241, section 2, of one stratum.)
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.metrics.curves import auroc
from pneumoscope.report.comparison_results import OverSeeds, PairedTests
from pneumoscope.report.study_results import CONTRAST_FIGURES, PairedDifference
from pneumoscope.study.paired_tests import Detector, holm_of_defined

CONTRAST_METHOD = (
    "A contrast is the mean over seeds of a figure's difference, each seed against the same seed "
    "of the other system. Its interval and p-value come from {n_resamples:,} resamples of patients "
    "and, in each, of one seed fewer than there are, with replacement, so that both the choice of "
    "patients and the chance of training are in it (Rao and Wu 1988). With one seed it is that of "
    "the patients alone. With three seeds the share of training is itself known only roughly.",
    "p is twice the smaller share of resamples on either side of no difference; p (Holm) is "
    "corrected for all contrasts of the question, each figure apart.",
    "All seeds of a system that trains with generated images have the same ones, of one generator: "
    "what is said of it holds for that generator and those samples, and how far another training "
    "of the generator, or other samples of it, would change it is in no interval here.",
)


def paired_differences(
    a: Detector,
    b: Detector,
    *,
    target: NDArray[np.bool_],
    patient_id: NDArray[np.str_],
    n_resamples: int = 1000,
) -> list[PairedDifference]:
    """Return a - b for every figure of `CONTRAST_FIGURES`; p is not corrected yet.

    Args:
        a: One system.
        b: The other, with the same seeds in the same order.
        target: (N,) True where the reference standard says pneumonia.
        patient_id: (N,) the patient of each radiograph.
        n_resamples: For intervals and p-values.

    Raises: ValueError: the systems have different numbers of seeds or radiographs.
    """
    if a.probability.shape != b.probability.shape or len(a.probability) == 0:
        raise ValueError(
            f"{a.label} and {b.label}: shapes {a.probability.shape} and {b.probability.shape}; "
            "give the same seeds and radiographs of both, and at least one seed."
        )
    return [
        _difference(
            figure,
            _answers(a, figure),
            _answers(b, figure),
            target=target,
            patient_id=patient_id,
            n_resamples=n_resamples,
        )
        for figure in CONTRAST_FIGURES
    ]


def correct_after_holm(
    contrasts: Sequence[Sequence[PairedDifference]],
) -> list[list[PairedDifference]]:
    """Return the differences with Holm's p-values over all contrasts, each figure apart.

    An undefined p-value stays so and counts for nothing.
    """
    corrected = [list(differences) for differences in contrasts]
    for place in range(len(CONTRAST_FIGURES)):
        rows = [i for i, row in enumerate(corrected) if row]
        adjusted = holm_of_defined([corrected[i][place].p_value for i in rows])
        for i, p_holm in zip(rows, adjusted, strict=True):
            corrected[i][place] = corrected[i][place].model_copy(update={"p_holm": p_holm})
    return corrected


def holm_over_tests(tests: Sequence[PairedTests | None]) -> list[PairedTests | None]:
    """Return tests with Holm's p-values over all of them, AUROC and accuracy each apart."""
    there = [test for test in tests if test is not None]
    auroc_holm = iter(holm_of_defined([test.auroc.p_value for test in there]))
    accuracy_holm = iter(holm_of_defined([test.accuracy.p_value for test in there]))
    return [
        test
        if test is None
        else test.model_copy(
            update={
                "auroc": test.auroc.model_copy(update={"p_holm": next(auroc_holm)}),
                "accuracy": test.accuracy.model_copy(update={"p_holm": next(accuracy_holm)}),
            }
        )
        for test in tests
    ]


def over_seeds_and_patients(
    statistic: Callable[..., NDArray[np.float64]],
    patient_id: NDArray[np.str_],
    *arrays: NDArray[np.generic],
    n_resamples: int,
) -> tuple[OverSeeds, NDArray[np.float64]]:
    """Return a figure's mean over seeds with its interval, and the resampled means.

    Args:
        statistic: Of the resampled arrays; returns (S,), a value a seed.
        patient_id: (N,) the patient of each radiograph.
        arrays: Each (N, ...).
        n_resamples: How many.

    Returns: The figure, both ends NaN where no resample changes it; and at most ``n_resamples``
        values.
    """
    by_seed = np.asarray(statistic(*arrays), dtype=np.float64)
    n_seeds = by_seed.size
    rng = np.random.default_rng(1)
    means: list[float] = []

    def mean(*resampled: NDArray[np.generic]) -> float:
        values = np.asarray(statistic(*resampled))
        if n_seeds > 1:
            values = values[rng.integers(n_seeds, size=n_seeds - 1)]
        means.append(float(values.mean()))
        return means[-1]

    low, high = bootstrap_by_patient(mean, patient_id, *arrays, n_resamples=n_resamples)
    if low == high:
        low = high = math.nan
    # The first call is on the data themselves, to see whether the figure exists there.
    resampled = np.array(means[1:])
    figure = OverSeeds(
        mean=float(by_seed.mean()),
        sd=float(by_seed.std(ddof=1)) if n_seeds > 1 else math.nan,
        minimum=float(by_seed.min()),
        maximum=float(by_seed.max()),
        low=low,
        high=high,
        by_seed=by_seed.tolist(),
    )
    return figure, resampled[~np.isnan(resampled)]


def two_sided_p(resampled: NDArray[np.float64]) -> float:
    """Return twice the smaller share of resampled differences on either side of 0.

    One is added to count and number, so that it is never 0 (Davison and Hinkley 1997, section
    4.2). NaN where there is no resample.
    """
    if resampled.size == 0:
        return math.nan
    tail = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    return min(1.0, 2 * (int(tail) + 1) / (resampled.size + 1))


def _answers(system: Detector, figure: str) -> NDArray[np.float64] | NDArray[np.bool_]:
    """Return (S, N): probabilities, or the calls that a figure of an operating point needs."""
    if figure == "auroc":
        return system.probability
    threshold = np.array(0.5) if figure.endswith("0.5") else system.threshold[:, None]
    return np.asarray(system.probability >= threshold, dtype=np.bool_)


def _difference(
    figure: str,
    a: NDArray[np.float64] | NDArray[np.bool_],
    b: NDArray[np.float64] | NDArray[np.bool_],
    *,
    target: NDArray[np.bool_],
    patient_id: NDArray[np.str_],
    n_resamples: int,
) -> PairedDifference:
    of = _FIGURES[figure.split()[0]]

    def by_seed(target: NDArray[np.bool_], *answers: NDArray[np.generic]) -> NDArray[np.float64]:
        mine, other = answers[: len(a)], answers[len(a) :]
        return np.array([of(x, target) - of(y, target) for x, y in zip(mine, other, strict=True)])

    difference, resampled = over_seeds_and_patients(
        by_seed, patient_id, target, *a, *b, n_resamples=n_resamples
    )
    return PairedDifference(
        figure=figure,
        a=[of(answer, target) for answer in a],
        b=[of(answer, target) for answer in b],
        difference=difference,
        p_value=two_sided_p(resampled),
        p_holm=math.nan,
    )


def _accuracy(is_called: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    return float(np.mean(is_called == target))


def _specificity(is_called: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    n_normal = np.count_nonzero(~target)
    return float(np.count_nonzero(~is_called & ~target) / n_normal) if n_normal else math.nan


_FIGURES: dict[str, Callable[..., float]] = {
    "auroc": auroc,
    "specificity": _specificity,
    "accuracy": _accuracy,
}
