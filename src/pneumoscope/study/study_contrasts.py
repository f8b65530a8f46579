"""A question answered by pairs: two systems, the same seeds, the same radiographs."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.curves import auroc
from pneumoscope.report.comparison_results import OverSeeds, PairedTests
from pneumoscope.report.study_results import CONTRAST_FIGURES, PairedDifference
from pneumoscope.study.compare import point_figure
from pneumoscope.study.paired_tests import Detector, holm_of_defined
from pneumoscope.study.seeds_and_patients import MeanOverSeeds, mean_over_seeds

CONTRAST_METHOD = (
    "A contrast is the mean over seeds of a figure's difference, each seed against the same seed "
    "of the other system. Its interval and p-value know of the choice of patients and of the "
    "chance of training, as radiology's studies of many readers know of patients and readers "
    "(Obuchowski and Rockette 1995): the variance between seeds over their number, plus the "
    "covariance between seeds in {n_resamples:,} resamples of patients, at least the variance "
    "over patients of these seeds' mean, and Student's t with the degrees of freedom of Hillis "
    "2007. Three seeds leave few of these where seeds differ much, so that their interval is "
    "wide; it ends at -1 and 1 at the latest. With one seed it is that of the patients alone.",
    "p (Holm) is corrected for all measured contrasts of the question, each figure apart.",
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
        n_resamples: Of patients, for intervals and p-values.

    Raises: ValueError: the systems have different numbers of seeds or radiographs.
    """
    if a.logit.shape != b.logit.shape or len(a.logit) == 0:
        raise ValueError(
            f"{a.label} and {b.label}: shapes {a.logit.shape} and {b.logit.shape}; "
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


def over_seeds_record(found: MeanOverSeeds, *, floor: float = -1.0) -> OverSeeds:
    """Return the record of a mean difference of shares or AUROCs.

    Args:
        found: Its interval, by Student's t, knows no bounds: of few seeds that differ much it runs
            past what a difference can be.
        floor: The least that it can be; the most is 1.
    """
    return OverSeeds(
        mean=found.mean,
        sd=found.sd,
        minimum=float(found.by_seed.min()),
        maximum=float(found.by_seed.max()),
        low=max(found.low, floor) if not math.isnan(found.low) else math.nan,
        high=min(found.high, 1.0) if not math.isnan(found.high) else math.nan,
        by_seed=found.by_seed.tolist(),
    )


def _answers(system: Detector, figure: str) -> NDArray[np.float64] | NDArray[np.bool_]:
    """Return (S, N): logits to rank by, or the calls that a figure of an operating point needs."""
    if figure == "auroc":
        return system.logit
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

    found = mean_over_seeds(by_seed, patient_id, target, *a, *b, n_resamples=n_resamples)
    return PairedDifference(
        figure=figure,
        a=[of(answer, target) for answer in a],
        b=[of(answer, target) for answer in b],
        difference=over_seeds_record(found),
        p_value=found.p_value,
        p_holm=math.nan,
    )


_FIGURES: dict[str, Callable[..., float]] = {
    "auroc": auroc,
    "specificity": point_figure("specificity"),
    "accuracy": point_figure("accuracy"),
}
