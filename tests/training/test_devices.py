"""Several devices train together as one would, shown with two processes on the CPU."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.run_folder import open_run

Program = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes need two cores")

TWO_DEVICES = ["--devices", "2", "--strategy", "ddp"]


@pytest.fixture
def plain_file(tiny_file: Path) -> Path:
    """Without BatchNorm and dropout, whose draws and statistics are each device's own."""
    recipe = yaml.safe_load(tiny_file.read_text())
    recipe["network"]["blocks"] = [{"filters": [4]}, {"filters": [8]}]
    recipe["network"]["dense"] = [{"units": 8}]
    recipe["training"]["optimizer"] = {"name": "sgd", "learning_rate": 0.05}
    recipe["training"]["epochs"] = 2
    tiny_file.write_text(yaml.safe_dump(recipe))
    return tiny_file


def change(path: Path, *, network: dict[str, object], **training: object) -> None:
    """Give a recipe's file another network, and its training other values."""
    recipe = yaml.safe_load(path.read_text())
    recipe["network"] = network
    recipe["training"] |= training
    path.write_text(yaml.safe_dump(recipe))


def train(run_program: Program, out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    done = run_program(out, words=words)
    assert done.returncode == 0, done.stderr
    return done


def assert_same_weights(folder: Path) -> None:
    """Compare the last weights of the runs ``alone`` and ``together``."""
    alone, together = (
        read_checkpoint(folder / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("alone", "together")
    )
    assert alone.keys() == together.keys()
    for key, value in alone.items():
        assert torch.allclose(value, together[key], atol=2e-5), key


def test_two_processes_end_in_the_weights_of_one(
    run_program: Program, plain_file: Path, tmp_path: Path
) -> None:
    train(run_program, tmp_path / "alone")
    together = train(run_program, tmp_path / "together", *TWO_DEVICES)
    assert_same_weights(tmp_path)
    run = open_run(tmp_path / "together")
    assert len(run.predictions("tuning")) == run.facts["data"]["n_tuning"]
    assert together.stdout.count("Next: pneumoscope evaluate") == 1, "one speaks for both"


def test_a_process_whose_share_of_a_step_has_no_known_subtype_does_not_fail(
    run_program: Program, plain_file: Path, tmp_path: Path
) -> None:
    # One radiograph a process, and of the phantoms only the normals have a subtype.
    network = {"kind": "backbone", "backbone": "test_convnext", "has_subtype_head": True}
    change(plain_file, network=network, batch_size=2, epochs=1, subtype_loss_weight=0.5)
    train(run_program, tmp_path / "together", *TWO_DEVICES)
    assert open_run(tmp_path / "together").facts["state"] == "finished"


def test_layers_that_are_freed_later_are_averaged_over_the_processes(
    run_program: Program, plain_file: Path, tmp_path: Path
) -> None:
    # A backbone whose norms know nothing of the batch, frozen in the first of two epochs.
    network = {
        "kind": "backbone",
        "backbone": "test_convnext",
        "frozen_stages": "all",
        "unfreeze_after_epochs": 1,
    }
    change(plain_file, network=network)
    train(run_program, tmp_path / "alone")
    train(run_program, tmp_path / "together", *TWO_DEVICES)
    assert_same_weights(tmp_path)
