"""Networks with a timm backbone: gray picture in, feature maps, a head with one logit."""

import math
from typing import Any, cast

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from pneumoscope.core.errors import RecipeError
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe, Triple
from pneumoscope.models.network import DetectorNetwork, initialise_as_keras
from pneumoscope.models.pretrained import load_pretrained
from pneumoscope.models.timm_body import body_levels, make_body

N_SUBTYPE_CLASSES = 3  # normal, bacterial, viral
_MIN_SPREAD = 1 / 255  # a picture of one gray value must not be divided by zero


class BackboneCnn(DetectorNetwork):
    """A timm backbone with a head of its own.

    Args:
        recipe: The network's shape and what is frozen.
        size_px: Side of the square input.
        channels: 3 repeats the gray picture; 1 folds the first convolution to one channel, which
            gives the same maps at a third of its cost and needs equal normalisation of the three.
        is_pretrained: Load the recipe's weights; False leaves random ones, for a network that is
            about to be filled from a checkpoint, or compared with one.

    Raises:
        RecipeError: timm does not know the backbone, or it can't be used as the recipe says: it
            has no feature maps, or does not take this size.
        WeightsError: the pretrained weights are missing or of another architecture.
    """

    mean: Tensor  # (1, channels, 1, 1)
    std: Tensor

    def __init__(
        self,
        recipe: BackboneNetworkRecipe,
        *,
        size_px: int,
        channels: int,
        is_pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.size_px = size_px
        self.pooling = recipe.pooling
        self.channels = channels
        self.stretch = recipe.stretch
        self.is_wholly_frozen = recipe.frozen_stages == "all"
        self.body, shape = make_body(recipe.backbone, channels=channels, size_px=size_px)
        self._useful = [p for p in self.body.parameters() if p.requires_grad]
        mean: Triple = (0.5, 0.5, 0.5)
        std: Triple = (0.5, 0.5, 0.5)
        if recipe.weights is not None and is_pretrained:
            mean, std = load_pretrained(self.body, recipe.weights, backbone=recipe.backbone)
        _check_fold(channels, mean, std)
        # Buffers, so that a checkpoint carries the normalisation that its weights were given.
        self.register_buffer("mean", torch.tensor(mean[:channels]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std[:channels]).view(1, -1, 1, 1))
        n_maps = shape[0]
        features = n_maps if recipe.pooling == "mean" else math.prod(shape)
        self.make_head(features, recipe.dense, flatten_dropout=recipe.pooled_dropout)
        self.subtype_head = (
            nn.Linear(n_maps, N_SUBTYPE_CLASSES) if recipe.has_subtype_head else None
        )
        for module in (self.dense, self.head, self.subtype_head):
            if module is not None:
                module.apply(initialise_as_keras)
        self._freeze(recipe)
        self.train()

    def levels(self, gray: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of timm's stages, the backbone's last ones last."""
        x = stretch_gray(gray, self.stretch) if self.stretch else gray
        x = (x.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        return body_levels(self.body, x)

    def head_with_penalty(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N,) of the last maps; the penalty is zero."""
        logit = self.head_activities(maps)[-1].squeeze(1)
        return logit, logit.new_zeros((), dtype=torch.float32)

    def subtype_logits(self, maps: Tensor) -> Tensor:
        """Return (N, 3): normal, bacterial, viral, before the softmax; for training alone.

        Raises: ValueError: the recipe has no subtype head.
        """
        if self.subtype_head is None:
            raise ValueError("this network was built without network.has_subtype_head")
        logits: Tensor = self.subtype_head(maps.mean(dim=(2, 3)))
        return logits

    def unfreeze(self) -> None:
        """Train every layer that the maps depend on from now on, BatchNorm statistics too."""
        self.is_wholly_frozen = False
        for parameter in self._useful:
            parameter.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "BackboneCnn":
        """Set the mode; BatchNorm of frozen layers stays in evaluation mode."""
        super().train(mode)
        if self.is_wholly_frozen:
            self.body.eval()
            return self
        for module in self.body.modules():
            weight = getattr(module, "weight", None)
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if is_norm and isinstance(weight, nn.Parameter) and not weight.requires_grad:
                module.eval()
        return self

    def _freeze(self, recipe: BackboneNetworkRecipe) -> None:
        if recipe.frozen_stages == "all":
            self.body.requires_grad_(False)
            return
        groups = group_parameters(self.body, cast(Any, self.body).group_matcher(coarse=True))
        if recipe.frozen_stages > len(groups):
            raise RecipeError(
                f"network.frozen_stages: {recipe.frozen_stages}, but {recipe.backbone} has "
                f"{len(groups)} layer groups. Give fewer, or `all`."
            )
        parameters = dict(self.body.named_parameters())
        for index in range(recipe.frozen_stages):
            for name in groups[index]:
                parameters[name].requires_grad_(False)


def stretch_gray(gray: Tensor, shares: tuple[float, float]) -> Tensor:
    """Make a share of each picture's darkest pixels 0, of its brightest 1, and scale between.

    The limits are pixels of the picture itself: with n pixels and a share s, the ceil(s n)-th
    smallest (at least the first) and the like from above; no interpolation, so that every runtime
    finds the same.

    Args:
        gray: (N, 1, H, W) in [0, 1].
        shares: Of the darkest and of the brightest, each in [0, 0.5).

    Returns: (N, 1, H, W) in [0, 1].
    """
    flat = gray.flatten(1)
    n = flat.shape[1]
    n_dark, n_bright = (max(1, math.ceil(share * n)) for share in shares)
    low = flat.topk(n_dark, dim=1, largest=False).values[:, -1].view(-1, 1, 1, 1)
    high = flat.topk(n_bright, dim=1).values[:, -1].view(-1, 1, 1, 1)
    return ((gray - low) / (high - low).clamp(min=_MIN_SPREAD)).clamp(0, 1)


def _check_fold(channels: int, mean: Triple, std: Triple) -> None:
    if channels == 1 and (len(set(mean)) > 1 or len(set(std)) > 1):
        # Subtracting three different means is not one convolution of the gray picture: at the
        # borders the padding would have to differ by channel.
        raise RecipeError(
            f"input.channels: 1 folds the first convolution, which needs the same mean and std for "
            f"all three channels, but these weights have {mean} and {std}. Set it to 3."
        )
