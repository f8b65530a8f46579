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


def test_two_processes_end_in_the_weights_of_one(
    run_program: Program, plain_file: Path, tmp_path: Path
) -> None:
    alone = run_program(tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    together = run_program(tmp_path / "together", words=TWO_DEVICES)
    assert together.returncode == 0, together.stderr
    states = [
        read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("alone", "together")
    ]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key], atol=2e-5), key
    run = open_run(tmp_path / "together")
    assert len(run.predictions("tuning")) == run.facts["data"]["n_tuning"]
    assert together.stdout.count("Next: pneumoscope evaluate") == 1, "one speaks for both"


def test_a_process_whose_share_of_a_step_has_no_known_subtype_does_not_fail(
    run_program: Program, plain_file: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(plain_file.read_text())
    recipe["network"] = {
        "kind": "backbone",
        "backbone": "test_convnext",
        "has_subtype_head": True,
    }
    # One radiograph a process, and of the phantoms only the normals have a subtype.
    recipe["training"] |= {"batch_size": 2, "epochs": 1, "subtype_loss_weight": 0.5}
    plain_file.write_text(yaml.safe_dump(recipe))
    together = run_program(tmp_path / "together", words=TWO_DEVICES)
    assert together.returncode == 0, together.stderr
    assert open_run(tmp_path / "together").facts["state"] == "finished"


UNFREEZING = {
    "kind": "backbone",
    "backbone": "test_convnext",
    "frozen_stages": "all",
    "unfreeze_after_epochs": 1,
}


@pytest.fixture
def unfreezing_file(plain_file: Path) -> Path:
    """A backbone whose norms know nothing of the batch, frozen in the first of two epochs."""
    recipe = yaml.safe_load(plain_file.read_text())
    recipe["network"] = UNFREEZING
    plain_file.write_text(yaml.safe_dump(recipe))
    return plain_file


def test_layers_that_are_freed_later_are_averaged_over_the_processes(
    run_program: Program, unfreezing_file: Path, tmp_path: Path
) -> None:
    alone = run_program(tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    together = run_program(tmp_path / "together", words=TWO_DEVICES)
    assert together.returncode == 0, together.stderr
    one, two = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("alone", "together")
    )
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=2e-5), key
