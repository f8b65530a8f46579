import math

import numpy as np
import pytest
from scipy.special import logit
from sklearn import metrics as sk

from pneumoscope.report.epochs_results import RULES
from pneumoscope.study.study_gap import EpochAnswers, best_epoch, figure_by_epoch, gap, gap_kept

BY_ACCURACY, BY_LOSS, BY_AUROC = RULES
TARGET = np.array([True, True, False, False])
# Right calls at 0.5: 2, 4, 4 and 3 of 4. By loss the third is worse than the second.
PROBABILITIES = np.array(
    [
        [0.9, 0.9, 0.9, 0.9],
        [0.9, 0.8, 0.1, 0.2],
        [0.6, 0.6, 0.4, 0.4],
        [0.9, 0.9, 0.1, 0.7],
    ]
)
EPOCHS = logit(PROBABILITIES)


def test_figures_are_those_of_scikit_learn() -> None:
    assert figure_by_epoch("accuracy", EPOCHS, TARGET) == pytest.approx([0.5, 1, 1, 0.75])
    assert figure_by_epoch("loss", EPOCHS, TARGET) == pytest.approx(
        [sk.log_loss(TARGET, row) for row in PROBABILITIES]
    )
    assert figure_by_epoch("auroc", EPOCHS, TARGET) == pytest.approx(
        [sk.roc_auc_score(TARGET, row) for row in PROBABILITIES]
    )


def test_epochs_of_which_every_probability_rounds_to_one_are_told_apart() -> None:
    sure = np.array([[40.0, 90.0, 50.0, 60.0], [70.0, 90.0, 50.0, 60.0]])
    assert figure_by_epoch("auroc", sure, TARGET) == pytest.approx([0.5, 1.0])  # pairs by hand
    assert figure_by_epoch("loss", sure, TARGET) == pytest.approx([110 / 4, 110 / 4])
    assert figure_by_epoch("accuracy", sure, TARGET) == pytest.approx([0.5, 0.5])
    assert best_epoch(BY_AUROC, sure, TARGET) == 1


def test_the_first_of_equal_epochs_is_taken_and_the_least_loss() -> None:
    assert best_epoch(BY_ACCURACY, EPOCHS, TARGET) == 1
    assert best_epoch(BY_LOSS, EPOCHS, TARGET) == 1
    assert best_epoch(BY_LOSS, EPOCHS[[2, 0, 1]], TARGET) == 2


@pytest.mark.parametrize(("chosen", "expected"), [(0, 0.5), (1, 0), (2, 0), (3, 0.25)])
def test_the_gap_is_what_the_best_epoch_has_more(chosen: int, expected: float) -> None:
    assert gap(BY_ACCURACY, EpochAnswers(EPOCHS, chosen), TARGET) == pytest.approx(expected)


def test_choosing_by_the_loss_can_cost_accuracy() -> None:
    sure = np.array([[0.99, 0.99, 0.01, 0.55], [0.51, 0.51, 0.49, 0.49]])  # 3 right, 4 right
    assert gap(BY_LOSS, EpochAnswers(logit(sure), 1), TARGET) == pytest.approx(-0.25)


def many(*, n: int, accuracies: list[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs that err at random, each at its own rate, and the targets."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 2 == 0
    is_right = rng.random((len(accuracies), n)) < np.array(accuracies)[:, None]
    return np.where(is_right == target, 1.4, -1.4), target


def test_nothing_is_kept_of_a_gap_that_was_luck() -> None:
    """Equal epochs: the best of twenty looks better by chance alone, and is not on others."""
    found, kept = [], []
    for seed in range(12):
        answered, target = many(n=300, accuracies=[0.85] * 20, seed=seed)
        patient = np.array([str(index) for index in range(300)])
        answers = EpochAnswers(answered, chosen=0)
        found.append(gap(BY_ACCURACY, answers, target))
        kept.append(gap_kept(BY_ACCURACY, answers, target, patient, n_halvings=20))
    assert np.mean(found) > 0.03
    # The standard error of a mean of 12 differences of two accuracies on 300.
    error = math.sqrt(2 * 0.85 * 0.15 / 300 / 12)
    assert abs(np.mean(kept)) < 3 * error


def test_a_gap_that_is_real_is_kept() -> None:
    answered, target = many(n=2000, accuracies=[0.7, 0.9, 0.7], seed=1)
    patient = np.array([str(index) for index in range(2000)])
    answers = EpochAnswers(answered, chosen=0)
    whole = gap(BY_ACCURACY, answers, target)
    assert whole == pytest.approx(0.2, abs=0.04)
    kept = gap_kept(BY_ACCURACY, answers, target, patient, n_halvings=20)
    # The second epoch wins every half, and the mean over both halves is that of the whole.
    assert kept == pytest.approx(whole, abs=1e-9)


def test_patients_are_not_torn_apart() -> None:
    """One patient with all radiographs of a class: no half can have both classes twice."""
    patient = np.array(["a", "a", "b", "b"])
    answers = EpochAnswers(EPOCHS, chosen=0)
    assert math.isnan(gap_kept(BY_AUROC, answers, TARGET, patient, n_halvings=5))
