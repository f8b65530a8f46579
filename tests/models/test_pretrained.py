"""Pretrained weights: from a file without a network, from the hub, or a clear error."""

import os
import re
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pneumoscope.core.errors import WeightsError
from pneumoscope.models import pretrained
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe, WeightsRecipe
from pneumoscope.models.backbones import BackboneCnn
from pneumoscope.models.pretrained import WEIGHTS_VARIABLE, find_file

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to reach a network fail the test."""

    def refuse(*args: object, **options: object) -> NoReturn:
        pytest.fail("a network was reached for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)


def make_file(folder: Path, name: str = "resnet18", file: str | None = None) -> Path:
    torch.manual_seed(1)
    donor = timm.create_model(name, pretrained=False)
    path = folder / (file or f"{name}.safetensors")
    save_file(donor.state_dict(), path)
    return path


def make(
    backbone: str,
    file: str | None = None,
    *,
    hub: str | None = None,
    is_pretrained: bool = True,
    size_px: int = 64,
) -> BackboneCnn:
    place = None if file is None else {"name": file, "mean": MEAN, "std": STD}
    recipe = BackboneNetworkRecipe.model_validate(
        {"kind": "backbone", "backbone": backbone, "weights": {"file": place, "hub": hub}}
    )
    return BackboneCnn(recipe, size_px=size_px, channels=3, is_pretrained=is_pretrained)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_file_made_by_timm_loads_bit_for_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(tmp_path, name)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    network = make(name, f"{name}.safetensors", hub=f"{name}.tv_in1k").eval()
    torch.manual_seed(1)
    donor = timm.create_model(name, pretrained=False).eval()
    wanted = donor.state_dict()
    for key, value in network.body.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    assert np.allclose(network.mean.flatten(), MEAN)
    assert np.allclose(network.std.flatten(), STD)
    gray = torch.rand(1, 1, 64, 64)
    x = (gray.expand(-1, 3, -1, -1) - network.mean) / network.std
    with torch.no_grad():
        assert torch.equal(network.levels(gray)[-1], donor.forward_features(x))


def test_the_weights_folder_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, folder = tmp_path / "here", tmp_path / "weights"
    here.mkdir()
    folder.mkdir()
    monkeypatch.chdir(here)
    recipe = WeightsRecipe.model_validate({"file": {"name": "w.bin", "mean": MEAN, "std": STD}})
    assert find_file(recipe) is None
    (here / "w.bin").touch()
    assert find_file(recipe) == Path("w.bin")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(folder))
    assert find_file(recipe) == Path("w.bin")
    (folder / "w.bin").touch()
    assert find_file(recipe) == folder / "w.bin"
    assert find_file(WeightsRecipe(hub="resnet18.a1_in1k")) is None


def refuse_download(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have timm's hub fail at once, instead of after its retries."""
    whole = timm.create_model

    def create(name: str, *, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        if pretrained:
            raise error
        return whole(name, pretrained=False, **options)

    monkeypatch.setattr(pretrained.timm, "create_model", create)


def test_missing_weights_name_both_ways_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_download(monkeypatch, OSError("no route to host"))
    with pytest.raises(WeightsError) as caught:
        make("resnet18", "resnet18.safetensors", hub="resnet18.a1_in1k")
    message = str(caught.value)
    for part in (
        "resnet18.a1_in1k",
        "no route to host",
        "reach timm's hub once",
        "'resnet18.safetensors'",
        "PNEUMOSCOPE_WEIGHTS",
    ):
        assert part in message


def test_a_missing_file_without_a_hub_name_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_download(monkeypatch, AssertionError("not to be asked"))
    with pytest.raises(WeightsError, match="PNEUMOSCOPE_WEIGHTS names .not set."):
        make("resnet18", "nowhere.safetensors")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=str(tmp_path)) as caught:
        make("resnet18", "nowhere.safetensors")
    assert "network.weights.hub" in str(caught.value)


def test_a_name_that_timms_hub_does_not_know_is_an_error() -> None:
    with pytest.raises(WeightsError, match=r"resnet18\.no_such_tag"):
        make("resnet18", hub="resnet18.no_such_tag")


def test_the_hubs_weights_bring_timms_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = timm.create_model
    donor = whole("resnet18", pretrained=False)
    donor.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    asked = []

    def create(name: str, *, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        if not pretrained:
            return whole(name, pretrained=False, **options)
        asked.append(name)
        return donor

    monkeypatch.setattr(pretrained.timm, "create_model", create)
    network = make("resnet18", "nowhere.safetensors", hub="resnet18.a1_in1k")
    assert np.allclose(network.mean.flatten(), (0.1, 0.2, 0.3))
    assert np.allclose(network.std.flatten(), (0.4, 0.5, 0.6))
    assert asked == ["resnet18.a1_in1k"]
    assert torch.equal(network.body.conv1.weight, donor.conv1.weight)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = make_file(tmp_path)
    with pytest.raises(WeightsError, match=r"not of timm's resnet50: \d+ tensors are missing"):
        make("resnet50", str(path))
    # The same names in another width
    state = load_file(path)
    state["layer4.0.conv1.weight"] = torch.zeros(512, 128, 3, 3)
    save_file(state, path)
    shapes = re.escape("layer4.0.conv1.weight is (512, 128, 3, 3), not (512, 256, 3, 3)")
    with pytest.raises(WeightsError, match=f"not of timm's resnet18: {shapes}"):
        make("resnet18", str(path))


@pytest.mark.parametrize("damage", ["cut", "short", "empty", "text"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = make_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "short": whole[:5], "empty": b"", "text": b"PK\n" * 99}[
            damage
        ]
    )
    with pytest.raises(WeightsError, match="not a readable .safetensors file"):
        make("resnet18", str(path))


def test_a_network_to_be_filled_from_a_checkpoint_needs_no_weights() -> None:
    network = make("resnet18", "nowhere.safetensors", hub="none.at_all", is_pretrained=False)
    assert network.head.in_features == 512


def test_half_precision_files_are_loaded_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = timm.create_model("resnet18", pretrained=False)
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in donor.state_dict().items()}, path)
    network = make("resnet18", str(path))
    assert network.body.conv1.weight.dtype == torch.float32
    assert torch.equal(network.body.conv1.weight, donor.conv1.weight.half().float())


@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("vgg16", "vgg16_features.safetensors"),
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0.safetensors"),
    ],
)
def test_the_recipes_own_files_fit_their_backbones(
    backbone: str, file: str, monkeypatch: pytest.MonkeyPatch, real_weights: Path
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(real_weights))
    network = make(backbone, file, size_px=96).eval()
    with torch.no_grad():
        maps = network.levels(torch.rand(1, 1, 96, 96))[-1]
    assert torch.isfinite(maps).all()
    assert maps.std() > 0


@pytest.fixture(scope="module")
def real_weights() -> Path:
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if not folder:
        pytest.skip("PNEUMOSCOPE_WEIGHTS is not set: this test needs pretrained weights")
    return Path(folder)
