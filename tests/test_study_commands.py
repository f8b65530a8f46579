"""The printed commands of a study give it everything that its systems need."""

import re
import shlex
from pathlib import Path

import pytest

from pneumoscope.study.study_plan import load_study
from pneumoscope.training.gan_recipe_file import load_gan_recipe

ROOT = Path(__file__).parent.parent


def commands(document: str) -> list[list[str]]:
    """Return a document's `pneumoscope` commands, each as its words, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "\n".join(block for language, block in blocks if not language).splitlines()
    return [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("pneumoscope ")
    ]


def given(words: list[str], option: str) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words) if word == option]


@pytest.mark.parametrize(
    ("document", "studies"),
    [("README.md", {"sources"}), ("docs/study.md", {"sources", "balance", "epochs"})],
)
def test_every_study_is_given_the_images_and_runs_that_earlier_commands_write(
    document: str, studies: set[str]
) -> None:
    recipe_of_gan: dict[str, str] = {}
    samples: dict[str, tuple[int, int, int]] = {}  # folder -> count, side in px, target
    runs: set[str] = set()
    seen: set[str] = set()
    for words in commands(document):
        for out in given(words, "--out"):
            runs |= {out, str(Path(out).parent)} if words[0] == "train" else set()
            if words[:2] == ["gan", "train"]:
                recipe_of_gan[out] = words[2]
                runs.add(str(Path(out).parent))
            if words[:2] == ["gan", "sample"]:
                recipe = load_gan_recipe(recipe_of_gan[words[2]])
                (count,) = given(words, "--count")
                samples[out] = (int(count), recipe.size_px, recipe.target)
            if words[0] == "study":
                study = load_study(ROOT / words[1])
                seen.add(study.plan.name)
                assert set(given(words, "--runs")) <= runs
                runs.add(f"{out}/runs")
                for system in study.systems:
                    added = system.recipe.added
                    if added is not None and added.kind == "generated":
                        (folder,) = given(words, "--added")
                        assert samples[folder][0] >= added.count
                        assert samples[folder][1:] == (added.size_px, added.target)
            if words[0] == "epochs":
                assert words[1].removesuffix("/*") in runs
    assert seen == studies
