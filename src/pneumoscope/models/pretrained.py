"""Find pretrained weights, on this machine first, and put them into a backbone."""

import os
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from pneumoscope.core.errors import WeightsError
from pneumoscope.models.backbone_recipe import Triple, WeightsRecipe

WEIGHTS_VARIABLE = "PNEUMOSCOPE_WEIGHTS"


def load_pretrained(
    body: nn.Module, weights: WeightsRecipe, *, backbone: str
) -> tuple[Triple, Triple]:
    """Load weights into a backbone without its classifier. No network is reached for a local file.

    Args:
        body: timm's network; its first convolution has 1 or 3 input channels.
        weights: Where they come from.
        backbone: The name to call it by in messages.

    Returns: Mean and standard deviation, of red, green and blue in [0, 1], that they need.
    Raises: WeightsError: they are nowhere to be had, damaged, or of another architecture.
    """
    path = find_file(weights)
    if path is not None and weights.file is not None:
        state = _read(path)
        mean, std = weights.file.mean, weights.file.std
        source = str(path)
    else:
        state, mean, std = _from_hub(weights, backbone=backbone)
        source = str(weights.hub)
    _load(body, state, source=source, backbone=backbone)
    return mean, std


def find_file(weights: WeightsRecipe) -> Path | None:
    """Return the weights' file where it lies on this machine, or None."""
    if weights.file is None:
        return None
    folder = os.environ.get(WEIGHTS_VARIABLE)
    places = [Path(folder) / weights.file.name] if folder else []
    places.append(Path(weights.file.name))
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise WeightsError(
            f"{path}: not a readable .safetensors file ({error}). Fetch it again, or save the "
            f"network's state_dict with safetensors.torch.save_file."
        ) from error


def _from_hub(weights: WeightsRecipe, *, backbone: str) -> tuple[dict[str, Tensor], Triple, Triple]:
    """Return weights and normalisation that timm downloads, or finds in its own cache."""
    wanted = weights.file.name if weights.file else f"{backbone}.safetensors"
    folder = os.environ.get(WEIGHTS_VARIABLE) or "not set"
    if weights.hub is None:
        raise WeightsError(
            f"{backbone}: its pretrained weights {wanted!r} are neither in the folder that "
            f"{WEIGHTS_VARIABLE} names ({folder}) nor a path. "
            f"Put the file there; or set network.weights.hub to one of timm's names, such as "
            f"{backbone}, to have it downloaded."
        )
    try:
        donor = timm.create_model(weights.hub, pretrained=True, num_classes=0)
    except Exception as error:  # no network, no such name, no such tag: each its own type
        raise WeightsError(
            f"{weights.hub}: timm could not get these pretrained weights ({error}). Either allow "
            f"this machine to reach timm's hub once, or put {wanted!r} (a state_dict with timm's "
            f"key names, saved as safetensors) into a folder, point {WEIGHTS_VARIABLE} at it and "
            f"name it in network.weights.file with its mean and std."
        ) from error
    facts = cast(dict[str, Any], donor.pretrained_cfg)
    return donor.state_dict(), tuple(facts["mean"]), tuple(facts["std"])


def _load(body: nn.Module, state: dict[str, Tensor], *, source: str, backbone: str) -> None:
    """Copy the tensors that the backbone has; all of its own must be there, in the right shape."""
    wanted = body.state_dict()
    first = next(key for key, value in wanted.items() if value.ndim == 4)
    if first in state and state[first].shape[1] != wanted[first].shape[1]:
        # One gray channel is the three equal ones summed up: the same output for the same picture.
        state = {**state, first: adapt_input_conv(wanted[first].shape[1], state[first].float())}
    missing = [key for key in wanted if key not in state and "num_batches_tracked" not in key]
    wrong = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or wrong:
        reasons = [f"{len(missing)} tensors are missing, such as {missing[0]}"] if missing else []
        reasons += (
            [f"{wrong[0]} is {tuple(state[wrong[0]].shape)}, not {tuple(wanted[wrong[0]].shape)}"]
            if wrong
            else []
        )
        raise WeightsError(
            f"{source}: these weights are not of timm's {backbone}: {'; '.join(reasons)}. Name the "
            f"backbone that they belong to, or other weights, in network."
        )
    with torch.no_grad():
        body.load_state_dict(
            {
                key: state[key].to(value.dtype) if key in state else value
                for key, value in wanted.items()
            }
        )
