"""A progress bar on stderr, where someone is there to see it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def progress_bar(
    title: str, total: int | None, *, show: bool = True, in_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the bar by so many steps (radiographs, or bytes).

    Args:
        title: What is being done.
        total: Steps to the end; None where that is not known.
        show: Draw the bar, provided that stderr is a terminal (rich's FORCE_COLOR insists).
        in_bytes: The steps are bytes: show size and speed.
    """
    console = Console(stderr=True)
    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (show and console.is_terminal),
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda n_steps: progress.advance(task, n_steps)
