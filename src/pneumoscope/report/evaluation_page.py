"""The report of one evaluation: one HTML file that needs nothing else and prints well."""

import inspect
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import RadiographError
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import Predictions
from pneumoscope.metrics.operating_point import balanced_threshold, sensitive_threshold
from pneumoscope.report.evaluation_figures import LABELS, show
from pneumoscope.report.html import picture_uri, render
from pneumoscope.report.localisation_section import where_it_looks
from pneumoscope.report.results import (
    POINT_FIGURE_NAMES,
    SCORE_NAMES,
    Evaluation,
    Measured,
    PointResult,
    RunRecord,
)

if TYPE_CHECKING:
    from markupsafe import Markup

_log = logging.getLogger(__name__)

FIGURE_LABELS = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "mcc": "MCC",
}
_MAX_IN_GALLERY = 12
_PICTURE_PX = 200


@dataclass(frozen=True)
class Example:
    """One radiograph of a gallery."""

    picture: str  # data: address of a JPEG
    path: str
    probability: float
    truth: str  # normal, pneumonia, or the subtype


@dataclass(frozen=True)
class Gallery:
    """Radiographs that went the same way."""

    title: str
    order: str  # which of them are shown
    n_all: int  # how many there are, shown or not
    examples: list[Example]


def evaluation_page(
    evaluation: Evaluation, *, drawings: Mapping[str, "Markup"], galleries: Sequence[Gallery]
) -> str:
    """Return the report as HTML.

    Args:
        evaluation: What was measured.
        drawings: The SVG of every figure of `draw_figures`, by its file name.
        galleries: What `make_galleries` chose.

    Raises: MissingExtraError: jinja2 is not installed.
    """
    points = evaluation.operating_points
    return render(
        "evaluation.html.j2",
        title=page_title(evaluation),
        evaluation=evaluation,
        lead=lead_sentence(evaluation),
        reading=reading_sentence(evaluation),
        facts=run_facts(evaluation.run),
        scores=[(FIGURE_LABELS[name], evaluation.scores[name]) for name in SCORE_NAMES],
        point_rows=[
            (FIGURE_LABELS[name], [point.figures[name] for point in points])
            for name in POINT_FIGURE_NAMES
        ],
        charts=[
            (name, label, drawings[name]) for name, label in LABELS.items() if name in drawings
        ],
        confusions=[(point, drawings[f"confusion-{point.name}"]) for point in points],
        galleries=galleries,
        where=where_it_looks(evaluation),
        rules=[
            (name, rule_paragraphs(function))
            for name, function in (
                ("balanced", balanced_threshold),
                ("sensitive", sensitive_threshold),
            )
        ],
        show=show,
        interval=interval,
        signed=signed,
        moment=moment,
    )


def page_title(evaluation: Evaluation) -> str:
    """Return the first line of the report, which also says when there are no patients in it."""
    run, data = evaluation.run, evaluation.data
    what = {"phantom": "synthetic phantoms", "generated": "generated images"}.get(data.origin)
    place = f"{data.split} split of {data.name}" + (f" ({what}, not radiographs)" if what else "")
    return f"{run.recipe}, seed {run.seed}: {place}"


def lead_sentence(evaluation: Evaluation) -> str:
    """Return the answer in one line."""
    figures = evaluation.point("balanced").figures
    auroc = evaluation.scores["auroc"]
    return (
        f"AUROC {show(auroc.value)} ({interval(auroc)}); at the balanced operating point "
        f"sensitivity {show(figures['sensitivity'].value)} ({interval(figures['sensitivity'])}) "
        f"and specificity {show(figures['specificity'].value)} "
        f"({interval(figures['specificity'])})."
    )


def reading_sentence(evaluation: Evaluation) -> str | None:
    """Say the how-manieth reading it was, without a full stop; None where no test was read.

    A later reading is counted by the dataset's name, too, and that may have other radiographs.
    """
    number = evaluation.reading
    if number is None:
        return None
    of = "by this run" if evaluation.counted_in == "run" else "that is recorded in this folder"
    if number == 1:
        return f"This is the first reading of this test split {of}"
    return f"This is reading {number} of this test split, or of one of the same name, {of}"


def interval(figure: Measured) -> str:
    """Return a 95 % interval as text."""
    if math.isnan(figure.low) or math.isnan(figure.high):
        return "no interval"
    return f"{figure.low:.3f} to {figure.high:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign; NaN is "undefined"."""
    return "undefined" if math.isnan(value) else f"{value:+.3f}"


def moment(timestamp: str) -> str:
    """Return an ISO 8601 time as people write it, in UTC; what is no such time stays as it is."""
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        return timestamp
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time.tzinfo else timestamp


def figure_label(name: str, evaluation: Evaluation) -> str:
    """Say what a figure shows, for people who can't see it."""
    for point in evaluation.operating_points:
        if name == f"confusion-{point.name}":
            return _confusion_label(point)
    return LABELS[name]


def _confusion_label(point: PointResult) -> str:
    counts = point.confusion
    return (
        f"Confusion matrix at {point.name}: {counts.true_positive} true positive, "
        f"{counts.false_negative} false negative, {counts.false_positive} false positive, "
        f"{counts.true_negative} true negative"
    )


def run_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Return what there is to know of the run, as labels and text; unknown facts are left out."""
    epochs = f"{run.best_epoch}" if run.selected_checkpoint != "last" else f"{run.epochs_run}, last"
    facts: list[tuple[str, str | None]] = [
        ("Recipe", run.recipe),
        ("Source", run.source_title),
        ("Seed", f"{run.seed}"),
        ("Trained on", _trained_on(run)),
        ("Training radiographs", _number(run.n_training)),
        ("Tuning radiographs", _number(run.n_tuning)),
        ("Fingerprint of training and tuning", _short(run.training_fingerprint)),
        ("Parameters", _number(run.n_parameters)),
        ("Trainable", _number(run.n_trainable)),
        ("Epochs run", _number(run.epochs_run)),
        ("Epoch evaluated", None if run.best_epoch is None else epochs),
        ("Precision", run.precision),
        (
            "Memory format",
            {True: "channels last", False: "contiguous"}.get(bool(run.channels_last))
            if run.channels_last is not None
            else None,
        ),
        ("Training time", None if run.seconds is None else _duration(run.seconds)),
        ("Images/s in training (median)", _number(run.images_per_s)),
        ("Begun", None if run.started is None else moment(run.started)),
        ("Checkpoint", f"{run.checkpoint}, SHA-256 {_short(run.checkpoint_sha256)}"),
        ("Machine", _joined(run.machine)),
        ("Versions", _joined(run.versions)),
    ]
    return [(label, text) for label, text in facts if text]


def make_galleries(
    predictions: Predictions, dataset: Dataset, *, threshold: float
) -> list[Gallery]:
    """Choose radiographs that went wrong, the most confident first, and some that went right.

    The logit ranks them: of probabilities many may round to 1.

    Args:
        predictions: Of the evaluated split.
        dataset: Where the radiographs are read from.
        threshold: Radiographs at or above it are called pneumonia.
    """
    target = predictions.target
    is_called = predictions.probability >= threshold
    row_of = {path: row for row, path in enumerate(dataset.manifest.table["path"].to_list())}

    def gallery(title: str, order: str, members: NDArray[np.bool_], *, chosen: str) -> Gallery:
        rows = np.flatnonzero(members)
        rows = rows[np.argsort(-predictions.logit[rows], kind="stable")]
        if chosen == "lowest":
            rows = rows[::-1]
        picked = rows[:_MAX_IN_GALLERY]
        if chosen == "spread" and rows.size > _MAX_IN_GALLERY // 2:
            picked = rows[np.linspace(0, rows.size - 1, _MAX_IN_GALLERY // 2).round().astype(int)]
        examples = [_example(predictions, int(row), dataset, row_of) for row in picked]
        return Gallery(title, order, rows.size, [e for e in examples if e is not None])

    return [
        gallery(
            "False positives: normal, called pneumonia",
            "the highest probabilities first",
            ~target & is_called,
            chosen="highest",
        ),
        gallery(
            "False negatives: pneumonia, called normal",
            "the lowest probabilities first",
            target & ~is_called,
            chosen="lowest",
        ),
        gallery(
            "True positives: pneumonia, called pneumonia",
            "evenly from the highest probability to the lowest",
            target & is_called,
            chosen="spread",
        ),
        gallery(
            "True negatives: normal, called normal",
            "evenly from the highest probability to the lowest",
            ~target & ~is_called,
            chosen="spread",
        ),
    ]


def rule_paragraphs(function: Callable[..., Any]) -> list[str]:
    """Return the part of a docstring before its arguments, one text a paragraph or list item.

    The rule is told where it is coded and nowhere else, so that the two cannot differ.
    """
    text = (inspect.getdoc(function) or "").split("\nArgs:")[0]
    blocks = re.split(r"\n\s*\n|\n(?=\d+\. )", text)
    return [" ".join(block.split()) for block in blocks if block.strip()]


def _example(
    predictions: Predictions, index: int, dataset: Dataset, row_of: Mapping[str, int]
) -> Example | None:
    path = predictions.path[index]
    try:
        pixels = dataset.read(row_of[path]).pixels
    except (RadiographError, KeyError):
        # It was readable a moment ago; a picture less is no reason to lose the report.
        _log.warning("a radiograph of the gallery can't be read any more and is left out")
        return None
    truth = "normal"
    if predictions.target[index]:
        truth = predictions.subtype[index] or "pneumonia"
    return Example(
        picture=picture_uri(pixels, max_px=_PICTURE_PX),
        path=path,
        probability=float(predictions.probability[index]),
        truth=truth,
    )


def _trained_on(run: RunRecord) -> str:
    origins = ", ".join(f"{n:,} {origin}" for origin, n in run.trained_on_origins.items())
    return f"{run.trained_on} ({origins})" if origins else run.trained_on


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _short(digest: str | None) -> str | None:
    return digest[:12] if digest else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _joined(facts: Mapping[str, Any]) -> str:
    """Return facts in one line, such as "cores 2, memory_gib 23.5"; empty ones are left out."""
    told = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in facts.items()
        if value not in (None, "", [])
    }
    return "; ".join(f"{name} {value}" for name, value in told.items())
