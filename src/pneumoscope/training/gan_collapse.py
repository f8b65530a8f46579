"""Notice an adversarial training that has collapsed."""

import math
from collections.abc import Sequence
from typing import Literal

from pneumoscope.training.gan_recipe import GanRecipe

Reason = Literal["discriminator_won", "samples_alike"]

_WORDS: dict[Reason, str] = {
    "discriminator_won": "collapse: the discriminator's loss is at zero, so the generator learns "
    "nothing more. Train from anew with another --seed or a lower optimizer.learning_rate",
    "samples_alike": "collapse: the samples are all nearly the same picture. Look at the grid; if "
    "it stays so, train from anew with another --seed or a lower optimizer.learning_rate",
}


def find_collapse(
    history: Sequence[dict[str, float]], recipe: GanRecipe, *, real_std: float
) -> dict[Reason, list[int]]:
    """Return the epochs that collapsed, by the reason; none of either in a sound run.

    Args:
        history: One row an epoch, with ``epoch``, ``discriminator_loss`` and ``sample_std``.
        recipe: Says what is called a collapse.
        real_std: The radiographs' spread, measured as ``sample_std`` is.
    """
    bounds = recipe.collapse
    least_loss = bounds.discriminator_loss + least_discriminator_loss(recipe.real_label)
    least_std = bounds.sample_std_share * real_std
    judged = [row for row in history if row["epoch"] >= bounds.from_epoch]
    return {
        "discriminator_won": [
            int(row["epoch"]) for row in judged if row["discriminator_loss"] < least_loss
        ],
        "samples_alike": [int(row["epoch"]) for row in judged if row["sample_std"] < least_std],
    }


def least_discriminator_loss(real_label: float) -> float:
    """Return the loss of a discriminator that is never wrong: the entropy of the label, in nats."""
    if real_label == 1:
        return 0.0
    rest = 1 - real_label
    return -real_label * math.log(real_label) - rest * math.log(rest)


def describe_collapse(reason: Reason) -> str:
    """Return a collapse in words, and what to do."""
    return _WORDS[reason]
