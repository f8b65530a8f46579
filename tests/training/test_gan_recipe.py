"""The DCGAN recipes: the shipped ones are the issue's, and what is wrong is said."""

from pathlib import Path

import pytest

from pneumoscope.core.errors import RecipeError, UsageError
from pneumoscope.training.gan_recipe_file import (
    gan_recipe_names,
    gan_recipe_yaml,
    load_gan_recipe,
)
from pneumoscope.training.recipe import SplitRecipe
from pneumoscope.training.recipe_file import load_recipe, recipe_names


@pytest.mark.parametrize(("size_px", "epochs"), [(64, 100), (128, 60)])
def test_shipped_gan_recipes_are_radfords(size_px: int, epochs: int) -> None:
    recipe = load_gan_recipe(f"dcgan-{size_px}")
    assert (recipe.size_px, recipe.epochs, recipe.target) == (size_px, epochs, 0)
    rule = recipe.optimizer
    assert (rule.learning_rate, rule.beta1, rule.beta2) == (2e-4, 0.5, 0.999)
    assert (recipe.latent_dim, recipe.real_label) == (100, 1)


def test_every_detector_keeps_back_the_patients_that_the_generator_never_sees() -> None:
    for gan_name in gan_recipe_names():
        assert load_gan_recipe(gan_name).split == SplitRecipe()
    parents = [name for name in recipe_names() if name.startswith("springboard")]
    assert parents
    for name in parents:
        assert load_recipe(name).split == SplitRecipe()


def test_gan_recipes_are_not_among_the_detectors() -> None:
    assert gan_recipe_names() == ["dcgan-128", "dcgan-64"]
    assert not set(gan_recipe_names()) & set(recipe_names())


def test_a_gan_recipe_survives_being_written(tmp_path: Path) -> None:
    recipe = load_gan_recipe("dcgan-64", changes=["epochs=7", "optimizer.beta1=0.4"])
    assert (recipe.epochs, recipe.optimizer.beta1) == (7, 0.4)
    path = tmp_path / "own.yaml"
    path.write_text(gan_recipe_yaml(recipe))
    assert load_gan_recipe(path) == recipe


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("size_px=96", "size_px"),
        ("batch_size=1", "batch_size"),
        ("optimizer.beta3=1", "optimizer.beta3"),
        ("target=2", "target"),
        ("real_label=0.5", "real_label"),
    ],
)
def test_an_impossible_gan_recipe_is_refused_with_the_keys_path(change: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)dcgan-64: .*\n  {reason}: "):
        load_gan_recipe("dcgan-64", changes=[change])


def test_gan_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean dcgan-64"):
        load_gan_recipe("dcgan64")
    with pytest.raises(RecipeError, match="can't be read"):
        load_gan_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="mapping"):
        load_gan_recipe(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_gan_recipe(tmp_path / "bad.yaml")
    with pytest.raises(UsageError, match="key=value"):
        load_gan_recipe("dcgan-64", changes=["epochs"])
