"""The CNNs of the published systems, built from a recipe with Keras' defaults.

Keras and torch differ where nobody looks: kernels start Glorot-uniform and biases at zero,
BatchNorm keeps 0.99 of its running statistics (0.01 in torch's convention) with epsilon 1e-3, and
`same` pooling keeps an odd last row. A reproduction that misses these trains differently.
"""

import torch
from torch import Tensor, nn

from pneumoscope.models.network import DetectorNetwork, initialise_as_keras
from pneumoscope.models.network_recipe import (
    ConvBlockRecipe,
    RegularisationRecipe,
    ScratchNetworkRecipe,
)

_BATCH_NORM_MOMENTUM = 0.01  # Keras' 0.99, in torch's convention
_BATCH_NORM_EPSILON = 1e-3


class ScratchCnn(DetectorNetwork):
    """Convolution blocks, dense layers, one logit.

    Args:
        recipe: The network's shape.
        size_px: Side of the square input.
        channels: 1, or 3 to feed the gray picture to three equal channels as the sources did.

    Raises: ValueError: the picture is too small for the blocks.
    """

    def __init__(self, recipe: ScratchNetworkRecipe, *, size_px: int, channels: int) -> None:
        super().__init__()
        self.size_px = size_px
        self.pooling = "flatten"
        self.channels = channels
        self.regularisation = recipe.regularisation
        side = recipe.map_size_px(size_px)
        self.blocks = nn.Sequential()
        width = channels
        for block in recipe.blocks:
            self.blocks.append(_conv_block(block, width, recipe))
            width = block.filters[-1]
        self.make_head(width * side * side, recipe.dense, flatten_dropout=recipe.flatten_dropout)
        self.apply(initialise_as_keras)

    def levels(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Return each block's maps, the last ones last; see `DetectorNetwork.levels`."""
        maps = gray.expand(-1, self.channels, -1, -1)
        levels = []
        for block in self.blocks:
            maps = block(maps)
            levels.append(maps)
        return tuple(levels)

    def head_with_penalty(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N,) of the last maps and the regularisers' sum."""
        *activities, logit = self.head_activities(maps)
        activities.append(torch.sigmoid(logit))
        return logit.squeeze(1), self._penalty(activities)

    def _penalty(self, activities: list[Tensor]) -> Tensor:
        """Return the loss terms of the dense layers, as Keras' L1L2 regularisers define them."""
        rule: RegularisationRecipe = self.regularisation
        total = activities[-1].new_zeros((), dtype=torch.float32)
        for layer, activity in zip([*self.dense, self.head], activities, strict=True):
            if rule.kernel_l1:
                total = total + rule.kernel_l1 * layer.weight.abs().sum()
            if rule.kernel_l2:
                total = total + rule.kernel_l2 * layer.weight.square().sum()
            if rule.bias_l2:
                total = total + rule.bias_l2 * layer.bias.square().sum()
            if rule.activity_l2:
                total = total + rule.activity_l2 * activity.float().square().sum() / len(activity)
        return total


def _conv_block(block: ConvBlockRecipe, width: int, recipe: ScratchNetworkRecipe) -> nn.Sequential:
    """Return one block's layers: (3x3 convolution, ReLU)+, dropout, BatchNorm, pooling."""
    layers: list[nn.Module] = []
    padding = 1 if recipe.conv_padding == "same" else 0
    for filters in block.filters:
        layers += [nn.Conv2d(width, filters, 3, padding=padding), nn.ReLU(inplace=True)]
        width = filters
    if block.dropout:
        layers.append(nn.Dropout(block.dropout))  # element-wise, as Keras' Dropout on maps
    if block.batch_norm:
        layers.append(nn.BatchNorm2d(width, eps=_BATCH_NORM_EPSILON, momentum=_BATCH_NORM_MOMENTUM))
    if block.pool:
        layers.append(nn.MaxPool2d(2, ceil_mode=recipe.pool_padding == "same"))
    return nn.Sequential(*layers)
