"""Backbones of timm that put the channels last, work on tokens, or are built for one size."""

import math
from typing import Any

import pytest
import torch

from pneumoscope.core.errors import RecipeError
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.backbones import BackboneCnn
from pneumoscope.models.cam import evidence_map

SWIN = "swin_tiny_patch4_window7_224"


def make(backbone: str, *, size_px: int = 64, **shape: Any) -> BackboneCnn:
    torch.manual_seed(0)
    recipe = BackboneNetworkRecipe(kind="backbone", backbone=backbone, **shape)
    return BackboneCnn(recipe, size_px=size_px, channels=1).eval()


def gray(size_px: int = 64) -> torch.Tensor:
    return torch.rand(2, 1, size_px, size_px, generator=torch.Generator().manual_seed(0))


def channels_last(network: BackboneCnn, pictures: torch.Tensor) -> torch.Tensor:
    """Oracle: (N, h, w, C), timm's own last maps of a network that puts the channels last."""
    return network.body.forward_features((pictures - 0.5) / 0.5)


@pytest.mark.parametrize(("backbone", "n_maps"), [("test_mambaout", 64), (SWIN, 768)])
def test_channels_that_come_last_are_put_first(backbone: str, n_maps: int) -> None:
    network = make(backbone)
    with torch.no_grad():
        *levels, maps = network.levels(gray())
        expected = channels_last(network, gray())
    assert maps.shape == (2, n_maps, 2, 2)
    for channel in (0, 1, n_maps - 1):
        assert torch.allclose(maps[:, channel], expected[..., channel])
    assert [level.shape[2:] for level in levels] == [(side, side) for side in (16, 8, 4, 2)]
    assert [level.shape[1] for level in levels] == [
        stage["num_chs"] for stage in network.body.feature_info
    ]


@pytest.mark.parametrize("backbone", ["test_mambaout", SWIN])
def test_head_and_evidence_weigh_channels_not_positions(backbone: str) -> None:
    network = make(backbone)
    with torch.no_grad():
        positions = channels_last(network, gray()) @ network.head.weight[0]  # (N, h, w)
        expected = positions.mean((1, 2)) + network.head.bias
        logit, cam = evidence_map(
            network.levels(gray())[-1], dense=[], head=network.head, pooling="mean"
        )
        assert torch.allclose(network(gray()), expected, atol=1e-5)
    assert torch.allclose(logit, expected, atol=1e-5)
    assert torch.allclose(cam, positions, atol=1e-5)


def test_flattened_maps_run_channel_by_channel() -> None:
    network = make("test_mambaout", pooling="flatten")
    weight = network.head.weight.view(64, 2, 2)
    with torch.no_grad():
        maps = channels_last(network, gray())
        expected = torch.einsum("nhwc,chw->n", maps, weight) + network.head.bias
        assert torch.allclose(network(gray()), expected, atol=1e-5)


@pytest.mark.parametrize("size_px", [64, 96, 224])
def test_a_network_of_windows_is_built_for_the_recipes_size(size_px: int) -> None:
    network = make(SWIN, size_px=size_px)
    with torch.no_grad():
        maps = network.levels(gray(size_px))[-1]
    assert maps.shape == (2, 768, size_px // 32, size_px // 32)


def test_the_first_groups_of_a_network_of_windows_are_frozen() -> None:
    parameters = dict(make(SWIN, frozen_stages=1).body.named_parameters())
    frozen = {name for name, p in parameters.items() if not p.requires_grad}
    assert frozen == {name for name in parameters if name.startswith("patch_embed.")}
    assert len(frozen) == 4  # the convolution and its norm


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ("test_vit", "a sequence of tokens"),  # with a class token
        ("test_vit_relpos", "a sequence of tokens"),  # without
        ("mixer_s32_224", "a sequence of tokens"),
        ("efficientvim_m1", "a list"),
        ("crossvit_9_240", "pooling"),  # timm can't build it without pooling
        ("pit_ti_224", r"forward_intermediates"),
    ],
)
def test_a_backbone_without_maps_is_refused_and_another_named(backbone: str, reason: str) -> None:
    size_px = 240 if backbone == "crossvit_9_240" else 224
    with pytest.raises(RecipeError, match=rf"^network\.backbone: {backbone} .*{reason}") as caught:
        make(backbone, size_px=size_px)
    assert "resnet50" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "made_for_px"), [("test_maxvit", 160), ("botnet26t_256", 256)]
)
def test_a_size_that_a_backbone_cannot_take_is_refused(backbone: str, made_for_px: int) -> None:
    with pytest.raises(RecipeError, match=rf"input\.size_px: {made_for_px}") as caught:
        make(backbone, size_px=149)
    assert "149" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_head_fits_flattened_maps_of_any_layout() -> None:
    for backbone in ("test_mambaout", "test_resnet"):
        network = make(backbone, pooling="flatten")
        with torch.no_grad():
            shape = network.levels(gray())[-1].shape[1:]
        assert network.head.in_features == math.prod(shape)
