"""What an evaluation of synthetic radiographs found: the schema of ``synthetic.json``."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pneumoscope.core.files import write_json
from pneumoscope.report.results import MaybeUndefined, Measured, Record

SCHEMA_VERSION = 1
SYNTHETIC_FILE = "synthetic.json"
SYNTHETIC_PAGE = "synthetic.html"
PAIRS_FIGURE = "synthetic-closest-pairs"

# Kinds of pictures, and columns of the distances
SAMPLES = "synthetic"
OTHER_HALF = "other half"
HELD_OUT = "held out"
LEFT_OUT = "left out"
BLURRED = "left out, blurred"
MATCHED = "left out, detail matched"  # blurred until they have as little detail as the samples
PLANTED = "planted"
SAME_PATIENT = "same patient"


class Spread(Record):
    """A figure over repeated draws. Not a confidence interval: only the draw differs."""

    mean: MaybeUndefined
    low: MaybeUndefined  # 2.5th percentile over the draws
    high: MaybeUndefined  # 97.5th


class EqualSizes(Record):
    """Figures between a reference and several other sets, all of ``n`` pictures."""

    n: int  # pictures in every set of every draw
    n_draws: int
    columns: dict[str, dict[str, Spread]]  # set -> figure -> spread


class WholeSets(Record):
    """Figures between all real radiographs and all samples."""

    n_real: int
    n_samples: int
    figures: dict[str, Measured]


class CopyRow(Record):
    """How near one kind of picture comes to the training radiographs."""

    kind: str  # SAMPLES, LEFT_OUT, HELD_OUT, BLURRED, MATCHED, PLANTED or SAME_PATIENT
    n: int
    closer: Measured  # share nearer to its radiograph than another patient's radiograph is
    excess: Measured | None = None  # that share less the one of LEFT_OUT; None there
    below_5th: Measured | None = None  # share nearer than LEFT_OUT's 5th percentile
    below_1st: Measured | None = None
    smallest: float  # distance
    median: float


class Copies(Record):
    """The memorisation check in one space."""

    space: str  # "pixels" or "embedding"
    unit: str
    rows: list[CopyRow]

    def row(self, kind: str) -> CopyRow | None:
        """Return the row of a kind, or None where there is none."""
        return next((row for row in self.rows if row.kind == kind), None)


class Pair(Record):
    """A sample and its nearest training radiograph."""

    space: str
    chosen_by: str  # "distance", or "ratio" of the two distances
    sample_index: int  # which of the samples, from 0
    path: str  # of the training radiograph
    distance: float
    neighbour_path: str  # the radiograph of another patient that is nearest to that one
    neighbour_distance: float


class GanRecord(Record):
    """The run that made the samples."""

    folder: str
    recipe: str
    title: str
    seed: int | None
    epochs_run: int | None
    size_px: int
    target: int  # 0 normal, 1 pneumonia


class RealRecord(Record):
    """The real radiographs that the samples are set against."""

    name: str
    origin: str
    fingerprint: str | None
    n: int  # different pictures that the GAN learnt from
    n_patients: int
    n_copies: int  # exact copies among them, left out
    n_held_out: int
    n_held_out_patients: int


class BundleRecord(Record):
    """Whose embedding the distances are in."""

    name: str
    version: str
    sha256: str
    n_dimensions: int


class SyntheticEvaluation(Record):
    """Everything that `gan evaluate` found."""

    schema_version: int = SCHEMA_VERSION
    notice: str | None
    evaluated: str  # ISO 8601
    package_version: str
    gan: GanRecord
    real: RealRecord
    bundle: BundleRecord
    n_samples: int
    sample_seed: int
    k: int  # neighbours
    matched_blur_px: float | None = None  # of MATCHED; None where samples are no smoother than real
    halves: EqualSizes
    small: EqualSizes | None  # with the held-out radiographs, at their number
    whole: WholeSets
    copies: list[Copies]
    pairs: list[Pair]
    method: list[str] = Field(description="How each figure came about, for the report.")

    def write(self, path: Path) -> None:
        """Write synthetic.json, atomically."""
        values: dict[str, Any] = self.model_dump()
        write_json(path, values)
