"""Calibration's formula, against SciPy's sigmoid."""

import math

import pytest
from scipy.special import expit, logit

from pneumoscope.detector.card import CalibrationCard
from pneumoscope.detector.logit_scale import to_logit, to_probability

CALIBRATION = CalibrationCard(temperature=2.5, bias=0.75, fitted_on="tuning", n=10)


@pytest.mark.parametrize("value", [-2000.0, -30.0, -0.75, 0.0, 0.3, 40.0, 2000.0])
def test_probability_is_the_sigmoid_of_the_calibrated_logit(value: float) -> None:
    assert to_probability(value, CALIBRATION) == pytest.approx(expit((value + 0.75) / 2.5))
    assert to_probability(value) == pytest.approx(expit(value))


@pytest.mark.parametrize("probability", [1e-12, 0.04, 0.5, 0.97])
def test_logit_is_its_inverse(probability: float) -> None:
    assert to_logit(probability, CALIBRATION) == pytest.approx(2.5 * logit(probability) - 0.75)
    assert to_probability(to_logit(probability, CALIBRATION), CALIBRATION) == pytest.approx(
        probability
    )


def test_the_ends_are_infinite() -> None:
    assert to_logit(0, CALIBRATION) == -math.inf
    assert to_logit(1, CALIBRATION) == math.inf
