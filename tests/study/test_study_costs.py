import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from pneumoscope.core.errors import UsageError
from pneumoscope.study import study_costs
from pneumoscope.study.study_costs import (
    N_REPEATS,
    Costing,
    check_pictures,
    known_costs,
    time_bundle,
)
from pneumoscope.study.study_runs import StudyRun

EXAMPLES = Path(__file__).parents[2] / "examples/radiographs"


@pytest.fixture
def run(tiny, tmp_path) -> StudyRun:
    folder = tmp_path / "run"
    folder.mkdir()
    tiny.write_bundle(folder / "bundle.onnx")
    return StudyRun(SimpleNamespace(name="alpha"), 0, folder, "measured")  # type: ignore[arg-type]


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((EXAMPLES / "NORMAL").iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_bundle_is_sized_and_timed_once(run, pictures, tmp_path, monkeypatch) -> None:
    costing = Costing(tmp_path, None, pictures=pictures)  # type: ignore[arg-type]
    costs, reason = costing.measure([run])
    assert reason is None
    assert costs is not None
    assert costs.n_bytes == (run.folder / "bundle.onnx").stat().st_size
    assert (costs.n_pictures, costs.n_repeats, costs.pictures) == (3, N_REPEATS, "pictures")
    assert 0 < costs.fastest_ms <= costs.latency_ms <= costs.slowest_ms
    assert json.loads((tmp_path / "costs.json").read_text())["alpha"]["n_bytes"] == costs.n_bytes
    monkeypatch.setattr(study_costs, "time_bundle", None)  # not timed again
    assert costing.measure([run]) == (costs, None)
    assert known_costs(tmp_path) == {"alpha": costs}


def test_times_are_by_picture_and_repeat(run, pictures) -> None:
    times = time_bundle(run.folder / "bundle.onnx", sorted(pictures.iterdir()))
    assert times.shape == (3, N_REPEATS)
    assert (times > 0).all()


def test_why_there_are_no_costs_is_said(run, tmp_path) -> None:
    nowhere = Costing(tmp_path, None, pictures=tmp_path / "nowhere")  # type: ignore[arg-type]
    costs, reason = nowhere.measure([run])
    assert costs is None
    assert "nowhere" in (reason or "")
    assert Costing(tmp_path, None).measure([]) == (None, "no run is measured yet")  # type: ignore[arg-type]
    (tmp_path / "costs.json").write_text("{")
    assert known_costs(tmp_path) == {}


def test_without_pictures_a_bundle_is_sized_and_what_was_timed_before_stands(
    run, pictures, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(study_costs, "_EXAMPLES", tmp_path / "nowhere")
    costs, reason = Costing(tmp_path, None).measure([run])  # type: ignore[arg-type]
    assert reason is None
    assert costs is not None
    assert costs.n_bytes == (run.folder / "bundle.onnx").stat().st_size
    assert (costs.n_pictures, costs.n_repeats, math.isnan(costs.latency_ms)) == (0, 0, True)
    assert math.isnan(known_costs(tmp_path)["alpha"].latency_ms)
    timed, _ = Costing(tmp_path, None, pictures=pictures).measure([run])  # type: ignore[arg-type]
    assert timed is not None
    assert timed.latency_ms > 0
    assert Costing(tmp_path, None).measure([run]) == (timed, None)  # type: ignore[arg-type]


def test_nothing_is_exported_where_the_pictures_cannot_be_had(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Costing, "_bundle", None)
    _, reason = Costing(tmp_path, None, pictures=tmp_path / "none").measure([run])  # type: ignore[arg-type]
    assert "there is no such folder of pictures" in (reason or "")


def test_other_pictures_under_the_same_name_are_timed_anew(run, pictures, tmp_path) -> None:
    first, _ = Costing(tmp_path, None, pictures=pictures).measure([run])  # type: ignore[arg-type]
    next(iter(pictures.iterdir())).unlink()
    second, _ = Costing(tmp_path, None, pictures=pictures).measure([run])  # type: ignore[arg-type]
    assert first is not None
    assert second is not None
    assert (first.n_pictures, second.n_pictures) == (3, 2)


def test_another_kind_of_processor_is_another_machine(run, pictures, tmp_path, monkeypatch) -> None:
    first, _ = Costing(tmp_path, None, pictures=pictures).measure([run])
    here = study_costs.describe_machine()
    monkeypatch.setattr(study_costs, "describe_machine", lambda: here | {"instructions": "NEON"})
    again, _ = Costing(tmp_path, None, pictures=pictures).measure([run])
    assert again.machine == first.machine.replace(here["instructions"], "NEON") != first.machine
    assert again.latency_ms != first.latency_ms


def test_a_bug_in_one_export_does_not_cost_the_table(run, tmp_path, monkeypatch) -> None:
    def break_down(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(study_costs, "time_bundle", break_down)
    costs, reason = Costing(tmp_path, None).measure([run])  # type: ignore[arg-type]
    assert (costs, reason) == (None, "ZeroDivisionError: a bug")


def test_a_picture_that_cannot_be_read_is_told_before_any_work(pictures) -> None:
    check_pictures(pictures)
    (pictures / "zzz.jpeg").write_bytes(next(iter(pictures.iterdir())).read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"zzz.jpeg.*can't be timed"):
        check_pictures(pictures)


def test_what_was_known_stays_where_it_cannot_be_measured_again(run, pictures, tmp_path) -> None:
    costing = Costing(tmp_path, None, pictures=pictures)  # type: ignore[arg-type]
    costs, _ = costing.measure([run])
    (pictures / "zzz.jpeg").write_bytes(b"no picture")
    assert costing.measure([run]) == (costs, None)
    assert known_costs(tmp_path) == {"alpha": costs}
