from pathlib import Path

import pytest
import yaml

from pneumoscope.core.errors import RecipeError
from pneumoscope.study.study_plan import load_study
from pneumoscope.training.recipe_file import load_recipe

STUDIES = Path(__file__).parents[2] / "studies"
SOURCES = {
    "smartinternz-64",
    "browser-150",
    "gray-150",
    "springboard-150",
    "springboard-vgg16",
    "pneunet",
    "pneunet-lite0",
    "springboard-150-gan",
    "springboard-vgg16-gan",
    "pneumoscope-1",
}


@pytest.fixture
def write(tmp_path):
    def write(**changes: object) -> Path:
        content = {"name": "s", "title": "S", "systems": [{"recipe": "gray-150"}]} | changes
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_sources_covers_every_system_with_three_seeds() -> None:
    study = load_study(STUDIES / "sources.yaml")
    assert {system.name for system in study.systems} == SOURCES
    assert all(system.seeds == (0, 1, 2) for system in study.systems)
    measured_by = {system.name: system.measured_by for system in study.systems}
    assert measured_by.pop("pneumoscope-1") == "bundle"
    assert set(measured_by.values()) == {"run"}


def test_balance_sets_synthetic_normals_against_four_arms_on_two_networks() -> None:
    study = load_study(STUDIES / "balance.yaml")
    expected = {
        (f"{parent}-gan", f"{parent}{arm}")
        for parent in ("springboard-150", "springboard-vgg16")
        for arm in ("", "-weighted", "-repeated", "-resampled")
    }
    assert {(a, b) for _, a, b in study.pairs()} == expected
    assert all(len(system.seeds) >= 3 for system in study.systems)
    for system in study.systems:  # the arms differ from their parent in what is added alone
        parent = load_recipe("-".join(system.name.split("-")[:2]))
        assert system.recipe.network == parent.network
        assert system.recipe.augmentation == parent.augmentation
        assert system.recipe.split == parent.split


def test_epochs_keeps_every_epoch_of_the_same_recipes() -> None:
    study = load_study(STUDIES / "epochs.yaml")
    balance = load_study(STUDIES / "balance.yaml")
    same = {system.recipe_sha256 for system in balance.systems}
    assert all(system.store_epochs for system in study.systems)
    assert {system.recipe_sha256 for system in study.systems} <= same


def test_recipe_beside_the_study_and_changes_are_taken(write, tmp_path) -> None:
    content = load_recipe("gray-150").model_dump(mode="json") | {"name": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    systems = [
        {"recipe": "mine.yaml", "seeds": [4, 4, 7]},
        {"recipe": "gray-150", "name": "short", "changes": ["training.epochs=2"]},
    ]
    first, second = load_study(write(systems=systems, seeds=[1])).systems
    assert (first.name, first.seeds) == ("mine", (4, 7))
    assert (second.name, second.seeds, second.recipe.training.epochs) == ("short", (1,), 2)


def contrasted(*against: list[str]) -> dict[str, object]:
    """Return a study of three systems and a question of the first, then the second, if so many."""
    systems = [
        {"recipe": "gray-150"},
        {"recipe": "gray-150", "name": "short", "changes": ["training.epochs=2"]},
        {"recipe": "gray-150", "name": "long", "changes": ["training.epochs=3"], "seeds": [2]},
    ]
    of = ["gray-150", "short"][: len(against)]
    contrasts = [{"question": "?", "of": of, "against": list(against)}]
    return {"seeds": [0, 1], "systems": systems, "contrasts": contrasts}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"systems": [{"recipe": "gray-15"}]}, r"systems.0.recipe: gray-15.*mean gray-150"),
        ({"systems": []}, "systems"),
        ({"sytems": []}, "sytems"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"systems": [{"recipe": "gray-150"}] * 2}, "the same name"),
        (
            {"systems": [{"recipe": "gray-150"}, {"recipe": "gray-150", "name": "b"}]},
            "gray-150 and b have the same recipe",
        ),
        (
            {"contrasts": [{"question": "?", "of": ["gray-150"], "against": [["other"]]}]},
            "'other' is not among the systems: gray-150",
        ),
        (
            {"contrasts": [{"question": "?", "of": ["gray-150"], "against": [["a"], ["b"]]}]},
            "`of` has 1 systems, `against` 2",
        ),
        (contrasted([], ["short"]), r"contrasts.0.against.0: List should have at least 1 item"),
        (contrasted(["long"]), r"contrasts.0: gray-150 against long: they .* \(0, 1 and 2\)"),
        (contrasted(["gray-150"]), "gray-150 against gray-150: that is one system"),
        (contrasted(["short"] * 2), "gray-150 against short: the question has this pair twice"),
        (contrasted(["short"], ["gray-150"]), "short against gray-150: .* has this pair twice"),
        (
            # The question by its words: they share a table, and Holm.
            {**contrasted(), "contrasts": contrasted(["short"])["contrasts"] * 2},
            "contrasts.1: gray-150 against short: .* has this pair twice",
        ),
    ],
)
def test_what_cannot_be_studied_is_refused_by_its_place(write, changes, reason) -> None:
    with pytest.raises(RecipeError, match=reason):
        load_study(write(**changes))


def test_a_missing_or_broken_file_is_told(tmp_path) -> None:
    with pytest.raises(RecipeError, match="can't be read"):
        load_study(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_study(tmp_path / "broken.yaml")
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(RecipeError, match="the key 'name' stands twice"):
        load_study(tmp_path / "twice.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="the file: "):
        load_study(tmp_path / "list.yaml")
