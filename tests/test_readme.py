"""README's commands and its Python work as printed, on phantoms in place of the radiographs."""

import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.core.errors import ExportError
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.detector.bundle import SHIPPED_BUNDLE

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
QUICK = ["training.epochs=1", "training.steps_per_epoch=2", "split.tuning_fraction=0.3"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("")).splitlines()
    return [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("pneumoscope")
    ]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_phantoms(tmp_path / "data" / "chest_xray", count=120, seed=0, size_px=64)
    for folder in ("examples", "studies"):
        (tmp_path / folder).symlink_to(Path(__file__).parent.parent / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serve_and_stop(words: list[str]) -> None:
    """Start the server on a free port, get its page, and end it as Ctrl-C does."""
    code = "from pneumoscope.cli.app import main; main()"
    program = [sys.executable, "-u", "-c", code, *words, "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            with urllib.request.urlopen(found[0], timeout=60) as reply:
                assert b"Pneumoscope" in reply.read()
        finally:
            server.terminate()
        assert server.wait(timeout=60) == 0


def test_every_command_of_the_readme_runs(workplace: Path) -> None:
    runner = CliRunner()
    seen = []
    for words in commands():
        seen.append(" ".join(words[:2]) if words[0] == "data" else words[0])
        if words[:2] == ["data", "fetch"]:
            # No network in tests: the words must be right, the download has tests of its own.
            assert runner.invoke(app, [*words[:2], "--help"]).exit_code == 0
            assert words[2] == "kermany"
            continue
        if words[0] == "serve":
            serve_and_stop(words)
            continue
        if words[:2] == ["gan", "train"]:
            words += ["--set", "epochs=1", "--set", "base_filters=2"]
        if words[:2] == ["gan", "sample"]:
            words[words.index("--count") + 1] = "8"
        if words[0] == "study":
            words += ["--table-only"]  # its trainings would take hours
        if words[0] == "train":
            words += [word for change in QUICK for word in ("--set", change)]
        result = runner.invoke(app, words)
        if words[0] == "export" and isinstance(result.exception, ExportError):
            # Two steps may leave a network that ranks phantoms backwards, which export refuses.
            assert "positives do not score higher" in str(result.exception)
            shutil.copy(SHIPPED_BUNDLE, "gray.onnx")
            continue
        assert result.exit_code == 0, (words, result.output, result.exception)
    assert seen == [
        "predict",
        "bundle",
        "data fetch",
        "data summary",
        "data audit",
        "recipes",
        "train",
        "evaluate",
        "train",
        "evaluate",
        "compare",
        "export",
        "predict",
        "serve",
        "gan",
        "gan",
        "study",
    ]
    for made in (
        "overlays",
        "gray.onnx",
        "figures",
        "audit.html",
        "runs/gray-0/report.html",
        "compared",
        "runs/dcgan-128/grids/epoch-001.png",
        "synthetic/000007.png",
        "studied/study.html",
    ):
        assert (workplace / made).exists(), made


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    predict, code = blocks("python")
    exec(predict, {})
    quick = repr(QUICK)
    assert 'changes=["training.epochs=2"]' in code
    exec(code.replace('["training.epochs=2"]', quick), {})
    assert (workplace / "runs" / "gray-short" / "run.json").exists()
    shell = [word for words in commands() for word in words]
    assert "runs/gray-short" not in shell  # who ran those commands may run this


def test_the_makefile_has_the_two_commands() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    for command in blocks("")[0].splitlines():
        target = shlex.split(command, comments=True)[1]
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
