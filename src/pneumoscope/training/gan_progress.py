"""The progress bar of a DCGAN's training."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class GanProgress:
    """Draws one bar over all epochs on stderr, and prints a line after each epoch.

    Args:
        n_epochs: Epochs of the whole run.
        n_steps: Steps an epoch.
        is_shown: Whether to show anything.
    """

    def __init__(self, *, n_epochs: int, n_steps: int, is_shown: bool) -> None:
        self._n_epochs = n_epochs
        self._n_steps = n_steps
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
        self._task = self._bar.add_task("Training", total=n_epochs * n_steps, rate=0.0)
        self._n_images = 0
        self._started_s = 0.0

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away, also after an error."""
        self._bar.stop()

    def begin_epoch(self, epoch: int) -> None:
        """Name the epoch, counted from 0, and begin measuring its speed."""
        self._n_images, self._started_s = 0, time.perf_counter()
        name = f"Epoch {epoch + 1}/{self._n_epochs}"
        self._bar.update(self._task, description=name, completed=epoch * self._n_steps)

    def advance(self, n_images: int) -> None:
        """Move the bar by one step of so many radiographs."""
        self._n_images += n_images
        seconds = time.perf_counter() - self._started_s
        self._bar.update(self._task, advance=1, rate=self._n_images / max(seconds, 1e-9))

    def end_epoch(self, row: dict[str, float]) -> None:
        """Print the epoch's figures."""
        if not self._is_shown:
            return
        self._console.print(
            f"epoch {row['epoch']:>3}: discriminator loss {row['discriminator_loss']:.4f}, "
            f"generator loss {row['generator_loss']:.4f}, scores {row['real_score']:.3f} real "
            f"{row['fake_score']:.3f} synthetic, spread {row['sample_std']:.3f}, "
            f"{row['images_per_s']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )
