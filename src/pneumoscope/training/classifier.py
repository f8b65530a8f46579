"""The training and tuning steps of one detector, as a LightningModule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope.core.errors import DivergedError
from pneumoscope.data.augment import apply_parameters, draw_parameters, seed_of
from pneumoscope.metrics.curves import auroc
from pneumoscope.models.losses import weighted_bce
from pneumoscope.models.scratch import ScratchCnn
from pneumoscope.training.batches import Batch
from pneumoscope.training.recipe import OptimizerRecipe, Recipe

_DROPOUT_STREAM = 2
_STEPS_BETWEEN_CHECKS = 50  # of the loss for NaN: each check makes an accelerator wait


def build_network(recipe: Recipe) -> ScratchCnn:
    """Return the recipe's network with fresh weights from torch's global generator."""
    return ScratchCnn(recipe.network, size_px=recipe.input.size_px, channels=recipe.input.channels)


class Classifier(pl.LightningModule):
    """Trains a network by a recipe; all randomness comes from (seed, epoch, step).

    Args:
        recipe: The experiment.
        seed: The run's seed.
        class_weights: Of the negative and of the positive class, in the loss.

    After each epoch ``epoch_figures`` holds training loss and accuracy and the tuning figures.
    """

    def __init__(self, recipe: Recipe, *, seed: int, class_weights: tuple[float, float]) -> None:
        super().__init__()
        self.recipe = recipe
        self.seed = seed
        self.class_weights = class_weights
        torch.manual_seed(seed_of(seed, 0, 0))
        self.network = build_network(recipe)
        self.epoch_figures: dict[str, float] = {}
        self._n_seen = 0
        self._n_steps_done = 0
        self._loss_sum = torch.zeros(())
        self._n_right = torch.zeros(())
        self._tuning: list[tuple[Tensor, Tensor]] = []

    @property
    def n_images_trained(self) -> int:
        """Radiographs that this process has trained on in this epoch."""
        return self._n_seen

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the recipe's optimizer; the learning rate is lowered by `EpochKeeper`."""
        return make_optimizer(self.network, self.recipe.training.optimizer)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale to [0, 1] on the device, and augment a training batch there."""
        pixels = batch.pixels.float().div_(255)
        if self.trainer.training:
            # Drawn for the whole step, then this process's part taken: the radiographs are changed
            # alike however many devices share them.
            parameters = draw_parameters(
                self.recipe.augmentation,
                batch.n_in_step,
                seed=self.seed,
                epoch=self.current_epoch,
                step=batch.step,
            ).take(slice(batch.first, batch.first + len(pixels)))
            pixels = apply_parameters(pixels, parameters, self.recipe.augmentation)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return replace(batch, pixels=pixels)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the tensors of a batch."""
        return replace(
            batch,
            pixels=batch.pixels.to(device, non_blocking=True),
            target=batch.target.to(device, non_blocking=True),
        )

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums anew."""
        self._n_seen = 0
        self._n_steps_done = 0
        self._loss_sum = torch.zeros((), device=self.device)
        self._n_right = torch.zeros((), device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one step, regularisers included."""
        # Dropout draws from the global generator: seeding it a step makes a resumed run repeat it.
        torch.manual_seed(
            seed_of(self.seed, self.current_epoch, batch.step, stream=_DROPOUT_STREAM)
            + self.global_rank
        )
        logit, penalty = self.network.forward_with_penalty(batch.pixels)
        loss = weighted_bce(logit, batch.target, self.class_weights) + penalty
        with torch.no_grad():
            self._n_seen += len(batch.target)
            self._loss_sum += loss.detach() * len(batch.target)
            self._n_right += ((logit > 0) == (batch.target > 0.5)).sum()
        self._n_steps_done += 1
        if batch_idx % _STEPS_BETWEEN_CHECKS == 0:
            self._check_loss(self._n_steps_done)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep one tuning batch's logits."""
        self._tuning.append((self.network(batch.pixels).float().cpu(), batch.target.cpu()))

    def on_validation_epoch_start(self) -> None:
        """Begin the tuning split anew."""
        self._tuning = []

    def on_validation_epoch_end(self) -> None:
        """Work out the epoch's figures. Raises: DivergedError: the loss is no longer a number."""
        self._check_loss(self._n_steps_done)
        logit = torch.cat([logits for logits, _ in self._tuning])
        target = torch.cat([targets for _, targets in self._tuning])
        self.epoch_figures = {
            "training_loss": float(self._loss_sum) / self._n_seen,
            "training_accuracy": float(self._n_right) / self._n_seen,
        } | tuning_figures(logit.numpy(), target.numpy() > 0.5)

    def _check_loss(self, step: int) -> None:
        if not bool(torch.isfinite(self._loss_sum)):
            raise DivergedError(
                f"{self.recipe.name}: the training loss became {float(self._loss_sum)} in epoch "
                f"{self.current_epoch + 1}, by step {step}. Lower training.optimizer."
                f"learning_rate (now {self.recipe.training.optimizer.learning_rate}), or set "
                f"training.precision to fp32. The last good checkpoint is untouched."
            )


def tuning_figures(logit: NDArray[np.float32], target: NDArray[np.bool_]) -> dict[str, float]:
    """Return ``tuning_loss`` (mean cross-entropy), ``tuning_accuracy`` at 0.5, ``tuning_auroc``.

    Args:
        logit: (N,).
        target: (N,).
    """
    z = logit.astype(np.float64)
    loss = np.logaddexp(0, z) - target * z  # -log of the probability that the target has
    return {
        "tuning_loss": float(loss.mean()),
        "tuning_accuracy": float(np.mean((z > 0) == target)),
        "tuning_auroc": auroc(z, target) if np.isfinite(z).all() else float("nan"),
    }


def balanced_class_weights(target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the weights that make both classes count alike: N / (2 * N of the class)."""
    n, n_positive = len(target), int(target.sum())
    return n / (2 * (n - n_positive)), n / (2 * n_positive)


def make_optimizer(network: torch.nn.Module, recipe: OptimizerRecipe) -> torch.optim.Optimizer:
    """Return a torch optimizer with the recipe's settings."""
    weights: Any = network.parameters()
    rate, epsilon = recipe.learning_rate, recipe.epsilon
    if recipe.name == "adam":
        return torch.optim.Adam(weights, lr=rate, eps=epsilon, fused=True)
    if recipe.name == "adamw":
        return torch.optim.AdamW(
            weights, lr=rate, eps=epsilon, weight_decay=recipe.weight_decay, fused=True
        )
    if recipe.name == "rmsprop":
        return torch.optim.RMSprop(
            weights, lr=rate, alpha=recipe.rho, eps=epsilon, momentum=recipe.momentum
        )
    return torch.optim.SGD(weights, lr=rate, momentum=recipe.momentum, fused=True)
