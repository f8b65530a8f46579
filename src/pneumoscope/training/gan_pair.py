"""Generator and discriminator against each other: one step, one epoch's end, and their state."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.data.augment import seed_of
from pneumoscope.models.dcgan import (
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
    initialise,
    measure_batch_norm,
)
from pneumoscope.training.classifier import update_average
from pneumoscope.training.gan_recipe import GanRecipe

# Streams of chance, apart from those of a detector's training (1 to 3).
_WEIGHTS_STREAM, _LATENT_STREAM, _GRID_STREAM, _NORM_STREAM = 11, 12, 13, 14
_N_NORM_BATCHES, _NORM_BATCH = 4, 128
STEP_FIGURES = ("discriminator_loss", "generator_loss", "real_score", "fake_score")


class AdversarialPair:
    """Both networks, the generator's moving average, and both optimizers.

    Whatever is random is a function of (seed, epoch, step): there is no hidden state of chance that
    a resumed run would have to restore.

    Args:
        recipe: Sizes and update rules.
        seed: The run's seed.
        device: Where everything is computed.
    """

    def __init__(self, recipe: GanRecipe, *, seed: int, device: torch.device) -> None:
        self.recipe = recipe
        self.seed = seed
        self.device = device
        chance = torch.Generator().manual_seed(seed_of(seed, 0, 0, stream=_WEIGHTS_STREAM))
        self.generator = Generator(recipe.size_px, recipe.latent_dim, recipe.base_filters)
        self.discriminator = Discriminator(recipe.size_px, recipe.base_filters)
        for network in (self.generator, self.discriminator):
            initialise(network, chance)
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self._generator_optimizer = self._adam(self.generator)
        self._discriminator_optimizer = self._adam(self.discriminator)
        self._n_steps_done = 0

    def step(self, real: Tensor, *, epoch: int, step: int) -> Tensor:
        """Update the discriminator, then the generator, then the average.

        Args:
            real: (N, 1, size, size) in [-1, 1], on the device.
            epoch: Counted from 0.
            step: Within the epoch, counted from 0.

        Returns: (4,) on the device, the values that `STEP_FIGURES` names.
        """
        latent = self._latent(len(real), epoch, step, stream=_LATENT_STREAM)
        generated = self.generator(latent)
        # Radiographs and generated pictures are not mixed: BatchNorm sees one kind at a time.
        real_logit = self.discriminator(real)
        generated_logit = self.discriminator(generated.detach())
        loss_d = discriminator_loss(real_logit, generated_logit, real_label=self.recipe.real_label)
        self._discriminator_optimizer.zero_grad()
        loss_d.backward()  # type: ignore[no-untyped-call]
        self._discriminator_optimizer.step()

        self.discriminator.requires_grad_(False)  # its own slopes are not needed: a third less work
        loss_g = generator_loss(self.discriminator(generated))
        self._generator_optimizer.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]
        self._generator_optimizer.step()
        self.discriminator.requires_grad_(True)
        self._update_average()
        scores = [logit.detach().sigmoid().mean() for logit in (real_logit, generated_logit)]
        return torch.stack([loss_d.detach(), loss_g.detach(), *scores])

    def settle_average(self) -> None:
        """Make the averaged generator ready to sample: BatchNorm's statistics are its own."""
        batches = [
            self._latent(_NORM_BATCH, 0, index, stream=_NORM_STREAM)
            for index in range(_N_NORM_BATCHES)
        ]
        measure_batch_norm(self.average, batches)

    @torch.inference_mode()
    def grid(self) -> Tensor:
        """Return what the averaged generator makes of the grid's latent vectors, always the same.

        Returns: (grid_side ** 2, 1, size, size) in [-1, 1], on the CPU.
        """
        latent = self._latent(self.recipe.grid_side**2, 0, 0, stream=_GRID_STREAM)
        return self.average(latent).cpu()  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {
            "state_dict": {name: part.state_dict() for name, part in self._networks().items()},
            "optimizer_states": [part.state_dict() for part in self._optimizers()],
            "n_steps_done": self._n_steps_done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        for name, network in self._networks().items():
            network.load_state_dict(state["state_dict"][name])
        for optimizer, saved in zip(self._optimizers(), state["optimizer_states"], strict=True):
            optimizer.load_state_dict(saved)
        self._n_steps_done = state["n_steps_done"]

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }

    def _optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        return self._generator_optimizer, self._discriminator_optimizer

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        rule = self.recipe.optimizer
        return torch.optim.Adam(
            network.parameters(), lr=rule.learning_rate, betas=(rule.beta1, rule.beta2)
        )

    def _latent(self, count: int, epoch: int, step: int, *, stream: int) -> Tensor:
        """Return latent vectors (count, latent_dim), drawn on the CPU: the same on any device."""
        chance = torch.Generator().manual_seed(seed_of(self.seed, epoch, step, stream=stream))
        latent = torch.randn(count, self.recipe.latent_dim, generator=chance)
        return latent.to(self.device, non_blocking=True)

    def _update_average(self) -> None:
        """Move the average towards the newest weights; quickly at first, from the random ones."""
        n = self._n_steps_done
        self._n_steps_done += 1
        decay = min(self.recipe.ema_decay, (1 + n) / (10 + n))
        update_average(self.average, self.generator, decay=decay)


def spread(pictures: Tensor | NDArray[np.floating[Any]]) -> float:
    """Return how much pictures (N, ...) differ: the root mean square distance from their mean."""
    values = torch.as_tensor(pictures).double()
    return float((values - values.mean(0)).square().mean().sqrt())
