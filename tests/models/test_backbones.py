"""Networks with a timm backbone: shape, freezing, gray input, stretching."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from pneumoscope.core.errors import RecipeError
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.backbones import BackboneCnn, stretch_gray

SIZE_PX = 64


def make(*, channels: int = 1, **shape: Any) -> BackboneCnn:
    torch.manual_seed(0)
    recipe = BackboneNetworkRecipe.model_validate(
        {"kind": "backbone", "backbone": "test_resnet"} | shape
    )
    return BackboneCnn(recipe, size_px=SIZE_PX, channels=channels)


def gray(n: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, SIZE_PX, SIZE_PX, generator=generator)


def frozen_names(network: BackboneCnn) -> set[str]:
    return {name for name, p in network.body.named_parameters() if not p.requires_grad}


def oracle_stretch(pixels: NDArray[np.float32], shares: tuple[float, float]) -> NDArray[np.float32]:
    """Sort each picture; the definition in words."""
    results = []
    for picture in pixels:
        values = np.sort(picture.ravel())
        low = values[max(1, int(np.ceil(shares[0] * len(values)))) - 1]
        high = values[len(values) - max(1, int(np.ceil(shares[1] * len(values))))]
        results.append(np.clip((picture - low) / max(high - low, 1 / 255), 0, 1))
    return np.stack(results)


def test_the_maps_are_timms_own() -> None:
    network = make().eval()
    x = (gray() - 0.5) / 0.5
    with torch.no_grad():
        assert torch.allclose(network.levels(gray())[-1], network.body.forward_features(x))
        sides = [level.shape[-1] for level in network.levels(gray())]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == SIZE_PX // 32


@pytest.mark.parametrize(("pooling", "features"), [("mean", 96), ("flatten", 96 * 4)])
def test_the_head_takes_pooled_or_flat_maps(pooling: str, features: int) -> None:
    network = make(pooling=pooling, dense=[{"units": 5, "dropout": 0.5}]).eval()
    assert [(layer.in_features, layer.out_features) for layer in network.dense] == [(features, 5)]
    with torch.no_grad():
        maps = network.levels(gray())[-1]
        flat = maps.mean((2, 3)) if pooling == "mean" else maps.reshape(3, -1)
        hidden = (flat @ network.dense[0].weight.T + network.dense[0].bias).clamp(min=0)
        expected = (hidden @ network.head.weight.T + network.head.bias)[:, 0]
        logit, penalty = network.forward_with_penalty(gray())
        alone = torch.stack([network(one[None])[0] for one in gray()])
    assert torch.allclose(logit, expected, atol=1e-5)
    assert torch.allclose(logit, alone, atol=1e-5)
    assert penalty.item() == 0


def test_vgg_loses_its_fully_connected_layers() -> None:
    recipe = BackboneNetworkRecipe(kind="backbone", backbone="vgg16", pooling="flatten")
    network = BackboneCnn(recipe, size_px=150, channels=3)
    assert network.head.in_features == 8192
    assert sum(p.numel() for p in network.body.parameters()) == 14_714_688  # its 13 convolutions


# Freezing


def test_the_first_groups_are_frozen_and_no_others() -> None:
    stages = {0: {"conv1", "bn1"}, 1: {"layer1"}, 2: {"layer2"}, 3: {"layer3"}, 4: {"layer4"}}
    for k in range(6):
        network = make(frozen_stages=k)
        frozen = set().union(*[stages[i] for i in range(k)])
        names = [name for name, _ in network.body.named_parameters()]
        expected = {name for name in names if name.split(".")[0] in frozen}
        assert frozen_names(network) == expected
        assert network.head.weight.requires_grad
    assert frozen_names(make(frozen_stages="all")) == set(names)


@pytest.mark.parametrize("stages", [0, 2, "all"])
def test_batch_norm_of_frozen_stages_stays_in_evaluation_mode(stages: int | str) -> None:
    network = make(frozen_stages=stages)
    frozen = {"conv1", "bn1", "layer1"} if stages == 2 else set()
    for _ in range(2):  # and again after evaluation
        network.train()
        assert network.training
        norms = [
            (name, module)
            for name, module in network.body.named_modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        assert len(norms) > 8
        for name, module in norms:
            is_frozen = stages == "all" or name.split(".")[0] in frozen
            assert module.training is not is_frozen, name
        before = {key: value.clone() for key, value in network.body.state_dict().items()}
        network(gray())
        for key, value in network.body.state_dict().items():
            if "running_" in key:
                is_frozen = stages == "all" or key.split(".")[0] in frozen
                assert torch.equal(value, before[key]) is is_frozen, key
        network.eval()
        assert not any(module.training for module in network.modules())


def test_unfreezing_sets_everything_free() -> None:
    network = make(frozen_stages="all")
    network.unfreeze()
    assert frozen_names(network) == set()
    assert all(m.training for m in network.body.modules() if isinstance(m, nn.BatchNorm2d))
    network.eval().unfreeze()
    assert not network.body.training


def test_layers_that_no_map_depends_on_never_train() -> None:
    network = make(backbone="test_convnext")
    idle = {"head.norm.weight", "head.norm.bias"}  # timm's, after the pooling
    assert frozen_names(network) == idle
    network.levels(gray())[-1].sum().backward()
    assert {n for n, p in network.body.named_parameters() if p.grad is None} == idle
    network = make(backbone="test_convnext", frozen_stages="all")
    network.unfreeze()
    assert frozen_names(network) == idle


def test_more_stages_than_there_are_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"frozen_stages: 6, but test_resnet has 5 layer groups"):
        make(frozen_stages=6)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("resnet5000", "timm has no 'resnet5000'. Similar: "),
        ("qqqqqq", r"timm\.list_models"),
    ],
)
def test_an_unknown_backbone_is_an_error(name: str, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        make(backbone=name)


# Gray input


def make_weights(tmp_path: Any, *, mean: tuple[float, ...], std: tuple[float, ...]) -> dict:
    torch.manual_seed(3)
    donor = timm.create_model("test_resnet", pretrained=False)
    path = tmp_path / "donor.safetensors"
    save_file(donor.state_dict(), path)
    return {"file": {"name": str(path), "mean": mean, "std": std}}


def test_one_folded_channel_gives_the_maps_of_three_equal_ones(tmp_path: Any) -> None:
    weights = make_weights(tmp_path, mean=(0.4,) * 3, std=(0.3,) * 3)
    folded, repeated = (make(channels=c, weights=weights).eval() for c in (1, 3))
    with torch.no_grad():
        for one, three in zip(folded.levels(gray()), repeated.levels(gray()), strict=True):
            assert torch.allclose(one, three, atol=1e-4)
    n_one, n_three = (
        sum(p.numel() for p in network.body.parameters()) for network in (folded, repeated)
    )
    assert n_three - n_one == 2 * 9 * 16  # its first convolution: 16 of 3 x 3


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.4, 0.4, 0.5), (0.2, 0.2, 0.2)), ((0.4, 0.4, 0.4), (0.2, 0.3, 0.2))],
)
def test_unequal_normalisation_cannot_be_folded(tmp_path: Any, mean: Any, std: Any) -> None:
    weights = make_weights(tmp_path, mean=mean, std=std)
    with pytest.raises(RecipeError, match=r"input\.channels: 1 folds"):
        make(weights=weights)
    network = make(channels=3, weights=weights).eval()
    x = gray().expand(-1, 3, -1, -1).numpy()
    x = (x - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    with torch.no_grad():
        expected = network.body.forward_features(torch.tensor(x, dtype=torch.float32))
        assert torch.allclose(network.levels(gray())[-1], expected, atol=1e-4)


# Stretching


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0, 0), (0.25, 0.1), (0.49, 0.49)])
def test_stretching_is_the_definition_by_sorting(shares: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 12, (5, 1, 13, 11)) / 255).astype(np.float32)  # ties everywhere
    pixels[1] = 0.7  # one gray value
    pixels[2] = rng.random((1, 13, 11), dtype=np.float32)
    ours = stretch_gray(torch.from_numpy(pixels), shares).numpy()
    assert np.allclose(ours, oracle_stretch(pixels, shares), atol=1e-6)
    assert np.isfinite(ours).all()


def test_a_picture_is_stretched_by_itself() -> None:
    pixels = gray(4) * torch.tensor([0.1, 0.4, 1, 0.7]).view(4, 1, 1, 1)
    together = stretch_gray(pixels, (0.02, 0.05))
    for index in range(4):
        assert torch.equal(
            stretch_gray(pixels[index : index + 1], (0.02, 0.05))[0], together[index]
        )


def test_the_network_stretches_what_it_is_given() -> None:
    network = make(stretch=(0.1, 0.1)).eval()
    with torch.no_grad():
        plain = make().eval()
        plain.load_state_dict(network.state_dict())
        darker = gray() * 0.5 + 0.1
        assert torch.allclose(network(gray()), network(darker), atol=1e-4)
        assert not torch.allclose(plain(gray()), plain(darker), atol=1e-3)
        stretched = stretch_gray(gray(), (0.1, 0.1))
        assert torch.allclose(network(gray()), plain(stretched), atol=1e-5)


# The second output


def test_the_subtype_head_reads_the_pooled_maps() -> None:
    network = make(has_subtype_head=True).eval()
    with torch.no_grad():
        maps = network.levels(gray())[-1]
        expected = maps.mean((2, 3)) @ network.subtype_head.weight.T + network.subtype_head.bias
        assert torch.allclose(network.subtype_logits(maps), expected, atol=1e-5)
    with pytest.raises(ValueError, match="has_subtype_head"):
        make().subtype_logits(maps)
