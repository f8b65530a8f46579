"""Every epoch on the test split, on paper: how far choosing by it flatters."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pneumoscope.core.files import write_bytes, write_text
from pneumoscope.core.optional import import_extra
from pneumoscope.report.epochs_results import RULES, EpochsOfRun, EpochsResult, GapOverSeeds
from pneumoscope.report.evaluation_figures import (
    BLUE,
    ORANGE,
    figure_png,
    new_figure,
    show,
)
from pneumoscope.report.evaluation_page import moment, signed
from pneumoscope.report.html import figure_svg, render
from pneumoscope.report.results import FIGURES_FOLDER
from pneumoscope.report.table import Table, is_number_column, tables_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPOCHS_FILE = "epochs.json"
MARKDOWN_FILE = "epochs.md"
PAGE_FILE = "epochs.html"


def write_epochs(result: EpochsResult, out: Path) -> None:
    """Write ``epochs.md``, ``epochs.html``, ``figures/epochs.{png,svg}`` and ``epochs.json``.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        StorageError: a file can't be written.
    """
    figure = epochs_figure(result.runs)
    svg = figure_svg(figure, label="Accuracy by epoch on the tuning and the test split, by run")
    write_bytes(out / FIGURES_FOLDER / "epochs.png", figure_png(figure))
    write_text(out / FIGURES_FOLDER / "epochs.svg", svg)
    write_text(out / MARKDOWN_FILE, epochs_markdown(result))
    caption = (
        "Accuracy at 0.5 by epoch. Dot: the epoch that the run chose. Triangle: the one that test "
        "would have chosen."
    )
    page = render(
        "study.html.j2",
        title="Choosing the epoch on the test split",
        notice=result.notice,
        is_phantom="phantom" in result.data.origin,
        subtitle=f"{len(result.runs)} runs on the test split of {result.data.name}: "
        f"{result.data.n:,} images of {result.data.n_patients:,} patients. Read "
        f"{moment(result.read)}.",
        figures=[(svg, caption)],
        tables=epochs_tables(result),
        details=[],
        runs=_runs_table(result),
        unsaid=[],
        method=result.method,
        is_number_column=is_number_column,
    )
    write_text(out / PAGE_FILE, page)
    result.write(out / EPOCHS_FILE)


def epochs_markdown(result: EpochsResult) -> str:
    """Return the tables as Markdown."""
    return tables_markdown(epochs_tables(result), notice=result.notice, method=result.method)


def epochs_tables(result: EpochsResult) -> list[Table]:
    """Return the gaps over seeds, then those by run."""
    over = Table(
        caption="How far choosing the epoch on test flatters: mean over seeds (95 % interval)",
        header=["Recipe", "Figure and choice", "Seeds", "Gap", "SD over seeds",
                "Kept on other patients"],
        rows=[
            [
                each.recipe,
                each.rule.words,
                ", ".join(map(str, each.seeds)),
                _gap_text(each),
                "" if math.isnan(each.gap.sd) else f"{each.gap.sd:.3f}",
                signed(each.kept),
            ]
            for each in result.over_seeds
        ],
    )  # fmt: skip
    runs = Table(
        caption="By run",
        header=["Run", "Figure and choice", "Epoch kept", "Its figure", "Best test epoch",
                "Its figure", "Gap", "Kept on other patients"],
        rows=[
            [
                f"{run.recipe}, seed {run.seed}",
                gap.rule.words,
                f"{run.chosen_epoch} of {len(run.epochs)}",
                show(gap.at_chosen),
                str(gap.best_epoch),
                show(gap.at_best),
                f"{signed(gap.gap)}{_interval(gap.low, gap.high)}",
                signed(gap.kept),
            ]
            for run in result.runs
            for gap in run.gaps
        ],
    )  # fmt: skip
    return [over, runs]


def short_gaps(result: EpochsResult) -> list[Table]:
    """Return the gaps over seeds, a table a rule, with the columns that fit a terminal."""
    return [
        Table(
            caption=f"{rule.words}: gap",
            header=["Recipe", "Seeds", "Mean (95 % interval)", "Kept"],
            rows=[
                [each.recipe, ", ".join(map(str, each.seeds)), _gap_text(each), signed(each.kept)]
                for each in result.over_seeds
                if each.rule == rule
            ],
        )
        for rule in RULES
    ]


def epochs_figure(runs: Sequence[EpochsOfRun]) -> "Figure":
    """Draw accuracy by epoch on tuning and test, a panel a run."""
    ticker = import_extra("matplotlib.ticker", extra="train", purpose="Drawing figures")
    n_columns = min(3, len(runs))
    n_rows = math.ceil(len(runs) / n_columns)
    figure = new_figure(3.6 * n_columns, 2.7 * n_rows)
    first: Axes | None = None
    for place, run in enumerate(runs):
        axes = figure.add_subplot(n_rows, n_columns, place + 1, sharey=first)
        first = first or axes
        epochs = [each.epoch for each in run.epochs]
        tuning = [each.tuning_accuracy for each in run.epochs]
        test = [each.test_accuracy for each in run.epochs]
        axes.plot(epochs, tuning, "--", color=ORANGE, linewidth=1.2, label="tuning")
        axes.plot(epochs, test, "-", color=BLUE, linewidth=1.6, label="test")
        best = run.gaps[0].best_epoch
        for epoch, marker in ((run.chosen_epoch, "o"), (best, "^")):
            axes.plot(epoch, test[epoch - 1], marker, color=BLUE, markersize=7)
        axes.set_title(f"{run.recipe}, seed {run.seed}", fontsize=9)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        if place % n_columns == 0:
            axes.set_ylabel("Accuracy at 0.5")
        if place == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _runs_table(result: EpochsResult) -> Table:
    return Table(
        caption="Runs: the metrics.json of each one's own result, measured before",
        header=["Run", "Keeps", "metrics.json"],
        rows=[[f"{run.recipe}, seed {run.seed}", run.keeps, run.metrics] for run in result.runs],
    )


def _gap_text(over: GapOverSeeds) -> str:
    return f"{signed(over.gap.mean)}{_interval(over.gap.low, over.gap.high)}"


def _interval(low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    return f" ({signed(low)} to {signed(high)})"
