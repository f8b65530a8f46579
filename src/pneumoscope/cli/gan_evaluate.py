"""``pneumoscope gan evaluate``: set synthetic radiographs beside real ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.report.synthetic_results import SyntheticEvaluation


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `gan train` left.")],
    data: Annotated[
        Path, typer.Option(metavar="DATASET", help="The dataset that the DCGAN learnt from.")
    ],
    count: Annotated[
        int | None,
        typer.Option(help="How many samples; by default as many as it learnt from.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples and of the halves.", min=0)] = 0,
) -> None:
    """Set a DCGAN's samples beside the radiographs that it learnt from.

    Fréchet and kernel distance, precision, recall and coverage in the shipped bundle's embedding,
    each beside the same between real radiographs; and whether the samples are copies. Leaves
    synthetic.json, synthetic.html and a figure of the closest pairs in RUN. The test split is not
    read.
    """
    from pneumoscope.data.open import open_dataset
    from pneumoscope.report.synthetic_results import SYNTHETIC_PAGE
    from pneumoscope.study.synthetic import evaluate_gan

    evaluation = evaluate_gan(run, open_dataset(data), count=count, seed=seed)
    _print(evaluation)
    typer.echo(f"Report: {run / SYNTHETIC_PAGE}")


def _print(evaluation: "SyntheticEvaluation") -> None:
    """Print the notice first, then the distances beside their floor, then what was copied."""
    from rich.console import Console
    from rich.table import Table

    from pneumoscope.report.synthetic_page import (
        copy_line,
        figure_names,
        page_title,
        spread_text,
    )
    from pneumoscope.report.synthetic_results import OTHER_HALF, SAMPLES

    console = Console()
    if evaluation.notice:
        console.print(evaluation.notice, style="bold", markup=False, highlight=False)
    console.print(page_title(evaluation), markup=False, highlight=False)
    halves = evaluation.halves
    table = Table(f"{halves.n:,} pictures against {halves.n:,}", "Synthetic", "Real (floor)")
    for key, name in figure_names(evaluation).items():
        table.add_row(name, spread_text(halves, SAMPLES, key), spread_text(halves, OTHER_HALF, key))
    console.print(table)
    for copies in evaluation.copies:
        console.print(copy_line(copies), markup=False, highlight=False)
