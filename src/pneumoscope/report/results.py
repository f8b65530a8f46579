"""What an evaluation found, as typed records: the schema of ``metrics.json``.

Every figure that a report or a table shows is read from here, so that nothing on paper is without
its source. An undefined figure is NaN in memory and null in the file.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pneumoscope.core.errors import RunError
from pneumoscope.core.files import write_json
from pneumoscope.core.types import Estimate
from pneumoscope.metrics.confusion import ConfusionMatrix

SCHEMA_VERSION = 1
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"

EvaluatedSplit = Literal["test", "tuning", "training"]
SCORE_NAMES = ("auroc", "average_precision", "brier", "ece")
POINT_FIGURE_NAMES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc")

# JSON has no NaN, so the file says null.
MaybeUndefined = Annotated[
    float, BeforeValidator(lambda value: math.nan if value is None else value)
]


class Record(BaseModel):
    """Base of every record. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FigureRecord(Record):
    """One figure with its 95 % interval; see `pneumoscope.core.types.Estimate`."""

    value: MaybeUndefined
    low: MaybeUndefined
    high: MaybeUndefined
    n: int | None  # None where a bundle's card does not say
    method: str


class Measured(FigureRecord):
    """A figure that was measured here, so that it is known on how many radiographs."""

    n: int

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Return the record of an estimate."""
        return cls(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            method=estimate.method,
        )


class Confusion(Record):
    """How many radiographs were called right and wrong, by class."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @classmethod
    def of(cls, matrix: ConfusionMatrix) -> Self:
        """Return the record of a confusion matrix."""
        return cls(
            true_positive=matrix.true_positive,
            false_negative=matrix.false_negative,
            false_positive=matrix.false_positive,
            true_negative=matrix.true_negative,
        )

    @property
    def matrix(self) -> ConfusionMatrix:
        """The counts with their figures of merit."""
        return ConfusionMatrix(**self.model_dump())


class PointResult(Record):
    """What one threshold achieves on the evaluated split, and on the tuning split."""

    name: str
    threshold: float  # probability in [0, 1]
    rule: str  # how the threshold came about
    on_tuning: dict[str, FigureRecord]  # sensitivity and specificity where the threshold was chosen
    confusion: Confusion
    figures: dict[str, Measured]  # keys POINT_FIGURE_NAMES


class SubgroupResult(Record):
    """How one subtype of pneumonia is found."""

    name: str  # bacterial, viral
    n: int  # radiographs of the subtype
    sensitivity: dict[str, Measured]  # by operating point
    auroc: Measured  # the subtype's radiographs against all normal ones


class ClassRow(Record):
    """One line of the classification report."""

    name: str
    precision: MaybeUndefined
    recall: MaybeUndefined
    f1: MaybeUndefined
    support: int


class ClassificationReport(Record):
    """Precision, recall and F1 by class, as the recipes' sources print them."""

    threshold: float
    classes: list[ClassRow]  # normal, pneumonia
    macro_average: ClassRow
    weighted_average: ClassRow  # weighted by support
    accuracy: float


class ReportedFigure(Record):
    """One figure that a source reported, and ours of the same kind."""

    name: str
    reported: float
    ours: MaybeUndefined  # NaN where nothing of the kind was measured
    ours_is: str  # which figure of ours, and at which threshold
    difference: MaybeUndefined  # ours - reported


class Reported(Record):
    """What the recipe's source reported."""

    how: str  # how the source measured
    figures: list[ReportedFigure]
    confusion: Confusion | None = None  # of the source, where it printed one


class RunRecord(Record):
    """The run that was evaluated, and what repeats it."""

    folder: str
    recipe: str
    recipe_sha256: str  # of the resolved recipe: two runs that share it differ in seed alone
    title: str
    source_title: str
    unsaid: list[str] = []  # what the source left open, and was chosen here
    seed: int
    checkpoint: str
    checkpoint_sha256: str
    best_epoch: int | None = None
    epochs_run: int | None = None
    selected_checkpoint: str | None = None
    n_parameters: int | None = None
    n_trainable: int | None = None
    precision: str | None = None
    channels_last: bool | None = None
    started: str | None = None
    seconds: float | None = None
    images_per_s: float | None = None
    machine: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    trained_on: str  # the dataset's name
    trained_on_origins: dict[str, int] = {}
    training_fingerprint: str | None = None  # of the training and tuning images together
    n_training: int | None = None
    n_tuning: int | None = None

    @property
    def is_of_bundle(self) -> bool:
        """Whether it was measured through its bundle, whose probabilities are calibrated."""
        return self.checkpoint.endswith(".onnx")


class DataRecord(Record):
    """The radiographs that the figures rest on."""

    name: str
    split: EvaluatedSplit
    origin: str  # "real", "phantom", or several joined by " + " (the training split alone)
    fingerprint: str  # sha256 over path, target, patient and content
    n: int
    n_pneumonia: int
    n_normal: int
    n_patients: int
    prevalence: float
    left_out: list[str] = []  # paths that could not be read


class LocalisationRow(Record):
    """How well one way of saying where agrees with the boxes."""

    name: str  # "detector", "image centre", "random"
    pointing_game: Measured  # share of marked radiographs whose point is in a box
    mean_best_iou: Measured  # over marked radiographs
    rsna_score: Measured  # over radiographs with a region or a box


class Localisation(Record):
    """Whether the maps lie where the boxes are."""

    threshold: float  # regions are shown at or above this probability: the balanced point's
    n: int  # radiographs: normal, or with boxes
    n_with_boxes: int
    n_boxes: int
    n_unmarked: int  # pneumonia without boxes, left out
    map_height: int  # positions
    map_width: int
    mean_box: tuple[float, float] | None  # width, height as shares of the picture, in training
    rows: list[LocalisationRow]


class MapSanity(Record):
    """How far the maps resemble those of networks with random weights."""

    n: int  # radiographs
    n_constant: int  # of them, where a map was constant and has no ranks; left out
    n_networks: int  # random ones
    map_height: int  # positions
    map_width: int
    mean_abs_rho: Measured  # Spearman's, over radiographs; of each, the mean over the networks
    mean_rho: Measured  # with its sign
    chance_abs_rho: float  # about what two maps of so many independent positions would have
    bar: float
    is_met: bool  # mean_abs_rho is at most the bar


class Evaluation(Record):
    """Everything that one evaluation found: the content of ``metrics.json``."""

    notice: str | None  # what must be known before any figure; None where nothing is unusual
    schema_version: Literal[1] = 1
    caveats: list[str]
    evaluated: str  # when, UTC, ISO 8601
    package_version: str
    reading: int | None = Field(description="The how-manieth reading of this test split.")
    counted_in: Literal["run", "folder"] = "run"  # folder: a bundle's results, away from its run
    data: DataRecord
    run: RunRecord
    scores: dict[str, Measured]  # keys SCORE_NAMES
    log_loss: float  # mean binary cross-entropy in nats: "loss" as the sources report it
    operating_points: list[PointResult]  # balanced, sensitive, 0.5
    subgroups: list[SubgroupResult]
    classification_report: ClassificationReport
    reported: Reported
    localisation: Localisation | None = None  # where the split has boxes
    map_sanity: MapSanity | None = None  # where the detector gives maps

    def point(self, name: str) -> PointResult:
        """Return one operating point.

        Raises: RunError: there is none of that name.
        """
        for point in self.operating_points:
            if point.name == name:
                return point
        known = ", ".join(point.name for point in self.operating_points)
        raise RunError(f"{self.run.folder}: no operating point {name!r} among {known}.")

    def write(self, path: Path) -> None:
        """Write the records as JSON, atomically."""
        write_json(path, self.model_dump())


def load_evaluation(path: Path) -> Evaluation:
    """Read the ``metrics.json`` that an evaluation wrote.

    Raises: RunError: the file is missing, damaged, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: missing, so this run is not evaluated yet. "
            f"Run: pneumoscope evaluate {path.parent} --data DATASET"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}). Move it away and evaluate the run again."
        ) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path}: schema_version is {version!r}; this package reads {SCHEMA_VERSION}. "
            "Move it away and evaluate the run again with this version."
        )
    try:
        return Evaluation.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{path}: {where}: {first['msg']}. The file was changed or damaged; "
            "move it away and evaluate the run again."
        ) from error
