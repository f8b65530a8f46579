"""A run folder: what `train` leaves, and how it is read again."""

from pathlib import Path
from typing import Any

from pneumoscope.core.errors import NoDetectorError, RunError, UsageError
from pneumoscope.core.files import write_json, write_text
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import load_recipe, recipe_yaml
from pneumoscope.training.run_state import (
    FACTS_FILE,
    RECIPE_FILE,
    check_has_finished,
    read_facts,
)

RUN_SCHEMA = 1
BUNDLE_FILE = "bundle.onnx"
_COMMAND = "pneumoscope train"


def check_bundle_name(path: Path) -> None:
    """Refuse a file that does not end in ``.onnx``. Raises: UsageError."""
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: a bundle's name ends in .onnx. Write to {path}.onnx, say.")


class RunFolder:
    """One run on disk: ``recipe.yaml``, ``run.json``, ``history.csv``, checkpoints, predictions.

    Args:
        path: The folder.
        recipe: What was trained.
        facts: The content of ``run.json``.
        is_writer: Whether this process writes the folder; of several that train together, one does.
    """

    def __init__(
        self, path: Path, *, recipe: Recipe, facts: dict[str, Any], is_writer: bool = True
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.facts = facts
        self.is_writer = is_writer

    @property
    def name(self) -> str:
        """The recipe and seed, to call the run by."""
        return f"{self.recipe.name} (seed {self.facts['seed']})"

    @property
    def history_path(self) -> Path:
        """The table with one row an epoch."""
        return self.path / "history.csv"

    @property
    def checkpoint_path(self) -> Path:
        """The checkpoint of the epoch that the recipe keeps."""
        return self.path / "checkpoints" / f"{self.recipe.training.keep.epoch}.ckpt"

    def predictions_path(self, split: str) -> Path:
        """Return where the answers on a split are written."""
        return self.path / f"predictions-{split}.csv"

    def predictions(self, split: str) -> Predictions:
        """Return the answers on a split. Raises: RunError: they are not there."""
        return read_predictions(self.predictions_path(split))

    def write_recipe(self) -> None:
        """Write recipe.yaml, every default written out."""
        if self.is_writer:
            write_text(self.path / RECIPE_FILE, recipe_yaml(self.recipe))

    def write_facts(self) -> None:
        """Write run.json."""
        if self.is_writer:
            write_json(self.path / FACTS_FILE, self.facts)


def open_run(path: Path, *, needs_finished: bool = True) -> RunFolder:
    """Return the run in a folder.

    Raises: RunError: there is none, it is damaged, or it is not finished though it must be.
    """
    facts = read_facts(path, command=_COMMAND)
    if isinstance(facts, dict) and str(facts.get("schema")).startswith("gan-"):
        raise NoDetectorError(
            f"{path}: holds a DCGAN, which tells nothing of a radiograph. "
            "Use `pneumoscope gan sample` or `pneumoscope gan evaluate` on it."
        )
    schema = facts.get("schema") if isinstance(facts, dict) else facts
    if schema != RUN_SCHEMA:
        raise RunError(
            f"{path / FACTS_FILE}: schema {schema!r}, but this version reads {RUN_SCHEMA}. "
            f"Use the version that wrote it."
        )
    if needs_finished:
        check_has_finished(path, facts, command=_COMMAND)
    return RunFolder(path, recipe=load_recipe(path / RECIPE_FILE), facts=facts)
