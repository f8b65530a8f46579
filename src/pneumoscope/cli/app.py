"""The program `pneumoscope`: its commands, its log, and what an error looks like at a shell."""

import logging
import sys
import traceback
from typing import Annotated

import typer

from pneumoscope import PneumoscopeError, __version__
from pneumoscope.cli.bundle import bundle
from pneumoscope.cli.compare import compare
from pneumoscope.cli.data import data_app
from pneumoscope.cli.evaluate import evaluate
from pneumoscope.cli.export import export
from pneumoscope.cli.gan import gan_app
from pneumoscope.cli.predict import predict
from pneumoscope.cli.recipes import recipes
from pneumoscope.cli.serve import serve
from pneumoscope.cli.study import epochs, study
from pneumoscope.cli.train import train
from pneumoscope.core.errors import RecipeError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="pneumoscope",
    help="Find pneumonia in chest radiographs: predict, train, measure, compare. "
    "Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(predict)
app.command()(bundle)
app.command()(train)
app.command()(evaluate)
app.command()(compare)
app.command()(study)
app.command()(epochs)
app.command()(export)
app.command()(recipes)
app.command()(serve)
app.add_typer(data_app, name="data")
app.add_typer(gan_app, name="gan")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pneumoscope {__version__}")
        raise typer.Exit


@app.callback()
def _set_up(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what is done, and show tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Send the log to stderr, so that stdout stays the answer."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )


def main() -> None:
    """Run the program; an error that a user can mend is one message, without a traceback."""
    try:
        app()
    except PneumoscopeError as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            traceback.print_exc()
        typer.echo(f"error: {error}", err=True)
        is_usage = isinstance(error, UsageError | RecipeError)
        raise SystemExit(EXIT_USAGE if is_usage else EXIT_FAILED) from None
