"""Training steps on batches from the input pipeline, and on the same ones held in memory, in turn.

Blocks of steps of either kind alternate in one process, so that whatever else the machine does
slows both alike. The batches of a block in memory were augmented before the clock started.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from pneumoscope.data.augment import apply_parameters, draw_parameters
from pneumoscope.training.batches import Batch, StepRows
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.recipe import Recipe

_EDGE_STEPS = 1  # of each block are not counted, at either end: one batch is fetched ahead
_WARM_UP_STEPS = 3


class EitherWay(Classifier):
    """A classifier that leaves a batch alone that was made ready before."""

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Return a held batch (float pixels) as it is; do the pipeline's work on any other."""
        if batch.pixels.is_floating_point():
            return batch
        return super().on_after_batch_transfer(batch, dataloader_idx)


class BlockClock(pl.Callback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends_s: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        """Note the time."""
        self.ends_s.append(time.perf_counter())


@dataclass(frozen=True)
class Schedule:
    """Which batch each step takes, and from where: warm-up, then pairs of blocks."""

    steps: list[StepRows]  # the different batches
    items: list[tuple[int, bool]]  # for each step: place in ``steps``, and whether it is held
    n_steps_per_block: int
    piped: Dataset[Batch]  # the pipeline's own: a `StepRows` gives its batch
    clock: BlockClock = field(default_factory=BlockClock)

    def loader(self, held: Sequence[Batch]) -> "DataLoader[Batch]":
        """Return the loader of all steps, in order."""
        return DataLoader(_Mixed(self, held), batch_size=None, shuffle=False)


class _Mixed(Dataset[Batch]):
    def __init__(self, schedule: Schedule, held: Sequence[Batch]) -> None:
        self._schedule = schedule
        self._held = held

    def __len__(self) -> int:
        return len(self._schedule.items)

    def __getitem__(self, index: int) -> Batch:
        place, is_held = self._schedule.items[index]
        if is_held:
            return self._held[place]
        return self._schedule.piped[self._schedule.steps[place]]


def make_schedule(
    loader: "DataLoader[Batch]", *, batch_size: int, n_pairs: int, n_images_per_block: int
) -> Schedule:
    """Return pairs of blocks over a pipeline's first epoch; the first kind alternates.

    Args:
        loader: The pipeline's training loader.
        batch_size: Its recipe's; a shorter last batch is passed over.
        n_pairs: Blocks of each kind.
        n_images_per_block: Decides how many steps a block has, at least four.
    """
    steps = [rows for rows in loader.sampler if len(rows.rows) == batch_size]
    n_steps = max(n_images_per_block // batch_size, 4)
    items = [(step % len(steps), False) for step in range(_WARM_UP_STEPS)]
    for pair in range(n_pairs):
        places = [step % len(steps) for step in range(pair * n_steps, (pair + 1) * n_steps)]
        for is_held in (False, True) if pair % 2 == 0 else (True, False):
            items += [(place, is_held) for place in places]
    return Schedule(steps=steps, items=items, n_steps_per_block=n_steps, piped=loader.dataset)


def hold_batches(schedule: Schedule, *, recipe: Recipe, seed: int) -> list[Batch]:
    """Return every batch of the schedule as the classifier would make it in its first epoch."""
    used = {place for place, is_held in schedule.items if is_held}
    held = []
    for place in range(max(used) + 1):
        batch = schedule.piped[schedule.steps[place]]
        parameters = draw_parameters(
            recipe.augmentation, batch.n_in_step, seed=seed, epoch=0, step=batch.step
        )
        pixels = apply_parameters(
            batch.pixels.float().div_(255), parameters, recipe.augmentation
        ).contiguous(memory_format=torch.channels_last)
        held.append(replace(batch, pixels=pixels))
    return held


def block_ratios(schedule: Schedule) -> dict[str, Any]:
    """Return each pair's ratio of time through the pipeline to time from memory.

    The seconds are a step's, in the counted part of each block.
    """
    seconds: dict[bool, list[float]] = {False: [], True: []}
    n_steps = schedule.n_steps_per_block
    for start in range(_WARM_UP_STEPS, len(schedule.items), n_steps):
        first = start + _EDGE_STEPS
        last = start + n_steps - 1 - _EDGE_STEPS
        # From the end of the step before the first counted one to the end of the last.
        span = schedule.clock.ends_s[last] - schedule.clock.ends_s[first - 1]
        seconds[schedule.items[start][1]].append(span / (last - first + 1))
    return {
        "ratios": [piped / held for piped, held in zip(seconds[False], seconds[True], strict=True)],
        "piped_s": statistics.median(seconds[False]),
        "held_s": statistics.median(seconds[True]),
        "n_steps_per_block": n_steps,
    }
