"""The training and tuning steps of one detector, as a LightningModule."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.core.errors import DivergedError
from pneumoscope.data.augment import (
    AugmentationParameters,
    apply_parameters,
    draw_parameters,
    seed_of,
)
from pneumoscope.metrics.curves import auroc
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.losses import focal_loss, weighted_bce
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.batches import Batch
from pneumoscope.training.changed_copies import draw_copies
from pneumoscope.training.networks import build_network
from pneumoscope.training.optimizer import make_optimizer, set_scheduled_rate
from pneumoscope.training.recipe import Recipe

if TYPE_CHECKING:
    from pneumoscope.models.backbones import BackboneCnn  # not imported: timm comes with it

_DROPOUT_STREAM = 2
_STEPS_BETWEEN_CHECKS = 50  # of the loss for NaN: each check makes an accelerator wait


class Classifier(pl.LightningModule):
    """Trains a network by a recipe; all randomness comes from (seed, epoch, step).

    Args:
        recipe: The experiment.
        seed: The run's seed.
        class_weights: Of the negative and of the positive class, in the loss.
        n_rows: Radiographs in the whole dataset: the fixed changed copies are drawn for all.
        n_added: Images that train besides.
        is_pretrained: Load the recipe's pretrained weights; False where a checkpoint follows.

    After each epoch ``epoch_figures`` holds training loss and accuracy and the tuning figures.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        seed: int,
        class_weights: tuple[float, float],
        n_rows: int = 0,
        n_added: int = 0,
        is_pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.seed = seed
        self.class_weights = class_weights
        torch.manual_seed(seed_of(seed, 0, 0))
        self.network = build_network(recipe, is_pretrained=is_pretrained)
        self.average = (
            None
            if recipe.training.ema_decay is None
            else copy.deepcopy(self.network).requires_grad_(False)
        )
        self._n_rows, self._n_added = n_rows, n_added
        self.epoch_figures: dict[str, float] = {}
        self._n_seen = 0
        self._n_steps_done = 0
        self._loss_sum = torch.zeros(())
        self._n_right = torch.zeros(())
        self._tuning: list[tuple[Tensor, Tensor]] = []
        self._freed: list[nn.Parameter] = []  # frozen when training began, and no longer

    @property
    def n_images_trained(self) -> int:
        """Radiographs that this process has trained on in this epoch."""
        return self._n_seen

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the recipe's optimizer; the learning rate is lowered by `EpochKeeper`."""
        return make_optimizer(
            self.network,
            self.recipe.training.optimizer,
            backbone_rate_factor=self._backbone_rate_factor,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale to [0, 1] on the device, and augment a training batch there."""
        if batch.maps is not None:
            return batch
        pixels = batch.pixels.float().div_(255)
        if self.trainer.training:
            pixels = apply_parameters(pixels, self._parameters_of(batch), self.recipe.augmentation)
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
            subtype=batch.subtype.to(device, non_blocking=True),
            maps=None if batch.maps is None else batch.maps.to(device, non_blocking=True),
        )

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums anew, and unfreeze the backbone when its time has come."""
        shape = self.recipe.network
        after = shape.unfreeze_after_epochs if isinstance(shape, BackboneNetworkRecipe) else None
        if after is not None and self.current_epoch >= after:
            self._freed += [p for p in self.network.parameters() if not p.requires_grad]
            cast("BackboneCnn", self.network).unfreeze()
        self._n_seen = 0
        self._n_steps_done = 0
        self._loss_sum = torch.zeros((), device=self.device)
        self._n_right = torch.zeros((), device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the step's learning rate."""
        n_steps = int(self.trainer.num_training_batches)
        set_scheduled_rate(
            self.trainer.optimizers[0],
            self.recipe.training,
            done=(self.current_epoch + batch.step / n_steps) / self.recipe.training.epochs,
            backbone_rate_factor=self._backbone_rate_factor,
        )

    def on_after_backward(self) -> None:
        """Average the gradients of freed layers over the devices.

        DDP averages those that trained when it was built, and would let each device go its own
        way in all others without a word.
        """
        gradients = [p.grad for p in self._freed if p.grad is not None]
        if self.trainer.world_size == 1 or not gradients:
            return
        # As one vector: a message for each of some hundred layers would cost more than their sums.
        own = torch.cat([gradient.flatten() for gradient in gradients])
        mean = cast(Tensor, self.trainer.strategy.reduce(own, reduce_op="mean"))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, torch.split(mean, sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average of the weights towards the newest."""
        decay = self.recipe.training.ema_decay
        if self.average is None or decay is None:
            return
        n = self.trainer.global_step
        update_average(self.average, self.network, decay=min(decay, (1 + n) / (10 + n)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one step, regularisers included."""
        # Dropout draws from the global generator: seeding it a step makes a resumed run repeat it.
        torch.manual_seed(
            seed_of(self.seed, self.current_epoch, batch.step, stream=_DROPOUT_STREAM)
            + self.global_rank
        )
        maps = self._maps_of(self.network, batch)
        logit, penalty = self.network.head_with_penalty(maps)
        loss = self._loss(logit, batch.target) + penalty
        weight = self.recipe.training.subtype_loss_weight
        if weight:
            subtype = cast("BackboneCnn", self.network).subtype_logits(maps)
            loss = loss + weight * subtype_loss(subtype, batch.subtype)
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
        network = self.network if self.average is None else self.average
        logit, _ = network.head_with_penalty(self._maps_of(network, batch))
        self._tuning.append((logit.float().cpu(), batch.target.cpu()))

    def on_validation_epoch_start(self) -> None:
        """Begin the tuning split anew."""
        self._tuning = []

    def on_validation_epoch_end(self) -> None:
        """Work out the epoch's figures. Raises: DivergedError: the loss is no longer a number."""
        self._check_loss(self._n_steps_done)
        logit = torch.cat([logits for logits, _ in self._tuning])
        if not bool(torch.isfinite(logit).all()):  # the last step's weights: no loss has seen them
            raise self._diverged("the answers to the tuning split are no numbers any more")
        target = torch.cat([targets for _, targets in self._tuning])
        self.epoch_figures = {
            "training_loss": float(self._loss_sum) / self._n_seen,
            "training_accuracy": float(self._n_right) / self._n_seen,
        } | tuning_figures(logit.numpy(), target.numpy() > 0.5)

    @property
    def _backbone_rate_factor(self) -> float:
        shape = self.recipe.network
        return shape.backbone_rate_factor if isinstance(shape, BackboneNetworkRecipe) else 1

    def _maps_of(self, network: DetectorNetwork, batch: Batch) -> Tensor:
        """Return the last feature maps, worked out now unless the batch brings them."""
        return network.levels(batch.pixels)[-1] if batch.maps is None else batch.maps

    def _loss(self, logit: Tensor, target: Tensor) -> Tensor:
        training = self.recipe.training
        if training.loss == "focal":
            return focal_loss(logit, target, gamma=training.focal_gamma, alpha=training.focal_alpha)
        return weighted_bce(logit, target, self.class_weights)

    def _parameters_of(self, batch: Batch) -> AugmentationParameters:
        """Return what is done to each radiograph of a training batch."""
        recipe = self.recipe.augmentation
        if recipe.copies is not None:
            copy_index = self.current_epoch % recipe.copies
            drawn = draw_copies(recipe, self._n_rows, n_added=self._n_added, copy=copy_index)
            return drawn.take(batch.rows)
        # Drawn for the whole step, then this process's part taken: the radiographs are changed
        # alike however many devices share them.
        drawn = draw_parameters(
            recipe, batch.n_in_step, seed=self.seed, epoch=self.current_epoch, step=batch.step
        )
        return drawn.take(slice(batch.first, batch.first + len(batch.rows)))

    def _check_loss(self, step: int) -> None:
        if not bool(torch.isfinite(self._loss_sum)):
            raise self._diverged(
                f"the training loss became {float(self._loss_sum)}", when=f", by step {step}"
            )

    def _diverged(self, what: str, *, when: str = "") -> DivergedError:
        return DivergedError(
            f"{self.recipe.name}: {what} in epoch {self.current_epoch + 1}{when}. Lower "
            f"training.optimizer.learning_rate (now {self.recipe.training.optimizer.learning_rate})"
            ", or set training.precision to fp32. The last good checkpoint is untouched."
        )


def subtype_loss(logits: Tensor, subtype: Tensor) -> Tensor:
    """Return the mean cross-entropy over the radiographs whose subtype is known.

    Where none is known it is zero with zero gradients. Left out instead, a device with such a share
    of a step would lack the gradients that DDP waits for.

    Args:
        logits: (N, 3).
        subtype: (N,) int64, -1 where unknown.
    """
    total = F.cross_entropy(logits.float(), subtype, ignore_index=-1, reduction="sum")
    return total / (subtype >= 0).sum().clamp(min=1)


def update_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move every weight and running statistic of ``average`` towards ``network``'s, in place."""
    with torch.no_grad():
        for old, new in zip(
            average.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)  # BatchNorm's count of batches


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
        "tuning_auroc": auroc(z, target),
    }


def balanced_class_weights(target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the weights that make both classes count alike: N / (2 * N of the class)."""
    n, n_positive = len(target), int(target.sum())
    return n / (2 * (n - n_positive)), n / (2 * n_positive)
