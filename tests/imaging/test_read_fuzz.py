"""Damaged files: a radiograph or a RadiographError comes out, and nothing else."""

import random
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.core.errors import RadiographError
from pneumoscope.imaging.read import read_radiograph

GOLDEN = Path(__file__).parents[1] / "golden" / "reading"
SEEDS = sorted(path.name for path in GOLDEN.iterdir() if path.suffix != ".json")


def damage(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        # Anywhere, behind the DICOM preamble, or where the pixel data are
        start = min(rng.choice([0, 132, max(0, len(data) - 500)]), len(data) - 1)
        place = rng.randrange(start, len(data))
        changed[place] = rng.choice([changed[place] ^ 1 << rng.randrange(8), 0, 127, 128, 255])
    if rng.random() < 0.25:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


@pytest.mark.parametrize("name", SEEDS)
def test_only_a_radiograph_or_its_error_comes_out(name: str) -> None:
    rng = random.Random(name)
    data = (GOLDEN / name).read_bytes()
    n_read = 0
    for _ in range(25):  # warnings are errors here, so none may leak either
        try:
            radiograph = read_radiograph(damage(data, rng), scaled_to_px=rng.choice([None, 5]))
        except RadiographError as error:
            assert str(error).startswith("image: ")  # noqa: PT017
            continue
        n_read += 1
        assert radiograph.pixels.dtype == np.uint8
        assert radiograph.pixels.ndim == 2
    assert n_read < 25  # else nothing was damaged
