"""The recipe's optimizer and the rate's course."""

import logging
from typing import Any

import torch
from torch import nn

from pneumoscope.training.recipe import OptimizerRecipe, TrainingRecipe

_log = logging.getLogger(__name__)
_HEEDED_BY = {
    "epsilon": ("adam", "adamw", "rmsprop"),
    "rho": ("rmsprop",),
    "momentum": ("rmsprop", "sgd"),
    "weight_decay": ("adamw",),
}


def make_optimizer(
    network: nn.Module, recipe: OptimizerRecipe, *, backbone_rate_factor: float = 1
) -> torch.optim.Optimizer:
    """Return a torch optimizer with the recipe's settings.

    Args:
        network: Its frozen parameters are included: without a gradient they are not touched, and
            they may be unfrozen later.
        recipe: Name, rate and the rest.
        backbone_rate_factor: Below 1, parameters of ``network.body`` learn at this share of it.
    """
    _tell_what_has_no_effect(recipe)
    weights: Any = network.parameters()
    if backbone_rate_factor != 1:
        named = list(network.named_parameters())
        weights = [
            {"params": [p for name, p in named if not name.startswith("body.")]},
            {
                "params": [p for name, p in named if name.startswith("body.")],
                "lr": recipe.learning_rate * backbone_rate_factor,
            },
        ]
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


def set_scheduled_rate(
    optimizer: torch.optim.Optimizer,
    training: TrainingRecipe,
    *,
    done: float,
    backbone_rate_factor: float = 1,
) -> None:
    """Set each group's rate for a step: a function of the steps done, so a resumed run repeats it.

    Args:
        optimizer: Of `make_optimizer`: the backbone's group, if any, is the second.
        training: Its schedule; without one nothing changes.
        done: Share of all steps that lie behind, in [0, 1].
        backbone_rate_factor: As for `make_optimizer`.
    """
    if training.schedule is None:
        return
    rate = training.optimizer.learning_rate * training.schedule.factor(done)
    for index, group in enumerate(optimizer.param_groups):
        group["lr"] = rate * (backbone_rate_factor if index == 1 else 1)


def _tell_what_has_no_effect(recipe: OptimizerRecipe) -> None:
    """Warn of settings that the rule doesn't heed: they change the recipe, and not the weights."""
    for key, rules in _HEEDED_BY.items():
        is_default = getattr(recipe, key) == type(recipe).model_fields[key].default
        if recipe.name not in rules and not is_default:
            _log.warning(
                "training.optimizer.%s has no effect with %s, only with %s",
                key,
                recipe.name,
                " and ".join(rules),
            )
