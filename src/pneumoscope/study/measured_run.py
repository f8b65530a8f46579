"""A run whose test split was read: its results as they lie in its folder."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pneumoscope.core.errors import RunError
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.metrics.calibration import Calibration, recover_calibration
from pneumoscope.report.results import METRICS_FILE, Evaluation, load_evaluation
from pneumoscope.study.records import samples_of
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import load_recipe
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.run_state import FACTS_FILE, RECIPE_FILE, read_facts


@dataclass(frozen=True)
class MeasuredRun:
    """A run whose test split was read, with its results."""

    folder: Path
    evaluation: Evaluation
    predictions: Predictions  # sorted by path
    calibration: Calibration  # which made its probabilities of its logits
    recipe: Recipe | None = None  # None of results that were written elsewhere than to their run
    samples: str = ""  # fingerprint of the generated images that it trained with, where known

    @property
    def calibrated_predictions(self) -> Predictions:
        """The predictions, a bundle's with the log odds of its probabilities as logits."""
        if not self.evaluation.run.is_of_bundle:
            return self.predictions
        logit = pl.Series("logit", self.calibration.log_odds(self.predictions.logit))
        return Predictions(self.predictions.table.with_columns(logit))

    def threshold(self, point: str) -> float:
        """Return the run's own threshold of an operating point. Raises: RunError: it has none."""
        return self.evaluation.point(point).threshold


def load_measured(folder: Path) -> MeasuredRun:
    """Return a run's results on test.

    A bundle's calibration is worked out from its logits and probabilities side by side, to about
    1e-7 of log odds: the table has all that is needed, whichever version wrote it, and the bundle
    itself may be elsewhere by now.

    Raises: RunError: they are missing, damaged, or of another split.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run folder. Check the path.")
    evaluation = load_evaluation(folder / METRICS_FILE)
    if evaluation.data.split != "test":
        raise RunError(
            f"{folder}: holds results on the {evaluation.data.split} split; runs are compared on "
            f"test. Run: pneumoscope evaluate {folder} --data DATASET"
        )
    predictions = read_predictions(folder / "predictions-test.csv")
    if len(predictions) != evaluation.data.n:
        raise RunError(
            f"{folder}: predictions-test.csv has {len(predictions):,} rows, but metrics.json was "
            f"made from {evaluation.data.n:,}. Evaluate the run again."
        )
    try:
        calibration = recover_calibration(predictions.logit, predictions.probability)
    except ValueError as error:
        raise RunError(
            f"{folder}: no figures can be worked out from its predictions-test.csv ({error}) "
            "Evaluate the run again."
        ) from error
    recipe = load_recipe(folder / RECIPE_FILE) if (folder / RECIPE_FILE).is_file() else None
    has_facts = (folder / FACTS_FILE).is_file()
    return MeasuredRun(
        folder,
        evaluation if recipe is None else _with_hash_of(recipe, evaluation),
        Predictions(predictions.table.sort("path")),
        calibration,
        recipe=recipe,
        samples=samples_of(read_facts(folder, command="pneumoscope train")) if has_facts else "",
    )


def _with_hash_of(recipe: Recipe, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with its recipe's hash as this version works it out."""
    run = evaluation.run.model_copy(update={"recipe_sha256": recipe_sha256(recipe)})
    return evaluation.model_copy(update={"run": run})
