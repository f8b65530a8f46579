import numpy as np
import pytest

from pneumoscope.metrics.holm import holm


def test_hand_worked_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> 0.06 (monotone).
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_never_above_one_and_one_comparison_stays() -> None:
    np.testing.assert_array_equal(holm([0.9, 0.8]), [1.0, 1.0])
    np.testing.assert_array_equal(holm([0.04]), [0.04])


def test_rejects_what_the_step_down_procedure_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = rng.random(6) ** 3
        rejected = np.zeros(6, dtype=bool)
        for step, i in enumerate(np.argsort(p_values)):  # Holm (1979): stop at the first failure
            if p_values[i] > 0.05 / (6 - step):
                break
            rejected[i] = True
        np.testing.assert_array_equal(holm(p_values) <= 0.05, rejected)


@pytest.mark.parametrize("p_values", [[], [0.1, np.nan], [-0.1], [1.1], [[0.1]]])
def test_bad_input_is_refused(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match="p_values"):
        holm(p_values)
