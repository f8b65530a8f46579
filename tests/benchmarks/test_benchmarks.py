"""The benchmark's own logic. No measurement here, and no TensorFlow."""

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import warnings_of
from benchmarks.comparison import Bar, compare
from benchmarks.keras_side import (
    AUGMENTATION,
    BATCH_SIZE,
    BLOCKS,
    LEARNING_RATE,
    N_PARAMETERS,
    PLATEAU,
    SIZE_PX,
)
from benchmarks.options import PARTS, parse_arguments
from benchmarks.parts import (
    check_same_work,
    compare_pipeline,
    compare_steps,
    recipes_that_read_pixels,
)
from benchmarks.piece import StepClock, peak_memory_mib
from benchmarks.processes import PieceError, read_result, run_piece
from benchmarks.subset import make_subset, take_share
from benchmarks.table import render_number, render_page, render_table, render_values
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import parts as parts_module
from benchmarks import piece as piece_module
from benchmarks import predict_parts as predict_parts_module
from pneumoscope.training.recipe_file import load_recipe


def step_row(**changes):
    facts = {
        "ours": [80.0, 100.0, 90.0],
        "other": [30.0],
        "unit": "images/s",
        "direction": "more_is_better",
    }
    return compare("a", "step", **(facts | changes))


def test_defaults_measure_everything_for_five_epochs(tmp_path: Path) -> None:
    options = parse_arguments(["--data", str(tmp_path)])
    assert options.only == PARTS == ("step", "run", "pipeline", "predict", "serve", "page")
    assert options.n_epochs == 5
    assert options.out == Path("bench-out")
    assert options.n_threads == len(os.sched_getaffinity(0))


def test_quick_is_smaller_in_every_number(tmp_path: Path) -> None:
    full = parse_arguments(["--data", str(tmp_path)])
    quick = parse_arguments(["--data", str(tmp_path), "--quick"])
    names = ["n_images", "n_epochs", "n_repeats", "n_steps", "limit_s", "n_pairs", "block_images"]
    names += ["n_files", "files_limit_s", "n_block_files", "n_rounds", "n_cold_starts"]
    names += ["n_few_files", "n_memory_files"]
    assert all(getattr(quick, name) < getattr(full, name) for name in names)
    assert parse_arguments(["--data", str(tmp_path), "--quick", "--images", "7"]).n_images == 7


def test_only_takes_parts_in_a_fixed_order(tmp_path: Path) -> None:
    found = parse_arguments(["--data", str(tmp_path), "--only", "pipeline,step"])
    assert found.only == ("step", "pipeline")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "nowhere"], "no such folder"),
        (["--data", ""], "Set PNEUMOSCOPE_DATA"),
        (["--data", ".", "--only", "steps"], "'steps' is not one of"),
        (["--data", ".", "--images", "0"], "not a whole number above 0"),
        (["--data", ".", "--repeats", "-1"], "not a whole number above 0"),
        ([], "--data is missing"),
        (["--only", "predict,run"], "--data is missing"),
        (["--only", "predict", "--bundle", "nowhere.onnx"], "no such file"),
        (["--only", "predict", "--n-files", "95"], "95 are too few"),
    ],
)
def test_wrong_words_end_with_status_2(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(words)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_ratio_is_of_medians_and_above_1_where_ours_is_better() -> None:
    assert step_row().ratio == pytest.approx(3.0)
    seconds = compare("b", "run", ours=[50], other=[200], unit="s", direction="less_is_better")
    assert seconds.ratio == pytest.approx(4.0)


@pytest.mark.parametrize("values", [[], [0.0], [3.0, -1.0]])
def test_no_ratio_from_nothing(values: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        step_row(other=values)


@pytest.mark.parametrize(
    ("kind", "ratio", "is_met"),
    [
        ("at_least", 1.1, True),
        ("at_least", 1.09, False),
        ("more_than", 1.1, False),
        ("more_than", 1.11, True),
        ("at_most", 1.1, True),
        ("at_most", 1.11, False),
        ("at_least", math.nan, False),
        ("at_most", math.nan, False),
    ],
)
def test_bars(kind: str, ratio: float, is_met: bool) -> None:
    assert Bar(kind=kind, value=1.1).is_met_by(ratio) is is_met  # type: ignore[arg-type]


def test_verdict_is_met_missed_or_no_bar() -> None:
    assert step_row(bar=Bar(kind="at_least", value=2.5)).verdict == "met"
    assert step_row(bar=Bar(kind="at_least", value=3.5)).verdict == "missed"
    assert step_row().verdict == "no bar"


def test_step_bars_are_those_of_the_chosen_precision() -> None:
    speed = {
        "fp32": [75.0],
        "bf16": [3.0],
        "keras fp32": [30.0],
        "keras fp32, no XLA": [37.5],
        "keras bf16": [60.0],
        "keras bf16, no XLA": [76.0],
    }
    rows = compare_steps(speed, chosen="fp32", other="bf16")
    assert [(round(row.ratio, 3), row.verdict) for row in rows] == [
        (2.5, "met"),
        (1.25, "met"),
        (2.0, "missed"),
        (0.987, "missed"),
        (0.05, "no bar"),
        (0.039, "no bar"),
    ]


def test_pipeline_ratio_is_the_median_of_pairs_and_must_stay_low() -> None:
    found = {"recipe": "gray-150", "piped_s": 0.44, "held_s": 0.4, "ratios": [1.3, 1.05, 1.0]}
    row = compare_pipeline(found)
    assert (row.ratio, row.verdict) == (1.05, "met")
    assert row.ours == pytest.approx((440.0,))
    assert compare_pipeline(found | {"ratios": [1.0, 1.3]}).ratio == pytest.approx(1.15)
    assert compare_pipeline(found | {"ratios": [1.2]}).verdict == "missed"


def test_runs_of_unequal_work_are_not_compared() -> None:
    ours = {"n_training": 90, "n_tuning": 10, "epochs_run": 5}
    check_same_work(ours, {"n_training": 90, "n_tuning": 10, "epochs": 5})
    with pytest.raises(PieceError, match="n_training is 90"):
        check_same_work(ours, {"n_training": 89, "n_tuning": 10, "epochs": 5})


@pytest.mark.parametrize(
    ("value", "text"),
    [(81.234, "81.2"), (0.12345, "0.123"), (1234.5, "1,234"), (5.0, "5.00"), (0.0, "0")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert render_number(value) == text


def test_values_show_their_range_where_there_are_several() -> None:
    assert render_values([3.0]) == "3.00"
    assert render_values([90.0, 80.0, 100.0]) == "90.0 (80.0–100)"


def test_table_is_markdown_with_as_many_cells_in_each_line() -> None:
    table = render_table([step_row(bar=Bar(kind="at_least", value=2.5)), step_row()])
    lines = table.strip().split("\n")
    assert {line.count("|") for line in lines} == {8}
    assert lines[2] == (
        "| (a) | step | 90.0 (80.0–100) images/s | 30.0 images/s | 3.00 | ≥ 2.5 | **met** |"
    )
    assert lines[3].endswith("| 3.00 |  |  |")


def test_page_states_machine_versions_command_and_warnings() -> None:
    results = {
        "made": "2026-01-02T03:04:05+00:00",
        "command": "python -m benchmarks --data x",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8.0, "platform": "Linux"},
        "versions": {"ours": {"torch": "1.2"}, "keras": {"keras": "3.4"}},
        "settings": {"n_threads": 2},
        "load_before": 0.1,
        "warnings": ["busy"],
        "notes": ["(a) how"],
    }
    page = render_page(results, [step_row()])
    for text in ("P, 2 cores", "torch 1.2", "keras 3.4", "--data x", "> busy", "- (a) how", "2026"):
        assert text in page


def test_warns_of_trials_and_of_other_work(tmp_path: Path) -> None:
    full = parse_arguments(["--data", str(tmp_path)])
    quick = parse_arguments(["--data", str(tmp_path), "--quick"])
    assert warnings_of(full, load=0.1, n_cores=2) == []
    assert "quick" in warnings_of(quick, load=0.1, n_cores=2)[0]
    assert "load average 1.5" in warnings_of(full, load=1.5, n_cores=2)[0]


class FakeTime:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 2 * self.now


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(piece_module, "time", fake)
    return fake


def tick_until_done(clock: StepClock, fake: FakeTime, *, step_s: float, at_most: int = 100) -> int:
    for count in range(1, at_most + 1):
        fake.now += step_s
        if clock.tick():
            return count
    return at_most


def test_step_clock_leaves_the_warm_up_out(fake_time: FakeTime) -> None:
    clock = StepClock(n_warm_up=2, n_steps=3, limit_s=100)
    fake_time.now += 30  # compiling
    assert tick_until_done(clock, fake_time, step_s=2) == 5
    assert clock.figures(32) == {
        "images_per_s": pytest.approx(16),
        "n_steps": 3,
        "seconds": pytest.approx(6),
        "cpu_s": pytest.approx(12),
    }


def test_step_clock_cuts_a_slow_side_short(fake_time: FakeTime) -> None:
    clock = StepClock(n_warm_up=3, n_steps=12, limit_s=20)
    assert tick_until_done(clock, fake_time, step_s=50) == 2
    assert clock.figures(32)["images_per_s"] == pytest.approx(0.64)


def test_step_clock_counts_nothing_after_it_is_done(fake_time: FakeTime) -> None:
    clock = StepClock(n_warm_up=1, n_steps=1, limit_s=100)
    tick_until_done(clock, fake_time, step_s=1)
    fake_time.now += 1000
    assert clock.tick()
    assert clock.figures(1)["n_steps"] == 1


def test_step_clock_without_a_counted_step_has_no_figures(fake_time: FakeTime) -> None:
    clock = StepClock(n_warm_up=1, n_steps=1, limit_s=100)
    clock.tick()
    with pytest.raises(ValueError, match="no step"):
        clock.figures(32)


def test_peak_memory_sees_what_was_held_and_let_go() -> None:
    before = peak_memory_mib()
    # By itself above any earlier peak: what else is resident may be paged out meanwhile.
    n_mib = int(before) + 64
    block = np.ones(n_mib * 2**20, dtype=np.uint8)
    del block
    assert peak_memory_mib() >= before + 32


def test_result_is_the_last_line_whatever_was_printed_before() -> None:
    assert read_result('Found 3 images\n\n{"x": 1}\n', command=["c"]) == {"x": 1}
    for output in ("", "Found 3 images\n", '{"x": 1}\nbye', "[1]"):
        with pytest.raises(PieceError, match="no result"):
            read_result(output, command=["c"])


def test_failed_piece_tells_the_end_of_its_errors() -> None:
    with pytest.raises(PieceError, match="No module named"):
        run_piece(sys.executable, "benchmarks.nothing_of_that_name", [])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 4)):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return tmp_path / "data"


def files_of(folder: Path) -> set[Path]:
    return {path.resolve() for path in folder.rglob("*.png")}


def test_subset_links_training_and_tuning_files_in_their_share(
    dataset: Path, tmp_path: Path
) -> None:
    counts = make_subset(dataset, tmp_path / "links", n_images=54)  # half of 90 % of 120
    assert counts == {"n_training": 54, "n_tuning": 6}
    training, tuning = (files_of(tmp_path / "links" / name) for name in ("train", "val"))
    assert (len(training), len(tuning)) == (54, 6)
    assert not training & tuning
    assert training | tuning < files_of(dataset / "train")
    for label in ("NORMAL", "PNEUMONIA"):
        assert len(files_of(tmp_path / "links" / "train" / label)) == 27
        linked = files_of(tmp_path / "links" / "train" / label)
        assert all(path.parent.name == label for path in linked)


def test_subset_leaves_out_copies_of_tuning_files(dataset: Path, tmp_path: Path) -> None:
    make_subset(dataset, tmp_path / "links", n_images=1000)
    tuned = next(iter((tmp_path / "links" / "val" / "NORMAL").iterdir())).resolve()
    trained = next(iter((tmp_path / "links" / "train" / "NORMAL").iterdir())).resolve()
    trained.write_bytes(tuned.read_bytes())
    counts = make_subset(dataset, tmp_path / "links", n_images=1000)
    assert counts == {"n_training": 107, "n_tuning": 12}
    assert trained not in files_of(tmp_path / "links" / "train")


def test_take_share_keeps_both_classes() -> None:
    target = np.array([0, 1, 1, 1, 1, 0, 1, 1, 1, 1], dtype=np.int8)
    rows = np.arange(10)
    assert take_share(rows, target, share=0.5) == [0, 1, 2, 3, 4]
    assert take_share(rows, target, share=0.01) == [0, 1]


def test_keras_network_is_the_recipes() -> None:
    """Keras can't read a recipe, so its constants must say the same."""
    recipe = load_recipe("gray-150")
    blocks = recipe.network.blocks
    assert tuple((*block.filters, block.dropout) for block in blocks) == BLOCKS
    assert all(block.batch_norm and block.pool for block in blocks)
    assert (recipe.network.conv_padding, recipe.network.pool_padding) == ("same", "same")
    assert [(layer.units, layer.dropout) for layer in recipe.network.dense] == [(128, 0.2)]
    assert (recipe.input.size_px, recipe.input.channels) == (SIZE_PX, 1)


def test_keras_network_has_the_parameters_counted_by_hand() -> None:
    side, width, total = SIZE_PX, 1, 0
    for filters, _ in BLOCKS:
        total += 9 * width * filters + filters + 4 * filters  # kernels, biases, BatchNorm
        side, width = math.ceil(side / 2), filters
    total += side * side * width * 128 + 128 + 128 + 1
    assert total == N_PARAMETERS


def test_keras_trains_as_the_recipe_says() -> None:
    recipe = load_recipe("gray-150")
    training, augmentation = recipe.training, recipe.augmentation
    assert (training.batch_size, training.optimizer.name) == (BATCH_SIZE, "rmsprop")
    assert training.optimizer.learning_rate == LEARNING_RATE
    assert training.plateau is not None
    plateau = {
        "monitor": training.plateau.monitor.replace("tuning", "val"),
        "factor": training.plateau.factor,
        "patience": training.plateau.patience_epochs,
        "min_lr": training.plateau.min_learning_rate,
    }
    assert plateau == PLATEAU
    assert augmentation.model_dump(exclude_defaults=True) == {
        "rotation_deg": AUGMENTATION["rotation_range"],
        "zoom": AUGMENTATION["zoom_range"],
        "shift": AUGMENTATION["width_shift_range"],
        "horizontal_flip": AUGMENTATION["horizontal_flip"],
    }
    assert AUGMENTATION["width_shift_range"] == AUGMENTATION["height_shift_range"]


def test_report_is_one_json_line_with_memory(capsys: pytest.CaptureFixture[str]) -> None:
    piece_module.report({"x": 1})
    facts = json.loads(capsys.readouterr().out.strip())
    assert facts["x"] == 1
    assert facts["peak_memory_mib"] > 1


def answer_piece(python: Path, module: str, words: list[object]) -> dict[str, object]:
    """Stand in for a measured process: what it would print, with figures made up."""
    is_ours = module == "benchmarks.our_side"
    facts: dict[str, object] = {
        "images_per_s": 75.0 if is_ours else 25.0,
        "precision": "bf16" if "bf16" in words else "fp32",
        "wall_s": 50.0 if is_ours else 100.0,
        "peak_memory_mib": 500.0 if is_ours else 1500.0,
        "n_training": 54,
        "n_tuning": 6,
        "epochs_run" if is_ours else "epochs": 1,
        "versions": {"torch": "1"} if is_ours else {"keras": "3"},
    }
    if module == "benchmarks.predict_side":
        speed = {"decode": [300.0], "inference": [150.0], "both": [90.0]}
        facts |= {"files_per_s": speed, "ratios": [0.9], "bundle": {"name": "b", "version": "1"}}
        facts |= {"change_fast": [0.004, 0.002], "change_squeezed": [0.02, 0.01], "size_px": 224}
        facts |= {"images_per_s": 120.0 if "--fast-decode" in words else 80.0}
        facts |= {"peak_memory_mib": 310.0 if "pictures-40" in str(words) else 300.0}
    elif module == "benchmarks.keras_side" and words[0] in ("files", "first"):
        facts |= {"images_per_s": 20.0 if "--no-xla" in words else 10.0, "first_answer_s": 5.0}
    elif "pipeline" in words:
        facts |= {"recipe": words[words.index("--recipe") + 1], "n_steps_per_block": 8}
        facts |= {"ratios": [1.02], "piped_s": 0.51, "held_s": 0.5}
    machine = {"processor": "P", "cores": 2, "memory_gib": 8.0, "platform": "Linux"}
    has_machine = module in ("benchmarks.our_side", "benchmarks.torch_side")
    return facts | ({"machine": machine} if has_machine else {})


@pytest.fixture
def run_program(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the whole program but for the measured processes; return its status and its folder."""

    def run(*, keras_python: Path = Path(sys.executable)) -> tuple[int, Path]:
        words = ["--data", str(dataset), "--quick", "--out", str(tmp_path / "out")]
        words += ["--only", "step,run,pipeline,predict"]  # the rest has tests of its own
        options = replace(parse_arguments(words), keras_python=keras_python)
        monkeypatch.setattr(program, "parse_arguments", lambda: options)
        monkeypatch.setattr(parts_module, "run_piece", answer_piece)
        monkeypatch.setattr(predict_parts_module, "time_command", lambda command: 1.0)
        return program.main(), tmp_path / "out"

    return run


def test_program_writes_what_it_prints(run_program, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run_program()
    assert status == 0
    page = capsys.readouterr().out
    assert (out / "benchmarks.md").read_text(encoding="utf-8") == page
    results = json.loads((out / "benchmarks.json").read_text(encoding="utf-8"))
    found = [(row["part"], row["ratio"], row["verdict"]) for row in results["rows"]]
    step = [("a", 3.0, verdict) for verdict in ("met", "met", "met", "met", "no bar", "no bar")]
    run = [("b", 2.0, "missed"), ("d", 3.0, "no bar")]
    n_pipelines = len(recipes_that_read_pixels())
    training = [*step, *run, *[("c", 1.02, "met")] * n_pipelines]
    files = [("e", 4.0, "missed"), ("e", 6.0, "missed"), ("e", 8.0, "no bar"), ("e", 3.2, "met")]
    files += [("e", 3.2, "no bar")] if len(os.sched_getaffinity(0)) > 1 else []
    rest = [("f", 0.9, "met"), ("f", None, "met"), ("f", None, "no bar")]
    rest += [("g", 5.0, "met"), ("h", None, "met")]
    assert found == [*training, *files, *rest]
    assert page.count("**met**") == 4 + n_pipelines + 5
    assert not (out / "work").exists()


def test_emulated_bf16_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "run_piece", answer_piece)
    options = parse_arguments(["--data", str(tmp_path)])
    record = parts_module.Record(options=options, work=tmp_path)
    parts_module.measure_step(record)
    counts = [(len(row.ours), len(row.other)) for row in record.rows]
    assert counts == [(3, 3), (3, 1), (3, 3), (3, 1), (1, 1), (1, 1)]


def test_program_says_how_to_get_keras(run_program, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run_program(keras_python=Path("nowhere/python"))
    assert status == 1
    assert "make .venv-keras/.installed" in capsys.readouterr().err
    assert not (out / "benchmarks.md").exists()
