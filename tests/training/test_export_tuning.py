"""What is chosen on the tuning split and changed copies of it."""

import numpy as np
import pytest

from pneumoscope.metrics.calibration import fit_calibration
from pneumoscope.training.export_tuning import TuningAnswers, choose

N = 200


def answers(*, shift_of_copies: float) -> TuningAnswers:
    """Return logits that overlap; the copies' are shifted."""
    rng = np.random.default_rng(0)
    target = np.arange(N) % 4 > 0
    logit = np.where(target, 2.0, -2.0) + rng.normal(0, 1.5, N)
    noise = rng.normal(0, 0.5, (3, N))
    return TuningAnswers(
        target=target,
        logit=logit,
        atypicality=rng.uniform(0, 1, N),
        changed_logit=logit + shift_of_copies + noise,
    )


def test_calibration_rests_on_the_split_and_its_copies() -> None:
    given = answers(shift_of_copies=1.0)
    chosen = choose(given)
    logit = np.concatenate([given.logit, *given.changed_logit])
    expected = fit_calibration(logit, np.tile(given.target, 4))
    assert chosen.calibration == expected
    assert chosen.calibration != fit_calibration(given.logit, given.target)
    assert chosen.fitted_on == "tuning and 3 changed copies of it"
    assert chosen.n == N  # children, not copies


@pytest.mark.parametrize("shift", [-1.5, 0.0, 1.5])
def test_the_sensitive_point_keeps_its_promise_on_the_split_itself(shift: float) -> None:
    given = answers(shift_of_copies=shift)
    chosen = choose(given)
    point = next(point for point in chosen.operating_points if point.name == "sensitive")
    called = chosen.calibration.probability(given.logit) >= point.threshold
    assert called[given.target].mean() >= 0.95
    assert point.sensitivity == pytest.approx(called[given.target].mean())
    everything = np.concatenate([given.logit, *given.changed_logit])
    called = chosen.calibration.probability(everything) >= point.threshold
    assert called[np.tile(given.target, 4)].mean() >= 0.95


def test_points_are_measured_on_the_split_without_its_copies() -> None:
    given = answers(shift_of_copies=1.0)
    chosen = choose(given)
    point = next(point for point in chosen.operating_points if point.name == "balanced")
    called = chosen.calibration.probability(given.logit) >= point.threshold
    assert point.specificity == pytest.approx(1 - called[~given.target].mean())
    assert chosen.share_flagged == pytest.approx(0.02)
