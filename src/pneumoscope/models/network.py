"""What every detector's network has in common, so that maps and export need to know one shape."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pneumoscope.models.network_recipe import DenseRecipe

Pooling = Literal["mean", "flatten"]


class DetectorNetwork(nn.Module, ABC):
    """Feature maps, then `pooling`, then `dense` layers with ReLU, then `head`: one logit.

    Attributes:
        size_px: Side of the square input.
        pooling: `mean` over the last maps, or `flatten` them (C, h, w in this order).
        dense: Fully connected layers, each followed by ReLU; may be empty.
        head: The last, linear layer with one output.
    """

    size_px: int
    pooling: Pooling
    dense: nn.ModuleList
    head: nn.Linear

    def make_head(
        self, features: int, dense: Sequence[DenseRecipe], *, flatten_dropout: float
    ) -> None:
        """Add the layers from pooled or flat maps (``features`` values) to the logit."""
        self.flatten = nn.Flatten()
        self.flatten_dropout = nn.Dropout(flatten_dropout)
        self.dense = nn.ModuleList()
        self.dense_dropout = nn.ModuleList()
        for layer in dense:
            self.dense.append(nn.Linear(features, layer.units))
            self.dense_dropout.append(nn.Dropout(layer.dropout))
            features = layer.units
        self.head = nn.Linear(features, 1)

    def head_activities(self, maps: Tensor) -> list[Tensor]:
        """Return the output of every dense layer after its ReLU, before dropout; the logit last.

        Args:
            maps: (N, C, h, w), the last of `levels`.

        Returns: Each (N, units); the last (N, 1).
        """
        flat = maps.mean(dim=(2, 3)) if self.pooling == "mean" else self.flatten(maps)
        x = self.flatten_dropout(flat)
        activities = []
        for layer, dropout in zip(self.dense, self.dense_dropout, strict=True):
            x = torch.relu(layer(x))
            activities.append(x)  # before dropout, which is a layer of its own in Keras
            x = dropout(x)
        return [*activities, self.head(x)]

    @abstractmethod
    def levels(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Return feature maps from early to late; the last ones feed the head.

        Args:
            gray: (N, 1, S, S), values in [0, 1], S = ``size_px``.

        Returns: Each (N, C, h, w).
        """

    @abstractmethod
    def head_with_penalty(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N,) of the last maps, and the loss terms of the head's layers (scalar)."""

    def forward_with_penalty(self, gray: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N,) and the regularisers' sum (a scalar) to add to the loss."""
        return self.head_with_penalty(self.levels(gray)[-1])

    def forward(self, gray: Tensor) -> Tensor:
        """Return logits.

        Args:
            gray: (N, 1, S, S), values in [0, 1].

        Returns: (N,), before the sigmoid.
        """
        return self.forward_with_penalty(gray)[0]


def initialise_as_keras(module: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases (Glorot & Bengio 2010, AISTATS)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
