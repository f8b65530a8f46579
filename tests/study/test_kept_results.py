"""Results kept without weights: complete, free of the machine's paths, and taken up as measured."""

import json

import pytest

from pneumoscope.core.errors import RunError
from pneumoscope.report.study_results import Costs
from pneumoscope.study import study_costs
from pneumoscope.study.compare import compare_runs
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.study.test_reads import read_log

QUICK = {"n_resamples": 20, "has_processes": False, "show_progress": False}
pytestmark = pytest.mark.usefixtures("without_figures_and_bundles")


def figures(result):
    """Return all that a table shows of a study's only system, but for where its runs lie."""
    return result.systems[0].result.model_copy(update={"runs": []})


def run(study, dataset, out, **options):
    return run_study(study, dataset, out, StudyOptions(**QUICK | options))


@pytest.fixture
def timed(monkeypatch):
    """Let every run have a bundle that was timed; return the systems' costs."""
    costs = Costs(
        bundle="/machine/of/somebody/bundles/a.onnx",
        bundle_sha256="0" * 64,
        n_bytes=12345,
        latency_ms=7.5,
        fastest_ms=7.0,
        slowest_ms=9.0,
        n_pictures=16,
        n_repeats=3,
        pictures="radiographs",
        n_threads=1,
        machine="a machine",
        measured="2026-01-02T03:04:05+00:00",
        package_version="0.1.0",
    )
    monkeypatch.setattr(study_costs.Costing, "_measure", lambda *_: costs)
    return costs


@pytest.fixture
def kept(study, dataset, jobs, timed, tmp_path):
    """Keep a study of two seeds; return the plan, its result and the folder."""
    plan = study("springboard-150")
    result = run(plan, dataset, tmp_path / "out", keep=tmp_path / "kept")
    return plan, result, tmp_path / "kept"


def test_kept_results_give_the_same_table_without_weights(kept, dataset, jobs, tmp_path) -> None:
    plan, result, folder = kept
    assert not list(folder.rglob("*.ckpt"))
    assert not list(folder.rglob("*.onnx"))
    n_done = len(jobs.done)
    again = run(plan, dataset, tmp_path / "elsewhere", runs=[folder])
    assert len(jobs.done) == n_done  # nothing is trained or read
    assert figures(again) == figures(result)
    assert again.systems[0].costs.n_bytes == 12345
    assert [each.is_taken_up for each in again.systems[0].runs] == [True, True]
    table_only = run(plan, dataset, tmp_path / "third", runs=[folder], works=False)
    assert figures(table_only) == figures(result)
    assert table_only.systems[0].costs.latency_ms == 7.5
    runs = sorted(path for path in folder.iterdir() if path.is_dir())
    compared = compare_runs(runs, tmp_path / "compared", n_resamples=20)
    assert compared.recipes[0].scores == result.systems[0].result.scores


def test_a_kept_run_has_the_readings_and_no_path_of_the_machine(kept, dataset, tmp_path) -> None:
    _, _, folder = kept
    out = tmp_path / "out/runs/springboard-150-s0"
    assert len(read_log(folder / "springboard-150-s0")) == len(read_log(out)) == 1
    names = {path.name for path in (folder / "springboard-150-s0").iterdir()}
    assert names == {
        "recipe.yaml",
        "run.json",
        "history.csv",
        "predictions-tuning.csv",
        "predictions-test.csv",
        "metrics.json",
        "test-reads.jsonl",
    }
    for path in [*folder.rglob("*.json*"), *folder.rglob("*.csv"), *folder.rglob("*.yaml")]:
        text = path.read_text()
        assert str(tmp_path) not in text, path
        assert "/machine/of" not in text, path
    assert read_log(folder / "springboard-150-s0")[0].results == "springboard-150-s0"
    assert json.loads((folder / "costs.json").read_text())["springboard-150"]["bundle"] == "a.onnx"


def test_paths_in_run_json_become_names_and_nothing_else_changes(
    kept, study, dataset, tmp_path
) -> None:
    plan, _, _ = kept
    source = tmp_path / "out/runs/springboard-150-s0/run.json"
    facts = json.loads(source.read_text())
    facts["data"]["path"] = "/home/somebody/chest_xray"
    facts["data"]["added"] = {"folder": "/data/of/mine/synthetic", "count": 3}
    facts["note"] = "n/a"
    source.write_text(json.dumps(facts))
    run(plan, dataset, tmp_path / "out", keep=tmp_path / "second", works=False)
    written = json.loads((tmp_path / "second/springboard-150-s0/run.json").read_text())
    facts["data"]["path"] = "chest_xray"
    facts["data"]["added"]["folder"] = "synthetic"
    assert written == facts


def test_results_of_other_weights_are_not_overwritten(
    kept, timed, dataset, tmp_path, monkeypatch
) -> None:
    plan, _, folder = kept
    other = timed.model_copy(update={"bundle_sha256": "1" * 64})
    monkeypatch.setattr(study_costs.Costing, "_measure", lambda *_: other)
    path = folder / "springboard-150-s0/metrics.json"
    content = json.loads(path.read_text())
    content["run"]["checkpoint_sha256"] = "f" * 64
    path.write_text(json.dumps(content))
    (folder / "springboard-150-s1/metrics.json").unlink()
    with pytest.raises(RunError, match=r"springboard-150-s0: has results of other weights"):
        run(plan, dataset, tmp_path / "out", keep=folder)
    assert json.loads(path.read_text()) == content
    costs = json.loads((folder / "costs.json").read_text())["springboard-150"]
    assert costs["bundle_sha256"] == "0" * 64
    assert (folder / "springboard-150-s1/metrics.json").is_file()  # the others are kept
    assert (tmp_path / "out/study.html").is_file()


def test_only_measured_runs_are_kept_and_a_system_without_costs_says_why(
    study, dataset, jobs, tmp_path
) -> None:
    jobs.errors["springboard-150-s1"] = RunError("it broke")
    plan = study("springboard-150")
    run(plan, dataset, tmp_path / "out", keep=tmp_path / "kept")
    assert [path.name for path in sorted((tmp_path / "kept").iterdir())] == ["springboard-150-s0"]
    again = run(plan, dataset, tmp_path / "elsewhere", runs=[tmp_path / "kept"], trains=False)
    assert again.systems[0].costs is None
    assert again.systems[0].no_costs == "its weights are not here, only its results"
