"""``pneumoscope bundle``: what a bundle says of itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.core.errors import BundleError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from pneumoscope.detector.bundle import Bundle
    from pneumoscope.detector.card import BundleCard, FigureCard


_WIDTH = 100  # an interval is not broken in two, however narrow a pipe says it is


def bundle(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The bundle; without it, the shipped one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Check a bundle and print its card: training data, operating points, results, limits."""
    opened = open_or_refuse(file)
    if as_json:
        value = {"path": str(opened.path), "sha256": opened.sha256}
        typer.echo(json.dumps(value | {"card": opened.card.model_dump(mode="json")}, indent=2))
    else:
        _print(opened)


def open_or_refuse(path: Path | None) -> "Bundle":
    """Open a bundle.

    Raises: UsageError: it cannot be used; at a shell that is the wrong word (exit status 2).
    """
    from pneumoscope.detector.bundle import open_bundle

    try:
        return open_bundle(path)
    except BundleError as error:
        raise UsageError(str(error)) from error


def _print(opened: "Bundle") -> None:
    from rich.console import Console

    card = opened.card
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)
    console.print(f"{card.name} {card.version}: {card.title}", style="bold")
    console.print(card.intended_use)
    for name, text in _facts(opened):
        console.print(f"{name + ':':17} {text}")
    _print_points(console, card)
    _print_results(console, card)
    for limit in card.limits:
        console.print(f"Limit: {limit}")


def _facts(opened: "Bundle") -> list[tuple[str, str]]:
    card, data, ages = opened.card, opened.card.training_data, opened.card.population.age_years
    origins = ", ".join(f"{n:,} {origin}" for origin, n in data.origins.items())
    facts = [
        ("File", str(opened.path)),
        ("SHA-256", opened.sha256),
        ("Recipe", f"{card.recipe}, seed {card.seed}, {card.precision}"),
        ("Labels", " or ".join(card.labels)),
        ("Looks at", f"{card.size_px} x {card.size_px} pixels, map {card.map_kind}"),
        (
            "Trained on",
            f"{data.name}: {data.n_training:,} radiographs, tuned on {data.n_tuning:,} ({origins})",
        ),
        ("Population", card.population.description or "not stated"),
        ("Ages", f"{ages[0]:g} to {ages[1]:g} years" if ages else "not stated"),
        ("Views", ", ".join(card.population.view_positions or ()) or "not stated"),
        ("Modalities", ", ".join(card.population.modalities or ()) or "not stated"),
        (
            "Calibration",
            f"sigmoid((logit + {card.calibration.bias:.4g}) / {card.calibration.temperature:.4g}), "
            f"fitted on {card.calibration.fitted_on}, n = {card.calibration.n:,}",
        ),
        (
            "Atypical",
            f"above {card.atypicality.threshold:.4g}, which flags "
            f"{card.atypicality.share_flagged_on_tuning:.1%} of the tuning split",
        ),
        ("Licence", card.licence),
        ("Attribution", card.attribution),
    ]
    return [(name, text) for name, text in facts if text]


def _print_points(console: "Console", card: "BundleCard") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, title="Operating points", title_justify="left")
    for name in ("name", "threshold", "sensitivity", "specificity", "measured on"):
        table.add_column(name)
    for point in card.operating_points:
        cells = (
            point.name,
            f"{point.threshold:.4f}",
            _with_interval(point.sensitivity, point.sensitivity_interval),
            _with_interval(point.specificity, point.specificity_interval),
            point.measured_on,
        )
        table.add_row(*map(Text, cells))  # Text, because a name with [brackets] is no markup
    console.print(table)


def _print_results(console: "Console", card: "BundleCard") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for result in card.results:
        title = f"Measured on {result.dataset}, {result.split}, n = {result.n:,}"
        table = Table("figure", "value (95 % interval)", box=SIMPLE_HEAD, title=Text(title),
                      title_justify="left")  # fmt: skip
        for name, figure in result.figures.items():
            table.add_row(Text(name), _figure(figure))
        console.print(table)
    if not card.results:
        console.print("Measured results: none on the card.")


def _figure(figure: "FigureCard") -> str:
    return _with_interval(figure.value, (figure.low, figure.high))


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})" if interval else f"{value:.3f}"
