"""A folder as `gan sample` leaves it, but of random smears. For tests, loaded with runpy."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def write_samples(
    folder: Path,
    *,
    count: int,
    size_px: int = 20,
    seed: int = 0,
    target: int = 0,
    origin: Sequence[str] = ("generated",),
    split: Sequence[str] = ("train",),
    trained_on: str = "0" * 64,
) -> Path:
    """Write PNGs, sample.json and manifest.csv; origins and splits are taken in turn."""
    rng = np.random.default_rng([77, seed])
    folder.mkdir(parents=True)
    rows = []
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8))
        small.resize((size_px, size_px)).save(folder / f"{index:05d}.png")
        rows.append(
            {
                "path": f"{index:05d}.png",
                "target": target,
                "patient_id": f"generated{index:05d}",
                "split": split[index % len(split)],
                "origin": origin[index % len(origin)],
                "run": "dcgan-tiny-s0",
                "latent_seed": index,
            }
        )
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    facts = {"run": "dcgan-tiny-s0", "trained_on": trained_on}
    (folder / "sample.json").write_text(json.dumps(facts))
    return folder
