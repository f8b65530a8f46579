"""Which radiographs make up each step of each epoch: a pure function of (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pneumoscope.data.augment import seed_of
from pneumoscope.data.joined_rows import JoinedRows
from pneumoscope.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    # It imports timm, which takes a second, and the CNNs of the sources need none of it.
    from pneumoscope.training.features import Features

_ORDER_STREAM = 3  # apart from the streams of augmentation (1) and dropout (2)
EVALUATION_BATCH = 64
Pixels = NDArray[np.uint8] | JoinedRows[np.uint8]  # (all rows, H, W)


@dataclass(frozen=True)
class StepRows:
    """The radiographs of one step, and which of the whole step's share this process has."""

    step: int
    rows: NDArray[np.int64]  # row numbers of the decoded radiographs
    n_in_step: int  # over all processes
    first: int  # place of this process's first radiograph in the whole step
    epoch: int | None = None  # counted from 0; None where nothing is trained


@dataclass(frozen=True)
class Batch:
    """One step's radiographs as tensors."""

    pixels: Tensor  # (N, 1, H, W) uint8 as read; float in [0, 1] once on the device
    target: Tensor  # (N,) float32, 0 or 1
    subtype: Tensor  # (N,) int64: 0 normal, 1 bacterial, 2 viral; -1 where unknown
    rows: Tensor  # (N,) int64, of the manifest
    step: int
    n_in_step: int
    first: int
    maps: Tensor | None = None  # (N, C, h, w) the backbone's, where they were worked out before


class EpochOrder:
    """The order in which a training split is gone through.

    Args:
        rows: (N,) the training split's row numbers.
        target: (N,) True where positive.
        training: Batch size, steps an epoch and sampling.
        seed: The run's seed.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        target: NDArray[np.bool_],
        *,
        training: TrainingRecipe,
        seed: int,
    ) -> None:
        self._classes = [rows[target], rows[~target]] if training.sampling == "balanced" else [rows]
        self._training = training
        self._seed = seed
        per_pass = len(self._classes) * max(len(members) for members in self._classes)
        size = training.batch_size
        self.n_steps = training.steps_per_epoch or -(-per_pass // size)
        # Without a fixed number of steps an epoch ends with the pass, its last batch short. One
        # radiograph alone joins the batch before: BatchNorm can't learn from a single one.
        if not training.steps_per_epoch and self.n_steps > 1 and per_pass % size == 1:
            self.n_steps -= 1
        self.n_images = self.n_steps * size if training.steps_per_epoch else per_pass

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the epoch's batches of row numbers."""
        share = self.n_images // len(self._classes)
        streams = [
            self._stretch(members, start=epoch * share, length=share, stream=index)
            for index, members in enumerate(self._classes)
        ]
        order = np.stack(streams, axis=1).reshape(-1)  # classes alternate where balanced
        size = self._training.batch_size
        return np.split(order, range(size, len(order), size)[: self.n_steps - 1])

    def _stretch(
        self, members: NDArray[np.int64], *, start: int, length: int, stream: int
    ) -> NDArray[np.int64]:
        """Return a piece of the endless run of shuffled passes over ``members``."""
        first_pass, offset = divmod(start, len(members))
        n_passes = -(-(offset + length) // len(members))
        passes = [
            np.random.default_rng(
                seed_of(self._seed, number, stream, stream=_ORDER_STREAM)
            ).permutation(members)
            for number in range(first_pass, first_pass + n_passes)
        ]
        return np.concatenate(passes)[offset : offset + length]


class StepSampler(Sampler[StepRows]):
    """Yields one process's share of every step of an epoch; Lightning tells it the epoch."""

    def __init__(self, order: EpochOrder, *, rank: int, n_processes: int) -> None:
        self._order = order
        self._rank = rank
        self._n_processes = n_processes
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of steps."""
        return self._order.n_steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; called before each by the trainer."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[StepRows]:
        """Yield each step's rows for this process."""
        for step, rows in enumerate(self._order.batches(self.epoch)):
            share = -(-len(rows) // self._n_processes)
            first = self._rank * share
            # All processes need as many radiographs, so the last share begins again at the front.
            mine = rows[np.arange(first, first + share) % len(rows)]
            yield StepRows(
                step=step,
                rows=mine,
                n_in_step=share * self._n_processes,
                first=first,
                epoch=self.epoch,
            )


class _CachedBatches(Dataset[Batch]):
    """Takes whole batches out of the decoded cache: one gather, no work an image."""

    def __init__(
        self,
        pixels: Pixels,
        target: NDArray[np.float32],
        subtype: NDArray[np.int64] | None,
        features: "Features | None" = None,
    ) -> None:
        self._pixels = pixels
        self._features = features
        self._target = target
        self._subtype = np.full(len(target), -1) if subtype is None else subtype

    def __getitem__(self, item: StepRows) -> Batch:
        maps = self._maps_of(item)
        return Batch(
            pixels=torch.empty(0, dtype=torch.uint8)
            if maps is not None
            else torch.from_numpy(self._pixels[item.rows][:, None]),
            target=torch.from_numpy(self._target[item.rows]),
            subtype=torch.from_numpy(self._subtype[item.rows]),
            rows=torch.from_numpy(item.rows),
            step=item.step,
            n_in_step=item.n_in_step,
            first=item.first,
            maps=maps,
        )

    def _maps_of(self, item: StepRows) -> Tensor | None:
        if self._features is None:
            return None
        if item.epoch is None:
            return self._features.tuning_maps(item.rows)
        return self._features.training_maps(item.rows, epoch=item.epoch)


def training_loader(
    pixels: Pixels,
    target: NDArray[np.float32],
    *,
    subtype: NDArray[np.int64] | None = None,
    order: EpochOrder,
    rank: int,
    n_processes: int,
    features: "Features | None" = None,
) -> "DataLoader[Batch]":
    """Return the loader of training steps, read in this process: the cache needs no workers.

    With ``features`` its batches carry maps and no pixels.
    """
    sampler = StepSampler(order, rank=rank, n_processes=n_processes)
    batches = _CachedBatches(pixels, target, subtype, features)
    return DataLoader(batches, batch_size=None, sampler=sampler)


def evaluation_loader(
    pixels: NDArray[np.uint8],
    target: NDArray[np.float32],
    rows: NDArray[np.int64],
    *,
    features: "Features | None" = None,
) -> "DataLoader[Batch]":
    """Return the loader of a split in order; every process sees all of it."""
    steps = [
        StepRows(step=index, rows=rows[start : start + EVALUATION_BATCH], n_in_step=0, first=0)
        for index, start in enumerate(range(0, len(rows), EVALUATION_BATCH))
    ]
    batches = _CachedBatches(pixels, target, None, features)
    return DataLoader(batches, batch_size=None, sampler=steps)
