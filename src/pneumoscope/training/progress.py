"""Training on the terminal: a bar, and a line after each epoch."""

from typing import Any

import pytorch_lightning as pl

from pneumoscope.training.batches import Batch
from pneumoscope.training.keeper import EpochKeeper
from pneumoscope.training.training_bar import TrainingBar


class TrainingProgress(pl.Callback):
    """Draws one bar over all epochs on stderr, and prints a line after each epoch.

    Args:
        keeper: Has the finished epochs' figures.
    """

    def __init__(self, keeper: EpochKeeper) -> None:
        self._keeper = keeper
        self._bar = TrainingBar()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar, at the place where a resumed run goes on."""
        steps = int(trainer.num_training_batches)
        self._bar.start(
            n_steps=steps * int(trainer.max_epochs or 0), n_done=steps * len(self._keeper.history)
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the epoch and begin measuring its speed."""
        self._bar.begin_epoch(trainer.current_epoch, n_epochs=int(trainer.max_epochs or 0))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self._bar.advance(batch.n_in_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch's figures."""
        if not self._keeper.history or not trainer.is_global_zero:
            return
        row = self._keeper.history[-1]
        self._bar.print_line(
            f"epoch {row['epoch']:>3}: training loss {row['training_loss']:.4f}, "
            f"tuning loss {row['tuning_loss']:.4f}, accuracy {row['tuning_accuracy']:.4f}, "
            f"AUROC {row['tuning_auroc']:.4f}, {row['images_per_s']:.0f} images/s"
        )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the bar away, also after an error."""
        self._bar.stop()
