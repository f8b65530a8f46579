"""What reading test after every epoch found, as typed records: the schema of ``epochs.json``."""

from pathlib import Path
from typing import Literal

from pneumoscope.core.files import write_json
from pneumoscope.report.comparison_results import OverSeeds
from pneumoscope.report.results import DataRecord, MaybeUndefined, Record


class Rule(Record):
    """A way to choose the epoch on the test split, and the figure that it flatters."""

    by: Literal["accuracy", "auroc", "loss"]  # of the test split; the least loss, else the most
    figure: Literal["accuracy", "auroc"]  # accuracy at 0.5

    @property
    def words(self) -> str:
        """The rule in words."""
        names = {"accuracy": "accuracy at 0.5", "auroc": "AUROC", "loss": "log loss"}
        most = "least" if self.by == "loss" else "largest"
        return f"{names[self.figure]}, epoch of the {most} test {names[self.by]}"


RULES = (
    Rule(by="accuracy", figure="accuracy"),
    Rule(by="loss", figure="accuracy"),
    Rule(by="auroc", figure="auroc"),
)


class Epoch(Record):
    """One stored epoch."""

    epoch: int  # from 1
    checkpoint_sha256: str
    tuning_loss: MaybeUndefined  # as history.csv has them
    tuning_accuracy: MaybeUndefined
    tuning_auroc: MaybeUndefined
    test_loss: float  # log loss in nats
    test_accuracy: float  # at 0.5
    test_auroc: float


class Gap(Record):
    """How far one rule flatters one run."""

    rule: Rule
    best_epoch: int  # by the test split
    at_best: float
    at_chosen: float
    gap: float
    low: MaybeUndefined  # 95 %, patients resampled, the best epoch chosen anew each time
    high: MaybeUndefined
    kept: MaybeUndefined  # what is left of the gap on patients who had no part in the choice


class EpochsOfRun(Record):
    """Every epoch of one run on the test split."""

    folder: str
    metrics: str  # the run's own result, measured before
    recipe: str  # its name; with the hash where another recipe here has the same
    recipe_sha256: str
    seed: int
    chosen_epoch: int  # that the run keeps
    keeps: str  # by what it chose
    epochs: list[Epoch]
    gaps: list[Gap]  # one a rule


class GapOverSeeds(Record):
    """How far one rule flatters a recipe."""

    recipe: str  # as in the runs
    rule: Rule
    seeds: list[int]
    gap: OverSeeds  # its interval is over patients and seeds
    kept: MaybeUndefined  # mean over seeds


class EpochsResult(Record):
    """Everything that reading every epoch found: the content of ``epochs.json``."""

    notice: str | None
    schema_version: Literal[1] = 1
    read: str  # when the result was made, UTC, ISO 8601
    package_version: str
    data: DataRecord
    runs: list[EpochsOfRun]
    over_seeds: list[GapOverSeeds]
    method: list[str]

    def write(self, path: Path) -> None:
        """Write the records as JSON, atomically."""
        write_json(path, self.model_dump())
