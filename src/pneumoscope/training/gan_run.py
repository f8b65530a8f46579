"""The run folder of a DCGAN: what `gan train` leaves, and how it is found again."""

import csv
import io
from pathlib import Path
from typing import Any

from pneumoscope.core.errors import RunError
from pneumoscope.core.files import write_json, write_text
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.gan_recipe_file import gan_recipe_yaml, load_gan_recipe
from pneumoscope.training.run_state import (
    FACTS_FILE,
    RECIPE_FILE,
    check_has_finished,
    has_run,
    other_experiment,
    read_facts,
)

# Not the number that a detector's run has: `evaluate` and `export` then refuse the folder.
GAN_RUN_SCHEMA = "gan-1"
HISTORY_COLUMNS = (
    "epoch",
    "discriminator_loss",
    "generator_loss",
    "real_score",
    "fake_score",
    "sample_std",
    "seconds",
    "images_per_s",
)
_COMMAND = "pneumoscope gan train"


class GanRun:
    """One DCGAN on disk: ``recipe.yaml``, ``run.json``, ``history.csv``, checkpoint, grids.

    Args:
        path: The folder.
        recipe: What was trained.
        facts: The content of ``run.json``.
    """

    def __init__(self, path: Path, *, recipe: GanRecipe, facts: dict[str, Any]) -> None:
        self.path = path
        self.recipe = recipe
        self.facts = facts

    @property
    def name(self) -> str:
        """The recipe and seed, to call the run by; written beside each sample."""
        return f"{self.recipe.name}-s{self.facts['seed']}"

    @property
    def checkpoint_path(self) -> Path:
        """The state after the last whole epoch."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def losses_path(self) -> Path:
        """The figure of the losses."""
        return self.path / "losses.png"

    def grid_path(self, epoch: int) -> Path:
        """Return where an epoch's samples are drawn; epochs count from 1."""
        return self.path / "grids" / f"epoch-{epoch:03d}.png"

    def write_recipe(self) -> None:
        """Write recipe.yaml, every default written out."""
        write_text(self.path / RECIPE_FILE, gan_recipe_yaml(self.recipe))

    def write_facts(self) -> None:
        """Write run.json."""
        write_json(self.path / FACTS_FILE, self.facts)

    def write_history(self, history: list[dict[str, float]]) -> None:
        """Write history.csv: one row an epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(self.path / "history.csv", text.getvalue())


def open_gan_run(path: Path, *, needs_finished: bool = True) -> GanRun:
    """Return the DCGAN in a folder.

    Raises: RunError: there is none, it is damaged, or it is not finished though it must be.
    """
    facts = read_facts(path, command=_COMMAND)
    schema = facts.get("schema") if isinstance(facts, dict) else facts
    if schema != GAN_RUN_SCHEMA:
        raise RunError(
            f"{path / FACTS_FILE}: schema {schema!r}, but a DCGAN's run has {GAN_RUN_SCHEMA!r}. "
            f"Give a folder that `pneumoscope gan train ... --out` of this version wrote."
        )
    if needs_finished:
        check_has_finished(path, facts, command=_COMMAND)
    return GanRun(path, recipe=load_gan_recipe(path / RECIPE_FILE), facts=facts)


def find_earlier(out: Path, recipe: GanRecipe, *, seed: int, resume: bool) -> GanRun | None:
    """Return the run that ``out`` holds, if it is this one and may go on; None if it is empty.

    Raises: RunError: the folder holds something else, or a run though ``resume`` is not set.
    """
    if not has_run(out, resume=resume):
        return None
    earlier = open_gan_run(out, needs_finished=False)
    if earlier.recipe != recipe or earlier.facts["seed"] != seed:
        raise other_experiment(out, earlier.name)
    return earlier
