import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn import metrics as sk

from pneumoscope.core.types import Estimate
from pneumoscope.metrics.measure import measure_at, measure_scores

PROPORTIONS = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def draw(seed: int, *, n_each: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, targets, patients: 200 radiographs, and a patient's are all alike."""
    rng = np.random.default_rng(seed)
    patient = np.arange(200) // n_each
    target = patient % 5 < 3
    score = rng.normal(size=200)[patient] + np.where(target, 1.0, -1.0)
    return expit(score), target, np.char.add("person", patient.astype(str))


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


def test_values_equal_scikit_learn() -> None:
    probability, target, patient = draw(0)
    is_called = probability >= 0.4
    measured = measure_at(probability, target, patient, threshold=0.4)
    assert list(measured) == [*PROPORTIONS, "f1", "mcc"]
    assert {name: estimate.value for name, estimate in measured.items()} == pytest.approx(
        {
            "accuracy": sk.accuracy_score(target, is_called),
            "sensitivity": sk.recall_score(target, is_called),
            "specificity": sk.recall_score(~target, ~is_called),
            "ppv": sk.precision_score(target, is_called),
            "npv": sk.precision_score(~target, ~is_called),
            "f1": sk.f1_score(target, is_called),
            "mcc": sk.matthews_corrcoef(target, is_called),
        }
    )
    scores = measure_scores(logit(probability), target, patient, probability=probability)
    assert list(scores) == ["auroc", "average_precision", "brier", "ece"]
    assert scores["auroc"].value == pytest.approx(sk.roc_auc_score(target, probability))
    assert scores["average_precision"].value == pytest.approx(
        sk.average_precision_score(target, probability)
    )
    assert scores["brier"].value == pytest.approx(sk.brier_score_loss(target, probability))


@pytest.mark.parametrize("n_each", [1, 4])
def test_denominators(n_each: int) -> None:
    probability, target, patient = draw(1, n_each=n_each)
    n_called = int((probability >= 0.5).sum())
    measured = measure_at(probability, target, patient, threshold=0.5)
    assert {name: estimate.n for name, estimate in measured.items()} == {
        "accuracy": 200,
        "sensitivity": int(target.sum()),
        "specificity": int((~target).sum()),
        "ppv": n_called,
        "npv": 200 - n_called,
        "f1": 200,
        "mcc": 200,
    }


def test_one_radiograph_a_patient_gives_wilson_intervals() -> None:
    probability, target, patient = draw(2)
    measured = measure_at(probability, target, patient, threshold=0.5)
    for name in PROPORTIONS:
        estimate = measured[name]
        expected = binomtest(round(estimate.value * estimate.n), estimate.n).proportion_ci(
            method="wilson"
        )
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
        assert estimate.method == "wilson"
    assert measured["f1"].method == measured["mcc"].method == "bootstrap by patient"
    assert measured["f1"].low < measured["f1"].value < measured["f1"].high


def test_bootstrap_intervals_agree_with_one_made_of_scikit_learn() -> None:
    probability, target, patient = draw(6)
    is_called = probability >= 0.5
    rng = np.random.default_rng(99)
    drawn: dict[str, list[float]] = {"f1": [], "mcc": [], "average_precision": [], "brier": []}
    for _ in range(150):
        rows = rng.integers(200, size=200)
        drawn["f1"].append(sk.f1_score(target[rows], is_called[rows]))
        drawn["mcc"].append(sk.matthews_corrcoef(target[rows], is_called[rows]))
        drawn["average_precision"].append(
            sk.average_precision_score(target[rows], probability[rows])
        )
        drawn["brier"].append(sk.brier_score_loss(target[rows], probability[rows]))
    measured = measure_at(probability, target, patient, threshold=0.5)
    measured |= measure_scores(probability, target, patient, probability=probability)
    for name, values in drawn.items():
        expected = np.quantile(values, [0.025, 0.975])
        assert (measured[name].low, measured[name].high) == pytest.approx(expected, abs=0.03), name


def test_several_radiographs_a_patient_widen_every_interval() -> None:
    alone = draw(3)
    # The same radiographs, four times over: nothing new is known.
    copied = [np.tile(values, 4) for values in alone]
    expected = measure_at(*alone, threshold=0.5) | measure_scores(*alone, probability=alone[0])
    measured = measure_at(*copied, threshold=0.5) | measure_scores(*copied, probability=copied[0])
    for name, estimate in measured.items():
        assert estimate.value == pytest.approx(expected[name].value)
        assert width(estimate) == pytest.approx(width(expected[name]), rel=0.15), name
        by = "delong by patient" if name == "auroc" else "bootstrap by patient"
        assert estimate.method == by


def test_proportion_of_one_over_alike_radiographs_keeps_an_interval() -> None:
    _, target, patient = draw(4, n_each=4)
    measured = measure_at(target * 1.0, target, patient, threshold=0.5)
    estimate = measured["sensitivity"]
    expected = binomtest(30, 30).proportion_ci(method="wilson")  # 30 of the 50 patients
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, expected.low, 1))
    assert (estimate.n, estimate.method) == (120, "wilson over patients")
    none_right = measure_at(1.0 * ~target, target, patient, threshold=0.5)["sensitivity"]
    assert (none_right.low, none_right.high) == pytest.approx((0, 1 - expected.low))


def test_figure_that_no_resample_changes_has_no_interval() -> None:
    _, target, patient = draw(5)
    measured = measure_at(target * 1.0, target, patient, threshold=0.5)
    scores = measure_scores(target, target, patient, probability=target * 0.8 + 0.1)
    for estimate in (measured["f1"], measured["mcc"], scores["average_precision"]):
        assert estimate.value == pytest.approx(1.0)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
        assert "no resample differs" in estimate.method
    assert scores["auroc"].method == "exact pairs"
    assert scores["auroc"].low < 1.0 == scores["auroc"].high


def test_undefined_figures_are_nan_with_their_interval() -> None:
    measured = measure_at(
        np.array([0.1, 0.2, 0.3]), np.array([True] * 3), ["a", "b", "c"], threshold=0.9
    )
    for name in ("specificity", "ppv", "mcc"):
        estimate = measured[name]
        assert all(math.isnan(x) for x in (estimate.value, estimate.low, estimate.high)), name
    assert measured["specificity"].n == measured["ppv"].n == 0
    assert measured["sensitivity"].value == 0.0


def test_threshold_itself_counts_as_positive() -> None:
    measured = measure_at(np.array([0.5, 0.4]), np.array([True, False]), ["a", "b"], threshold=0.5)
    assert measured["accuracy"].value == 1.0


def test_ece_is_of_ten_bins_of_probability() -> None:
    # Bins 0, 3 and 9 hold 2, 1 and 2; their gaps are 0.07, 0.7 and 0.96 - 0.5.
    probability = np.array([0.05, 0.09, 0.30, 0.92, 1.00])
    target = np.array([False, False, True, True, False])
    measured = measure_scores(np.arange(5), target, np.arange(5), probability=probability)
    assert measured["ece"].value == pytest.approx(2 / 5 * 0.07 + 1 / 5 * 0.7 + 2 / 5 * 0.46)


def test_scores_of_any_size_rank_where_their_probabilities_round_to_one() -> None:
    _, target, patient = draw(7)
    score = 110 + 20 * np.random.default_rng(7).normal(target, 1)
    probability = expit(score)
    assert (probability == 1).all()
    scores = measure_scores(score, target, patient, probability=probability)
    assert scores["auroc"].value == pytest.approx(sk.roc_auc_score(target, score))
    assert scores["average_precision"].value == pytest.approx(
        sk.average_precision_score(target, score)
    )
    assert scores["brier"].value == scores["ece"].value == pytest.approx((~target).mean())


def test_bad_input_is_refused() -> None:
    probability, target, patient = np.array([0.2, 0.8]), np.array([False, True]), ["a", "b"]
    with pytest.raises(ValueError, match="threshold"):
        measure_at(probability, target, patient, threshold=1.5)
    with pytest.raises(ValueError, match="patient_id: shape"):
        measure_at(probability, target, ["a"], threshold=0.5)
    with pytest.raises(ValueError, match="patient_id: shape"):
        measure_scores(probability, target, ["a"], probability=probability)
    with pytest.raises(ValueError, match="measure_scores: needs both classes"):
        measure_scores(probability, np.array([True, True]), patient, probability=probability)
    with pytest.raises(ValueError, match="logits"):
        measure_at(probability * 9, target, patient, threshold=0.5)
    with pytest.raises(ValueError, match="probability: has NaN"):
        measure_scores(probability, target, patient, probability=np.array([0.2, np.nan]))
    with pytest.raises(ValueError, match="score: has NaN"):
        measure_scores(np.array([0.2, np.nan]), target, patient, probability=probability)
    with pytest.raises(ValueError, match="score: shape"):
        measure_scores(probability[:1], target, patient, probability=probability)
