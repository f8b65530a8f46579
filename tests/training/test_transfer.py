"""Training with a backbone: what stays frozen, what is freed, what is averaged and kept."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pneumoscope.core.errors import WeightsError
from pneumoscope.data.dataset import Dataset
from pneumoscope.training import fit
from pneumoscope.training.batches import Batch
from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.classifier import Classifier, subtype_loss, update_average
from pneumoscope.training.inference import load_network, predict_rows
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_data import roles_of
from pneumoscope.training.run_folder import RunFolder

STAGES = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]


def make_recipe(
    *, network: dict[str, Any] | None = None, training: dict[str, Any] | None = None
) -> Recipe:
    course: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 8,
        "optimizer": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05},
        "precision": "fp32",
    }
    return parse_recipe(
        {
            "name": "tiny-transfer",
            "title": "A network of timm's small enough for tests",
            "source": {"title": "None"},
            "input": {"size_px": 32, "channels": 1},
            "network": {"kind": "backbone", "backbone": "test_resnet"} | (network or {}),
            "augmentation": {"horizontal_flip": True},
            "split": {"tuning_fraction": 0.3},
            "training": course | (training or {}),
        },
        where="test",
    )


def train(recipe: Recipe, dataset: Dataset, out: Path, **options: Any) -> RunFolder:
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False, **options)


def initial_state(recipe: Recipe) -> dict[str, Tensor]:
    module = Classifier(recipe, seed=0, class_weights=(1, 1))
    return {key: value.clone() for key, value in module.network.state_dict().items()}


def last_state(run: RunFolder, part: str = "network") -> dict[str, Tensor]:
    state = read_checkpoint(run.path / "checkpoints" / "last.ckpt")["state_dict"]
    prefix = f"{part}."
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def figures(run: RunFolder) -> list[list[str]]:
    rows = list(csv.reader(run.history_path.read_text().splitlines()))
    return [row[:-2] for row in rows]


@pytest.mark.parametrize("stages", [1, 3, "all"])
def test_frozen_stages_come_out_of_training_as_they_went_in(
    dataset: Dataset, tmp_path: Path, stages: int | str
) -> None:
    recipe = make_recipe(network={"frozen_stages": stages})
    run = train(recipe, dataset, tmp_path / "run")
    before, after = initial_state(recipe), last_state(run)
    n_frozen = len(STAGES) if stages == "all" else stages
    frozen = {f"body.{name}." for group in STAGES[:n_frozen] for name in group}
    for key, value in before.items():
        is_frozen = any(key.startswith(prefix) for prefix in frozen)
        if key.startswith("body.") and is_frozen:
            assert torch.equal(after[key], value), key
        elif not key.startswith("mean") and not key.startswith("std"):
            assert not torch.equal(after[key], value), key


def test_batch_norm_has_its_mode_in_every_step_also_after_tuning(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Classifier.training_step
    seen = []

    def watch(self: Classifier, batch: Batch, batch_idx: int) -> Tensor:
        modes = {
            name: module.training
            for name, module in self.network.named_modules()
            if isinstance(module, nn.BatchNorm2d | nn.Dropout)
        }
        assert self.network.training
        seen.append((self.current_epoch, modes))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", watch)
    recipe = make_recipe(network={"frozen_stages": 2, "pooled_dropout": 0.2})
    train(recipe, dataset, tmp_path / "run")
    assert {epoch for epoch, _ in seen} == {0, 1}
    for _, modes in seen:
        for name, is_training in modes.items():
            is_frozen = name.startswith(("body.conv1.", "body.bn1", "body.layer1."))
            assert is_training is not is_frozen, name


UNFREEZING = {"frozen_stages": "all", "unfreeze_after_epochs": 1, "backbone_rate_factor": 0.1}


def test_the_backbone_is_freed_when_its_time_has_come(dataset: Dataset, tmp_path: Path) -> None:
    recipe = make_recipe(network=UNFREEZING)
    one = make_recipe(network=UNFREEZING, training={"epochs": 1})
    before = initial_state(recipe)
    after_one = last_state(train(one, dataset, tmp_path / "one"))
    run = train(recipe, dataset, tmp_path / "two")
    after_two = last_state(run)
    body = [key for key in before if key.startswith("body.")]
    assert all(torch.equal(after_one[key], before[key]) for key in body)
    assert not any(torch.equal(after_two[key], before[key]) for key in body)
    # run.json counts what trains at first
    assert run.facts["n_trainable"] == sum(
        value.numel() for key, value in before.items() if key.startswith("head.")
    )
    groups = read_checkpoint(run.path / "checkpoints" / "last.ckpt")["optimizer_states"][0][
        "param_groups"
    ]
    assert [group["lr"] for group in groups] == pytest.approx([0.002, 0.0002])
    # Adam moves a weight by at most a little more than its rate a step.
    n_steps = -(-run.facts["data"]["n_training"] // 8)
    weight = "body.conv1.0.weight"
    moved = (after_two[weight] - before[weight]).abs().max().item()
    assert 0 < moved < 0.0002 * n_steps * 1.5


@pytest.mark.parametrize("stop_at", [(1, 1), (2, 2)])
def test_a_run_that_unfreezes_resumes_to_the_same_weights(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: tuple[int, int]
) -> None:
    recipe = make_recipe(
        network=UNFREEZING,
        training={"epochs": 3, "ema_decay": 0.8, "schedule": {"kind": "one_cycle"}},
    )
    whole = train(recipe, dataset, tmp_path / "whole")
    step = Classifier.training_step

    def break_down(self: Classifier, batch: Batch, batch_idx: int) -> Tensor:
        if (self.current_epoch, batch_idx) == stop_at:
            raise OSError("power cut")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", break_down)
        with pytest.raises(OSError, match="power cut"):
            train(recipe, dataset, tmp_path / "stopped")
    resumed = train(recipe, dataset, tmp_path / "stopped", resume=True)
    for part in ("network", "average"):
        one, other = last_state(whole, part), last_state(resumed, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert figures(whole) == figures(resumed)


def test_the_average_moves_by_its_share(dataset: Dataset) -> None:
    old, new = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    with torch.no_grad():
        new.weight.fill_(2)
        new.running_mean.fill_(1)
        new.num_batches_tracked.fill_(7)
    update_average(old, new, decay=0.9)
    assert torch.allclose(old.weight, torch.tensor(1.1))
    assert torch.allclose(old.running_mean, torch.tensor(0.1))
    assert old.num_batches_tracked == 7


def test_the_average_is_tuned_kept_and_loaded(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decay, n = 0.9, 0
    recipe = make_recipe(training={"ema_decay": decay, "keep": {"epoch": "last"}})
    expected: dict[str, Tensor] = {}
    whole = Classifier.on_train_batch_end

    def follow(self: Classifier, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Oracle: the average by its formula, on the side."""
        nonlocal n
        n += 1
        share = min(decay, (1 + n) / (10 + n))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                expected[key] = share * expected[key] + (1 - share) * value.double()
        whole(self, outputs, batch, batch_idx)

    monkeypatch.setattr(Classifier, "on_train_batch_end", follow)
    expected |= {key: value.double() for key, value in initial_state(recipe).items()}
    run = train(recipe, dataset, tmp_path / "run")
    network = load_network(run)
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value.double(), expected[key], atol=1e-5), key
    newest = last_state(run)
    assert not torch.allclose(newest["head.weight"], network.head.weight, atol=1e-5)
    # The last epoch's figures are of the average.
    answers = predict_rows(run, dataset, roles_of(recipe, dataset).tuning)
    z, y = answers.logit, answers.target
    loss = np.mean(np.logaddexp(0, z) - y * z)
    assert loss == pytest.approx(float(figures(run)[-1][3]), rel=1e-4)


def test_the_subtype_loss_leaves_unknown_subtypes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(
        network={"has_subtype_head": True, "frozen_stages": "all"},
        training={"subtype_loss_weight": 0.5},
    )
    module = Classifier(recipe, seed=0, class_weights=(1.0, 1.0))
    module.network.train()
    monkeypatch.setattr(Classifier, "current_epoch", 0)
    monkeypatch.setattr(Classifier, "global_rank", 0)
    pixels = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0.0, 1, 1, 1])

    def loss(subtype: list[int]) -> float:
        batch = Batch(
            pixels=pixels,
            target=target,
            subtype=torch.tensor(subtype),
            rows=torch.arange(4),
            step=0,
            n_in_step=4,
            first=0,
        )
        return float(module.training_step(batch, 1).detach())

    with torch.no_grad():
        maps = module.network.levels(pixels)[-1]
        logit = module.network.head_with_penalty(maps)[0]
        subtype = module.network.subtype_logits(maps)
    bce = F.binary_cross_entropy_with_logits(logit, target).item()
    log_p = subtype.log_softmax(dim=1)
    known = -(log_p[0, 0] + log_p[2, 2]).item() / 2
    assert loss([0, -1, 2, -1]) == pytest.approx(bce + 0.5 * known, rel=1e-5)
    every = -(log_p[0, 0] + log_p[1, 1] + log_p[2, 2] + log_p[3, 1]).item() / 4
    assert loss([0, 1, 2, 1]) == pytest.approx(bce + 0.5 * every, rel=1e-5)
    assert loss([-1, -1, -1, -1]) == pytest.approx(bce, rel=1e-5)


def test_where_no_subtype_is_known_the_subtype_head_has_gradients_of_zero() -> None:
    logits = torch.rand(4, 3, requires_grad=True)
    subtype_loss(logits, torch.full((4,), -1)).backward()
    assert logits.grad is not None, "DDP waits for it"
    assert not logits.grad.any()


def test_weights_that_are_nowhere_are_told_before_anything_is_decoded(
    dataset: Dataset, tmp_path: Path
) -> None:
    file = {"name": "nowhere.safetensors", "mean": [0.5] * 3, "std": [0.5] * 3}
    recipe = make_recipe(network={"weights": {"file": file}})
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        train(recipe, dataset, tmp_path / "run", cache_folder=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []  # neither a cache nor a run folder
