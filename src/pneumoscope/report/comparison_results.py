"""What a comparison of runs found, as typed records: the schema of ``comparison.json``."""

from pathlib import Path
from typing import Literal

from pneumoscope.core.files import write_json
from pneumoscope.report.results import DataRecord, MaybeUndefined, Record, Reported

COMPARED_POINTS = ("balanced", "0.5")


class OverSeeds(Record):
    """One figure of a recipe over its seeds."""

    mean: MaybeUndefined
    sd: MaybeUndefined  # divisor n - 1; NaN with one seed
    minimum: MaybeUndefined
    maximum: MaybeUndefined
    low: MaybeUndefined  # 95 % interval of the mean over these seeds, patients resampled
    high: MaybeUndefined
    by_seed: list[MaybeUndefined]  # in the order of the recipe's seeds


class RecipeResult(Record):
    """One recipe: what its runs achieve on the same radiographs."""

    label: str  # the recipe's name, made unique where two recipes share one
    recipe: str
    title: str
    source_title: str
    recipe_sha256: str
    seeds: list[int]
    runs: list[str]  # the run folders, in the order of the seeds
    readings: list[int | None]  # the how-manieth reading of the test split each run's results are
    n_parameters: int | None
    scores: dict[str, OverSeeds]  # keys SCORE_NAMES
    points: dict[str, dict[str, OverSeeds]]  # COMPARED_POINTS, then POINT_FIGURE_NAMES
    thresholds: dict[str, list[float]]  # by operating point, in the order of the seeds
    reported: Reported  # ours is the mean over seeds


class AurocTest(Record):
    """DeLong's paired test between two recipes."""

    auroc_a: float
    auroc_b: float
    difference: float  # a - b
    low: MaybeUndefined
    high: MaybeUndefined
    p_value: MaybeUndefined
    p_holm: MaybeUndefined


class AccuracyTest(Record):
    """McNemar's exact test between two recipes."""

    accuracy_a: float
    accuracy_b: float
    n_only_a: int  # radiographs that only a calls right
    n_only_b: int
    p_value: float
    p_holm: float


class PairedTests(Record):
    """Two recipes on the same radiographs."""

    a: str
    b: str
    seeds: list[int]  # that both have: each is one detector, averaged over these
    auroc: AurocTest
    accuracy: AccuracyTest


class UntestedPair(Record):
    """Two recipes without a common seed: what would be averaged is not alike."""

    a: str
    b: str


class Comparison(Record):
    """Everything that one comparison found: the content of ``comparison.json``."""

    notice: str | None
    schema_version: Literal[1] = 1
    compared: str  # when, UTC, ISO 8601
    package_version: str
    data: DataRecord
    recipes: list[RecipeResult]
    tests: list[PairedTests]
    untested: list[UntestedPair] = []
    method: list[str]  # how the figures and tests came about, one sentence or two each

    def write(self, path: Path) -> None:
        """Write the records as JSON, atomically."""
        write_json(path, self.model_dump())
