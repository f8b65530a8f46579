"""``pneumoscope evaluate``: measure a run on a split that it did not learn from."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli.options import StrictOption

if TYPE_CHECKING:
    from pneumoscope.report.results import Evaluation


class Split(StrEnum):
    """Which role of the dataset is measured on."""

    TEST = "test"
    TUNING = "tuning"
    TRAINING = "training"


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN|BUNDLE", help="Folder that `train` left, or a .onnx bundle."),
    ],
    data: Annotated[
        Path,
        typer.Option(metavar="DATASET", help="The dataset, as for `pneumoscope data summary`."),
    ],
    split: Annotated[
        Split, typer.Option(help="What to measure on; only `test` counts as a result.")
    ] = Split.TEST,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results instead of RUN, or of NAME-evaluation beside a bundle.",
            file_okay=False,
        ),
    ] = None,
    strict: StrictOption = False,
) -> None:
    """Measure a run or a bundle on the test split, once, and write the reading down.

    Leaves predictions, metrics.json, report.html and figures in the run folder. A run is measured
    as it was trained, with thresholds from its tuning split; a bundle by its calibrated
    probabilities, at the operating points of its card.
    """
    from pneumoscope.data.open import open_dataset
    from pneumoscope.report.results import REPORT_FILE

    if run.suffix == ".onnx":
        from pneumoscope.study.evaluate_bundle import bundle_results_folder

        folder = out or bundle_results_folder(run)
        _print(_evaluate_bundle(run, data, split=split, out=folder, strict=strict))
        typer.echo(f"Report: {folder / REPORT_FILE}")
        return
    from pneumoscope.study.evaluate import evaluate_run, results_folder
    from pneumoscope.training.run_folder import open_run

    opened = open_run(run, needs_finished=split is Split.TEST)
    evaluation = evaluate_run(opened, open_dataset(data), split=split.value, out=out, strict=strict)
    _print(evaluation)
    folder = out or results_folder(opened, split.value)
    typer.echo(f"Report: {folder / REPORT_FILE}")


def _evaluate_bundle(
    path: Path, data: Path, *, split: Split, out: Path, strict: bool
) -> "Evaluation":
    from pneumoscope.cli.bundle import open_or_refuse
    from pneumoscope.core.errors import UsageError
    from pneumoscope.data.open import open_dataset
    from pneumoscope.study.evaluate_bundle import evaluate_bundle

    if split is not Split.TEST:
        raise UsageError(
            f"--split {split.value}: a bundle does not know which radiographs tuned it. Evaluate "
            "its run folder instead, or leave --split away."
        )
    return evaluate_bundle(open_or_refuse(path), open_dataset(data), out=out, strict=strict)


def _print(evaluation: "Evaluation") -> None:
    """Print the notice first, then the headline figures."""
    from rich.console import Console
    from rich.table import Table

    from pneumoscope.report.evaluation_figures import show
    from pneumoscope.report.evaluation_page import (
        FIGURE_LABELS,
        interval,
        page_title,
        reading_sentence,
    )

    console = Console()
    if evaluation.notice:
        console.print(evaluation.notice, style="bold", markup=False, highlight=False)
    data = evaluation.data
    console.print(
        f"{page_title(evaluation)}\n{data.n:,} images of {data.n_patients:,} patients, "
        f"prevalence of pneumonia {show(data.prevalence)}",
        markup=False,
        highlight=False,
    )
    scores = Table("Figure", "Value", "95 % interval", "n")
    for name, figure in evaluation.scores.items():
        scores.add_row(FIGURE_LABELS[name], show(figure.value), interval(figure), f"{figure.n:,}")
    console.print(scores)
    points = Table(
        "Operating point",
        *(f"{point.name} ({point.threshold:.3f})" for point in evaluation.operating_points),
    )
    for name in evaluation.operating_points[0].figures:
        figures = [point.figures[name] for point in evaluation.operating_points]
        cells = [f"{show(figure.value)} ({interval(figure)})" for figure in figures]
        points.add_row(FIGURE_LABELS[name], *cells)
    console.print(points)
    for caveat in evaluation.caveats:
        console.print(f"Note: {caveat}", markup=False, highlight=False)
    if evaluation.reading is not None and evaluation.reading > 1:
        console.print(f"{reading_sentence(evaluation)}.", style="bold", markup=False)
