"""A tiny experiment on phantoms: seconds, but every part of training is in it."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import parse_recipe

TINY = runpy.run_path(str(Path(__file__).parents[1] / "tiny_recipe.py"))["TINY"]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return make_phantoms(folder, count=80, seed=0, size_px=32)


@pytest.fixture(scope="session")
def dataset(phantoms: Path) -> Dataset:
    return open_dataset(phantoms)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return parse_recipe(TINY, where="tiny")


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def run_program(
    phantoms: Path, tiny_file: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Train in a process of its own; ``before`` is Python that runs there first."""

    def run(
        out: Path, *, before: str = "", resume: bool = False, words: Sequence[str] = ()
    ) -> "subprocess.CompletedProcess[str]":
        command = ["train", str(tiny_file), "--data", str(phantoms), "--out", str(out)]
        command += ["--accelerator", "cpu", *words] + (["--resume"] if resume else [])
        # A file, not `-c`: with several devices Lightning starts the same program again.
        program = out.with_suffix(".py")
        program.write_text(f"{before}\nfrom pneumoscope.cli.app import main\nmain()\n")
        return subprocess.run(
            [sys.executable, str(program), *command],
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )

    return run
