"""A killed DCGAN goes on as if nothing had happened: the same weights, bit for bit."""

import multiprocessing
import runpy
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from pneumoscope.training.gan_run import open_gan_run

_KILLS = runpy.run_path(str(Path(__file__).with_name("kills.py")))
assert_equal = _KILLS["assert_equal"]

PROGRAM = """
import os, sys
os.dup2(os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
sys.argv = ["pneumoscope", *{words!r}]
import torch
torch.set_num_threads(1)
{before}
from pneumoscope.cli.app import main
main()
"""


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int | None
    stderr: str


Program = Callable[..., Ended]

RECIPE = {
    "name": "killed-gan",
    "title": "A DCGAN small enough for tests",
    "source": {"title": "None"},
    "size_px": 64,
    "target": 0,
    "latent_dim": 6,
    "base_filters": 2,
    "epochs": 3,
    "batch_size": 8,
    "grid_side": 2,
}

AT_STEP = """
import os, signal
from pneumoscope.training.gan_pair import AdversarialPair
whole = AdversarialPair.step
def step(self, real, *, epoch, step):
    if epoch == 1 and step == 1:
        os.kill(os.getpid(), signal.{signal})
    return whole(self, real, epoch=epoch, step=step)
AdversarialPair.step = step
"""
WHILE_SAVING = _KILLS["WHILE_SAVING"].format(number=2)
AFTER_SAVING = """
import os, signal
from pneumoscope.training.gan_run import GanRun
whole = GanRun.write_history
def write_history(self, history):
    if len(history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, history)
GanRun.write_history = write_history
"""
WHILE_BEGINNING = _KILLS["WHILE_WRITING"].format(name="run.json")
BEFORE_IT_BEGAN = """
import os, signal
from pneumoscope.training.gan_run import GanRun
GanRun.write_facts = lambda self: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def gan_program(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Return what runs `gan train` in a process of its own; ``before`` is Python run there first.

    The processes are forked from one that has imported everything: torch is loaded once for all.
    """
    recipe = tmp_path_factory.mktemp("recipe") / "killed-gan.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pneumoscope.cli.app", "pneumoscope.training.gan"])

    def run(out: Path, *, before: str = "", resume: bool = False) -> Ended:
        words = ["gan", "train", str(recipe), "--data", str(phantoms), "--out", str(out)]
        words += ["--accelerator", "cpu"] + (["--resume"] if resume else [])
        log = out.parent / "stderr.txt"
        program = PROGRAM.format(log=str(log), words=words, before=before)
        process = context.Process(target=exec, args=(program, {"__name__": "killed"}))
        process.start()
        process.join(240)
        return Ended(process.exitcode, log.read_text())

    return run


@pytest.fixture(scope="module")
def whole_run(gan_program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gan") / "whole"
    done = gan_program(out)
    assert done.returncode == 0, done.stderr
    return out


def state_of(out: Path) -> dict[str, object]:
    state = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    for row in state["history"]:
        del row["seconds"], row["images_per_s"]
    return dict(state)


@pytest.mark.parametrize(
    ("kill", "code", "kept"),
    [
        (AT_STEP.format(signal="SIGKILL"), -signal.SIGKILL, [1]),
        (WHILE_SAVING, -signal.SIGKILL, [1]),
        (AFTER_SAVING, -signal.SIGKILL, [2]),
        (BEFORE_IT_BEGAN, -signal.SIGKILL, []),
        (WHILE_BEGINNING, -signal.SIGKILL, []),
        (AT_STEP.format(signal="SIGINT"), 130, [1]),
    ],
    ids=[
        "in mid-epoch",
        "while saving",
        "after saving",
        "before it began",
        "while it began",
        "ctrl-c",
    ],
)
def test_a_killed_gan_resumes_to_the_same_weights(
    gan_program: Program, whole_run: Path, tmp_path: Path, kill: str, code: int, kept: list[int]
) -> None:
    killed = gan_program(tmp_path / "run", before=kill)
    assert killed.returncode == code, killed.stderr
    if code == 130:
        assert "--resume" in killed.stderr
        assert "Traceback" not in killed.stderr
        assert open_gan_run(tmp_path / "run", needs_finished=False).facts["state"] == "stopped"
    resumed = gan_program(tmp_path / "run", resume=True)
    assert resumed.returncode == 0, resumed.stderr
    assert_equal(state_of(whole_run), state_of(tmp_path / "run"))
    facts = open_gan_run(tmp_path / "run").facts
    assert facts["machine"]["threads"] == 1
    assert [start["after_epoch"] for start in facts.get("resumed", [])] == kept
    histories = [
        [line.rsplit(",", 2)[0] for line in (run / "history.csv").read_text().splitlines()]
        for run in (whole_run, tmp_path / "run")
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == 4
    for grid in sorted((whole_run / "grids").iterdir()):
        assert grid.read_bytes() == (tmp_path / "run" / "grids" / grid.name).read_bytes()
