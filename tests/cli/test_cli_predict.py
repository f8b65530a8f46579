"""`pneumoscope predict`: words in; answers, pictures and an exit status out."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pneumoscope.cli.app import main
from pneumoscope.detector.card import RESEARCH_USE
from pneumoscope.detector.predict import load
from pneumoscope.detector.prediction import Prediction


@pytest.fixture
def bundle(tiny: ModuleType, tmp_path: Path) -> str:
    return str(tiny.write_bundle(tmp_path / "tiny.onnx", population={"age_years": [1, 5]}))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with a dark picture, a bright one, and a middling one below."""
    folder = tmp_path / "pictures"
    for name, level in (("dark.png", 20), ("bright.png", 220), ("below/dark.png", 90)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((140, 180), level, np.uint8)).save(folder / name)
    return folder


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["pneumoscope", "predict", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_a_table_for_people(
    bundle: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(pictures), "--bundle", bundle], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["path", "label", "probability", "warnings"]
    prediction = load(bundle).predict(pictures / "bright.png")
    probability = f"{prediction.probability:.3f}"
    assert lines[2].split() == [str(pictures / "bright.png"), "pneumonia", probability, "age"]
    assert lines[3].split()[:2] == [str(pictures / "dark.png"), "normal"]
    assert "3 x age: the age is unknown; the bundle was trained on ages 1 to 5 years." in lines
    assert lines[-2].startswith("tiny 3, operating point balanced: pneumonia at 0.500 or above")
    assert lines[-1] == RESEARCH_USE


def test_json_is_one_array_in_the_order_given(
    bundle: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(pictures / name) for name in ("dark.png", "none.png", "bright.png")]
    words = [*files, "--bundle", bundle, "--format", "json", "--operating-point", "sensitive"]
    assert run(words, monkeypatch) == 1
    captured = capsys.readouterr()
    answers = json.loads(captured.out)
    detector = load(bundle)
    assert answers[0] == detector.predict(files[0], operating_point="sensitive").to_dict()
    assert answers[2] == detector.predict(files[2], operating_point="sensitive").to_dict()
    assert answers[1]["path"] == files[1]
    assert answers[1]["error"]["type"] == "UnreadableImageError"
    assert "does not exist" in answers[1]["error"]["message"]
    assert RESEARCH_USE in captured.err
    assert "1 of 3 failed" in captured.err


def test_json_lines_and_csv_say_the_same(
    bundle: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(pictures), str(pictures / "none.png"), "--bundle", bundle, "--format"]
    assert run([*words, "jsonl"], monkeypatch) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert run([*words, "csv"], monkeypatch) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(answers) == len(rows) == 4
    for answer, row in zip(answers[:3], rows[:3], strict=True):
        for name in ("path", "sha256", "label"):
            assert row[name] == answer[name]
        assert float(row["probability"]) == answer["probability"]
        assert float(row["threshold"]) == answer["operating_point"]["threshold"]
        assert json.loads(row["regions"]) == answer["regions"]
        assert row["warnings"] == " ".join(answer["warnings"])
        assert row["bundle_sha256"] == answer["bundle"]["sha256"]
        assert row["error_type"] == ""
    assert rows[3]["path"] == answers[3]["path"]
    assert rows[3]["error_message"] == answers[3]["error"]["message"]
    assert rows[3]["probability"] == ""


def test_overlays_of_equal_names_are_all_kept(
    bundle: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "new" / "overlays"
    words = [str(pictures), "--bundle", bundle, "--overlay", str(out), "--format", "jsonl"]
    assert run([*words, "--fast-decode"], monkeypatch) == 0
    assert "3 overlays in" in capsys.readouterr().err
    names = sorted(path.name for path in out.iterdir())
    assert names == ["bright.overlay.png", "dark-2.overlay.png", "dark.overlay.png"]
    detector = load(bundle)
    for name, source in (("dark", "below/dark.png"), ("dark-2", "dark.png")):
        drawn = np.asarray(Image.open(out / f"{name}.overlay.png"))
        expected = np.asarray(detector.predict(pictures / source).overlay())
        assert np.array_equal(drawn, expected)
    assert run(words, monkeypatch) == 0
    assert len(list(out.iterdir())) == 3, "a second run replaces them"


def test_overlay_without_memory_is_one_files_failure(
    bundle: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def overlay(_: Prediction) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(Prediction, "overlay", overlay)
    words = [str(pictures), "--bundle", bundle, "--overlay", str(tmp_path / "out")]
    assert run([*words, "--format", "jsonl"], monkeypatch) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["error"]["type"] for answer in answers] == ["MemoryError"] * 3


def overlay_stems(
    files: list[Path], bundle: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> set[str]:
    """Write one picture under each name, and return what their overlays are called."""
    data = io.BytesIO()
    Image.fromarray(np.full((140, 180), 200, np.uint8)).save(data, "PNG")
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(data.getvalue())
    assert run([*map(str, files), "--bundle", bundle, "--overlay", str(out)], monkeypatch) == 0
    return {path.name.removesuffix(".overlay.png") for path in out.iterdir()}


def test_overlay_names_keep_a_uid_and_miss_no_case(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "in" / name for name in ("1.2.840.1", "1.2.840.2", "a.PNG", "A.png")]
    assert overlay_stems(files, bundle, tmp_path / "out", monkeypatch) == {
        "1.2.840.1",
        "1.2.840.2",
        "a",
        "A-2",
    }


def test_overlays_of_long_names_are_written(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "ü" * 117  # 234 bytes, 238 with the suffix
    files = [tmp_path / "in" / f"{name}.png" for name in (f"{long}a", f"{long}b", "short")]
    assert overlay_stems(files, bundle, tmp_path / "out", monkeypatch) == {
        "ü" * 90,
        "ü" * 90 + "-2",
        "short",
    }


def test_an_overlay_folder_that_cannot_be_written_is_one_message(
    bundle: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    words = [str(pictures), "--bundle", bundle, "--overlay", str(tmp_path / "file" / "in")]
    assert run(words, monkeypatch) == 1
    captured = capsys.readouterr()
    assert "not written" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{pictures}", "--operating-point", "best"], "It has: balanced, sensitive"),
        (["{pictures}", "--format", "xml"], "xml"),
        (["{pictures}", "--bundle", "nowhere.onnx"], "nowhere.onnx: does not exist"),
        (["{pictures}/empty"], "the folder has no .jpeg"),
        (["{pictures}/*.tiff"], "the pattern matches no picture"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_one_message_and_status_2(
    bundle: str,
    pictures: Path,
    words: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (pictures / "empty").mkdir()
    filled = [word.replace("{pictures}", str(pictures)) for word in words]
    if "--bundle" not in filled:
        filled += ["--bundle", bundle]
    assert run(filled, monkeypatch) == 2
    captured = capsys.readouterr()
    assert reason in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_only_failures_is_still_valid_json_and_status_1(
    bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["none.png", "--bundle", bundle, "--format", "json"], monkeypatch) == 1
    (answer,) = json.loads(capsys.readouterr().out)
    assert list(answer) == ["path", "error"]


@pytest.mark.parametrize(
    ("output_format", "encoding"), [("table", "utf-8"), ("jsonl", "utf-8"), ("csv", "ascii")]
)
def test_any_file_name_can_be_printed(
    bundle: str, pictures: Path, output_format: str, encoding: str
) -> None:
    names = [b"\xff\xfe.png", "Brüche 胸.png".encode(), b"[red]=1.png"]
    for name in names:
        os.link(pictures / "dark.png", os.path.join(os.fsencode(pictures), name))
    words = [str(pictures), "--bundle", bundle, "--format", output_format]
    done = subprocess.run(
        [sys.executable, "-c", "from pneumoscope.cli.app import main; main()", "predict", *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=True,
    )
    text = done.stdout.decode(encoding)
    assert "[red]=1.png" in text
    if output_format == "jsonl":
        paths = {os.fsencode(json.loads(line)["path"]) for line in text.splitlines()}
        assert {os.path.join(os.fsencode(pictures), name) for name in names} <= paths


def test_a_progress_bar_goes_to_the_terminal_and_never_into_the_answers(
    bundle: str, pictures: Path
) -> None:
    for n in range(30):
        os.link(pictures / "dark.png", pictures / f"copy{n}.png")
    leader, follower = pty.openpty()
    code = "from pneumoscope.cli.app import main; main()"
    words = ["predict", str(pictures), "--bundle", bundle, "--format", "jsonl"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        check=True,
    )
    os.close(follower)
    shown = os.read(leader, 1_000_000).decode()
    os.close(leader)
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == 33
    assert "Predicting" in shown


def test_predict_loads_nothing_it_does_not_need(bundle: str, pictures: Path) -> None:
    code = (
        "import sys\n"
        "from pneumoscope.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'timm', 'matplotlib', 'polars', 'sklearn',"
        " 'pydicom', 'rich', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    words = ["predict", str(pictures / "dark.png"), "--bundle", bundle]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["[]"]


def test_csv_has_no_formula_and_negative_logits_stay_numbers(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+cmd|calc!A0.png", "-dark.png", "two\n=lines.png", "=none;=1.png"]
    for name in names[:3]:
        Image.fromarray(np.full((140, 180), 20, np.uint8)).save(name, "PNG")
    assert run(["--bundle", bundle, "--format", "csv", "--", *names], monkeypatch) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row["path"] for row in rows] == [
        "'=1+cmd|calc!A0.png", "'-dark.png", "two\n'=lines.png", "'=none;'=1.png",
    ]  # fmt: skip
    assert rows[3]["error_message"].startswith("'=none;'=1.png")
    logit = load(bundle).predict("-dark.png").logit
    assert logit < 0
    assert {row["logit"] for row in rows[:3]} == {str(logit)}
