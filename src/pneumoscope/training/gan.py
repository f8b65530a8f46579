"""Train a DCGAN: from a recipe and a dataset to a run folder."""

import datetime as dt
import logging
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pneumoscope.core.errors import DivergedError, UsageError
from pneumoscope.core.files import write_bytes
from pneumoscope.data.augment import seed_of
from pneumoscope.data.dataset import Dataset
from pneumoscope.models.dcgan import to_pictures, to_pixels
from pneumoscope.report.gan_figures import gan_curves_png, grid_png
from pneumoscope.training.checkpoint_io import DurableCheckpointIO, read_checkpoint
from pneumoscope.training.gan_collapse import describe_collapse, find_collapse
from pneumoscope.training.gan_data import GanData, prepare_gan_data
from pneumoscope.training.gan_pair import STEP_FIGURES, AdversarialPair, spread
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.gan_run import GAN_RUN_SCHEMA, GanRun, find_earlier
from pneumoscope.training.machine import keep_freed_memory, note_start
from pneumoscope.training.run_state import check_same_radiographs, check_same_rows, hold_folder
from pneumoscope.training.training_bar import TrainingBar

_log = logging.getLogger(__name__)
_ORDER_STREAM = 15


def train_gan(
    recipe: GanRecipe,
    dataset: Dataset,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    strict: bool = False,
    accelerator: str = "auto",
    cache_folder: Path | None = None,
    show_progress: bool = True,
) -> GanRun:
    """Train by a recipe and return the finished run.

    A run that is killed, or stopped with Ctrl-C, leaves its last whole epoch; with ``resume`` it
    goes on from there and ends in the same weights, bit for bit on a CPU, as one that was left
    alone. A collapse is logged and written to run.json; it does not end the run.

    Args:
        recipe: The experiment.
        dataset: Its radiographs; only training patients of the recipe's class are seen.
        out: The run folder; new or empty unless ``resume``.
        seed: Decides weights, order and latent vectors.
        resume: Go on with the run in ``out``; begin it where there is none yet.
        strict: Refuse a dataset in which a radiograph can't be read, instead of leaving it out.
        accelerator: "cpu", "gpu", or "auto": a GPU where there is one.
        cache_folder: Where decoded caches lie, instead of the platform's place.
        show_progress: Draw a progress bar and a line an epoch on stderr.

    Raises:
        RunError: ``out`` is in use, or holds another experiment or one on other radiographs.
        DivergedError: a loss became NaN; the last good checkpoint stays.
        SplitError, DatasetError: the dataset can't be used.
        StorageError: the disk is full; the last good checkpoint stays.
        UsageError: there is no such accelerator.
        KeyboardInterrupt: stopped by the user; the last whole epoch is kept.
    """
    keep_freed_memory()
    device = choose_device(accelerator)
    with hold_folder(out):
        earlier = find_earlier(out, recipe, seed=seed, resume=resume)
        data = prepare_gan_data(
            recipe, dataset, cache_folder=cache_folder, strict=strict, show_progress=show_progress
        )
        if earlier is not None:
            check_same_radiographs(out, before=earlier.facts["data"], now=data.facts)
            if earlier.facts["state"] == "finished":
                _log.info("%s is finished already; nothing to do", out)
                return earlier
            check_same_rows(out, before=earlier.facts["data"], now=data.facts)
        run = _begin(out, recipe, data, seed=seed, earlier=earlier)
        _GanTraining(run, data, device=device).run_all(show_progress=show_progress)
        return run


def choose_device(accelerator: str) -> torch.device:
    """Return the device to compute on. Raises: UsageError: there is no such one here."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise UsageError(f"accelerator {accelerator!r}: choose auto, cpu or gpu.")
    has_gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not has_gpu:
        raise UsageError("accelerator gpu: torch sees no GPU here. Choose cpu, or mend its driver.")
    return torch.device("cuda" if has_gpu and accelerator != "cpu" else "cpu")


class _GanTraining:
    """The epochs of one run, from the last that is on disk to the recipe's end.

    Args:
        run: Its folder.
        data: The radiographs.
        device: Where to compute.
    """

    def __init__(self, run: GanRun, data: GanData, *, device: torch.device) -> None:
        self.run = run
        self.device = device
        self.pair = AdversarialPair(run.recipe, seed=int(run.facts["seed"]), device=device)
        pixels = torch.from_numpy(data.pixels())
        self.real_std = spread(to_pictures(pixels))
        self.pixels = pixels.to(device)  # all of them: a few MB, and no copy a step
        self.history: list[dict[str, float]] = []
        if run.checkpoint_path.exists():
            state = read_checkpoint(run.checkpoint_path)
            self.pair.restore(state)
            self.history = list(state["history"])

    def run_all(self, *, show_progress: bool) -> None:
        """Train the epochs that are left, and record how it ended, whatever happens."""
        recipe, run = self.run.recipe, self.run
        n_done = len(self.history)
        run.facts["state"] = "running"
        note_start(run.facts, n_epochs=n_done)
        self._write_record()
        bar = TrainingBar(is_shown=show_progress)
        bar.start(n_steps=recipe.epochs * self.n_steps, n_done=n_done * self.n_steps)
        try:
            for epoch in range(n_done, recipe.epochs):
                bar.begin_epoch(epoch, n_epochs=recipe.epochs)
                self.history.append(self._train_epoch(epoch, bar))
                self._end_epoch()
                bar.print_line(_epoch_line(self.history[-1]))
        except BaseException:
            run.facts["state"] = "stopped"
            run.write_facts()
            raise
        finally:
            bar.stop()
        run.facts["state"] = "finished"
        self._write_record()

    @property
    def n_steps(self) -> int:
        """Steps an epoch; a last batch that would be short is left out."""
        return len(self.pixels) // self.run.recipe.batch_size

    def _train_epoch(self, epoch: int, bar: TrainingBar) -> dict[str, float]:
        """Go through the radiographs once and return the epoch's row of the history."""
        started_s = time.perf_counter()
        size = self.run.recipe.batch_size
        seed = seed_of(int(self.run.facts["seed"]), epoch, 0, stream=_ORDER_STREAM)
        order = np.random.default_rng(seed).permutation(len(self.pixels))
        rows = torch.from_numpy(order).to(self.device)
        sums = torch.zeros(len(STEP_FIGURES), device=self.device)
        self.pair.generator.train()
        self.pair.discriminator.train()
        for step in range(self.n_steps):
            real = to_pictures(self.pixels[rows[step * size : (step + 1) * size]])
            real = real.contiguous(memory_format=torch.channels_last)
            sums += self.pair.step(real, epoch=epoch, step=step)
            bar.advance(size)
        figures = (sums / self.n_steps).tolist()  # waits for the device, so the clock is right
        trained_s = time.perf_counter() - started_s
        self._check_finite(figures, epoch)
        self.pair.settle_average()
        samples = self.pair.grid()
        self._write_grid(samples, epoch)
        return {
            "epoch": epoch + 1,
            **dict(zip(STEP_FIGURES, figures, strict=True)),
            "sample_std": spread(samples),
            "seconds": round(time.perf_counter() - started_s, 3),
            "images_per_s": round(self.n_steps * size / trained_s, 2),
        }

    def _check_finite(self, figures: list[float], epoch: int) -> None:
        if all(math.isfinite(figure) for figure in figures):
            return
        recipe = self.run.recipe
        raise DivergedError(
            f"{recipe.name}: a loss became NaN or infinite in epoch {epoch + 1}. Lower "
            f"optimizer.learning_rate (now {recipe.optimizer.learning_rate}). The last good "
            f"checkpoint is untouched."
        )

    def _write_grid(self, samples: Tensor, epoch: int) -> None:
        pixels = to_pixels(samples).numpy()
        write_bytes(self.run.grid_path(epoch + 1), grid_png(pixels, self.run.recipe.grid_side))

    def _end_epoch(self) -> None:
        """Keep the epoch on disk, and say whether it collapsed."""
        content = self.pair.state() | {"history": self.history}
        DurableCheckpointIO().save_checkpoint(content, self.run.checkpoint_path)
        self._write_record()
        reasons = find_collapse(self.history, self.run.recipe, real_std=self.real_std)
        newest = len(self.history)
        for reason, epochs in reasons.items():
            # Once, when it begins; run.json lists every epoch of it.
            if newest in epochs and newest - 1 not in epochs:
                _log.warning("epoch %d: %s", newest, describe_collapse(reason))

    def _write_record(self) -> None:
        """Write history.csv, losses.png and run.json from the history: a kill may have cut one."""
        run, history = self.run, self.history
        speeds = [row["images_per_s"] for row in history]
        run.facts |= {
            "epochs_run": len(history),
            "seconds": round(sum(row["seconds"] for row in history), 1),
            "images_per_s": statistics.median(speeds) if speeds else None,
            "n_parameters": {
                "generator": _count(self.pair.generator),
                "discriminator": _count(self.pair.discriminator),
            },
            "real_std": self.real_std,
            "collapse": find_collapse(history, run.recipe, real_std=self.real_std),
        }
        if history:
            run.write_history(history)
            write_bytes(run.losses_path, gan_curves_png(history, real_std=self.real_std))
        run.write_facts()


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _epoch_line(row: dict[str, float]) -> str:
    return (
        f"epoch {row['epoch']:>3}: discriminator loss {row['discriminator_loss']:.4f}, "
        f"generator loss {row['generator_loss']:.4f}, scores {row['real_score']:.3f} real "
        f"{row['fake_score']:.3f} synthetic, spread {row['sample_std']:.3f}, "
        f"{row['images_per_s']:.0f} images/s"
    )


def _begin(
    out: Path, recipe: GanRecipe, data: GanData, *, seed: int, earlier: GanRun | None
) -> GanRun:
    """Write recipe.yaml and the first run.json, or take the earlier ones up."""
    if earlier is not None:
        return earlier
    facts: dict[str, Any] = {
        "schema": GAN_RUN_SCHEMA,
        "recipe": recipe.name,
        "seed": seed,
        "state": "running",
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "data": data.facts,
    }
    run = GanRun(out, recipe=recipe, facts=facts)
    run.write_recipe()
    run.write_facts()
    return run
