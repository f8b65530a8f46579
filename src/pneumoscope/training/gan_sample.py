"""Draw synthetic radiographs with a trained DCGAN, as arrays or as a folder that may only train."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.core.files import open_atomically, write_bytes, write_json
from pneumoscope.data.augment import seed_of
from pneumoscope.data.generated_note import (
    GENERATED_NOTE,
    SAMPLE_FACTS,
    is_noted_as_generated,
    read_sample_facts,
)
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.progress import progress_bar
from pneumoscope.models.dcgan import Generator, to_pixels
from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.gan_run import GanRun, open_gan_run

_SAMPLE_STREAM = 16  # apart from the streams of training
_BATCH = 64
# What a sampling writes before the manifest, and under which temporary names.
_LEFT = re.compile(
    r"\d{6,}\.png|sample\.json|\.(?:\d{6,}\.png|sample\.json|manifest\.csv)\..*\.tmp"
)


def sample_gan(
    run: Path, *, count: int, seed: int = 0, out: Path, show_progress: bool = True
) -> Path:
    """Write synthetic radiographs and their manifest, and return the manifest's path.

    ``manifest.csv`` has ``split`` train and ``origin`` generated in every row, each sample as a
    patient of its own, and two columns more than other manifests: ``run`` and ``latent_seed``.
    It is written last: a folder without it is not a dataset.

    Args:
        run: The folder of a finished DCGAN.
        count: How many.
        seed: Another seed, other samples; a larger count begins with the same ones.
        out: The folder to write: new, empty, or one whose sampling was cut short.
        show_progress: Draw a bar on stderr.

    Raises:
        RunError: the run is missing, damaged or not finished.
        UsageError: ``count`` is below 1, or ``out`` holds something else.
        StorageError: a file could not be written.
    """
    latent_seeds = _latent_seeds(count, seed)
    opened = open_gan_run(run)
    generator = load_generator(opened)
    _clear_out(out)
    names = [f"{index:06d}.png" for index in range(count)]
    note = PngInfo()
    note.add_text("Comment", f"{GENERATED_NOTE} {opened.name}")
    with progress_bar("Sampling", count, show=show_progress) as advance:
        for start in range(0, count, _BATCH):
            part = _generate(generator, latent_seeds[start : start + _BATCH])
            for name, pixels in zip(names[start : start + _BATCH], part, strict=True):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, format="png", pnginfo=note)
                write_bytes(out / name, buffer.getvalue())
            advance(len(part))
    facts = {
        "run": opened.name,
        "seed": seed,
        "count": count,
        "target": opened.recipe.target,
        "size_px": opened.recipe.size_px,
        "epochs": opened.facts["epochs_run"],
        "checkpoint_sha256": hashlib.sha256(opened.checkpoint_path.read_bytes()).hexdigest(),
        "trained_on": opened.facts["data"]["fingerprint"],
    }
    write_json(out / SAMPLE_FACTS, facts)
    return _write_manifest(opened, names, latent_seeds, seed=seed, out=out)


def generate(run: Path, *, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return synthetic radiographs (count, size, size), the same that `sample_gan` writes.

    Raises:
        RunError: the run is missing, damaged or not finished.
        UsageError: ``count`` is below 1.
    """
    generator = load_generator(open_gan_run(run))
    latent_seeds = _latent_seeds(count, seed)
    parts = [
        _generate(generator, latent_seeds[start : start + _BATCH])
        for start in range(0, count, _BATCH)
    ]
    return np.concatenate(parts)


def load_generator(run: GanRun) -> Generator:
    """Return the averaged generator of a run, on the CPU and in evaluation mode.

    Raises: RunError: the checkpoint is missing, damaged, or does not fit the recipe.
    """
    recipe = run.recipe
    generator = Generator(recipe.size_px, recipe.latent_dim, recipe.base_filters)
    weights = read_checkpoint(run.checkpoint_path)["state_dict"]
    try:
        generator.load_state_dict(weights["average"])
    except (KeyError, RuntimeError) as error:
        raise RunError(f"{run.checkpoint_path}: does not fit recipe.yaml: {error}") from error
    return generator.eval().requires_grad_(False)


def _latent_seeds(count: int, seed: int) -> list[int]:
    """Return a seed for each sample, so that any one of them can be drawn again alone."""
    if count < 1:
        raise UsageError(f"count is {count}; it must be 1 or more.")
    return [seed_of(seed, index, 0, stream=_SAMPLE_STREAM) for index in range(count)]


@torch.inference_mode()
def _generate(generator: Generator, latent_seeds: list[int]) -> NDArray[np.uint8]:
    """Return (N, size, size) for at most a batch of latent seeds."""
    latent = torch.zeros(_BATCH, generator.latent_dim)
    for row, latent_seed in enumerate(latent_seeds):
        chance = torch.Generator().manual_seed(latent_seed)
        latent[row] = torch.randn(generator.latent_dim, generator=chance)
    # Always a full batch: how a convolution adds up may depend on the batch's size, and a sample
    # must not depend on how many were asked for.
    return to_pixels(generator(latent))[: len(latent_seeds)].numpy()


def _clear_out(out: Path) -> None:
    """Take away what a sampling that was killed has left; refuse a folder with anything else."""
    there = [path.name for path in out.iterdir()] if out.is_dir() else []
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file. Choose a new or empty folder.")
    if "manifest.csv" in there:
        raise UsageError(f"{out}: holds samples already. Choose a new or empty folder.")
    others = [name for name in there if not _is_left_over(out / name)]
    if others:
        raise UsageError(f"{out}: holds other files ({others[0]}). Choose a new or empty folder.")
    for name in there:
        (out / name).unlink()


def _is_left_over(path: Path) -> bool:
    """Tell whether a sampling has left a file.

    Anyone may number pictures, or name a file sample.json: ours have the note and these keys.
    """
    if _LEFT.fullmatch(path.name) is None:
        return False
    if path.name == SAMPLE_FACTS:
        return (read_sample_facts(path) or {}).keys() >= {"run", "checkpoint_sha256"}
    return path.suffix != ".png" or is_noted_as_generated(path)


def _write_manifest(
    run: GanRun, names: list[str], latent_seeds: list[int], *, seed: int, out: Path
) -> Path:
    """Write manifest.csv, with the two columns that lead back to the generator."""
    count = len(names)
    manifest = make_manifest(
        {
            "path": names,
            "target": [run.recipe.target] * count,
            "patient_id": [f"generated/{run.name}/{seed}/{index}" for index in range(count)],
            "split": ["train"] * count,
            "origin": ["generated"] * count,
        },
        root=out,
        name=out.name,
    )
    table = manifest.table.with_columns(
        pl.lit(run.name).alias("run"), pl.Series("latent_seed", latent_seeds, dtype=pl.UInt64)
    )
    path = out / "manifest.csv"
    with open_atomically(path) as file:
        table.write_csv(file)
    return path
