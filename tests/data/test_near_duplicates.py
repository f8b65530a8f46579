import io

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pneumoscope.data import near_duplicates
from pneumoscope.data.near_duplicates import (
    MIN_CORRELATION,
    NearPairs,
    find_near_pairs,
    group_pairs,
    make_thumbnail,
)


def draw_chests(rng: np.random.Generator, n: int, *, side_px: int = 128) -> np.ndarray:
    """Bright midline, two dark lungs, and structure of their own: alike, but n different ones."""
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    chests = []
    for _ in range(n):
        picture = 90 * np.exp(-((x / 0.3) ** 2)) + 60 * (y > 0.6 + 0.1 * rng.standard_normal())
        for sign in (-1, 1):
            centre = sign * rng.uniform(0.35, 0.55), rng.uniform(-0.2, 0.1)
            radius = rng.uniform(0.2, 0.35), rng.uniform(0.4, 0.7)
            picture -= 60 * np.exp(
                -(((x - centre[0]) / radius[0]) ** 2) - ((y - centre[1]) / radius[1]) ** 2
            )
        for _ in range(6):
            spot = rng.uniform(-0.8, 0.8, 2)
            picture += rng.uniform(-60, 60) * np.exp(
                -(((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / rng.uniform(0.01, 0.06))
            )
        chests.append(np.clip(picture + 90, 0, 255).astype(np.uint8))
    return np.stack(chests)


def as_jpeg(pixels: np.ndarray, *, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resize(pixels: np.ndarray, side_px: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px)))


def as_set(pairs: NearPairs) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize("min_correlation", [0.6, 0.8, 0.95, 0.985])
def test_pairs_equal_those_of_numpys_corrcoef(
    min_correlation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK", 16)  # so that pairs lie within and across blocks
    rng = np.random.default_rng(1)
    chests = draw_chests(rng, 40)
    thumbnails = np.stack([make_thumbnail(chest) for chest in chests])
    noisy = np.clip(thumbnails[:10] + rng.normal(0, 6, (10, 32, 32)), 0, 255).astype(np.uint8)
    thumbnails = np.concatenate([thumbnails, noisy])
    matrix = np.corrcoef(thumbnails.reshape(50, -1))
    expected = {
        (i, j) for i in range(50) for j in range(i + 1, 50) if matrix[i, j] >= min_correlation
    }
    assert expected

    pairs = find_near_pairs(thumbnails, min_correlation=min_correlation)

    assert as_set(pairs) == expected
    assert pairs.is_complete
    assert pairs.correlation == pytest.approx(matrix[pairs.first, pairs.second], abs=1e-5)


def test_structure_in_high_frequencies_tells_pictures_apart() -> None:
    # Equal in the lowest frequencies, on which the coarse search alone looks.
    chest = make_thumbnail(draw_chests(np.random.default_rng(2), 1)[0]).astype(int)
    checks = 40 * (np.indices((32, 32)).sum(axis=0) % 2)
    pair = np.stack([chest + checks, chest + checks[::-1]]).clip(0, 255).astype(np.uint8)
    assert np.corrcoef(pair.reshape(2, -1))[0, 1] < MIN_CORRELATION
    assert as_set(find_near_pairs(pair)) == set()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: as_jpeg(a, quality=30), id="re-encoded"),
        pytest.param(lambda a: resize(a, 64), id="smaller"),
        pytest.param(lambda a: resize(a, 500), id="larger"),
        pytest.param(lambda a: (a * 0.7 + 20).astype(np.uint8), id="darker and flatter"),
        pytest.param(lambda a: np.roll(a, 1, axis=1), id="shifted by a pixel"),
    ],
)
def test_a_changed_copy_is_found_and_nothing_else(change) -> None:
    chests = list(draw_chests(np.random.default_rng(3), 30))
    copies = [change(chests[4]), change(chests[17])]
    thumbnails = np.stack([make_thumbnail(picture) for picture in chests + copies])
    assert as_set(find_near_pairs(thumbnails)) == {(4, 30), (17, 31)}


def test_the_search_ends_at_its_limit_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    thumbnails = np.repeat(make_thumbnail(draw_chests(np.random.default_rng(4), 1)[0])[None], 20, 0)
    pairs = find_near_pairs(thumbnails, max_pairs=50)
    assert not pairs.is_complete
    assert len(pairs.first) >= 50
    assert "search ended" in caplog.text


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare(n: int) -> None:
    pairs = find_near_pairs(np.zeros((n, 32, 32), dtype=np.uint8))
    assert as_set(pairs) == set()
    assert pairs.is_complete
    assert group_pairs(pairs) == []


def test_a_thumbnail_holds_the_mean_of_each_part() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (96, 160), dtype=np.uint8)
    means = pixels.reshape(32, 3, 32, 5).mean(axis=(1, 3))
    assert make_thumbnail(pixels) == pytest.approx(means, abs=1.01)  # two roundings


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(0, 60, (40, 2)), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(60, 60))
    _, component = connected_components(graph, directed=False)
    expected = [tuple(np.flatnonzero(component == c).tolist()) for c in np.unique(component)]
    expected = sorted(group for group in expected if len(group) > 1)

    correlation = np.ones(len(edges), dtype=np.float32)
    assert group_pairs(NearPairs(edges[:, 0], edges[:, 1], correlation, True)) == expected
