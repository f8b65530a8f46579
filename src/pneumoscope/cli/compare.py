"""``pneumoscope compare``: set evaluated runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.report.comparison_results import Comparison


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders that were evaluated.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.", file_okay=False)],
) -> None:
    """Compare runs on the same test images: recipes over seeds, and recipe against recipe.

    Writes comparison.md, comparison.html, comparison.json and figures.
    """
    from pneumoscope.report.comparison_page import MARKDOWN_FILE, PAGE_FILE
    from pneumoscope.study.compare import compare_runs

    comparison = compare_runs(runs, out)
    _print(comparison)
    typer.echo(f"Report: {out / PAGE_FILE}")
    typer.echo(f"Markdown: {out / MARKDOWN_FILE}")


def _print(comparison: "Comparison") -> None:
    """Print the notice first, then one line a recipe, then the tests."""
    from rich.console import Console
    from rich.table import Table

    from pneumoscope.report.comparison_page import (
        HEADLINE,
        first_line,
        headline_cells,
        p_text,
        pair_name,
        untested_name,
    )
    from pneumoscope.report.evaluation_page import signed

    console = Console()
    if comparison.notice:
        console.print(comparison.notice, style="bold", markup=False, highlight=False)
    console.print(first_line(comparison), markup=False, highlight=False)
    table = Table("Recipe", "Seeds", *HEADLINE)
    for recipe in comparison.recipes:
        table.add_row(recipe.label, ", ".join(map(str, recipe.seeds)), *headline_cells(recipe))
    console.print(table)
    if not (comparison.tests or comparison.untested):
        return
    tests = Table("Pair", "AUROC difference", "p (DeLong, Holm)", "p (McNemar, Holm)")
    for pair in comparison.tests:
        tests.add_row(
            pair_name(pair, comparison),
            signed(pair.auroc.difference),
            p_text(pair.auroc.p_holm),
            p_text(pair.accuracy.p_holm),
        )
    for untested in comparison.untested:
        tests.add_row(untested_name(untested))
    console.print(tests)
