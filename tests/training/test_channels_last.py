"""A backbone that puts channels last, from cached maps to the bundle; without maps: refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from pneumoscope.core.errors import RecipeError
from pneumoscope.data.dataset import Dataset
from pneumoscope.training import fit
from pneumoscope.training.export import export_bundle
from pneumoscope.training.inference import load_network
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_folder import RunFolder


def make_recipe(
    *,
    backbone: str = "test_mambaout",
    size_px: int = 64,
    frozen_stages: int | str = "all",
    **training: Any,
) -> Recipe:
    course: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "precision": "fp32",
    }
    return parse_recipe(
        {
            "name": "tiny-channels-last",
            "title": "A network whose maps are (N, h, w, C)",
            "source": {"title": "None"},
            "input": {"size_px": size_px, "channels": 1},
            "network": {"kind": "backbone", "backbone": backbone, "frozen_stages": frozen_stages},
            "split": {"tuning_fraction": 0.3},
            "training": course | training,
        },
        where="test",
    )


def train(recipe: Recipe, dataset: Dataset, out: Path, **options: Any) -> RunFolder:
    options = {"cache_folder": out.parent / "cache"} | options
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False, **options)


def test_cached_maps_keep_the_channels_and_train_the_same_weights(
    dataset: Dataset, tmp_path: Path
) -> None:
    kept = train(make_recipe(), dataset, tmp_path / "kept")
    anew = train(make_recipe(cache_features=False), dataset, tmp_path / "anew")
    shapes = [
        np.load(path, mmap_mode="r").shape[1:] for path in tmp_path.glob("cache/features/*.npy")
    ]
    assert shapes == [(64, 1, 1)] * 2  # training and tuning: one value a map
    one, other = (load_network(run).state_dict() for run in (kept, anew))
    for name, value in other.items():
        assert torch.allclose(one[name], value, atol=2e-5), name


def test_a_bundle_answers_as_the_network_whose_channels_come_last(
    dataset: Dataset, tmp_path: Path
) -> None:
    keep = {"epoch": "best", "monitor": "tuning_auroc"}  # only what ranks can be calibrated
    run = train(make_recipe(frozen_stages=0, epochs=8, keep=keep), dataset, tmp_path / "run")
    export_bundle(run, dataset, tmp_path / "tiny.onnx", show_progress=False)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), dtype=np.uint8)
    session = onnxruntime.InferenceSession(
        tmp_path / "tiny.onnx", providers=["CPUExecutionProvider"]
    )
    logit, cam, embedding = session.run(["logit", "cam", "embedding"], {"pixels": pixels})
    network = load_network(run)
    x = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        maps = network.body.forward_features(x).numpy()  # timm's own: (N, h, w, C)
    evidence = maps @ network.head.weight[0].detach().numpy()
    np.testing.assert_allclose(embedding, maps.mean((1, 2)), atol=1e-4)
    np.testing.assert_allclose(cam, evidence, atol=1e-3)
    np.testing.assert_allclose(logit, evidence.mean((1, 2)) + network.head.bias.item(), atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "size_px", "reason"),
    [("test_vit", 64, "tokens"), ("test_maxvit", 149, r"input\.size_px: 160")],
)
def test_a_backbone_that_cannot_be_used_is_refused_before_anything_is_decoded(
    dataset: Dataset, tmp_path: Path, backbone: str, size_px: int, reason: str
) -> None:
    with pytest.raises(RecipeError, match=reason):
        train(make_recipe(backbone=backbone, size_px=size_px), dataset, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []  # neither a cache nor a run folder
