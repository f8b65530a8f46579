"""`pneumoscope bundle`: the card at a shell."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pneumoscope.cli.app import main


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["pneumoscope", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_card_is_printed_whole(
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"auroc": {"value": 0.981, "low": 0.972, "high": 0.99}}
    path = tiny.write_bundle(
        tmp_path / "b.onnx",
        results=[{"dataset": "A [set]", "split": "test", "n": 624, "figures": figures}],
        limits=["Never tried on adults."],
        population={"description": "Children", "age_years": [1, 5], "view_positions": ["AP"]},
        attribution="Drawn by hand",
    )
    assert run(["bundle", str(path)], monkeypatch) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for words in (
        "tiny 3: Brightness as evidence",
        "Research use only.",
        str(path),
        "tiny-recipe, seed 7, fp32",
        "phantoms: 90 radiographs, tuned on 10 (100 phantom)",
        "Children",
        "1 to 5 years",
        "AP",
        "sigmoid((logit + 0.5) / 2), fitted on tuning, n = 100",
        "2.0% of the tuning split",
        "0.900 (0.850 to 0.940)",
        "0.970",
        "Measured on A [set], test, n = 624",
        "0.981 (0.972 to 0.990)",
        "Never tried on adults.",
        "Drawn by hand",
    ):
        assert words in captured.out


def test_json_has_the_card_and_the_hash(
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tiny.write_bundle(tmp_path / "b.onnx", with_hash=True)
    assert run(["bundle", str(path), "--json"], monkeypatch) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["sha256"] == (tmp_path / "b.onnx.sha256").read_text().split()[0]
    written = tiny.tiny_card()
    assert {
        key: value["card"][key] for key in ("name", "version", "calibration", "atypicality")
    } == {key: written[key] for key in ("name", "version", "calibration", "atypicality")}
    assert value["card"]["operating_points"][1]["threshold"] == 0.3


@pytest.mark.parametrize(
    "words",
    [["bundle"], ["evaluate", "--data", "."], ["predict", "child.png", "--bundle"]],
    ids=["bundle", "evaluate", "predict"],
)
def test_a_bad_bundle_is_one_message(
    tiny: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    path = tiny.write_bundle(tmp_path / "b.onnx", with_hash=True)
    path.write_bytes(path.read_bytes() + b"\0")
    assert run([*words, str(path)], monkeypatch) == 2
    captured = capsys.readouterr()
    assert "was changed or damaged" in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
