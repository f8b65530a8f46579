"""The benchmark of `predict`: its arithmetic, its folders, and its own pieces on a tiny bundle."""

import argparse
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks.comparison import Bar, measure_alone
from benchmarks.options import parse_arguments
from benchmarks.parts import recipes_that_read_pixels
from benchmarks.pictures import EXAMPLES, repeat_pictures
from benchmarks.predict_parts import (
    compare_answers,
    compare_files,
    compare_memory,
    compare_pipeline,
)
from benchmarks.processes import ROOT, PieceError, run_piece, time_command
from benchmarks.table import markers, render_table, write_section
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import predict_side, torch_side
from pneumoscope.detector.predict import load

SPEED = {
    "ours": [100.0, 90.0, 110.0],
    "ours, --fast-decode": [150.0],
    "keras": [10.0],
    "keras, no XLA": [20.0],
    "torch": [40.0],
    "torch, decoding in one thread": [25.0],
}


def rows_of(speed: dict[str, list[float]]) -> dict[str, tuple[float | None, str]]:
    rows = compare_files(speed)
    return {row.what.partition(": ")[2]: (row.ratio, str(row.bar or "")) for row in rows}


def test_bars_stand_against_the_faster_keras_and_the_faster_torch() -> None:
    assert rows_of(SPEED) == {
        "ours; keras, no XLA": (5.0, "≥ 5"),
        "ours, --fast-decode; keras, no XLA": (7.5, "≥ 8"),
        "ours; keras": (10.0, ""),
        "ours; torch": (2.5, "≥ 2"),
        "ours; torch, decoding in one thread": (4.0, ""),
    }


def test_int8_takes_the_bar_of_the_quickest() -> None:
    found = rows_of(SPEED | {"ours int8, --fast-decode": [200.0]})
    assert found["ours, --fast-decode; keras, no XLA"] == (7.5, "")
    assert found["ours int8, --fast-decode; keras, no XLA"] == (10.0, "≥ 8")


def test_pipeline_is_compared_with_both_stages_on_shared_cores() -> None:
    speed = {"decode": [300.0, 300.0], "inference": [150.0, 150.0], "both": [90.0, 80.0]}
    row = compare_pipeline({"files_per_s": speed, "ratios": [0.9, 0.8]})
    assert row.other == pytest.approx((100.0, 100.0))
    assert (row.ratio, row.verdict) == (pytest.approx(0.85), "met")


def test_largest_change_counts_and_must_stay_below_the_bar() -> None:
    facts = {"change_fast": [0.001, 0.0099], "change_squeezed": [0.3, 0.1], "size_px": 224}
    fast, squeezed = compare_answers(facts)
    assert (fast.ours, fast.verdict) == ((0.0099,), "met")
    assert (squeezed.ours, squeezed.verdict) == ((0.3,), "no bar")
    assert compare_answers(facts | {"change_fast": [0.01]})[0].verdict == "missed"


@pytest.mark.parametrize(("many", "verdict"), [(330.0, "met"), (330.1, "missed"), (290.0, "met")])
def test_memory_is_the_difference(many: float, verdict: str) -> None:
    row = compare_memory(300.0, many, counts=(100, 10_000))
    assert row.ours == pytest.approx((many - 300,))
    assert row.verdict == verdict
    assert "10,000" in row.what


def test_row_without_another_side_shows_its_bar_with_the_unit() -> None:
    bar = Bar(kind="less_than", value=1.2, of="ours")
    table = render_table([measure_alone("g", "start", values=[1.1], unit="s", bar=bar)])
    assert table.splitlines()[2] == "| (g) | start | 1.10 s |  |  | < 1.2 s | **met** |"
    late = measure_alone("g", "start", values=[1.3, 1.2, 1.0], unit="s", bar=bar)
    assert late.verdict == "missed"


def save_jpegs(folder: Path, *, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        pixels = np.full((60, 80), 40 * (index + 1), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpeg")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return repeat_pictures(
        save_jpegs(tmp_path / "few", count=3), tmp_path / "work" / "many", n_files=7
    )


def test_pictures_take_turns_under_many_names(folder: Path, tmp_path: Path) -> None:
    names = sorted(folder.iterdir())
    assert len(names) == 7
    originals = [path.read_bytes() for path in sorted((tmp_path / "few").iterdir())]
    assert [path.read_bytes() for path in names] == [originals[i % 3] for i in range(7)]
    assert len({path.stat().st_ino for path in names}) == 3


def test_no_pictures_are_said(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    with pytest.raises(PieceError, match="there is no JPEG"):
        repeat_pictures(tmp_path, tmp_path / "many", n_files=2)


def test_examples_are_there() -> None:
    assert len(list(EXAMPLES.rglob("*.jpeg"))) == 16


@pytest.fixture
def tiny_bundle(tiny: ModuleType, tmp_path: Path) -> Path:
    return tiny.write_bundle(tmp_path / "tiny.onnx", size_px=32)


@pytest.fixture
def arguments(folder: Path, tiny_bundle: Path) -> argparse.Namespace:
    return argparse.Namespace(
        folder=folder, bundle=tiny_bundle, threads=2, fast_decode=False, rounds=2, distinct=3,
        warm_up=2, steps=4, limit_s=60,
    )  # fmt: skip


def test_files_piece_counts_the_answers_after_the_warm_up(arguments: argparse.Namespace) -> None:
    facts = predict_side.measure_files(arguments)
    assert facts["n_steps"] == 4
    assert facts["images_per_s"] == pytest.approx(4 / facts["seconds"])


def test_file_that_fails_ends_the_measurement(arguments: argparse.Namespace) -> None:
    (arguments.folder / "000001.jpeg").unlink()
    (arguments.folder / "000001.jpeg").write_bytes(b"text")
    with pytest.raises(SystemExit, match=r"000001\.jpeg"):
        predict_side.measure_files(arguments)


def test_pipeline_piece_gives_a_ratio_a_round(arguments: argparse.Namespace) -> None:
    facts = predict_side.measure_pipeline(arguments)
    speed = facts["files_per_s"]
    assert {len(values) for values in speed.values()} == {2}
    first = speed["both"][0] / (1 / (1 / speed["decode"][0] + 1 / speed["inference"][0]))
    assert facts["ratios"][0] == pytest.approx(first)


def test_answers_piece_measures_the_probabilitys_change(arguments: argparse.Namespace) -> None:
    facts = predict_side.measure_answers(arguments)
    detector = load(arguments.bundle)
    files = sorted(arguments.folder.iterdir())
    assert facts["probability"] == [detector.predict(path).probability for path in files]
    # Pictures of one gray level stay as they are, however they are scaled.
    assert max(facts["change_fast"] + facts["change_squeezed"]) < 1e-6
    step = np.zeros((60, 80), np.uint8)
    step[::2] = 255
    for path in files:
        path.unlink()
    Image.fromarray(step).save(arguments.folder / "stripes.jpeg", quality=95)
    changed = predict_side.measure_answers(arguments)
    squeezed = detector.predict(predict_side.squeeze(np.asarray(Image.open(
        arguments.folder / "stripes.jpeg")), 32)).probability  # fmt: skip
    assert changed["change_squeezed"] == pytest.approx([abs(squeezed - changed["probability"][0])])


def test_memory_piece_answers_every_file_in_a_process_without_torch(
    arguments: argparse.Namespace,
) -> None:
    words = ["memory", "--folder", arguments.folder, "--bundle", arguments.bundle, "--threads", 1]
    facts = run_piece(sys.executable, "benchmarks.predict_side", words)
    assert facts["n_files"] == 7
    # Torch alone takes more than 200 MiB.
    assert 30 < facts["peak_memory_mib"] < 200
    code = "import sys, benchmarks.predict_side; print('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False\n"


def test_torch_side_decodes_as_pillow_squeezes(folder: Path) -> None:
    path = sorted(folder.iterdir())[1]
    tensor = torch_side.decode(path)
    assert tuple(tensor.shape) == (1, 224, 224)
    assert tensor.numpy() == pytest.approx(np.full((1, 224, 224), 80 / 127.5 - 1), abs=0.01)


def test_torch_side_takes_whole_batches(tmp_path: Path) -> None:
    many = repeat_pictures(save_jpegs(tmp_path / "p", count=2), tmp_path / "many", n_files=70)
    batches = list(torch_side.batches_of(sorted(many.iterdir()), map))
    assert [tuple(batch.shape) for batch in batches] == [(32, 1, 224, 224)] * 2


def test_command_is_timed_and_its_failure_told() -> None:
    assert 0.2 < time_command([sys.executable, "-c", "import time; time.sleep(0.2)"]) < 60
    with pytest.raises(PieceError, match="too bad"):
        time_command([sys.executable, "-c", "raise SystemExit('too bad')"])


def test_section_between_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Head\n\n<!-- predict -->\nold\n<!-- /predict -->\n\ntail\n")
    for section in ("new\n", "newer\n"):
        write_section(page, "predict", section)
    assert page.read_text() == "# Head\n\n<!-- predict -->\n\nnewer\n\n<!-- /predict -->\n\ntail\n"


@pytest.mark.parametrize(
    "text",
    ["", "<!-- predict -->", "<!-- /predict --> <!-- predict -->", "<!-- a --> <!-- /a -->"],
)
def test_page_without_its_markers_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    for path in (page, tmp_path / "nowhere.md"):
        with pytest.raises(PieceError, match="<!-- predict -->"):
            markers(path, "predict")


def test_section_of_the_docs_has_its_markers() -> None:
    markers(ROOT / "docs" / "benchmarks.md", "predict")
    markers(ROOT / "docs" / "benchmarks.md", "training")


def test_section_is_called_after_what_is_measured(tmp_path: Path) -> None:
    alone = parse_arguments(["--only", "predict"])
    assert (alone.data, program.section_name(alone)) == (None, "predict")
    words = ["--data", str(tmp_path)]
    assert program.section_name(parse_arguments(words)) == "training+predict+serve+page"
    assert program.section_name(parse_arguments([*words, "--only", "run"])) == "training"


def test_recipes_with_cached_maps_have_no_pipeline_to_measure() -> None:
    names = recipes_that_read_pixels()
    assert {"gray-150", "pneumoscope-1"} <= set(names)
    assert not {"springboard-vgg16", "pneunet", "pneunet-lite0"} & set(names)
