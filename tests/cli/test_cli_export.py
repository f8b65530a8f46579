"""`pneumoscope export`: what it passes on, what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pneumoscope.cli.export import export
from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.training.export_checks import Parity
from pneumoscope.training.recipe_file import load_recipe, recipe_yaml

app = typer.Typer()
app.command()(export)


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    return make_phantoms(tmp_path / "phantoms", count=12, seed=0, size_px=32)


@pytest.fixture
def run(tmp_path: Path, phantoms: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    facts = {"schema": 1, "seed": 0, "state": "finished", "data": {"path": str(phantoms)}}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "recipe.yaml").write_text(recipe_yaml(load_recipe("gray-150")))
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what the library was asked for, instead of half a minute's export."""
    made: list[dict[str, Any]] = []

    def stand_in(run: Any, dataset: Any, out: Path, **options: Any) -> Parity:
        made.append({"run": run.path, "dataset": dataset.name, "out": out} | options)
        is_int8 = options["precision"] == "int8"
        return Parity(
            n=64,
            n_radiographs=16,
            max_abs_logit=1.23e-5,
            max_abs_probability=0,
            max_abs_cam=0,
            n_bytes=5_286_732,
            auroc_fp32=0.9912 if is_int8 else None,
            auroc_int8=0.9905 if is_int8 else None,
        )

    monkeypatch.setattr("pneumoscope.training.export.export_bundle", stand_in)
    return made


def test_export_takes_the_dataset_that_the_run_names(
    run: Path, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "b.onnx"
    result = CliRunner().invoke(app, [str(run), "--out", str(out)], catch_exceptions=False)
    assert result.output == f"{out}: largest difference from torch 1.2e-05 on 64 pictures, 5.3 MB\n"
    (call,) = calls
    assert (call["run"], call["dataset"], call["out"]) == (run, "phantoms", out)
    assert (call["precision"], call["name"], call["version"]) == ("fp32", None, None)


def test_export_passes_every_word_on(
    run: Path, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    other = make_phantoms(tmp_path / "moved", count=12, seed=0, size_px=32)
    words = [str(run), "--out", str(tmp_path / "b.onnx"), "--data", str(other)]
    words += ["--precision", "int8", "--name", "mine", "--version", "2"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "fp32 0.9912, int8 0.9905" in result.output
    (call,) = calls
    assert call["dataset"] == "moved"
    assert (call["precision"], call["name"], call["version"]) == ("int8", "mine", "2")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({}, "does not say where its dataset lies"), ({"path": "/nowhere"}, "no longer there")],
)
def test_a_dataset_that_is_not_found_must_be_given(
    run: Path, tmp_path: Path, facts: dict[str, str], reason: str
) -> None:
    whole = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(whole | {"data": facts}))
    with pytest.raises(RunError, match=reason) as caught:
        CliRunner().invoke(
            app, [str(run), "--out", str(tmp_path / "b.onnx")], catch_exceptions=False
        )
    assert "--data" in str(caught.value)


def test_another_ending_is_refused(run: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        CliRunner().invoke(app, [str(run), "--out", "b.pt"], catch_exceptions=False)
