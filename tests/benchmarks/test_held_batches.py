"""Both kinds of block must do the same training on the same pictures."""

import numpy as np
import pytest
import torch
from benchmarks.held_batches import EitherWay, block_ratios, hold_batches, make_schedule
from benchmarks.our_side import train

from pneumoscope.training.batches import EpochOrder, training_loader
from pneumoscope.training.recipe_file import load_recipe

CHANGES = (
    "input.size_px=32",
    "network.blocks=[{filters: [4]}]",
    "network.dense=[{units: 4}]",
    "training.batch_size=8",
)


class Seen(EitherWay):
    """Keeps what each step is given."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.pixels: list[torch.Tensor] = []

    def training_step(self, batch, batch_idx):
        self.pixels.append(batch.pixels.clone())
        return super().training_step(batch, batch_idx)


@pytest.fixture
def recipe():
    return load_recipe("gray-150", changes=CHANGES)


@pytest.fixture
def schedule(recipe):
    pixels = np.random.default_rng(0).integers(0, 256, (83, 32, 32), dtype=np.uint8)
    target = (np.arange(83) % 2).astype(np.float32)
    order = EpochOrder(np.arange(83), target == 1, training=recipe.training, seed=0)
    loader = training_loader(pixels, target, order=order, rank=0, n_processes=1)
    return make_schedule(loader, batch_size=8, n_pairs=2, n_images_per_block=40)


def test_schedule_alternates_blocks_and_passes_the_short_batch_over(schedule) -> None:
    assert len(schedule.steps) == 10  # of 8; 3 of the 83 are left
    assert schedule.n_steps_per_block == 5
    kinds = [is_held for _, is_held in schedule.items]
    assert kinds == [False] * 3 + [False] * 5 + [True] * 10 + [False] * 5
    places = [place for place, _ in schedule.items]
    assert places == [0, 1, 2, *[0, 1, 2, 3, 4] * 2, *[5, 6, 7, 8, 9] * 2]


def test_held_batches_are_those_of_the_pipeline(schedule, recipe) -> None:
    module = Seen(recipe, seed=0, class_weights=(1.0, 1.0))
    held = hold_batches(schedule, recipe=recipe, seed=0)
    train(module, schedule.loader(held), precision="fp32", callback=schedule.clock)
    assert len(module.pixels) == len(schedule.items) == len(schedule.clock.ends_s)
    for piped, from_memory in zip(module.pixels[3:8], module.pixels[8:13], strict=True):
        assert torch.equal(piped, from_memory)
        assert piped.stride() == from_memory.stride()
    assert not torch.equal(module.pixels[3], module.pixels[4])
    assert len(block_ratios(schedule)["ratios"]) == 2


def test_ratios_leave_the_edges_of_each_block_out(schedule) -> None:
    seconds = {False: 3.0, True: 2.0}
    now = 0.0
    for index, (_, is_held) in enumerate(schedule.items):
        at_edge = (index - 3) % 5 in (0, 4)
        now += 1000.0 if at_edge else seconds[is_held]
        schedule.clock.ends_s.append(now)
    found = block_ratios(schedule)
    assert found["ratios"] == pytest.approx([1.5, 1.5])
    assert (found["piped_s"], found["held_s"]) == pytest.approx((3.0, 2.0))
