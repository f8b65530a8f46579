"""One progress bar over all epochs, with images/s: what every training draws."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingBar:
    """A bar on stderr; hidden where stderr is no terminal, where lines alone are printed.

    Args:
        is_shown: Whether to show anything.
    """

    def __init__(self, *, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (is_shown and self._console.is_terminal),
        )
        self._task = self._bar.add_task("Training", total=None, rate=0.0)
        self._n_images = 0
        self._started_s = 0.0

    def start(self, *, n_steps: int, n_done: int = 0) -> None:
        """Show the bar of so many steps in all, at the place where a resumed run goes on."""
        self._bar.update(self._task, total=n_steps, completed=n_done)
        self._bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def begin_epoch(self, epoch: int, *, n_epochs: int) -> None:
        """Name the epoch, counted from 0, and begin measuring its speed."""
        self._n_images, self._started_s = 0, time.perf_counter()
        self._bar.update(self._task, description=f"Epoch {epoch + 1}/{n_epochs}")

    def advance(self, n_images: int) -> None:
        """Move the bar by one step of so many radiographs."""
        self._n_images += n_images
        seconds = time.perf_counter() - self._started_s
        self._bar.update(self._task, advance=1, rate=self._n_images / max(seconds, 1e-9))

    def print_line(self, text: str) -> None:
        """Print one line above the bar."""
        if self._is_shown:
            self._console.print(text, highlight=False, soft_wrap=True)
            self._console.file.flush()
