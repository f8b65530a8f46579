"""Every shipped recipe: its parameter count is the source's, it trains a step, and it reloads."""

import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.models import backbones
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.training import fit
from pneumoscope.training.inference import load_network, predict_pixels
from pneumoscope.training.networks import build_network
from pneumoscope.training.recipe_file import load_recipe, recipe_names
from pneumoscope.training.recipe_hash import recipe_sha256
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
# What a recipe has beside its parent's name, each with the keys in which alone it may differ.
ADDED = frozenset({"name", "title", "source", "reported", "added"})
WEIGHTED = frozenset({"name", "title", "source", "reported", "training.class_weights"})
CHILDREN = {
    f"{parent}-{kind}": (parent, WEIGHTED if kind == "weighted" else ADDED)
    for parent in ("springboard-150", "springboard-vgg16")
    for kind in ("gan", "resampled", "repeated", "weighted")
}
# VGG16 is slow to build and to write, and these differ from what is trained in one key, which
# springboard-150's children train with.
TRAINED_BY_PARENT = {f"springboard-vgg16-{kind}" for kind in ("resampled", "repeated", "weighted")}
PARAMETERS |= {name: PARAMETERS[parent] for name, (parent, _) in CHILDREN.items()}
# Of this project's own making: no source, so no figures to stand beside ours.
OWN = {"phantom-lite0", "pneumoscope-1", "pneunet-lite0"} | {
    name for name in CHILDREN if not name.endswith("-gan")
}
write_samples = runpy.run_path(str(Path(__file__).parents[1] / "sample_folder.py"))["write_samples"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return open_dataset(make_phantoms(folder, count=60, seed=0, size_px=64))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("gan") / "samples", count=6, size_px=128)


def test_every_recipe_has_its_count_here() -> None:
    assert sorted(PARAMETERS) == recipe_names()


def count_parameters(network: torch.nn.Module) -> tuple[int, int]:
    """Count as Keras does: running statistics are parameters that are not trained."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    running = sum(b.numel() for name, b in network.named_buffers() if "running_" in name)
    return trainable + frozen + running, trainable


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - TRAINED_BY_PARENT))
def test_a_recipe_has_the_sources_parameters_trains_a_step_and_reloads(
    name: str, dataset: Dataset, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_recipe(name)
    changes = [] if shipped.added is None else ["added.count=6"]
    changes += [
        "training.epochs=1",
        "training.steps_per_epoch=1",
        "training.batch_size=4",
        "training.cache_features=false",
        "split.tuning_fraction=0.3",
    ]
    if isinstance(shipped.network, BackboneNetworkRecipe):
        changes.append("input.size_px=64")  # a step in a tenth of the time
    recipe = load_recipe(name, changes=changes)
    # Pretrained weights are not everywhere; random ones have the same shape.
    half = (0.5, 0.5, 0.5)
    monkeypatch.setattr(backbones, "load_pretrained", lambda *_, **__: (half, half))
    out = tmp_path / "run"
    added = samples if shipped.added is not None and shipped.added.kind == "generated" else None
    run = fit(recipe, dataset, out, added=added, accelerator="cpu", show_progress=False)
    if not (
        isinstance(recipe.network, BackboneNetworkRecipe) and recipe.network.pooling == "flatten"
    ):
        assert (run.facts["n_parameters"], run.facts["n_trainable"]) == PARAMETERS[name]
    with torch.device("meta"):  # no memory, no time: only shapes
        whole = build_network(shipped, is_pretrained=False)
    assert count_parameters(whole) == PARAMETERS[name]

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


def test_synthetic_normals_are_reported_with_the_sources_figures() -> None:
    for name, accuracy in (("springboard-150-gan", 0.88), ("springboard-vgg16-gan", 0.89)):
        reported = load_recipe(name).reported
        assert reported is not None
        assert reported.figures == {"accuracy": accuracy, "specificity": 0.74}


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_differs_from_its_parent_in_the_named_keys_alone(name: str) -> None:
    parent_name, keys = CHILDREN[name]
    parent, child = (flatten(load_recipe(each).model_dump()) for each in (parent_name, name))
    different = {key for key in parent | child if parent.get(key) != child.get(key)}
    assert {key for key in different if not is_below(key, keys)} == set()
    assert recipe_sha256(load_recipe(parent_name)) != recipe_sha256(load_recipe(name))


def flatten(content: Any, path: str = "") -> dict[str, Any]:
    """Return every value by its dotted key, places in lists among them."""
    inner = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(inner, dict):
        return {path: content}
    parts = (flatten(value, f"{path}.{key}".strip(".")) for key, value in inner.items())
    return {key: value for part in parts for key, value in part.items()}


def is_below(key: str, parents: Iterable[str]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def test_the_arms_of_the_balancing_question_add_as_many_normals() -> None:
    for parent in ("springboard-150", "springboard-vgg16"):
        arms = {kind: load_recipe(f"{parent}-{kind}").added for kind in ("gan", "resampled")}
        repeated = load_recipe(f"{parent}-repeated").added
        assert arms["gan"] is not None
        assert arms["gan"].model_dump() == {
            "kind": "generated",
            "target": 0,
            "count": 2500,
            "size_px": 128,
        }
        assert arms["resampled"] == arms["gan"].model_copy(update={"kind": "resampled"})
        assert repeated == arms["gan"].model_copy(update={"kind": "repeated", "size_px": None})
        weighted = load_recipe(f"{parent}-weighted")
        assert weighted.added is None
        assert weighted.training.class_weights == "balanced"


# As they were before recipes could add images: runs of then are taken up by their recipe's hash.
HASHES = {
    "browser-150": "31d690a951e0843e",
    "gray-150": "828ca6357f4da29b",
    "phantom-lite0": "646412d783053c3a",
    "pneumoscope-1": "df33a056b2188876",
    "pneunet": "46e1fa3497f64ffa",
    "pneunet-lite0": "424ee488960cb8cb",
    "smartinternz-64": "54fdc8d22f35ab84",
    "springboard-150": "1db41243a342a6bc",
    "springboard-vgg16": "368023171d83f617",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_recipe_that_runs_were_trained_by_keeps_its_hash(name: str) -> None:
    assert recipe_sha256(load_recipe(name))[:16] == HASHES[name]


@pytest.mark.parametrize(
    "name",
    [
        "pneunet",
        "pneunet-lite0",
        "springboard-vgg16",
        *(name for name in CHILDREN if "vgg16" in name),
    ],
)
def test_a_frozen_backbones_maps_are_kept(name: str) -> None:
    from pneumoscope.training.features import has_constant_features

    recipe = load_recipe(name)
    assert has_constant_features(recipe)
    assert recipe.augmentation.has_warp
    assert recipe.training.precision == "fp32"
