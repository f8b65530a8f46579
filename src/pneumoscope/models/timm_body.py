"""timm's networks without pooling and classifier, their maps in one layout: (N, C, h, w)."""

from typing import Any, cast

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from pneumoscope.core.errors import RecipeError

_INSTEAD = "such as resnet50, convnext_tiny or swin_tiny_patch4_window7_224"


def make_body(backbone: str, *, channels: int, size_px: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Return timm's network with random weights, in evaluation mode, and its last maps' shape.

    What no map depends on (some networks have layers between maps and classifier) does not train:
    it gets no gradients, for which DDP would wait.

    Args:
        backbone: timm's name.
        channels: Of the picture: 1 or 3.
        size_px: Side of the square picture.

    Returns: The network; (C, h, w) of its last maps.
    Raises: RecipeError: timm does not know it, it has no maps, or it does not take this size.
    """
    _check_name(backbone)
    failures: list[Exception] = []
    # Most networks take any size, and few may be told one. Windowed ones, such as Swin, must be.
    sizes: tuple[dict[str, Any], ...] = ({}, {"img_size": size_px})
    for told in sizes:
        try:
            body = timm.create_model(
                backbone, pretrained=False, num_classes=0, global_pool="", in_chans=channels, **told
            )
            if hasattr(body, "pre_logits"):
                body.pre_logits = nn.Identity()  # VGG's fully connected layers, which no maps pass
            _check_interface(backbone, body.eval())
            with torch.enable_grad():
                maps = body_levels(body, torch.zeros(1, channels, size_px, size_px))[-1]
        except RecipeError:
            raise
        except Exception as error:  # a network's assertions, torch's errors of shape: any type
            failures.append(error)
        else:
            _check_maps(backbone, body, maps)
            _freeze_idle(body, maps)
            return body, tuple(maps.shape[1:])
    raise _cannot_run(backbone, failures, size_px=size_px)


def body_levels(body: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Return the maps of timm's stages, the network's last ones last.

    Args:
        body: Of `make_body`.
        x: (N, channels, S, S), normalised.

    Returns: Each (N, C, h, w).
    """
    last, levels = cast(Any, body).forward_intermediates(x)
    # timm turns the stages' maps round itself, the last ones it leaves as they are.
    if getattr(body, "output_fmt", None) == "NHWC":
        last = last.permute(0, 3, 1, 2)
    return (*levels, last)


@torch.enable_grad()
def _freeze_idle(body: nn.Module, maps: Tensor) -> None:
    """Freeze the parameters that the maps don't depend on."""
    parameters = list(body.parameters())
    gradients = torch.autograd.grad(maps.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def _check_name(backbone: str) -> None:
    if backbone not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{backbone[:6]}*")[:5])
        raise RecipeError(
            f"network.backbone: timm has no {backbone!r}."
            + (f" Similar: {near}." if near else " `timm.list_models()` names all.")
        )


def _check_interface(backbone: str, body: nn.Module) -> None:
    if not hasattr(body, "forward_intermediates") or not hasattr(body, "group_matcher"):
        raise RecipeError(
            f"network.backbone: {backbone} does not give its feature maps in timm's common way "
            f"(forward_intermediates). Choose another, {_INSTEAD}."
        )


def _check_maps(backbone: str, body: nn.Module, maps: Any) -> None:
    """Refuse what isn't (1, C, h, w), C being what timm says: a wrong axis would train, too."""
    is_tensor = isinstance(maps, Tensor)
    if is_tensor and maps.ndim == 4 and maps.shape[1] == cast(Any, body).num_features:
        return
    what = f"{tuple(maps.shape)}" if is_tensor else f"a {type(maps).__name__}"
    if is_tensor and maps.ndim == 3:
        what = f"a sequence of tokens {what}"
    raise RecipeError(
        f"network.backbone: {backbone} ends in {what}, not in feature maps (N, C, h, w), which the "
        f"head and the class activation map need. Choose a network that has them, {_INSTEAD}."
    )


def _cannot_run(backbone: str, failures: list[Exception], *, size_px: int) -> RecipeError:
    """Return the error for a network that could not be built, or not be run on a picture."""
    # A TypeError is of a network that can't be told a size: what it said without counts.
    failure = next((f for f in reversed(failures) if not isinstance(f, TypeError)), failures[0])
    reason = " ".join(str(failure).split()) or type(failure).__name__
    facts = get_pretrained_cfg(backbone)
    made_for_px = size_px if facts is None else facts.input_size[-1]
    size = f"Set input.size_px: {made_for_px}, which it is made for, or choose"
    return RecipeError(
        f"network.backbone: {backbone} gives no maps of a picture of {size_px} px ({reason}). "
        f"{'Choose' if made_for_px == size_px else size} another, {_INSTEAD}."
    )
