"""``pneumoscope data``: look at a dataset, look for its faults, fetch one, draw phantoms."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.data.audit_report import AuditReport
    from pneumoscope.data.summary import Summary

data_app = typer.Typer(
    name="data",
    help="Look at a dataset, look for its faults, fetch one, or draw phantoms.",
    no_args_is_help=True,
)

_Dataset = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="Folder with {train,val,test}/{NORMAL,PNEUMONIA}, manifest CSV or Parquet, "
        "RSNA folder, or MedMNIST .npz.",
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@data_app.command()
def summary(
    dataset: _Dataset,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for class-counts.png and samples.png.", file_okay=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the samples.", min=0)] = 0,
    as_json: _AsJson = False,
) -> None:
    """Count images, patients, targets and subtypes by split, and measure the images."""
    from pneumoscope.data.open import open_dataset
    from pneumoscope.data.summary import summarise

    opened = open_dataset(dataset)
    result = summarise(opened)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _print_summary(result)
    if out is not None:
        from pneumoscope.report.summary_figures import write_summary_figures

        for path in write_summary_figures(result, opened, out, seed=seed):
            typer.echo(f"Wrote {path}", err=True)


@data_app.command()
def audit(
    dataset: _Dataset,
    out: Annotated[
        Path | None, typer.Option(help="HTML file for the report with pictures.", dir_okay=False)
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Look for unreadable, duplicate, leaking, constant or inverted images.

    Exit status: 0 nothing to mend, 1 problems found, 2 wrong usage.
    """
    from pneumoscope.data.audit import audit as look_through
    from pneumoscope.data.open import open_dataset

    opened = open_dataset(dataset)
    report = look_through(opened)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_audit(report)
    if out is not None:
        from pneumoscope.report.audit_page import write_audit_page

        write_audit_page(report, opened, out)
        typer.echo(f"Wrote {out}", err=True)
    if report.problems:
        raise typer.Exit(1)


@data_app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="kermany, or pneumoniamnist[-64|-128|-224].")
    ],
    out: Annotated[Path, typer.Option(help="Folder to put it in.", file_okay=False)],
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Use this file that you downloaded by hand, and no network.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Download a public dataset, check it and unpack it."""
    from typing import cast

    from pneumoscope.data.fetch import Name
    from pneumoscope.data.fetch import fetch as fetch_dataset

    # An unknown name is refused there, with the list of those that exist.
    typer.echo(fetch_dataset(cast(Name, name), out, archive=archive))


@data_app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.", file_okay=False)],
    count: Annotated[int, typer.Option(help="How many phantoms.", min=1)],
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.", min=0)] = 0,
    size: Annotated[int, typer.Option(help="Side of each picture in pixels.", min=1)] = 256,
) -> None:
    """Draw synthetic chest phantoms, for trials. They are not radiographs."""
    from pneumoscope.data.phantom_set import make_phantoms

    path = make_phantoms(folder, count=count, seed=seed, size_px=size, show_progress=True)
    typer.echo(f"{path}: {count:,} synthetic phantoms. They are not radiographs.")


def _print_summary(result: "Summary") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    _print_origin(result.n_by_origin)
    table = Table(
        title=escape(result.name), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    subtypes = sorted({name for split in result.splits for name in split.n_by_subtype})
    table.add_column("split")
    unknown = ["unknown"] if result.n_unknown else []
    for name in ("images", "patients", "normal", "pneumonia", *subtypes, *unknown, "prevalence"):
        table.add_column(escape(name), justify="right")
    for split in result.splits:
        counts = [split.n_images, split.n_patients, split.n_normal, split.n_pneumonia]
        counts += [split.n_by_subtype.get(name, 0) for name in subtypes]
        counts += [split.n_unknown] * len(unknown)
        table.add_row(split.split, *(f"{n:,}" for n in counts), _percent(split.prevalence))
    console.print(table)
    typer.echo(f"{result.n_images:,} images of {result.n_patients:,} patients")
    if result.sizes is not None:
        width, height = _spread(result.sizes.width_px), _spread(result.sizes.height_px)
        typer.echo(f"width {width}, height {height} px, of {result.sizes.n_measured:,} measured")


def _print_audit(report: "AuditReport") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    _print_origin(report.origins)
    table = Table(title=f"Audit of {escape(report.name)}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("check")
    table.add_column("found", justify="right")
    table.add_column("")
    for finding in report.findings:
        found = f"{finding.n:,} {finding.unit if finding.n != 1 else finding.unit[:-1]}"
        table.add_row(
            finding.title, found if finding.n else "none", finding.severity if finding.n else ""
        )
    console.print(table)
    _print_reasons([(item.image.path, item.reason) for item in report.unreadable])
    _print_reasons([(item.path, item.reason) for item in report.passed_over])
    n = len(report.problems)
    verdict = f"{n} problem{'s' if n != 1 else ''} to mend." if n else "No problem found."
    typer.echo(f"{report.n_images:,} images in {report.seconds:.1f} s. {verdict}")


def _print_reasons(reasons: list[tuple[str, str]]) -> None:
    for path, reason in reasons[:10]:
        typer.echo(f"{path}: {reason}")
    if len(reasons) > 10:
        typer.echo(f"and {len(reasons) - 10:,} more (--json lists all)")


def _print_origin(origins: "dict[str, int] | tuple[str, ...]") -> None:
    """Say first that images are no radiographs, where that is so."""
    from pneumoscope.report.summary_figures import describe_origin

    if words := describe_origin(origins):
        typer.echo(words + ".")


def _percent(fraction: float) -> str:
    return "-" if fraction != fraction else f"{100 * fraction:.1f} %"


def _spread(values: tuple[int, int, int]) -> str:
    low, middle, high = values
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (median {middle:,})"
