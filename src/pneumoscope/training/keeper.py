"""What happens at the end of each epoch: judge it, keep it on disk, lower the rate, or stop."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from pneumoscope.core.files import write_text
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.recipe import TrainingRecipe
from pneumoscope.training.stall import StallCounter, is_better

HISTORY_COLUMNS = (
    "epoch",
    "training_loss",
    "training_accuracy",
    "tuning_loss",
    "tuning_accuracy",
    "tuning_auroc",
    "learning_rate",
    "seconds",
    "images_per_s",
)


class EpochKeeper(pl.Callback):
    """Writes history.csv and the checkpoints; all that it knows is in every checkpoint.

    A killed run therefore goes on from its last whole epoch as if nothing had happened.

    Args:
        folder: The run folder.
        training: Plateau, early stopping and which epoch is kept.
    """

    def __init__(self, folder: Path, training: TrainingRecipe) -> None:
        self.folder = folder
        self.keep = training.keep
        self.plateau = training.plateau
        self.history: list[dict[str, float]] = []
        self.best_value: float | None = None
        self.best_epoch = 0  # counted from 1; 0 before the first
        self.is_finished = False
        self._started_s = 0.0
        self._trained_s = 0.0
        plateau, stop = training.plateau, training.early_stop
        self._plateau_counter = (
            StallCounter(plateau.monitor, plateau.patience_epochs, plateau.min_delta)
            if plateau
            else None
        )
        self._stop_counter = (
            StallCounter(stop.monitor, stop.patience_epochs, stop.min_delta) if stop else None
        )
        self._n_epochs = training.epochs

    @property
    def last_checkpoint(self) -> Path:
        """The state after the last whole epoch."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The state after the best epoch so far."""
        return self.folder / "checkpoints" / "best.ckpt"

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._started_s = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of training: images/s are of training alone."""
        self._trained_s = time.perf_counter() - self._started_s

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the epoch that ended and write it down."""
        if not isinstance(pl_module, Classifier):
            raise TypeError("EpochKeeper keeps the epochs of a Classifier")
        # Several devices may differ in a last digit; they must not differ in what to do next.
        row = trainer.strategy.broadcast(self._row(trainer, pl_module))
        self.history.append(row)
        is_best = is_better(row[self.keep.monitor], self.best_value, monitor=self.keep.monitor)
        if is_best or self.best_epoch == 0:
            self.best_value = row[self.keep.monitor]
            self.best_epoch = len(self.history)
        self._lower_rate(trainer, row)
        stops = self._stop_counter is not None and self._stop_counter.is_stalled(
            row[self._stop_counter.monitor]
        )
        self.is_finished = stops or len(self.history) >= self._n_epochs
        # `best` first: if a kill comes between the two, the epoch is trained again from the older
        # `last` and `best` written again, the same. The other order would lose the best epoch.
        if self.best_epoch == len(self.history):
            trainer.save_checkpoint(self.best_checkpoint)
        trainer.save_checkpoint(self.last_checkpoint)
        if trainer.is_global_zero:
            self.write_history()
        for logger in trainer.loggers:
            logger.log_metrics(
                {key: row[key] for key in HISTORY_COLUMNS[1:]}, step=int(row["epoch"])
            )
        trainer.should_stop = trainer.should_stop or stops

    def write_history(self) -> None:
        """Write history.csv: one row an epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.folder / "history.csv", text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {
            "history": self.history,
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "is_finished": self.is_finished,
            "plateau": self._plateau_counter.state() if self._plateau_counter else None,
            "stop": self._stop_counter.state() if self._stop_counter else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.history = list(state_dict["history"])
        self.best_value = state_dict["best_value"]
        self.best_epoch = state_dict["best_epoch"]
        self.is_finished = state_dict["is_finished"]
        if self._plateau_counter:
            self._plateau_counter.restore(state_dict["plateau"])
        if self._stop_counter:
            self._stop_counter.restore(state_dict["stop"])

    def _row(self, trainer: pl.Trainer, module: Classifier) -> dict[str, float]:
        n_images = module.n_images_trained * trainer.world_size
        return {
            "epoch": len(self.history) + 1,
            **module.epoch_figures,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self._started_s, 3),
            "images_per_s": round(n_images / self._trained_s, 2),
        }

    def _lower_rate(self, trainer: pl.Trainer, row: dict[str, float]) -> None:
        """Multiply the learning rate by the plateau's factor once its patience is used up."""
        if self._plateau_counter is None or self.plateau is None:
            return
        if not self._plateau_counter.is_stalled(row[self.plateau.monitor]):
            return
        self._plateau_counter.n_stalled = 0
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = max(group["lr"] * self.plateau.factor, self.plateau.min_learning_rate)
