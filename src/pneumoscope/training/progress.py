"""The progress bar of training: epoch, step, images/s and the time left."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pneumoscope.training.batches import Batch
from pneumoscope.training.keeper import EpochKeeper


class TrainingProgress(pl.Callback):
    """Draws one bar over all epochs on stderr, and prints a line after each epoch.

    Args:
        keeper: Has the finished epochs' figures.
    """

    def __init__(self, keeper: EpochKeeper) -> None:
        self._keeper = keeper
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("Training", total=None, rate=0.0)
        self._n_images = 0
        self._started_s = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar, at the place where a resumed run goes on."""
        steps = int(trainer.num_training_batches)
        self._bar.update(
            self._task,
            total=steps * int(trainer.max_epochs or 0),
            completed=steps * len(self._keeper.history),
        )
        self._bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the epoch and begin measuring its speed."""
        self._n_images, self._started_s = 0, time.perf_counter()
        name = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._bar.update(self._task, description=name)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self._n_images += batch.n_in_step
        seconds = time.perf_counter() - self._started_s
        self._bar.update(self._task, advance=1, rate=self._n_images / max(seconds, 1e-9))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's figures."""
        if not self._keeper.history or not trainer.is_global_zero:
            return
        row = self._keeper.history[-1]
        self._console.print(
            f"epoch {row['epoch']:>3}: training loss {row['training_loss']:.4f}, "
            f"tuning loss {row['tuning_loss']:.4f}, accuracy {row['tuning_accuracy']:.4f}, "
            f"AUROC {row['tuning_auroc']:.4f}, {row['images_per_s']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )
        sys.stderr.flush()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the bar away, also after an error."""
        self._bar.stop()
