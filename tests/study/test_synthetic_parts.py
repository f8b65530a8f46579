import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.ndimage import gaussian_filter

from pneumoscope.metrics.neighbours import Nearest
from pneumoscope.report.results import Measured
from pneumoscope.report.synthetic_results import LEFT_OUT, OTHER_HALF, SAMPLES
from pneumoscope.study import synthetic_distances
from pneumoscope.study.synthetic_copies import Search, measured_share, summarise_copies
from pneumoscope.study.synthetic_data import blur, detail, matching_blur, real_sets
from pneumoscope.study.synthetic_distances import at_equal_sizes, half_size


def test_copies_are_left_out_and_join_their_patients() -> None:
    """Rows 0 and 2 are one picture of two patients; row 5 shows it once more, held out."""
    pictures = np.array([0, 1, 0, 2, 3, 0, 4, 5, 6], dtype=np.uint8)
    patients = ["a", "a", "b", "b", "c", "d", "c", "e", "e"]
    table = pl.DataFrame({"path": [f"{i}.png" for i in range(9)], "patient_id": patients})
    pixels = np.broadcast_to(pictures[:, None, None], (9, 2, 2))
    cache = SimpleNamespace(pixels=pixels, manifest=SimpleNamespace(table=table))
    learnt, held_out = real_sets(cache, np.arange(5), np.arange(5, 9))
    assert learnt.path == ["0.png", "1.png", "3.png", "4.png"]
    assert learnt.n_copies == 1
    assert learnt.n_patients == 2
    assert learnt.patient[0] == learnt.patient[1] == learnt.patient[2] != learnt.patient[3]
    assert held_out.path == ["7.png", "8.png"]  # 5 is a copy, 6 of patient c
    assert held_out.n_patients == 1
    assert held_out.pixels[:, 0, 0].tolist() == [5, 6]


@pytest.mark.parametrize("sizes", [[1] * 21, [4] * 5 + [1] * 10, [9, 1, 1, 1, 1, 1, 1]])
def test_halves_have_the_size_that_is_said_and_share_no_patient(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = np.repeat(np.arange(len(sizes)), sizes)
    seen = []

    def spy(reference: np.ndarray, samples: np.ndarray, *, k: int) -> dict[str, float]:
        seen.append((reference[:, 0], samples[:, 0]))
        return {"figure": float(len(seen))}

    monkeypatch.setattr(synthetic_distances, "figures_between", spy)
    n = half_size(patient)
    samples = -1.0 - np.arange(30)
    found = at_equal_sizes(
        (patient[:, None].astype(float), patient),
        {SAMPLES: (samples[:, None], np.arange(30))},
        n=n,
        k=1,
        seed=0,
        advance=lambda steps: None,
        n_draws=40,
    )
    assert n == (sum(sizes) - max(sizes) + 1) // 2 > 0
    for reference, other in seen:
        assert len(reference) == len(other) == n
        assert not set(reference) & set(other)
    assert len({tuple(sorted(reference)) for reference, _ in seen}) > 1
    columns = found.columns
    assert columns[SAMPLES]["figure"].mean == 40  # 1, 3, 5, ..., 79
    assert columns[OTHER_HALF]["figure"].mean == 41
    assert (found.n, found.n_draws) == (n, 40)


def test_a_share_has_wilsons_interval_where_no_resample_would_differ() -> None:
    """Agresti and Coull's table: 0 of 10 gives 0 to 0.278 (z² / (n + z²))."""
    own = np.arange(10)
    found = measured_share(np.zeros(10, dtype=bool), own, n_resamples=10)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert found.method == "Wilson"
    pairs = measured_share(np.ones(20, dtype=bool), np.repeat(own, 2), n_resamples=10)
    assert pairs.low == pytest.approx(1 - found.high)  # ten patients, not twenty rows
    mixed = measured_share(np.arange(20) < 8, np.repeat(own, 2), n_resamples=500)
    assert mixed.method == "bootstrap by patient"
    assert mixed.low == pytest.approx(0.1, abs=0.11)
    assert mixed.high == pytest.approx(0.7, abs=0.11)


def test_a_difference_of_shares_at_their_ends_is_no_certainty() -> None:
    """Newcombe's method 10 by hand, from Wilson's interval of 0 of 10: 0 to z² / (10 + z²)."""
    most = 1.959964**2 / (10 + 1.959964**2)
    own = np.arange(10)

    def excess(is_near: bool) -> Measured:
        far, near = np.full(10, 2.0), np.full(10, 0.5)
        found = {
            kind: Nearest(index=own, distance=distance, neighbour=own, neighbour_distance=far / 2)
            for kind, distance in ((SAMPLES, near if is_near else far), (LEFT_OUT, far))
        }
        search = Search("pixels", "gray levels", 1.0, found, {SAMPLES: own, LEFT_OUT: own})
        return summarise_copies(search, n_resamples=20).rows[0].excess

    copied, fresh = excess(True), excess(False)
    least = 1 - math.sqrt(2) * most
    assert (copied.value, copied.low, copied.high) == pytest.approx((1, least, 1))
    assert (fresh.value, fresh.low, fresh.high) == pytest.approx((0, -most, most))


def grain(n: int, seed: int) -> np.ndarray:
    """Return (n, 48, 48) pictures of noise that is a little smooth."""
    noise = np.random.default_rng(seed).normal(0, 120, (n, 48, 48))
    return np.clip(128 + gaussian_filter(noise, (0, 1, 1)), 0, 255).astype(np.uint8)


def test_a_matching_blur_is_the_one_that_the_samples_have() -> None:
    real, others = grain(200, seed=0), grain(200, seed=1)
    for sigma in (0.6, 1.5):
        found = matching_blur(real, blur(others, sigma))
        assert found == pytest.approx(sigma, abs=0.06)
        assert detail(blur(real, found)) == pytest.approx(detail(blur(others, sigma)), rel=0.03)


def test_samples_as_sharp_as_radiographs_need_no_blur_and_flat_ones_the_most() -> None:
    real = grain(50, seed=0)
    assert matching_blur(real, real) is None
    assert matching_blur(blur(real, 1.0), real) is None
    assert matching_blur(real, np.full((3, 48, 48), 90, dtype=np.uint8)) == 4.0


def test_detail_is_that_of_waves_between_one_pixel_and_two() -> None:
    """A Gaussian of s px leaves exp(-(k s)^2 / 2) of a wave cos(k x); its mean square is half."""
    wave = 2 * np.pi / 8
    row = 128 + 100 * np.cos(wave * np.arange(80))
    picture = np.broadcast_to(np.round(row).astype(np.uint8), (1, 80, 80))
    left = np.exp(-(wave**2) / 2) - np.exp(-2 * wave**2)
    assert detail(picture) == pytest.approx(100 * left / np.sqrt(2), rel=0.01)
    assert detail(np.full((1, 20, 20), 7, dtype=np.uint8)) == 0
