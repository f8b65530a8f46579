"""Class activation maps against their definition by autograd, and against captum."""

import io
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from captum.attr import LayerGradCam
from torch import Tensor, nn

from pneumoscope.models.cam import evidence_map
from pneumoscope.models.network_recipe import ScratchNetworkRecipe
from pneumoscope.models.scratch import ScratchCnn

CHANNELS, HEIGHT, WIDTH = 5, 3, 4
HEADS = [
    ("mean", ()),
    ("mean", (7,)),
    ("mean", (9, 6)),
    ("flatten", ()),
    ("flatten", (7,)),
    ("flatten", (9, 6)),
]
each_head = pytest.mark.parametrize(("pooling", "units"), HEADS)


class Tiny(nn.Module):
    """A network as `DetectorNetwork` describes it, on one gray channel."""

    def __init__(self, pooling: Literal["mean", "flatten"], units: Sequence[int]) -> None:
        super().__init__()
        self.pooling = pooling
        self.convolution = nn.Conv2d(1, CHANNELS, 3, padding=1)
        n = CHANNELS if pooling == "mean" else CHANNELS * HEIGHT * WIDTH
        self.dense = nn.ModuleList(nn.Linear(*sizes) for sizes in itertools.pairwise([n, *units]))
        self.head = nn.Linear([n, *units][-1], 1)

    def maps(self, gray: Tensor) -> Tensor:
        return self.convolution(gray)

    def from_maps(self, maps: Tensor) -> Tensor:
        x = maps.mean((2, 3)) if self.pooling == "mean" else maps.flatten(1)
        for layer in self.dense:
            x = F.relu(layer(x))
        return self.head(x)[:, 0]

    def forward(self, gray: Tensor) -> Tensor:
        return self.from_maps(self.maps(gray))


class Mapper(nn.Module):
    """What is exported: pictures to logit and map."""

    def __init__(self, network: Tiny) -> None:
        super().__init__()
        self.network = network

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor]:
        return explain(self.network, self.network.maps(gray))


def make(pooling, units, *, seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny(pooling, units).eval()


def explain(network: Tiny, maps: Tensor) -> tuple[Tensor, Tensor]:
    return evidence_map(maps, dense=list(network.dense), head=network.head, pooling=network.pooling)


def pictures(n: int, *, seed: int = 1) -> Tensor:
    return torch.rand((n, 1, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))


def cam_by_autograd(network: Tiny, maps: Tensor) -> Tensor:
    """Oracle: the definition, image by image (Selvaraju et al. 2017, eq. 1 and 2, no ReLU)."""
    cams = []
    for image in maps.detach():
        leaf = image[None].requires_grad_()
        (slope,) = torch.autograd.grad(network.from_maps(leaf)[0], leaf)
        alpha = slope.mean((0, 2, 3))
        cams.append(HEIGHT * WIDTH * sum(a * m for a, m in zip(alpha, image, strict=True)))
    return torch.stack(cams)


@each_head
def test_the_map_is_grad_cam_by_its_definition(pooling, units) -> None:
    network = make(pooling, units)
    maps = network.maps(pictures(6))
    logit, cam = explain(network, maps)
    assert cam.shape == (6, HEIGHT, WIDTH)
    torch.testing.assert_close(logit, network.from_maps(maps))
    torch.testing.assert_close(cam, cam_by_autograd(network, maps), atol=1e-5, rtol=1e-5)


@each_head
def test_the_map_is_captums_grad_cam(pooling, units) -> None:
    network = make(pooling, units)
    gray = pictures(6)
    _, cam = explain(network, network.maps(gray))
    captum = LayerGradCam(network, network.convolution).attribute(gray, relu_attributions=False)
    torch.testing.assert_close(cam, HEIGHT * WIDTH * captum[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_with_a_pooled_linear_head_mean_plus_bias_is_the_logit(seed) -> None:
    network = make("mean", (), seed=seed)
    maps = 3 * torch.randn((4, CHANNELS, HEIGHT, WIDTH))
    logit, cam = explain(network, maps)
    torch.testing.assert_close(cam.mean((1, 2)) + network.head.bias, logit, atol=1e-5, rtol=0)
    # CAM by its definition: each position's features through the head.
    by_definition = network.head(maps.movedim(1, 3))[..., 0] - network.head.bias
    torch.testing.assert_close(cam, by_definition, atol=1e-5, rtol=0)


@each_head
def test_an_image_does_not_depend_on_its_batch(pooling, units) -> None:
    network = make(pooling, units)
    maps = network.maps(pictures(8))
    logit, cam = explain(network, maps)
    for index in range(8):
        alone_logit, alone_cam = explain(network, maps[index : index + 1])
        torch.testing.assert_close(alone_logit[0], logit[index], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(alone_cam[0], cam[index], atol=1e-5, rtol=1e-6)


def test_evidence_against_pneumonia_stays_negative() -> None:
    network = make("mean", ())
    maps = torch.rand((4, CHANNELS, HEIGHT, WIDTH))
    _, cam = explain(network, maps)
    _, of_opposite = explain(network, -maps)
    torch.testing.assert_close(of_opposite, -cam)


def test_a_closed_relu_lets_nothing_through_and_one_at_zero_neither() -> None:
    # One unit a case: open, closed, and exactly at zero, where torch's gradient is 0 too.
    layer, head = nn.Linear(1, 3), nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[1.0], [-1.0], [1.0]])
        layer.bias[:] = torch.tensor([0.0, 0.0, -2.0])
        head.weight[:] = torch.tensor([[10.0, 100.0, 1000.0]])
    maps = torch.full((1, 1, 1, 1), 2.0)
    logit, cam = evidence_map(maps, dense=[layer], head=head, pooling="mean")
    assert logit.item() == 20
    assert cam.item() == 20


def test_the_networks_own_head_gives_the_same_logit_in_evaluation_mode() -> None:
    recipe = ScratchNetworkRecipe.model_validate(
        {
            "kind": "scratch",
            "conv_padding": "same",
            "blocks": [{"filters": [4], "dropout": 0.2}],
            "flatten_dropout": 0.3,
            "dense": [{"units": 5, "dropout": 0.5}, {"units": 3}],
        }
    )
    torch.manual_seed(0)
    network = ScratchCnn(recipe, size_px=10, channels=1).eval()
    gray = torch.rand((3, 1, 10, 10))
    with torch.no_grad():
        logit, cam = evidence_map(
            network.levels(gray)[-1],
            dense=list(network.dense),
            head=network.head,
            pooling=network.pooling,
        )
        torch.testing.assert_close(logit, network(gray))
    assert cam.shape == (3, 5, 5)


@pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
@each_head
def test_onnxruntime_gives_the_same_map_for_any_batch(pooling, units) -> None:
    mapper = Mapper(make(pooling, units)).eval()
    file = io.BytesIO()
    torch.onnx.export(
        mapper,
        (pictures(2),),
        file,
        input_names=["gray"],
        output_names=["logit", "cam"],
        dynamic_axes={name: {0: "n"} for name in ("gray", "logit", "cam")},
        opset_version=18,
        dynamo=False,  # seconds quicker a head than the newer exporter
    )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        gray = pictures(n, seed=n)
        with torch.no_grad():
            expected = mapper(gray)
        for ours, theirs in zip(session.run(None, {"gray": gray.numpy()}), expected, strict=True):
            assert ours.shape == tuple(theirs.shape)
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
