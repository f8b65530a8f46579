"""How far choosing the epoch on the test split flatters: figures of (epochs, radiographs).

The gap is the figure of the epoch that test itself would have chosen, less that of the epoch that
the run chose without it. It is never negative where the figure is also what is chosen by, so that
its mere being positive says nothing: `keeps` tells how much of it is left on other patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.metrics.checks import OneClassError, patient_index
from pneumoscope.metrics.curves import auroc
from pneumoscope.report.epochs_results import Rule

N_HALVINGS = 200


@dataclass(frozen=True)
class EpochAnswers:
    """A run's logits after each of its E epochs on N radiographs."""

    logit: NDArray[np.float64]  # (E, N), not calibrated: a probability of 0.5 is 0
    chosen: int  # the row of the epoch that the run keeps


def figure_by_epoch(
    figure: str, logit: NDArray[np.float64], target: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return (E,) of ``accuracy`` at 0.5, ``auroc`` or ``loss`` (log loss, in nats).

    All from logits: probabilities round to 1 where a network is very sure, which would tie what it
    ranks and bound what a sure error costs.

    Args:
        figure: Which.
        logit: (E, N) after each epoch.
        target: (N,) True where the reference standard says pneumonia.

    Raises: OneClassError: an AUROC is asked for and one class is missing.
    """
    if figure == "accuracy":
        return np.asarray(((logit >= 0) == target).mean(axis=1), dtype=np.float64)
    if figure == "loss":
        return np.asarray(np.logaddexp(0.0, np.where(target, -logit, logit)).mean(axis=1))
    return np.array([auroc(row, target) for row in logit])


def best_epoch(rule: Rule, logit: NDArray[np.float64], target: NDArray[np.bool_]) -> int:
    """Return the row that these radiographs would choose: the first of equals, as training does."""
    values = figure_by_epoch(rule.by, logit, target)
    return int(np.argmin(values) if rule.by == "loss" else np.argmax(values))


def gap(rule: Rule, answers: EpochAnswers, target: NDArray[np.bool_]) -> float:
    """Return the rule's figure of the best test epoch less that of the epoch that was chosen."""
    best = best_epoch(rule, answers.logit, target)
    pair = answers.logit[[best, answers.chosen]]
    values = figure_by_epoch(rule.figure, pair, target)
    return float(values[0] - values[1])


def gaps(
    rule: Rule,
    runs: Sequence[EpochAnswers],
    target: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return (S,) gaps, one a run."""
    return np.array([gap(rule, run, target) for run in runs])


def gap_kept(
    rule: Rule,
    answers: EpochAnswers,
    target: NDArray[np.bool_],
    patient_id: NDArray[np.str_],
    *,
    n_halvings: int = N_HALVINGS,
    seed: int = 0,
) -> float:
    """Return the gap on patients who had no part in the choice, on average.

    The patients are halved at random again and again: one half chooses the epoch, the other
    measures it and the run's own.

    Args:
        rule: What is chosen by, and what is measured.
        answers: Of one run.
        target: (N,) True where the reference standard says pneumonia.
        patient_id: (N,) the patient of each radiograph.
        n_halvings: How often; each counts twice, once with the halves exchanged.
        seed: Draws the halves.

    Returns: NaN where no halving has both classes on both sides.
    """
    patient = patient_index(patient_id, target.size)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(n_halvings):
        order = rng.permutation(int(patient.max()) + 1)
        is_first = np.isin(patient, order[: order.size // 2])
        for choosing, measuring in ((is_first, ~is_first), (~is_first, is_first)):
            try:
                best = best_epoch(rule, answers.logit[:, choosing], target[choosing])
                pair = answers.logit[[best, answers.chosen]][:, measuring]
                figures = figure_by_epoch(rule.figure, pair, target[measuring])
            except OneClassError:
                continue
            values.append(figures[0] - figures[1])
    return float(np.mean(values)) if values else float("nan")
