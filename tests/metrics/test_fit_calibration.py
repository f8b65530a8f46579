"""The calibration that export fits: against general optimisers, and against what it must undo."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from pneumoscope.metrics.calibration import Calibration, fit_calibration, recover_calibration
from pneumoscope.metrics.checks import OneClassError


def platt_by_simplex(logit: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Oracle: Platt's smoothed cross-entropy handed to a simplex, without a derivative."""
    wanted = np.where(target, (target.sum() + 1) / (target.sum() + 2), 1 / ((~target).sum() + 2))

    def loss(x: np.ndarray) -> float:
        p = np.clip(1 / (1 + np.exp(-(x[0] * logit + x[1]))), 1e-300, 1 - 1e-16)
        return float(-np.sum(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)))

    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10_000, "maxfev": 10_000}
    slope, offset = minimize(loss, [0.5, 0.0], method="Nelder-Mead", options=options).x
    return 1 / slope, offset / slope


def draw(seed: int, n: int, *, apart: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.random(n) < 0.7
    return rng.normal(0, 2, n) + apart * target, target


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("apart", [1.0, 4.0, 30.0])
def test_fit_equals_a_simplex_search(seed: int, apart: float) -> None:
    logit, target = draw(seed, 150, apart=apart)  # 30 apart is beyond every overlap
    found = fit_calibration(logit, target)
    temperature, bias = platt_by_simplex(logit, target)
    assert found.temperature == pytest.approx(temperature, rel=1e-4)
    assert found.bias == pytest.approx(bias, rel=1e-4, abs=1e-4)


def test_fit_undoes_a_known_distortion() -> None:
    rng = np.random.default_rng(0)
    true_logit = rng.normal(0, 2, 200_000)
    target = rng.random(true_logit.size) < 1 / (1 + np.exp(-true_logit))
    found = fit_calibration(3 * true_logit - 1.5, target)  # so (logit + 1.5) / 3 is right
    assert found.temperature == pytest.approx(3, rel=0.02)
    assert found.bias == pytest.approx(1.5, abs=0.05)


def test_fit_is_the_same_in_any_unit() -> None:
    logit, target = draw(1, 100, apart=3.0)
    here, there = fit_calibration(logit, target), fit_calibration(1e5 * logit + 1e6, target)
    assert there.temperature == pytest.approx(1e5 * here.temperature, rel=1e-6)
    np.testing.assert_allclose(
        there.probability(1e5 * logit + 1e6), here.probability(logit), atol=1e-6
    )


def test_separable_classes_get_platts_ends_not_certainty() -> None:
    target = np.array([False] * 4 + [True] * 6)
    logit = np.where(target, 1.0, -1.0)
    found = fit_calibration(logit, target).probability([-1.0, 1.0])
    np.testing.assert_allclose(found, [1 / 6, 7 / 8], atol=1e-6)


def test_probability_is_finite_at_any_logit() -> None:
    found = Calibration(temperature=2, bias=1).probability(np.array([-1e9, -1, 0, 3, 1e9]))
    np.testing.assert_allclose(found, [0, 0.5, 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-2)), 1])


@pytest.mark.parametrize(
    ("logit", "target", "reason"),
    [
        ([3.0, 2.0, 1.0, 0.0], [0, 0, 1, 1], "sign is wrong"),
        ([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1], "tells nothing"),
        ([1.0, np.inf, 1.0, 0.0], [0, 1, 1, 1], "infinite"),
        ([1.0, np.nan, 1.0, 0.0], [0, 1, 1, 1], "NaN"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    logit: list[float], target: list[int], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_calibration(logit, target)


def test_one_class_is_refused() -> None:
    with pytest.raises(OneClassError):
        fit_calibration([0.0, 1.0], [1, 1])


@pytest.mark.parametrize(("temperature", "bias"), [(1.7, -0.8), (0.4, 3.0), (25.0, -110.0)])
def test_a_bundles_calibration_is_recovered_from_its_float32_answers(temperature, bias) -> None:
    """Oracle: the calibration that made them. Two thirds are rounded to 0 or 1."""
    rng = np.random.default_rng(1)
    log_odds = rng.uniform(-60, 60, 300)
    logit = (temperature * log_odds - bias).astype(np.float32).astype(np.float64)
    scaled = (logit.astype(np.float32) + np.float32(bias)) / np.float32(temperature)
    # As onnxruntime does, which holds what it exponentiates to -18 and 18.
    probability = 1 / (1 + np.exp(-np.clip(scaled, -18, 18)))
    assert probability.dtype == np.float32
    assert (probability == 1).sum() > 80
    found = recover_calibration(logit, probability)
    assert (found.temperature, found.bias) == pytest.approx((temperature, bias), rel=1e-5)
    np.testing.assert_allclose(
        found.log_odds(logit), (logit + bias) / temperature, rtol=1e-5, atol=1e-5
    )


def test_what_the_sigmoid_alone_gives_is_recovered_without_rounding() -> None:
    logit = np.array([-800.0, -3.0, 0.0, 50.0, 179.0])
    found = recover_calibration(logit, 1 / (1 + np.exp(-np.maximum(logit, -700))))
    assert found == Calibration(temperature=1, bias=0)
    assert found.log_odds(logit).tolist() == logit.tolist()


def test_calibrations_that_cannot_be_told_keep_the_order_of_the_logits() -> None:
    """A detector that says the same of everything, and one whose every answer is certain."""
    same = recover_calibration(np.full(4, 2.0), np.full(4, 0.3, np.float32))
    assert same.probability(2.0) == pytest.approx(0.3)
    sure = recover_calibration(np.array([30.0, 50.0, 90.0]), np.ones(3, np.float32))
    assert (np.diff(sure.log_odds([30.0, 50.0, 90.0])) > 0).all()


@pytest.mark.parametrize(
    ("probability", "reason"),
    [
        ([0.9, 0.5, 0.1], "two was changed"),
        ([0.1, 0.5, 0.8], "two was changed"),
        ([0.1, 0.5, math.nan], "no number"),
        ([0.1, 0.9], "shape"),
    ],
)
def test_probabilities_that_no_calibration_gives_are_refused(probability, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        recover_calibration(np.array([-1.0, 0.0, 1.0]), np.array(probability))
