"""What a study found, as typed records: the schema of ``study.json``."""

from pathlib import Path
from typing import Any, Literal

from pneumoscope.core.files import write_json
from pneumoscope.report.comparison_results import (
    OverSeeds,
    PairedTests,
    RecipeResult,
    UntestedPair,
)
from pneumoscope.report.results import DataRecord, MaybeUndefined, Record, Reported

CONTRAST_FIGURES = ("auroc", "specificity balanced", "specificity 0.5", "accuracy balanced")


class RunOutcome(Record):
    """One run of a study: where it stands, and where its figures are from."""

    seed: int
    state: Literal["missing", "unfinished", "trained", "measured", "failed", "in use"]
    reason: str | None  # why it failed, can't go on, or an earlier run is not taken up
    has_failed_before: bool = False  # in an earlier call, and was not tried again in this one
    folder: str
    metrics: str | None  # the metrics.json that every figure of this run is in
    is_taken_up: bool  # of earlier work
    measured_by: Literal["run", "bundle"] | None
    reading: int | None  # the how-manieth reading of the test split its results are
    epochs_run: int | None
    best_epoch: int | None
    n_parameters: int | None
    seconds: float | None  # of training
    images_per_s: float | None  # of training
    machine: dict[str, Any]  # that trained it


class Costs(Record):
    """A bundle's size, and how long one picture takes on this machine."""

    bundle: str
    bundle_sha256: str
    n_bytes: int
    latency_ms: MaybeUndefined  # median over pictures and repeats: decode, run, regions, warnings
    fastest_ms: MaybeUndefined  # median over pictures of each one's fastest repeat
    slowest_ms: MaybeUndefined  # 95th percentile over pictures and repeats
    n_pictures: int  # 0 where there were none to time on; the latencies are then NaN
    n_repeats: int
    pictures: str  # which they are
    pictures_sha256: str = ""  # of their contents
    n_threads: int
    machine: str
    measured: str  # when, UTC, ISO 8601
    package_version: str


class SystemResult(Record):
    """One system of a study."""

    name: str
    recipe: str
    recipe_sha256: str
    title: str
    source_title: str
    unsaid: list[str]  # what the source left open, and was chosen here
    reported: Reported  # ours is the mean over the measured seeds
    runs: list[RunOutcome]  # in the order of the seeds
    result: RecipeResult | None  # None while no run is measured
    not_reproducible: str | None  # which weights can't be had, where that hinders every run
    costs: Costs | None
    no_costs: str | None  # why there are none

    @property
    def measured(self) -> list[RunOutcome]:
        """The runs whose figures count."""
        return [run for run in self.runs if run.state == "measured"]


class PairedDifference(Record):
    """One figure of two systems with the same seeds, on the same radiographs."""

    figure: str  # of CONTRAST_FIGURES
    a: list[MaybeUndefined]  # by seed
    b: list[MaybeUndefined]
    difference: OverSeeds  # a - b by seed; its interval is over patients and seeds
    p_value: MaybeUndefined
    p_holm: MaybeUndefined


class Contrast(Record):
    """Two systems set against each other for a question."""

    question: str
    a: str
    b: str
    seeds: list[int]  # that both have; empty while there is none
    n_wanted: int
    differences: list[PairedDifference]
    averaged: PairedTests | None  # the seeds of each as one detector


class StudyResult(Record):
    """Everything that a study found so far: the content of ``study.json``."""

    notice: str | None
    schema_version: Literal[1] = 1
    name: str
    title: str
    studied: str  # when, UTC, ISO 8601
    package_version: str
    machine: str
    data: DataRecord | None  # None while nothing is measured
    systems: list[SystemResult]
    tests: list[PairedTests]
    untested: list[UntestedPair] = []
    contrasts: list[Contrast]
    method: list[str]

    def write(self, path: Path) -> None:
        """Write the records as JSON, atomically."""
        write_json(path, self.model_dump())
