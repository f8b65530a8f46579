import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pneumoscope.cli.data import data_app
from pneumoscope.core.errors import DatasetError, UsageError

runner = CliRunner()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder dataset of six different noise pictures: nothing is wrong with it."""
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label, name in (("NORMAL", "IM-0001-0001"), ("PNEUMONIA", "person1_virus_1")):
            folder = root / split / label
            folder.mkdir(parents=True)
            pixels = rng.integers(0, 256, (30, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    return root


def copy_across_splits(root: Path) -> None:
    content = (root / "train/NORMAL/IM-0001-0001.png").read_bytes()
    (root / "test/NORMAL/IM-0099-0001.png").write_bytes(content)


def test_summary_prints_the_counts(dataset: Path) -> None:
    result = runner.invoke(data_app, ["summary", str(dataset)])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["train", "2", "2", "1", "1", "1", "50.0", "%"] in lines
    assert "6 images of 6 patients" in result.stdout
    assert "width 40, height 30 px, of 6 measured" in result.stdout


def test_summary_prints_json_and_nothing_else_on_stdout(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    result = runner.invoke(data_app, ["summary", str(dataset), "--json", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_images"] == 6
    assert sorted(path.name for path in out.iterdir()) == ["class-counts.png", "samples.png"]
    assert str(out / "samples.png") in result.stderr


def test_audit_of_a_clean_dataset_exits_with_0(dataset: Path) -> None:
    result = runner.invoke(data_app, ["audit", str(dataset)])
    assert result.exit_code == 0, result.output
    assert "No problem found." in result.stdout


def test_audit_that_finds_a_problem_exits_with_1_and_still_writes_all(
    dataset: Path, tmp_path: Path
) -> None:
    copy_across_splits(dataset)
    (dataset / "val/NORMAL/damaged[red].png").write_bytes(b"damaged")
    page = tmp_path / "audit.html"
    result = runner.invoke(data_app, ["audit", str(dataset), "--out", str(page)])
    assert result.exit_code == 1
    assert "2 problems to mend." in result.stdout
    assert "val/NORMAL/damaged[red].png: " in result.stdout
    assert "2 problems to mend" in page.read_text(encoding="utf-8")
    assert str(page) in result.stderr


def test_audit_prints_json_and_nothing_else_on_stdout(dataset: Path) -> None:
    copy_across_splits(dataset)
    result = runner.invoke(data_app, ["audit", str(dataset), "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["has_problems"] is True
    assert len(report["exact_duplicates"]) == 1


@pytest.mark.parametrize("command", ["summary", "audit"])
def test_what_is_no_dataset_is_an_error_that_rises(command: str, tmp_path: Path) -> None:
    result = runner.invoke(data_app, [command, str(tmp_path / "missing")])
    assert isinstance(result.exception, DatasetError)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["audit"],
        ["summary", "DIR", "--nonsense"],
        ["fetch", "kermany"],
        ["fetch", "kermany", "--out", "DIR", "--archive", "no-such-file.zip"],
        ["phantom", "DIR"],
        ["phantom", "DIR", "--count", "0"],
        ["phantom", "DIR", "--count", "two"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert runner.invoke(data_app, arguments).exit_code == 2


def test_fetch_hands_on_what_it_was_given(tmp_path: Path) -> None:
    archive = tmp_path / "mine.npz"
    archive.write_bytes(b"")
    calls = []

    def remember(name: str, folder: Path, *, archive: Path | None) -> Path:
        calls.append((name, folder, archive))
        return folder / "done"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pneumoscope.data.fetch.fetch", remember)
        arguments = ["pneumoniamnist", "--out", str(tmp_path), "--archive", str(archive)]
        result = runner.invoke(data_app, ["fetch", *arguments])
    assert result.exit_code == 0, result.output
    assert calls == [("pneumoniamnist", tmp_path, archive)]
    assert result.stdout.strip() == str(tmp_path / "done")


def test_fetch_of_an_unknown_set_names_those_that_exist(tmp_path: Path) -> None:
    result = runner.invoke(data_app, ["fetch", "nih", "--out", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "kermany" in str(result.exception)


def test_phantoms_are_drawn_and_every_word_on_them_says_what_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    options = ["--count", "24", "--seed", "1", "--size", "64"]
    result = runner.invoke(data_app, ["phantom", str(folder), *options])
    assert result.exit_code == 0, result.output
    assert "not radiographs" in result.stdout

    result = runner.invoke(data_app, ["summary", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Synthetic phantoms, not radiographs.")
    assert "24 images" in result.stdout
    assert "width 64, height 64 px" in result.stdout

    result = runner.invoke(data_app, ["audit", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Synthetic phantoms, not radiographs.")


def test_help_shows_the_names_of_the_sets() -> None:
    result = runner.invoke(data_app, ["fetch", "--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "pneumoniamnist[-64|-128|-224]" in result.stdout


def test_the_module_itself_loads_no_heavy_library() -> None:
    code = (
        "import sys, pneumoscope.cli.data\n"
        "heavy = {'numpy', 'polars', 'matplotlib', 'PIL', 'jinja2', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
