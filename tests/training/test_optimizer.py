"""Rates of layer groups, and their course over a run."""

import math

import pytest
import torch
from torch import nn

from pneumoscope.training.optimizer import make_optimizer, set_scheduled_rate
from pneumoscope.training.recipe import OptimizerRecipe, ScheduleRecipe, TrainingRecipe


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)


def one_cycle(rate: float = 0.01, **shape: float) -> TrainingRecipe:
    return TrainingRecipe(
        epochs=5,
        batch_size=8,
        optimizer=OptimizerRecipe(name="adamw", learning_rate=rate),
        schedule=ScheduleRecipe(kind="one_cycle", **shape),
    )


def test_one_cycle_rises_to_the_rate_and_falls_to_almost_nothing() -> None:
    schedule = ScheduleRecipe(
        kind="one_cycle", warmup_fraction=0.2, start_factor=0.04, end_factor=0.001
    )
    assert schedule.factor(0) == pytest.approx(0.04)
    assert schedule.factor(0.1) == pytest.approx((0.04 + 1) / 2)  # a cosine's middle
    assert schedule.factor(0.2) == pytest.approx(1)
    assert schedule.factor(0.6) == pytest.approx((1 + 0.001) / 2)
    assert schedule.factor(0.4) == pytest.approx(0.001 + 0.999 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.factor(1) == pytest.approx(0.001)


def test_one_cycle_is_torchs() -> None:
    """Torch's own scheduler, one step a tenth, has the same rates at its own ends."""
    weights = [nn.Parameter(torch.zeros(1))]
    theirs = torch.optim.SGD(weights, lr=1)
    n = 101
    course = torch.optim.lr_scheduler.OneCycleLR(
        theirs, max_lr=1, total_steps=n, pct_start=0.21, div_factor=25, final_div_factor=40
    )
    # Its rise ends at step 0.21 * 101 - 1 = 20.21, ours at 20.21 of 100 steps.
    schedule = ScheduleRecipe(kind="one_cycle", warmup_fraction=0.2021)
    for step in range(n):
        assert schedule.factor(step / (n - 1)) == pytest.approx(course.get_last_lr()[0], abs=1e-6)
        theirs.step()
        if step < n - 1:
            course.step()


def test_no_warmup_begins_at_the_top() -> None:
    schedule = ScheduleRecipe(kind="one_cycle", warmup_fraction=0)
    assert schedule.factor(0) == pytest.approx(1)


def test_a_backbones_group_keeps_its_share_of_the_rate() -> None:
    training = one_cycle(0.01)
    network = Two()
    optimizer = make_optimizer(network, training.optimizer, backbone_rate_factor=0.1)
    head, body = optimizer.param_groups
    assert {id(p) for p in body["params"]} == {id(p) for p in network.body.parameters()}
    assert {id(p) for p in head["params"]} == {id(p) for p in network.head.parameters()}
    assert (head["lr"], body["lr"]) == pytest.approx((0.01, 0.001))
    set_scheduled_rate(optimizer, training, done=0, backbone_rate_factor=0.1)
    assert (head["lr"], body["lr"]) == pytest.approx((0.0004, 0.00004))
    set_scheduled_rate(optimizer, training, done=0.2, backbone_rate_factor=0.1)
    assert (head["lr"], body["lr"]) == pytest.approx((0.01, 0.001))


def test_without_a_schedule_the_rate_is_left_alone() -> None:
    training = TrainingRecipe(
        epochs=1, batch_size=1, optimizer=OptimizerRecipe(name="sgd", learning_rate=0.5)
    )
    optimizer = make_optimizer(Two(), training.optimizer)
    optimizer.param_groups[0]["lr"] = 0.123
    set_scheduled_rate(optimizer, training, done=0.5)
    assert len(optimizer.param_groups) == 1
    assert optimizer.param_groups[0]["lr"] == 0.123


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("sgd", torch.optim.SGD),
    ],
)
def test_frozen_weights_stay_and_the_settings_arrive(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    recipe = OptimizerRecipe.model_validate(
        {"name": name, "learning_rate": 0.1, "epsilon": 0.001, "weight_decay": 0.5}
    )
    network = Two()
    network.body.requires_grad_(False)
    before = [p.clone() for p in network.parameters()]
    optimizer = make_optimizer(network, recipe)
    assert type(optimizer) is kind
    if name != "sgd":
        assert optimizer.param_groups[0]["eps"] == 0.001
    if name == "adamw":
        assert optimizer.param_groups[0]["weight_decay"] == 0.5
    network.head(network.body(torch.ones(1, 2))).sum().backward()
    optimizer.step()
    same = [torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert same == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("adam", {"weight_decay": 0.5, "rho": 0.1}, ["rho", "weight_decay"]),
        ("sgd", {"epsilon": 1e-8, "momentum": 0.9}, ["epsilon"]),
        ("adamw", {"weight_decay": 0.5, "epsilon": 1e-8}, []),
        ("rmsprop", {"rho": 0.5, "momentum": 0.9, "epsilon": 1e-8}, []),
    ],
)
def test_settings_that_a_rule_does_not_heed_are_told(
    name: str, settings: dict[str, float], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_optimizer(Two(), OptimizerRecipe.model_validate({"name": name} | settings))
    words = [record.getMessage().split()[0] for record in caplog.records]
    assert words == [f"training.optimizer.{key}" for key in told]
