import numpy as np
import pytest

from pneumoscope.training.batches import EpochOrder, StepSampler
from pneumoscope.training.recipe import TrainingRecipe


def make_order(n: int = 100, *, seed: int = 0, **training: object) -> EpochOrder:
    recipe = TrainingRecipe.model_validate(
        {"epochs": 3, "batch_size": 8, "optimizer": {"name": "adam"}} | training
    )
    rows = np.arange(n, dtype=np.int64) + 1000
    return EpochOrder(rows, np.arange(n) < 70, training=recipe, seed=seed)


def test_an_epoch_visits_every_radiograph_once_in_an_order_of_its_own() -> None:
    order = make_order()
    first, second = (np.concatenate(order.batches(epoch)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(1000, 1100))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, np.concatenate(make_order().batches(0)))
    assert not np.array_equal(first, np.concatenate(make_order(seed=1).batches(0)))


def test_the_last_batch_is_short_and_the_step_count_says_so() -> None:
    order = make_order()
    sizes = [len(batch) for batch in order.batches(0)]
    assert sizes == [8] * 12 + [4]
    assert order.n_steps == 13


@pytest.mark.parametrize(("n", "sizes"), [(97, [8] * 11 + [9]), (98, [8] * 12 + [2]), (1, [1])])
def test_a_single_radiograph_is_no_batch_of_its_own(n: int, sizes: list[int]) -> None:
    """BatchNorm refuses one value a channel."""
    order = make_order(n)
    batches = order.batches(0)
    assert [len(batch) for batch in batches] == sizes
    assert order.n_steps == len(sizes)
    assert sorted(np.concatenate(batches)) == list(range(1000, 1000 + n))


def test_fixed_steps_run_on_through_the_passes() -> None:
    order = make_order(steps_per_epoch=5)  # 40 radiographs an epoch, 100 a pass
    visited = np.concatenate([np.concatenate(order.batches(epoch)) for epoch in range(5)])
    assert len(visited) == 200
    assert sorted(visited[:100]) == sorted(visited[100:]) == list(range(1000, 1100))


def test_balanced_sampling_shows_as_many_of_each_class() -> None:
    order = make_order(sampling="balanced")
    visited = np.concatenate(order.batches(0))
    is_positive = visited < 1070
    assert len(visited) == 140
    assert is_positive.sum() == 70
    assert sorted(visited[is_positive]) == list(range(1000, 1070)), "the larger class once each"
    counts = np.unique(visited[~is_positive], return_counts=True)[1]
    assert len(counts) == 30, "the smaller class whole"
    assert set(counts) == {2, 3}


@pytest.mark.parametrize("n_processes", [1, 2, 3])
def test_processes_share_each_step_out(n_processes: int) -> None:
    order = make_order(96)
    shares = [
        list(StepSampler(order, rank=rank, n_processes=n_processes)) for rank in range(n_processes)
    ]
    for step, whole in enumerate(order.batches(0)):
        mine = [share[step] for share in shares]
        assert len({len(part.rows) for part in mine}) == 1, "no process waits for another"
        joined = np.concatenate([part.rows for part in mine])
        assert np.array_equal(joined[: len(whole)], whole)
        assert all(part.n_in_step == len(joined) for part in mine)
        assert [part.first for part in mine] == [len(mine[0].rows) * i for i in range(n_processes)]


def test_the_sampler_follows_the_epoch() -> None:
    order = make_order()
    sampler = StepSampler(order, rank=0, n_processes=1)
    sampler.set_epoch(2)
    rows = np.concatenate([step.rows for step in sampler])
    assert np.array_equal(rows, np.concatenate(order.batches(2)))
    assert len(sampler) == order.n_steps
