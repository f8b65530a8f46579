"""Recipe against recipe on the same radiographs, their common seeds taken as one detector each."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.calibration import Calibration
from pneumoscope.metrics.confusion import McNemarResult, mcnemar_exact
from pneumoscope.metrics.delong import DeLongResult, delong_paired
from pneumoscope.metrics.holm import holm
from pneumoscope.report.comparison_results import (
    AccuracyTest,
    AurocTest,
    PairedTests,
    UntestedPair,
)

TEST_METHOD = (
    "For the paired tests a recipe's seeds are one detector: the log odds of P(pneumonia), less "
    "the log odds of the run's own balanced threshold, averaged over seeds; at 0 or above it calls "
    "pneumonia. The log odds come from the logits, so that they do not round. With several seeds "
    "it is therefore an ensemble, and a little better than its mean run.",
    "AUROC: DeLong's paired test, with the variance by patient. Accuracy at the balanced point: "
    "McNemar's exact test, which takes images as independent; several images of a patient make "
    "its p-value somewhat too small. Either p knows of patients alone, not of the chance of "
    "training: how far other seeds would change the difference is not in it.",
    "p (Holm) is corrected for as many comparisons as there are pairs of recipes ({n_pairs}), "
    "AUROC and accuracy each apart.",
)
UNLIKE_SEEDS_METHOD = (
    "An average of several networks is better than one of them. So where two recipes have other "
    "seeds, their tests take those that both have, named beside the pair; a pair without a common "
    "seed is not tested, and not counted in Holm's correction."
)


@dataclass(frozen=True)
class Detector:
    """The S seeds of a recipe as one detector.

    Each seed by itself ranks by its logits and calls by its probabilities. Their mean is one of log
    odds, since the logits of two seeds have no common scale where each was measured through its
    bundle: there they are calibrated. They come from the logits, by each run's calibration, and
    not from probabilities, which round to 1.
    """

    label: str
    seeds: Sequence[int]  # (S,), each once
    logit: NDArray[np.float64]  # (S, N)
    calibration: Sequence[Calibration]  # (S,), temperature 1 and bias 0 of a run as trained
    probability: NDArray[np.float64]  # (S, N)
    threshold: NDArray[np.float64]  # (S,) each seed's own balanced one

    @property
    def margin(self) -> NDArray[np.float64]:
        """(N,) log odds above the threshold, the mean over seeds; 0 or more calls pneumonia."""
        margins = [
            calibration.log_odds(logit) - _threshold_log_odds(threshold)
            for logit, calibration, threshold in zip(
                self.logit, self.calibration, self.threshold.tolist(), strict=True
            )
        ]
        return np.asarray(np.mean(margins, axis=0), dtype=np.float64)

    def of(self, seeds: Sequence[int]) -> "Detector":
        """Return the detector that some of the seeds make. Raises: ValueError: it lacks one."""
        rows = [list(self.seeds).index(seed) for seed in seeds]
        return Detector(
            label=self.label,
            seeds=list(seeds),
            logit=self.logit[rows],
            calibration=[self.calibration[row] for row in rows],
            probability=self.probability[rows],
            threshold=self.threshold[rows],
        )


def paired_tests(
    detectors: Sequence[Detector],
    *,
    target: NDArray[np.bool_],
    patient_id: NDArray[np.str_],
) -> list[PairedTests]:
    """Return DeLong's and McNemar's test for every pair, each corrected after Holm.

    Both of a pair are averaged over the seeds that they share: an ensemble of more networks is the
    better one, though the two recipes be the same. A pair that shares none is left out; see
    `untested_pairs`.

    Args:
        detectors: All on the same N radiographs, in one order.
        target: (N,) True where the reference standard says pneumonia.
        patient_id: (N,) the patient of each radiograph.
    """
    pairs = [
        (a.of(seeds), b.of(seeds))
        for a, b in itertools.combinations(detectors, 2)
        if (seeds := _shared_seeds(a, b))
    ]
    delong = [delong_paired(a.margin, b.margin, target, patient_id=patient_id) for a, b in pairs]
    is_right = [((a.margin >= 0) == target, (b.margin >= 0) == target) for a, b in pairs]
    mcnemar = [mcnemar_exact(of_a, of_b) for of_a, of_b in is_right]
    delong_holm = holm_of_defined([test.p_value for test in delong])
    mcnemar_holm = holm_of_defined([test.p_value for test in mcnemar])
    return [
        PairedTests(
            a=a.label,
            b=b.label,
            seeds=list(a.seeds),
            auroc=_auroc_test(delong[i], p_holm=delong_holm[i]),
            accuracy=_accuracy_test(
                mcnemar[i],
                accuracy_a=float(is_right[i][0].mean()),
                accuracy_b=float(is_right[i][1].mean()),
                p_holm=mcnemar_holm[i],
            ),
        )
        for i, (a, b) in enumerate(pairs)
    ]


def untested_pairs(detectors: Sequence[Detector]) -> list[UntestedPair]:
    """Return the pairs that share no seed, so that `paired_tests` leaves them out."""
    return [
        UntestedPair(a=a.label, b=b.label)
        for a, b in itertools.combinations(detectors, 2)
        if not _shared_seeds(a, b)
    ]


def _shared_seeds(a: Detector, b: Detector) -> list[int]:
    return [seed for seed in a.seeds if seed in b.seeds]


def _threshold_log_odds(threshold: float) -> float:
    # A threshold of 0 or 1 would be infinite, and every radiograph's mean over seeds with it.
    clipped = min(max(threshold, 1e-15), 1 - 1e-15)
    return math.log(clipped) - math.log1p(-clipped)


def _auroc_test(test: DeLongResult, *, p_holm: float) -> AurocTest:
    return AurocTest(
        auroc_a=test.auroc_a,
        auroc_b=test.auroc_b,
        difference=test.difference,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        p_holm=p_holm,
    )


def _accuracy_test(
    test: McNemarResult, *, accuracy_a: float, accuracy_b: float, p_holm: float
) -> AccuracyTest:
    return AccuracyTest(
        accuracy_a=accuracy_a,
        accuracy_b=accuracy_b,
        n_only_a=test.n_only_a,
        n_only_b=test.n_only_b,
        p_value=test.p_value,
        p_holm=p_holm,
    )


def holm_of_defined(p_values: Sequence[float]) -> list[float]:
    """Return Holm's p-values; an undefined test stays NaN and counts for nothing."""
    values = np.array(p_values, dtype=np.float64)
    is_defined = ~np.isnan(values)
    if is_defined.any():
        values[is_defined] = holm(values[is_defined])
    return [float(value) for value in values]
