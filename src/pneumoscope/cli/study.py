"""``pneumoscope study`` and ``epochs``: many recipes, many seeds, one table; and every epoch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli.options import DatasetOption, stops_cleanly

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pneumoscope.report.study_results import StudyResult
    from pneumoscope.report.table import Table


def study(
    plan: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Recipes, seeds, questions.")],
    data: DatasetOption,
    out: Annotated[Path, typer.Option(help="Folder for runs, table and page.", file_okay=False)],
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="Run folder, or folder of such, to take up; repeatable."),
    ] = None,
    added: Annotated[
        Path | None, typer.Option(help="Folder that `gan sample` wrote, for recipes that want it.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="SYSTEM", help="Work on this system alone; repeatable."),
    ] = None,
    trains: Annotated[
        bool, typer.Option("--train/--no-train", help="Train, or measure what is trained already.")
    ] = True,
    is_table_only: Annotated[
        bool,
        typer.Option("--table-only", help="The table of what is measured; reads no split."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in --out; that is done anyway.", hidden=True)
    ] = True,
    n_jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs side by side.")] = 1,
    n_threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of each run; all cores by default.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of pictures to time detectors on.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Folder that gets the results of every measured run, without its weights.",
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Train and measure recipes times seeds, and write one table and one HTML page.

    May be killed at any time: the same command goes on. Finished runs are not trained, and a test
    split is not read, a second time. A run that fails is told in the table; the others go on.
    Exit status: 0 no run failed, 1 some run failed (the others are done), 2 wrong usage.
    """
    from pneumoscope.study.study_plan import load_study

    chosen = load_study(plan)  # an unknown recipe is told before torch loads
    from pneumoscope.data.open import open_dataset
    from pneumoscope.report.study_page import MARKDOWN_FILE, PAGE_FILE
    from pneumoscope.study.study import StudyOptions, run_study

    options = StudyOptions(
        runs=runs or [],
        added=added,
        only=only or None,
        trains=trains,
        works=not is_table_only,
        n_jobs=n_jobs,
        n_threads=n_threads,
        pictures=pictures,
        keep=keep,
        tell=lambda line: typer.echo(line, err=True),
    )
    kept = f"What was trained is kept in {out}; go on with the same command."
    with stops_cleanly(kept):
        result = run_study(chosen, open_dataset(data), out, options)
    _print(result)
    typer.echo(f"Report: {out / PAGE_FILE}")
    typer.echo(f"Markdown: {out / MARKDOWN_FILE}")
    if options.works and _has_failed(result, options.only):
        raise typer.Exit(1)


def epochs(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs trained with --store-epochs and evaluated."),
    ],
    data: DatasetOption,
    out: Annotated[Path, typer.Option(help="Folder for the results.", file_okay=False)],
) -> None:
    """Read test after every stored epoch, and say how far choosing the epoch on it flatters.

    For finished runs alone, whose own result is measured already. Every reading is written to the
    run's test-reads.jsonl with its purpose.
    """
    from pneumoscope.data.open import open_dataset
    from pneumoscope.report.epochs_page import MARKDOWN_FILE, PAGE_FILE, short_gaps
    from pneumoscope.study.study_epochs import read_epochs

    result = read_epochs(runs, open_dataset(data), out)
    if result.notice:
        typer.echo(result.notice)
    _print_tables(short_gaps(result))
    typer.echo(f"Report: {out / PAGE_FILE}")
    typer.echo(f"Markdown: {out / MARKDOWN_FILE}")


def _has_failed(result: "StudyResult", only: "Collection[str] | None") -> bool:
    """Tell whether a run failed that this call was to work on."""
    return any(
        run.state == "failed" and not run.has_failed_before
        for system in result.systems
        if only is None or system.name in only
        for run in system.runs
    )


def _print(result: "StudyResult") -> None:
    """Print the notice first, then the figures in short, then what is missing."""
    from rich.console import Console
    from rich.table import Table as RichTable

    from pneumoscope.report.comparison_page import HEADLINE, headline_cells
    from pneumoscope.report.study_page import missing_table, seeds_text, short_contrasts

    console = Console()
    if result.notice:
        console.print(result.notice, style="bold", markup=False, highlight=False)
    table = RichTable("System", "Seeds", *HEADLINE)
    for system in result.systems:
        table.add_row(system.name, seeds_text(system), *headline_cells(system.result))
    console.print(table)
    _print_tables([missing_table(result), *short_contrasts(result)])


def _print_tables(tables: "Sequence[Table]") -> None:
    """Print tables of a page at the shell."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for each in tables:
        if not each.rows:
            continue
        table = RichTable(*each.header, title=Text(each.caption), title_justify="left")
        for row in each.rows:
            table.add_row(*map(Text, row))  # brackets in a reason are no markup
        console.print(table)
