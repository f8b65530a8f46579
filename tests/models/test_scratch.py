import math

import numpy as np
import pytest
import torch
from torch import nn

from pneumoscope.models.network_recipe import ScratchNetworkRecipe
from pneumoscope.models.scratch import ScratchCnn

SMALL = {
    "kind": "scratch",
    "conv_padding": "same",
    "pool_padding": "same",
    "blocks": [{"filters": [4], "dropout": 0.2, "batch_norm": True}, {"filters": [6, 6]}],
    "dense": [{"units": 5, "dropout": 0.5}],
}


def make_network(**changes: object) -> ScratchCnn:
    torch.manual_seed(0)
    recipe = ScratchNetworkRecipe.model_validate(SMALL | changes)
    return ScratchCnn(recipe, size_px=15, channels=1)


def test_same_pooling_keeps_the_odd_last_row_as_keras_does() -> None:
    # 15 -> 8 -> 4 with `same` (ceil), 15 -> 7 -> 3 with `valid` (floor)
    assert make_network().dense[0].in_features == 6 * 4 * 4
    assert make_network(pool_padding="valid").dense[0].in_features == 6 * 3 * 3


def test_valid_convolutions_lose_a_pixel_a_side() -> None:
    # 15 - 2 = 13 -> 6; 6 - 4 = 2 -> 1
    network = make_network(conv_padding="valid", pool_padding="valid")
    assert network.dense[0].in_features == 6


def test_layers_stand_in_the_order_of_the_source() -> None:
    kinds = [type(layer) for layer in make_network().blocks[0]]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.Dropout, nn.BatchNorm2d, nn.MaxPool2d]


def test_weights_start_as_keras_starts_them() -> None:
    network = make_network(blocks=[{"filters": [64, 64]}], dense=[{"units": 64}])
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        receptive = module.weight[0, 0].numel() if module.weight.dim() == 4 else 1
        fan_in = module.weight.shape[1] * receptive
        fan_out = module.weight.shape[0] * receptive
        limit = math.sqrt(6 / (fan_in + fan_out))  # Glorot & Bengio 2010, eq. 16
        assert module.weight.abs().max() <= limit
        if module.weight.numel() > 5000:
            assert module.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
        assert torch.count_nonzero(module.bias) == 0


def test_batch_norm_has_keras_momentum_and_epsilon() -> None:
    norms = [module for module in make_network().modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(norm.momentum, norm.eps) for norm in norms] == [(0.01, 1e-3)]


def test_three_channels_see_the_same_gray() -> None:
    recipe = ScratchNetworkRecipe.model_validate(SMALL)
    network = ScratchCnn(recipe, size_px=15, channels=3).eval()
    gray = torch.rand(2, 1, 15, 15)
    seen: list[torch.Tensor] = []
    network.blocks[0][0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(gray)
    assert seen[0].shape == (2, 3, 15, 15)
    assert torch.equal(seen[0], torch.cat([gray, gray, gray], dim=1))


def test_an_answer_does_not_depend_on_its_batch() -> None:
    network = make_network().eval()
    gray = torch.rand(5, 1, 15, 15)
    alone = torch.cat([network(image[None]) for image in gray])
    assert torch.allclose(network(gray), alone, atol=1e-6)


def test_penalty_is_the_sum_that_keras_defines() -> None:
    rule = {"kernel_l1": 0.01, "kernel_l2": 0.02, "bias_l2": 0.03, "activity_l2": 0.04}
    network = make_network(regularisation=rule, dense=[{"units": 5}]).eval()
    with torch.no_grad():
        network.head.bias.fill_(0.7)  # zero at the start, so its penalty would not show
        network.dense[0].bias.uniform_(-1, 1)
    gray = torch.rand(3, 1, 15, 15)
    logit, penalty = network.forward_with_penalty(gray)
    hidden = np.maximum(
        network.flatten(network.blocks(gray)).detach().numpy()
        @ network.dense[0].weight.detach().numpy().T
        + network.dense[0].bias.detach().numpy(),
        0,
    )
    probability = 1 / (1 + np.exp(-logit.detach().numpy()))
    expected = 0.0
    for layer, activity in [(network.dense[0], hidden), (network.head, probability)]:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        expected += 0.01 * np.abs(weight).sum() + 0.02 * (weight**2).sum() + 0.03 * (bias**2).sum()
        expected += 0.04 * (activity**2).sum() / 3
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_without_regularisers_the_penalty_is_zero() -> None:
    assert make_network().eval().forward_with_penalty(torch.rand(2, 1, 15, 15))[1].item() == 0


def test_a_picture_that_is_used_up_is_refused_with_the_block() -> None:
    recipe = ScratchNetworkRecipe.model_validate(SMALL | {"conv_padding": "valid"})
    with pytest.raises(ValueError, match=r"network\.blocks\.1: nothing is left of a picture of 9"):
        ScratchCnn(recipe, size_px=9, channels=1)
