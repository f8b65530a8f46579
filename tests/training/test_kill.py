"""A killed run goes on as if nothing had happened: the same weights, bit for bit."""

import runpy
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumoscope.data.dataset import Dataset
from pneumoscope.training import fit
from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_folder import open_run

_KILLS = runpy.run_path(str(Path(__file__).with_name("kills.py")))
assert_equal = _KILLS["assert_equal"]
Program = Callable[..., "subprocess.CompletedProcess[str]"]

KILL_IN_MID_EPOCH = """
import os, signal
from pneumoscope.training.classifier import Classifier
whole = Classifier.training_step
def step(self, batch, batch_idx):
    if self.current_epoch == 2 and batch_idx == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, batch, batch_idx)
Classifier.training_step = step
"""

# The fourth checkpoint is `last` of the second epoch, if that epoch was the best so far; in any
# case it is killed with half of the file written.
KILL_WHILE_SAVING = _KILLS["WHILE_SAVING"].format(number=4)

INTERRUPT = """
import os, signal
from pneumoscope.training.classifier import Classifier
whole = Classifier.training_step
def step(self, batch, batch_idx):
    if self.current_epoch == 1 and batch_idx == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return whole(self, batch, batch_idx)
Classifier.training_step = step
"""


def final_state(out: Path) -> dict[str, object]:
    return read_checkpoint(out / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("kill", [KILL_IN_MID_EPOCH, KILL_WHILE_SAVING])
def test_a_killed_run_resumes_to_the_same_weights(
    run_program: Program, tmp_path: Path, kill: str
) -> None:
    assert run_program(tmp_path / "whole").returncode == 0
    killed = run_program(tmp_path / "killed", before=kill)
    assert killed.returncode == -signal.SIGKILL
    n_kept = read_checkpoint(tmp_path / "killed" / "checkpoints" / "last.ckpt")["epoch"] + 1
    resumed = run_program(tmp_path / "killed", resume=True)
    assert resumed.returncode == 0, resumed.stderr
    whole, again = final_state(tmp_path / "whole"), final_state(tmp_path / "killed")
    for part in ("state_dict", "optimizer_states"):
        assert_equal(whole[part], again[part])
    for name in ("history.csv", "predictions-tuning.csv"):
        lines = [(tmp_path / run / name).read_text().splitlines() for run in ("whole", "killed")]
        if name == "history.csv":  # seconds and images/s differ
            lines = [[line.rsplit(",", 2)[0] for line in each] for each in lines]
        assert lines[0] == lines[1]
    assert not list((tmp_path / "killed").rglob("*.tmp")) or kill is KILL_WHILE_SAVING
    facts = open_run(tmp_path / "killed").facts
    # The save that is cut is the first or the second epoch's, by which of them was the best.
    assert [start["after_epoch"] for start in facts["resumed"]] == [n_kept]
    assert facts["resumed"][0]["machine"] == facts["machine"]
    assert "resumed" not in open_run(tmp_path / "whole").facts


def test_a_run_killed_while_its_first_files_are_written_begins_anew(
    run_program: Program, dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    killed = run_program(out, before=_KILLS["WHILE_WRITING"].format(name="run.json"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = out.glob("*.tmp")
    assert left.name.startswith(".run.json.")
    resumed = fit(tiny, dataset, out, resume=True, accelerator="cpu", show_progress=False)
    assert resumed.facts["state"] == "finished"


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(run_program: Program, tmp_path: Path) -> None:
    stopped = run_program(tmp_path / "run", before=INTERRUPT)
    assert stopped.returncode == 130, stopped.stderr
    assert "--resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert '"state": "stopped"' in (tmp_path / "run" / "run.json").read_text()
    assert run_program(tmp_path / "run", resume=True).returncode == 0
