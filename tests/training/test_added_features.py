"""Maps of added images are kept beside the parent's, which stay as they are."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pneumoscope.data.augment import apply_parameters
from pneumoscope.data.dataset import Dataset
from pneumoscope.training.changed_copies import draw_copies
from pneumoscope.training.features import open_features
from pneumoscope.training.inference import load_network
from pneumoscope.training.networks import build_network
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import parse_recipe

write_samples = runpy.run_path(str(Path(__file__).parents[1] / "sample_folder.py"))["write_samples"]
_ADDED = runpy.run_path(str(Path(__file__).with_name("added_runs.py")))
COUNT = _ADDED["COUNT"]
with_key, train, prepare = _ADDED["with_key"], _ADDED["train"], _ADDED["prepare"]


def transfer_recipe(kind: str | None, *, cache_features: bool = True) -> Recipe:
    """Return a recipe with a frozen backbone, whose maps are kept."""
    parent = parse_recipe(
        {
            "name": "tiny-frozen",
            "title": "A frozen network small enough for tests",
            "source": {"title": "None"},
            "input": {"size_px": 64, "channels": 1},
            "network": {
                "kind": "backbone",
                "backbone": "test_resnet",
                "frozen_stages": "all",
                "dense": [{"units": 6, "dropout": 0.3}],
            },
            "augmentation": {"rotation_deg": 20, "vertical_flip": True, "copies": 2},
            "split": {"tuning_fraction": 0.3},
            "training": {
                "epochs": 2,
                "batch_size": 8,
                "optimizer": {"name": "adam", "learning_rate": 0.003},
                "precision": "fp32",
            },
        },
        where="test",
    )
    return with_key(parent, kind, cache_features=cache_features)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("gan") / "samples", count=COUNT + 4)


def names(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (cache / "features").glob("*.npy")}


@pytest.mark.parametrize("kind", ["generated", "repeated"])
def test_kept_maps_of_added_images_train_the_same_weights(
    kind: str, dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    kept, anew = (
        train(
            transfer_recipe(kind, cache_features=is_kept),
            dataset,
            tmp_path / str(is_kept),
            added=samples if kind == "generated" else None,
        )
        for is_kept in (True, False)
    )
    expected = load_network(anew).state_dict()
    for name, value in load_network(kept).state_dict().items():
        assert torch.allclose(expected[name], value, atol=2e-5), name


def test_a_parents_maps_are_shared_and_those_of_added_images_between_seeds(
    dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    def ask(kind: str | None, *, seed: int = 0) -> dict[str, int]:
        recipe = transfer_recipe(kind)
        folder = samples if kind == "generated" else None
        data = prepare(recipe, dataset, tmp_path, samples=folder, seed=seed)
        torch.manual_seed(5)  # a frozen network of the same weights
        open_features(
            build_network(recipe),
            recipe,
            data,
            device=torch.device("cpu"),
            cache_folder=tmp_path,
            show_progress=False,
        )
        return names(tmp_path)

    parent = ask(None)
    assert len(parent) == 3  # two copies and the tuning split
    found = ask("generated")
    assert len(found) == 3 + 2
    assert ask("generated", seed=1) == found
    for n_new, kind, seed in (
        (4, "repeated", 0),  # two copies of the whole pass, two of the part that the seed draws
        (0, "repeated", 0),
        (2, "repeated", 1),
        (4, "resampled", 0),
        (2, "resampled", 1),
    ):
        before = found
        found = ask(kind, seed=seed)
        assert len(found) - len(before) == n_new, (kind, seed)
        assert found.items() >= before.items()  # nothing was written anew
    assert found.items() >= parent.items()


def test_maps_of_added_images_are_the_networks_answer_to_them(
    dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    recipe = transfer_recipe("generated")
    data = prepare(recipe, dataset, tmp_path, samples=samples)
    network = build_network(recipe).eval()
    features = open_features(
        network,
        recipe,
        data,
        device=torch.device("cpu"),
        cache_folder=tmp_path,
        show_progress=False,
    )
    n = data.n_own
    rows = np.array([n + 5, data.training[3], n, n + COUNT - 1])
    gray = torch.from_numpy(data.pixels[rows][:, None]).float() / 255
    for epoch in (0, 1):
        drawn = draw_copies(recipe.augmentation, n, n_added=COUNT, copy=epoch)
        changed = apply_parameters(gray, drawn.take(torch.from_numpy(rows)), recipe.augmentation)
        with torch.no_grad():
            expected = network.levels(changed)[-1].mean(dim=(2, 3), keepdim=True)
        assert torch.allclose(features.training_maps(rows, epoch=epoch), expected, atol=1e-5)


def test_added_images_leave_the_changes_of_the_datasets_own_alone() -> None:
    changes = transfer_recipe(None).augmentation
    alone = draw_copies(changes, 50, n_added=0, copy=1)
    mixed = draw_copies(changes, 50, n_added=20, copy=1)
    assert len(mixed) == 70
    for name, values in alone.to_dict().items():
        assert mixed.take(slice(0, 50)).to_dict()[name] == values
    # A repeated radiograph is changed otherwise than the first time.
    twice = draw_copies(changes, 50, n_added=50, copy=1).rotation_deg
    assert not torch.isclose(twice[:50], twice[50:]).any()
