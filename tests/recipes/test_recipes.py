"""Every shipped recipe: its parameter count is the source's, it trains a step, and it reloads."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.training import classifier, fit
from pneumoscope.training.inference import load_network, predict_pixels
from pneumoscope.training.networks import build_network
from pneumoscope.training.recipe_file import load_recipe, recipe_names
from pneumoscope.training.run_folder import open_run

# As the sources' `model.summary()` states them, or as their layers add up: all, trainable. The
# networks with a backbone have no source that counted timm's, but for VGG16 and PneuNet's head.
PARAMETERS = {
    "browser-150": (3_453_121, 3_453_121),
    "gray-150": (1_246_401, 1_245_313),
    "phantom-lite0": (3_413_729, 3_356_497),
    "pneumoscope-1": (3_417_572, 3_360_340),
    "pneunet": (23_663_653, 102_501),
    "pneunet-lite0": (3_476_549, 64_101),
    "smartinternz-64": (3_937_409, 3_937_409),
    "springboard-150": (5_677_329, 5_676_881),
    "springboard-vgg16": (23_760_705, 9_046_017),
}
# Of this project's own making: no source, so no figures to stand beside ours.
OWN = {"phantom-lite0", "pneumoscope-1", "pneunet-lite0"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return open_dataset(make_phantoms(folder, count=60, seed=0, size_px=64))


def test_every_recipe_has_its_count_here() -> None:
    assert sorted(PARAMETERS) == recipe_names()


def count_parameters(network: torch.nn.Module) -> tuple[int, int]:
    """Count as Keras does: running statistics are parameters that are not trained."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    running = sum(b.numel() for name, b in network.named_buffers() if "running_" in name)
    return trainable + frozen + running, trainable


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_has_the_sources_parameters_trains_a_step_and_reloads(
    name: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [
        "training.epochs=1",
        "training.steps_per_epoch=1",
        "training.batch_size=4",
        "training.cache_features=false",
        "split.tuning_fraction=0.3",
    ]
    if isinstance(load_recipe(name).network, BackboneNetworkRecipe):
        changes.append("input.size_px=64")  # a step in a tenth of the time
    recipe = load_recipe(name, changes=changes)
    # Pretrained weights are not everywhere; random ones have the same shape.
    monkeypatch.setattr(
        classifier,
        "build_network",
        lambda recipe, *, is_pretrained: build_network(recipe, is_pretrained=False),
    )
    out = tmp_path / "run"
    run = fit(recipe, dataset, out, accelerator="cpu", show_progress=False)
    if not (
        isinstance(recipe.network, BackboneNetworkRecipe) and recipe.network.pooling == "flatten"
    ):
        assert (run.facts["n_parameters"], run.facts["n_trainable"]) == PARAMETERS[name]
    with torch.device("meta"):  # no memory, no time: only shapes
        assert (
            count_parameters(build_network(load_recipe(name), is_pretrained=False))
            == (PARAMETERS[name])
        )

    again = open_run(out)
    assert again.recipe == recipe
    network = load_network(again)
    fresh = build_network(recipe, is_pretrained=False)
    assert not torch.equal(network.head.weight, fresh.head.weight)
    size = recipe.input.size_px
    pixels = np.random.default_rng(0).integers(0, 255, (3, size, size), dtype=np.uint8)
    logit = predict_pixels(network, pixels)
    assert logit.shape == (3,)
    assert np.isfinite(logit).all()


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_where_it_comes_from(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    if name in OWN:
        assert recipe.reported is None
        return
    assert recipe.source.unsaid
    assert recipe.reported is not None
    assert recipe.reported.how


def test_reported_figures_agree_with_the_confusion_matrix_they_come_from() -> None:
    for name in ("gray-150", "springboard-150"):
        reported = load_recipe(name).reported
        assert reported is not None
        counts = reported.confusion
        positives = counts["true_positive"] + counts["false_negative"]
        negatives = counts["true_negative"] + counts["false_positive"]
        assert (positives, negatives) == (390, 234)
        right = counts["true_positive"] + counts["true_negative"]
        assert right / 624 == pytest.approx(reported.figures["accuracy"], abs=0.005)
        sensitivity = counts["true_positive"] / positives
        assert sensitivity == pytest.approx(reported.figures["sensitivity"], abs=0.005)
        specificity = counts["true_negative"] / negatives
        assert specificity == pytest.approx(reported.figures["specificity"], abs=0.005)


@pytest.mark.parametrize("name", ["pneunet", "pneunet-lite0", "springboard-vgg16"])
def test_a_frozen_backbones_maps_are_kept(name: str) -> None:
    from pneumoscope.training.features import has_constant_features

    recipe = load_recipe(name)
    assert has_constant_features(recipe)
    assert recipe.augmentation.has_warp
    assert recipe.training.precision == "fp32"
