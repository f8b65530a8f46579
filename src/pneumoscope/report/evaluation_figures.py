"""The figures of an evaluation, as matplotlib Figures that belong to no window.

Colours are Okabe and Ito's (safe for the colour-blind), colour maps perceptually uniform; what a
colour tells, a line style or a marker tells too, so that the figures survive a grey printer.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.core.optional import import_extra
from pneumoscope.core.types import CLASS_NAMES
from pneumoscope.data.predictions import Predictions
from pneumoscope.metrics.calibration import reliability
from pneumoscope.metrics.curves import precision_recall_curve, roc_curve
from pneumoscope.report.results import Evaluation, PointResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PURPOSE = "Drawing figures"
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, INK, SOFT = "#56B4E9", "#B58900", "#1c2530", "#7a8794"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, INK)
LINE_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "D", "^")
_N_HISTOGRAM_BINS = 20

LABELS = {
    "learning-curves": "Loss and accuracy of training and tuning split by epoch",
    "roc": "ROC curve with the operating points",
    "precision-recall": "PPV against sensitivity with the operating points",
    "reliability": "Observed share of pneumonia against predicted probability",
    "probabilities": "Histogram of predicted probabilities by class",
}


def draw_figures(
    evaluation: Evaluation, predictions: Predictions, history: pl.DataFrame | None
) -> dict[str, "Figure"]:
    """Return every figure of the report by its file name, without the ending.

    Args:
        evaluation: What was measured.
        predictions: The evaluated split's.
        history: One row an epoch, as the run's ``history.csv`` has them; None leaves the learning
            curves out.

    Raises: MissingExtraError: matplotlib is not installed.
    """
    points = evaluation.operating_points
    figures = {}
    if history is not None and history.height > 0:
        figures["learning-curves"] = learning_curves(history, chosen=chosen_epoch(evaluation))
    figures["roc"] = roc_figure(predictions, points, auroc=evaluation.scores["auroc"].value)
    figures["precision-recall"] = precision_recall_figure(
        predictions, points, average_precision=evaluation.scores["average_precision"].value
    )
    figures["reliability"] = reliability_figure(predictions)
    figures["probabilities"] = histogram_figure(predictions, points)
    for point in points:
        figures[f"confusion-{point.name}"] = confusion_figure(point)
    return figures


def chosen_epoch(evaluation: Evaluation) -> int | None:
    """Return the epoch whose weights were evaluated."""
    run = evaluation.run
    return run.epochs_run if run.selected_checkpoint == "last" else run.best_epoch


def new_figure(width_in: float, height_in: float) -> "Figure":
    """Return an empty figure that makes room for its own labels."""
    module = import_extra("matplotlib.figure", extra="train", purpose=_PURPOSE)
    figure: Figure = module.Figure(figsize=(width_in, height_in), layout="constrained")
    return figure


def learning_curves(history: pl.DataFrame, *, chosen: int | None) -> "Figure":
    """Draw loss and accuracy by epoch, training against tuning split."""
    ticker = import_extra("matplotlib.ticker", extra="train", purpose=_PURPOSE)
    figure = new_figure(10.4, 3.7)
    epoch = history["epoch"].to_numpy()
    for index, (name, unit) in enumerate((("loss", "Loss (nats)"), ("accuracy", "Accuracy"))):
        axes = figure.add_subplot(1, 2, index + 1)
        for split, colour, style, marker in (
            ("training", BLUE, "-", "o"),
            ("tuning", ORANGE, "--", "s"),
        ):
            values = history[f"{split}_{name}"].cast(pl.Float64).to_numpy()
            axes.plot(
                epoch,
                values,
                style,
                color=colour,
                marker=marker,
                markersize=4,
                label=f"{split} split",
            )
        if chosen is not None:
            axes.axvline(chosen, color=SOFT, linestyle=":", label=f"epoch {chosen}, evaluated")
        axes.set(xlabel="Epoch", ylabel=unit)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        _finish(axes)
        axes.legend(frameon=False, fontsize=8)
    return figure


def roc_figure(
    predictions: Predictions, points: Sequence[PointResult], *, auroc: float
) -> "Figure":
    """Draw the ROC curve of the logits, and where the operating points lie on it."""
    curve = roc_curve(predictions.logit, predictions.target)
    figure = new_figure(5.2, 4.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=1, label="chance")
    axes.plot(
        curve.false_positive_rate,
        curve.sensitivity,
        color=BLUE,
        linewidth=1.8,
        label=f"AUROC {show(auroc)}",
    )
    _mark_points(
        axes,
        points,
        x={p.name: 1 - p.figures["specificity"].value for p in points},
        y={p.name: p.figures["sensitivity"].value for p in points},
        names=("specificity", "sensitivity"),
    )
    axes.set(xlabel="1 − specificity (false-positive rate)", ylabel="Sensitivity")
    _finish(axes, is_unit_square=True)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def precision_recall_figure(
    predictions: Predictions, points: Sequence[PointResult], *, average_precision: float
) -> "Figure":
    """Draw PPV against sensitivity by the logits; a detector that guesses has the prevalence."""
    curve = precision_recall_curve(predictions.logit, predictions.target)
    prevalence = float(predictions.target.mean())
    figure = new_figure(5.2, 4.8)
    axes = figure.add_subplot()
    axes.axhline(
        prevalence, linestyle=":", color=SOFT, linewidth=1, label=f"prevalence {show(prevalence)}"
    )
    # The area is summed over steps, so steps are drawn.
    axes.step(
        curve.sensitivity,
        curve.ppv,
        where="pre",
        color=BLUE,
        linewidth=1.8,
        label=f"average precision {show(average_precision)}",
    )
    _mark_points(
        axes,
        points,
        x={p.name: p.figures["sensitivity"].value for p in points},
        y={p.name: p.figures["ppv"].value for p in points},
        names=("sensitivity", "ppv"),
    )
    axes.set(xlabel="Sensitivity (recall)", ylabel="PPV (precision)")
    _finish(axes, is_unit_square=True)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def reliability_figure(predictions: Predictions, *, n_bins: int = 10) -> "Figure":
    """Draw observed against predicted share of pneumonia, with the radiographs in each bin."""
    bins = reliability(predictions.probability, predictions.target, n_bins=n_bins)
    figure = new_figure(5.2, 4.8)
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1))
    axes = figure.add_subplot(grid[0])
    has_any = bins.n > 0
    x, y = bins.mean_probability[has_any], bins.fraction_positive[has_any]
    # A Wilson interval leaves its own share out by a rounding at 0 and 1; a bar is never negative.
    error = np.maximum([y - bins.low[has_any], bins.high[has_any] - y], 0.0)
    axes.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=1, label="perfect calibration")
    axes.errorbar(
        x,
        y,
        yerr=error,
        fmt="o-",
        color=BLUE,
        capsize=3,
        linewidth=1.4,
        label="observed, 95 % Wilson",
    )
    axes.set(ylabel="Observed share of pneumonia")
    _finish(axes, is_unit_square=True)
    axes.set_aspect("auto")
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    counts = figure.add_subplot(grid[1], sharex=axes)
    bars = counts.bar(
        (np.arange(n_bins) + 0.5) / n_bins, bins.n, width=0.9 / n_bins, color=SKY, edgecolor=BLUE
    )
    counts.bar_label(bars, fontsize=7, padding=1)
    counts.margins(y=0.25)
    counts.set(xlabel="Predicted P(pneumonia)", ylabel="Radiographs")
    _finish(counts)
    return figure


def histogram_figure(predictions: Predictions, points: Sequence[PointResult]) -> "Figure":
    """Draw how the probabilities of each class are spread, with the thresholds."""
    figure = new_figure(5.2, 4.8)
    axes = figure.add_subplot()
    edges = np.linspace(0, 1, _N_HISTOGRAM_BINS + 1)
    for name, is_member, colour, hatch in (
        ("normal", ~predictions.target, BLUE, ""),
        ("pneumonia", predictions.target, ORANGE, "///"),
    ):
        axes.hist(
            predictions.probability[is_member],
            bins=edges.tolist(),
            histtype="stepfilled",
            facecolor=(*_rgb(colour), 0.3),
            edgecolor=colour,
            hatch=hatch,
            label=f"{name} (n = {int(np.count_nonzero(is_member)):,})",
        )
    for index, point in enumerate(points):
        axes.axvline(
            point.threshold,
            color=INK,
            linewidth=1,
            linestyle=LINE_STYLES[(index + 1) % len(LINE_STYLES)],
            label=f"threshold {point.name} ({point.threshold:.3f})"
            if point.name != f"{point.threshold:g}"
            else f"threshold {point.name}",
        )
    axes.set(
        xlabel="Predicted P(pneumonia)",
        ylabel=f"Radiographs in a bin of {1 / _N_HISTOGRAM_BINS:g}",
        xlim=(0, 1),
    )
    _finish(axes)
    # Thresholds run from top to bottom: the legend stands on white, or they would strike it out.
    axes.legend(fontsize=8, loc="upper left", framealpha=0.92, edgecolor="none")
    return figure


def confusion_figure(point: PointResult) -> "Figure":
    """Draw a confusion matrix as a heat map: colour is the share of the row, text the count."""
    matrix = point.confusion
    counts = np.array(
        [
            [matrix.true_negative, matrix.false_positive],
            [matrix.false_negative, matrix.true_positive],
        ]
    )
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(3.6, 3.3)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}\n{share[row, column]:.1%}",
                ha="center",
                va="center",
                fontsize=12,
                # cividis passes mid-grey half-way
                color="white" if share[row, column] < 0.5 else "black",
            )
    axes.set_xticks([0, 1], CLASS_NAMES)
    axes.set_yticks([0, 1], CLASS_NAMES, rotation=90, va="center")
    axes.set(xlabel="Called", ylabel="Reference standard")
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("Share of the row", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def show(value: float, *, digits: int = 3) -> str:
    """Return a figure as text; NaN is "undefined"."""
    return "undefined" if np.isnan(value) else f"{value:.{digits}f}"


def _mark_points(
    axes: "Axes",
    points: Sequence[PointResult],
    *,
    x: Mapping[str, float],
    y: Mapping[str, float],
    names: Sequence[str],
) -> None:
    """Draw each operating point; the legend gives its figures of these names."""
    for index, point in enumerate(points):
        told = ", ".join(
            f"{name.upper() if name == 'ppv' else name} {show(point.figures[name].value)}"
            for name in names
        )
        axes.plot(
            x[point.name],
            y[point.name],
            linestyle="none",
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=8,
            markerfacecolor=SERIES[1 + index],
            markeredgecolor="white",
            label=f"{point.name}: {told}",
        )


def _finish(axes: "Axes", *, is_unit_square: bool = False) -> None:
    """Take the frame away that carries nothing, and fix the axes of shares."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6eaee", linewidth=0.7)
    axes.set_axisbelow(True)
    if is_unit_square:
        axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015))
        axes.set_aspect("equal")


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def figure_png(figure: "Figure", *, dpi: int = 150) -> bytes:
    """Return a figure as a PNG file; the same figure, drawn anew, gives the same bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}
    figure.savefig(buffer, format="png", dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def compare_roc_figure(
    curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]],
) -> "Figure":
    """Draw the ROC curves of several detectors on the same radiographs.

    Args:
        curves: For each, its label in the legend, (N,) scores and (N,) targets.
    """
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ":", color=SOFT, linewidth=1, label="chance")
    for index, (label, score, target) in enumerate(curves):
        curve = roc_curve(score, target)
        axes.plot(
            curve.false_positive_rate,
            curve.sensitivity,
            color=SERIES[index % len(SERIES)],
            linestyle=LINE_STYLES[index % len(LINE_STYLES)],
            linewidth=1.7,
            label=label,
        )
    axes.set(xlabel="1 − specificity (false-positive rate)", ylabel="Sensitivity")
    _finish(axes, is_unit_square=True)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
