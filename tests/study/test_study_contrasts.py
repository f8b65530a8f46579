import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from pneumoscope.metrics.calibration import Calibration
from pneumoscope.report.study_results import CONTRAST_FIGURES
from pneumoscope.study.paired_tests import Detector, paired_tests
from pneumoscope.study.seeds_and_patients import MeanOverSeeds
from pneumoscope.study.study_contrasts import (
    correct_after_holm,
    holm_over_tests,
    over_seeds_record,
    paired_differences,
)

N = 240
AS_TRAINED = Calibration(temperature=1, bias=0)


def make(
    label: str,
    *,
    strength: float,
    seeds: int = 3,
    spread: float = 0.0,
    calibration: Calibration = AS_TRAINED,
) -> Detector:
    """Return detectors that share their noise, so that pairs are alike."""
    rng = np.random.default_rng(3)
    target = np.arange(N) % 3 > 0
    noise = rng.normal(0, 1, (seeds, N))
    own = np.random.default_rng([*label.encode()]).normal(0, spread, (seeds, 1))
    logit = strength * (2.0 * target - 1) + noise + own
    return Detector(
        label,
        seeds=range(seeds),
        logit=logit,
        calibration=[calibration] * seeds,
        probability=1 / (1 + np.exp(-(logit + calibration.bias) / calibration.temperature)),
        threshold=np.linspace(0.4, 0.6, seeds),
    )


@pytest.fixture(scope="module")
def facts() -> dict[str, np.ndarray]:
    return {
        "target": np.arange(N) % 3 > 0,
        "patient_id": np.array([f"p{index // 2}" for index in range(N)]),
    }


def test_differences_are_those_of_scikit_learn_seed_by_seed(facts) -> None:
    a, b = make("a", strength=0.9), make("b", strength=0.6, spread=0.4)
    found = paired_differences(a, b, n_resamples=50, **facts)
    assert [each.figure for each in found] == list(CONTRAST_FIGURES)
    target = facts["target"]
    for each in found:
        for arm, values in ((a, each.a), (b, each.b)):
            for place, probability in enumerate(arm.probability):
                limit = 0.5 if each.figure.endswith("0.5") else arm.threshold[place]
                oracle = {
                    "auroc": sk.roc_auc_score(target, probability),
                    "specificity": sk.recall_score(target, probability >= limit, pos_label=0),
                    "accuracy": sk.accuracy_score(target, probability >= limit),
                }[each.figure.split()[0]]
                assert values[place] == pytest.approx(oracle)
        by_seed = np.subtract(each.a, each.b)
        assert each.difference.by_seed == pytest.approx(by_seed)
        assert each.difference.mean == pytest.approx(by_seed.mean())
        assert each.difference.sd == pytest.approx(np.std(by_seed, ddof=1))


def test_seeds_are_averaged_as_calibrated_log_odds(facts) -> None:
    calibration = Calibration(temperature=3, bias=-1.5)
    a = make("a", strength=0.9, spread=0.4, calibration=calibration)
    log_odds = np.log(a.probability / (1 - a.probability))
    limits = np.log(a.threshold / (1 - a.threshold))[:, None]
    np.testing.assert_allclose(a.margin, (log_odds - limits).mean(axis=0), atol=1e-12)
    # A threshold that rounds to 1 is no log odds, but shifts all radiographs alike.
    sure = dataclasses.replace(a, threshold=np.ones(3))
    assert np.isfinite(sure.margin).all()
    assert (np.argsort(sure.margin) == np.argsort(a.margin)).all()


def test_a_system_against_itself_differs_by_nothing(facts) -> None:
    a = make("a", strength=0.9)
    for each in paired_differences(a, a, n_resamples=30, **facts):
        assert each.difference.by_seed == [0.0, 0.0, 0.0]
        assert math.isnan(each.difference.low)  # no resample changes it
        assert each.p_value == 1.0


def test_a_large_difference_is_found_and_its_sign_turns_with_the_pair(facts) -> None:
    a, b = make("a", strength=2.0), make("b", strength=0.2)
    forth = paired_differences(a, b, n_resamples=200, **facts)[0]
    back = paired_differences(b, a, n_resamples=200, **facts)[0]
    assert forth.difference.mean == pytest.approx(-back.difference.mean)
    assert forth.difference.low > 0 > back.difference.high
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.p_value < 0.05


def test_an_interval_ends_where_a_difference_must(facts) -> None:
    """Two seeds leave one degree of freedom, for which t is 12.7: their interval runs far."""
    a, b = make("a", strength=0.9, seeds=2), make("b", strength=0.9, seeds=2)
    alarmed = dataclasses.replace(b, probability=np.maximum(b.probability, [[0.9], [0.0]]))
    differences = paired_differences(a, alarmed, n_resamples=50, **facts)
    (found,) = (each for each in differences if each.figure == "specificity 0.5")
    by_seed = np.subtract(found.a, found.b)
    half = stats.t.ppf(0.975, 1) * by_seed.std(ddof=1) / math.sqrt(2)
    assert half - abs(by_seed.mean()) > 1
    assert (found.difference.low, found.difference.high) == (-1.0, 1.0)
    assert found.p_value > 0.3  # which no bound changes
    record = over_seeds_record(
        MeanOverSeeds(by_seed, 0.1, 0.2, 0.15, 2.0, -0.5, 0.7, 0.5), floor=0.0
    )
    assert (record.low, record.high) == (0.0, 0.7)


def test_holm_is_over_contrasts_and_each_figure_apart(facts) -> None:
    a, b = make("a", strength=0.9), make("b", strength=0.6, spread=0.4)
    row = paired_differences(a, b, n_resamples=20, **facts)
    p_values = [[0.01, 0.2, 0.5, math.nan], [0.04, 0.1, 0.5, 0.3], [0.03, 0.9, 0.5, math.nan]]
    rows = [
        [each.model_copy(update={"p_value": p}) for each, p in zip(row, ps, strict=True)]
        for ps in p_values
    ]
    corrected = correct_after_holm([rows[0], [], rows[1], rows[2]])
    assert corrected[1] == []
    found = [[each.p_holm for each in row] for row in corrected if row]
    # By hand: of 0.01, 0.03, 0.04 -> 3 x 0.01, 2 x 0.03, then no less than the one before.
    assert [row[0] for row in found] == pytest.approx([0.03, 0.06, 0.06])
    assert [row[1] for row in found] == pytest.approx([0.4, 0.3, 0.9])
    assert [row[2] for row in found] == pytest.approx([1.0, 1.0, 1.0])
    assert found[1][3] == pytest.approx(0.3)  # one defined test: nothing to correct
    assert math.isnan(found[0][3])
    assert math.isnan(found[2][3])


def test_averaged_tests_are_corrected_among_themselves(facts) -> None:
    test = paired_tests([make("a", strength=0.9), make("b", strength=0.6)], **facts)[0]
    p_values = [0.02, 0.5]
    tests = [
        test.model_copy(update={"auroc": test.auroc.model_copy(update={"p_value": p})})
        for p in p_values
    ]
    first, none, second = holm_over_tests([tests[0], None, tests[1]])
    assert none is None
    assert first is not None
    assert second is not None
    assert [first.auroc.p_holm, second.auroc.p_holm] == pytest.approx([0.04, 0.5])
    assert first.accuracy.p_holm == pytest.approx(min(1.0, 2 * test.accuracy.p_value))


def test_systems_that_do_not_pair_are_refused(facts) -> None:
    with pytest.raises(ValueError, match="same seeds"):
        paired_differences(
            make("a", strength=1), make("b", strength=1, seeds=2), n_resamples=5, **facts
        )
