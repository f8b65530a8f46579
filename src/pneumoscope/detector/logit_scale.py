"""From logits to calibrated probabilities and back, by a bundle's calibration."""

import math

from pneumoscope.detector.card import CalibrationCard


def to_probability(logit: float, calibration: CalibrationCard | None = None) -> float:
    """Return the probability of a logit, in [0, 1]; None is the plain sigmoid."""
    scaled = logit
    if calibration is not None:
        scaled = (logit + calibration.bias) / calibration.temperature
    # Two forms, because exp of a large positive number overflows.
    if scaled >= 0:
        return 1 / (1 + math.exp(-scaled))
    return math.exp(scaled) / (1 + math.exp(scaled))


def to_logit(probability: float, calibration: CalibrationCard | None = None) -> float:
    """Return the uncalibrated logit of a probability; infinite at 0 and 1. None: plain sigmoid."""
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    scaled = math.log(probability) - math.log1p(-probability)
    if calibration is None:
        return scaled
    return scaled * calibration.temperature - calibration.bias
