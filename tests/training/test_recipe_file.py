from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pneumoscope.core.errors import RecipeError, UsageError
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import (
    explain_recipe,
    load_recipe,
    recipe_names,
    recipe_yaml,
)


def test_every_change_is_checked_and_told_with_its_path() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(
            "gray-150",
            changes=[
                "training.optimizer.learning_rat=1",
                "training.epochs=0",
                "input.channels=2",
                "augmentation.zoom=1.5",
                "nonsense=1",
            ],
        )
    message = str(caught.value)
    assert "training.optimizer.learning_rat: unknown key. Did you mean learning_rate?" in message
    assert "training.epochs: Input should be greater than or equal to 1 (found 0)" in message
    assert "input.channels: " in message
    assert "augmentation.zoom: Input should be less than 1 (found 1.5)" in message
    assert "nonsense: unknown key. Known here: name, title" in message


def test_an_unknown_key_in_a_list_is_told_with_its_place() -> None:
    with pytest.raises(RecipeError, match=r"network\.blocks\.2\.fliters: unknown key.*filters"):
        load_recipe("gray-150", changes=["network.blocks.2.fliters=[3]"])


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"network\.blocks\.2: nothing is left.*of 20 px"):
        load_recipe("browser-150", changes=["input.size_px=20"])


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    data = yaml.safe_load(recipe_yaml(load_recipe("gray-150")))
    del data["training"]["batch_size"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(RecipeError, match=r"mine\.yaml.*\n.*training\.batch_size: missing"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("- a\n- b\n", "mapping"),
        ("? [a, b]\n: 2\n", "a list or a mapping is no key"),
        ("[" * 5000, "nested too deeply"),
        ("name: [\n", "not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("name: 2024-13-45\n", r"one of its values can't be read \(month"),
        ("name: !!bool maybe\n", "one of its values can't be read"),
        ("name: " + "1" * 6000, "one of its values can't be read"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=reason):
        load_recipe(path)


def test_a_missing_file_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="can't be read"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="Did you mean gray-150"):
        load_recipe("grey-150")


@pytest.mark.parametrize(
    "change", ["epochs", "=3", "name.x=3", "network.blocks.9.pool=true", "name=2024-13-45"]
)
def test_a_change_that_makes_no_sense_is_wrong_usage(change: str) -> None:
    with pytest.raises(UsageError):
        load_recipe("gray-150", changes=[change])


def test_changes_are_applied_with_their_yaml_types() -> None:
    recipe = load_recipe(
        "gray-150",
        changes=["training.epochs=2", "training.early_stop.patience_epochs=3", "input.size_px=64"],
    )
    assert recipe.training.epochs == 2
    assert recipe.training.early_stop is not None
    assert recipe.training.early_stop.patience_epochs == 3
    assert recipe.input.size_px == 64


@pytest.mark.parametrize("name", recipe_names())
def test_a_written_recipe_reads_back_the_same(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    for text in (recipe_yaml(recipe), explain_recipe(recipe)):
        path = tmp_path / "again.yaml"
        path.write_text(text)
        assert load_recipe(path) == recipe


def test_every_key_of_the_schema_is_explained() -> None:
    def unexplained(model: type[BaseModel]) -> list[str]:
        found = []
        for key, field in model.model_fields.items():
            if not field.description and key != "kind":
                found.append(f"{model.__name__}.{key}")
            for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    found += unexplained(inner)
        return found

    assert unexplained(Recipe) == []


def test_class_weights_that_the_loss_would_ignore_are_refused() -> None:
    with pytest.raises(RecipeError, match="focal loss has none. Set training.focal_alpha"):
        load_recipe("pneunet", changes=["training.class_weights=balanced"])
