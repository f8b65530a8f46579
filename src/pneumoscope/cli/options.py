"""Options that several commands have, and what they say of a run that was stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

TrainingDataOption = Annotated[
    Path, typer.Option(help="The dataset: folder, .npz, RSNA folder, manifest.")
]
DatasetOption = Annotated[
    Path,
    typer.Option(metavar="DATASET", help="The dataset, as for `pneumoscope data summary`."),
]
RunOutOption = Annotated[Path, typer.Option(help="The run folder to write.", file_okay=False)]
SeedOption = Annotated[int, typer.Option(min=0, help="Decides everything that is random.")]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse a dataset with an unreadable radiograph, or other files and folders among "
        "its images.",
    ),
]

_STOPPED = 130  # 128 and SIGINT's number: what a shell expects after Ctrl-C


@contextmanager
def stops_cleanly(kept: str) -> Iterator[None]:
    """Turn Ctrl-C into one line, ``Stopped.`` and what is kept, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Stopped. {kept}", err=True)
        raise typer.Exit(_STOPPED) from None


def kept_epoch(out: Path) -> str:
    """Say how a stopped training goes on."""
    return f"The last whole epoch is kept in {out}; go on with the same command and --resume."
