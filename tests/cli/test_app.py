"""The program as a user meets it: words in, answer and exit status out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pneumoscope.cli.app import main

SMALL = ["training.epochs=1", "training.steps_per_epoch=3", "split.tuning_fraction=0.3"]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["pneumoscope", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_main_job_from_phantoms_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(tmp_path / "phantoms"), tmp_path / "run"
    words = ["data", "phantom", data, "--count", "60", "--seed", "0", "--size", "64"]
    assert run(words, monkeypatch) == 0
    changes = [word for change in SMALL for word in ("--set", change)]
    words = ["train", "smartinternz-64", "--data", data, "--out", str(out), *changes]
    assert run(words, monkeypatch) == 0
    assert run(["evaluate", str(out), "--data", data], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "report.html" in printed
    assert "phantom" in printed
    assert (out / "report.html").stat().st_size > 10_000
    metrics = json.loads((out / "metrics.json").read_text())
    assert "phantom" in json.dumps(metrics["notice"])
    assert run(["compare", str(out), "--out", str(tmp_path / "compared")], monkeypatch) == 0


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["train", "grey-150", "--data", ".", "--out", "x"], 2, "Did you mean gray-150"),
        (["train", "gray-150", "--data", "nowhere", "--out", "x"], 1, "nowhere"),
        (["train", "gray-150", "--data", ".", "--out", "x", "--set", "epochs"], 2, "key=value"),
        (["evaluate", "nowhere", "--data", "."], 1, "nowhere"),
        (["recipes", "none"], 2, "no recipe of that name"),
        (["train"], 2, "Missing argument"),
        (["data", "summary", "nowhere"], 1, "nowhere"),
    ],
)
def test_an_error_is_one_message_and_a_status(
    words: list[str],
    status: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words, monkeypatch) == status
    captured = capsys.readouterr()
    assert reason in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [], "nothing half-written is left"


def test_recipes_lists_and_explains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipes"], monkeypatch) == 0
    detectors, generators = capsys.readouterr().out.split("gan train")
    assert "gray-150" in detectors
    assert "dcgan-64" in generators
    assert run(["recipes", "gray-150"], monkeypatch) == 0
    assert "# Radiographs a step." in capsys.readouterr().out
    assert run(["recipes", "dcgan-64"], monkeypatch) == 0
    assert "latent" in capsys.readouterr().out


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pneumoscope import __version__

    assert run(["--version"], monkeypatch) == 0
    assert capsys.readouterr().out.strip() == f"pneumoscope {__version__}"


def test_more_words_do_not_change_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-v", "recipes", "none"], monkeypatch) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "error: " in told


@pytest.mark.parametrize("words", ["--help", "recipes"])
def test_light_commands_import_no_torch(words: str) -> None:
    code = (
        "import sys\n"
        "from pneumoscope.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'matplotlib', 'pytorch_lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, words], check=True, capture_output=True)
