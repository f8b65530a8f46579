"""The commands `study` and `epochs` at a shell."""

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pneumoscope.cli.app import app, main
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.study import study as runner
from pneumoscope.study.study_job import Outcome

SHELL = CliRunner()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("p") / "p", count=60, seed=0, size_px=32)


def write(folder: Path, *recipes: str) -> Path:
    path = folder / "study.yaml"
    systems = [{"recipe": recipe} for recipe in recipes]
    path.write_text(yaml.safe_dump({"name": "toy", "title": "Toy", "systems": systems}))
    return path


def at_a_shell(monkeypatch, capsys, *words: object) -> tuple[int, str]:
    """Return the exit status and what stood on stderr."""
    monkeypatch.setattr(sys, "argv", ["pneumoscope", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_an_unknown_recipe_is_refused_before_anything_is_made(
    phantoms, tmp_path, monkeypatch, capsys
) -> None:
    plan, out = write(tmp_path, "smartinternz-64", "smartinternz-65"), tmp_path / "out"
    words = ("study", plan, "--data", phantoms, "--out", out)
    status, told = at_a_shell(monkeypatch, capsys, *words)
    assert status == 2
    assert "systems.1.recipe: smartinternz-65" in told
    assert "Did you mean smartinternz-64" in told
    assert not out.exists()


def test_the_table_of_nothing_yet_says_so(phantoms, tmp_path) -> None:
    plan, out = write(tmp_path, "smartinternz-64"), tmp_path / "out"
    words = ["study", str(plan), "--data", str(phantoms), "--out", str(out), "--table-only"]
    result = SHELL.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "0 of 3 so far" in (out / "study.md").read_text()
    assert "not trained yet" in result.output
    assert f"{out / 'study.html'}" in result.output.replace("\n", "")


def test_the_status_tells_whether_a_run_of_this_call_failed(
    phantoms, tmp_path, monkeypatch
) -> None:
    plan, out = write(tmp_path, "smartinternz-64", "browser-150"), tmp_path / "out"
    outcomes = {"smartinternz-64": Outcome("failed", "DivergedError", "the loss became nan")}

    def run_job(job, *, name: str, **options: object) -> Outcome:
        return outcomes.get(name.rpartition("-")[0], Outcome("in use", reason="wait"))

    monkeypatch.setattr(runner, "run_job", run_job)
    words = ["study", str(plan), "--data", str(phantoms), "--out", str(out)]
    for options, status in (
        (["--only", "browser-150"], 0),
        ([], 1),
        (["--only", "browser-150"], 0),
        (["--table-only"], 0),
        (["--no-train"], 0),
    ):
        result = SHELL.invoke(app, words + options)
        assert result.exit_code == status, result.output
        assert (out / "study.html").is_file()
    assert "the loss became nan" in (out / "study.md").read_text()


def test_epochs_of_what_is_no_run_are_refused(phantoms, tmp_path, monkeypatch, capsys) -> None:
    words = ("epochs", tmp_path, "--data", phantoms, "--out", tmp_path / "out")
    status, told = at_a_shell(monkeypatch, capsys, *words)
    assert status == 1
    assert "not a run folder" in told
    assert not (tmp_path / "out").exists()
