"""The runner, its training and its network replaced by stand-ins: what it does when, and writes."""

import json
import re
from pathlib import Path

import filelock
import numpy as np
import polars as pl
import pytest
import yaml
from sklearn import metrics as sk

from pneumoscope.core.errors import (
    DivergedError,
    InUseError,
    RunError,
    StorageError,
    UsageError,
)
from pneumoscope.core.files import write_json
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.study import study_costs
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.measured_run import load_measured
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.study.study_data import Expected, StudyData
from pneumoscope.study.test_reads import read_log

QUICK = {"n_resamples": 20, "has_processes": False, "show_progress": False}
pytestmark = pytest.mark.usefixtures("without_figures_and_bundles")


def run(study, dataset, out, **options):
    return run_study(study, dataset, out, StudyOptions(**QUICK | options))


def test_every_run_is_done_once_and_its_figures_lead_to_its_metrics_json(
    study, dataset, jobs, tmp_path
) -> None:
    plan, out = study("springboard-150", "gray-150"), tmp_path / "out"
    result = run(plan, dataset, out)
    # All systems' first seeds first: a table of what is finished then has every system early.
    names = ["springboard-150-s0", "gray-150-s0", "springboard-150-s1", "gray-150-s1"]
    assert jobs.done == names
    content = json.loads((out / "study.json").read_text())
    for system in content["systems"]:
        for place, each in enumerate(system["runs"]):
            assert each["state"] == "measured"
            metrics = json.loads(Path(each["metrics"]).read_text())
            table = pl.read_csv(Path(each["metrics"]).parent / "predictions-test.csv")
            area = sk.roc_auc_score(table["target"].to_numpy(), table["probability"].to_numpy())
            assert metrics["scores"]["auroc"]["value"] == pytest.approx(area)
            assert system["result"]["scores"]["auroc"]["by_seed"][place] == pytest.approx(area)
            for point in metrics["operating_points"]:
                if point["name"] == "sensitive":
                    continue
                ours = system["result"]["points"][point["name"]]["specificity"]["by_seed"][place]
                assert ours == pytest.approx(point["figures"]["specificity"]["value"])
    again = run(plan, dataset, out)
    assert jobs.done == names
    assert [s.result for s in again.systems] == [s.result for s in result.systems]
    for name in names:
        assert len(read_log(out / "runs" / name)) == 1


def test_the_page_and_the_table_show_what_the_json_holds(study, dataset, jobs, tmp_path) -> None:
    result = run(study("springboard-150", seeds=[0]), dataset, tmp_path / "out")
    markdown = (tmp_path / "out/study.md").read_text()
    page = (tmp_path / "out/study.html").read_text()
    (system,) = result.systems
    found = system.result
    assert found is not None
    for figure in (found.scores["auroc"], found.points["balanced"]["specificity"]):
        assert f"{figure.mean:.3f}" in markdown
        assert f"{figure.mean:.3f}" in page
    for text in (markdown, page):
        assert "accuracy 0.9, loss 0.29, sensitivity 0.974, specificity 0.769" in text
        assert "best checkpoint of 10 epochs" in text
        assert "there is no network behind this run" in text
        assert "1,234,567" in text
        assert "those by `pneumoscope epochs` among them, are in its test-reads.jsonl" in text
        assert "read once" not in text  # once `epochs` has been there that is untrue
    assert str(tmp_path / "out/runs/springboard-150-s0/metrics.json") in page
    assert "A toy &lt;study&gt;" in page
    for reference in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert reference.startswith(("data:", "#")), reference
    for table in re.findall(r"(?m)(?:^\|.*\n)+", markdown):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_runs_of_earlier_work_are_taken_up_where_they_lie(
    study, dataset, jobs, make_run, predictor, tmp_path
) -> None:
    earlier = tmp_path / "earlier"
    evaluated = make_run(earlier / "first", recipe="gray-150", seed=0)
    evaluate_run(evaluated, dataset, predict=predictor(1))
    make_run(earlier / "second", recipe="gray-150", seed=1)  # its test is not read yet
    make_run(earlier / "other-seed", recipe="gray-150", seed=9)
    result = run(study("gray-150", seeds=[0, 1, 2]), dataset, tmp_path / "out", runs=[earlier])
    assert jobs.done == ["second", "gray-150-s2"]
    (system,) = result.systems
    assert [each.is_taken_up for each in system.runs] == [True, True, False]
    assert [Path(each.folder).name for each in system.runs] == ["first", "second", "gray-150-s2"]
    assert len(read_log(earlier / "first")) == 1
    assert len(read_log(earlier / "second")) == 1


def test_a_dcgan_among_the_runs_is_passed_over_and_a_damaged_one_told(
    study, dataset, jobs, tmp_path, caplog
) -> None:
    for name, schema in (("dcgan", "gan-1"), ("newer", 99)):
        write_json(tmp_path / "earlier" / name / "run.json", {"schema": schema})
    run(study("gray-150", seeds=[0]), dataset, tmp_path / "out", runs=[tmp_path / "earlier"])
    assert jobs.done == ["gray-150-s0"]
    assert ["newer" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("what", ["recipe", "radiographs"])
def test_a_run_of_another_recipe_or_dataset_is_not_taken_up(
    study, dataset, jobs, make_run, predictor, tmp_path, what
) -> None:
    other = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    evaluate_run(other, dataset, predict=predictor(1))
    if what == "recipe":
        content = yaml.safe_load((other.path / "recipe.yaml").read_text())
        content["training"]["epochs"] += 1
        (other.path / "recipe.yaml").write_text(yaml.safe_dump(content))
    else:
        other.facts["data"]["fingerprint"] = "0" * 64
        other.write_facts()
    run(study("gray-150", seeds=[0]), dataset, tmp_path / "out", runs=[other.path])
    assert jobs.done == ["gray-150-s0"]


def test_a_run_without_its_epochs_is_trained_anew_where_they_are_wanted(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    plan = study("gray-150", seeds=[0], systems=[{"recipe": "gray-150", "store_epochs": True}])
    run(plan, dataset, tmp_path / "out", runs=[earlier.path])
    assert jobs.done == ["gray-150-s0"]
    for epoch in (1, 2, 3):
        (earlier.path / f"checkpoints/epoch-{epoch:03d}.ckpt").write_bytes(b"weights")
    jobs.done.clear()
    run(plan, dataset, tmp_path / "other", runs=[earlier.path])
    assert jobs.done == ["earlier"]


def test_a_run_that_another_process_trains_is_left_to_it(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    earlier.facts["state"] = "running"
    earlier.write_facts()
    plan = study("gray-150", seeds=[0])
    with filelock.FileLock(earlier.path / ".lock"):
        result = run(plan, dataset, tmp_path / "out", runs=[earlier.path])
    assert jobs.done == []
    assert result.systems[0].runs[0].state == "in use"
    assert "another process is training it" in (tmp_path / "out/study.md").read_text()
    result = run(plan, dataset, tmp_path / "out", runs=[earlier.path], trains=False)
    assert result.systems[0].runs[0].state == "unfinished"


def test_table_only_and_no_train_do_no_more_than_they_say(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    plan, out = study("gray-150", "springboard-150", seeds=[0]), tmp_path / "out"
    result = run(plan, dataset, out, runs=[earlier.path], works=False)
    assert jobs.done == []
    assert read_log(earlier.path) == []
    assert result.data is None
    assert "trained, not measured yet" in (out / "study.md").read_text()
    assert "0 of 1 so far" in (out / "study.md").read_text()
    run(plan, dataset, out, runs=[earlier.path], trains=False)
    assert jobs.done == ["earlier"]
    run(plan, dataset, out, runs=[earlier.path], only=["springboard-150"])
    assert jobs.done == ["earlier", "springboard-150-s0"]
    with pytest.raises(UsageError, match="--only nothing: .* gray-150, springboard-150"):
        run(plan, dataset, out, only=["nothing"])


def test_two_studies_do_not_run_in_one_folder(study, dataset, jobs, tmp_path) -> None:
    plan, out = study("gray-150", seeds=[0]), tmp_path / "out"
    out.mkdir()
    with filelock.FileLock(out / ".lock"):
        with pytest.raises(RunError, match="another process runs a study here"):
            run(plan, dataset, out)
        assert jobs.done == []
        run(plan, dataset, out, works=False)  # looking is allowed


def test_a_question_pairs_the_seeds_that_both_have(study, dataset, jobs, tmp_path) -> None:
    contrast = {"question": "Is it?", "of": ["gray-150"], "against": [["springboard-150"]]}
    plan = study("gray-150", "springboard-150", seeds=[0, 1, 2], contrasts=[contrast])
    jobs.errors["springboard-150-s1"] = DivergedError("no")
    result = run(plan, dataset, tmp_path / "out")
    (found,) = result.contrasts
    assert (found.seeds, found.n_wanted) == ([0, 2], 3)
    gray, springboard = result.systems
    assert gray.result is not None
    assert springboard.result is not None
    area = found.differences[0]
    all_three = gray.result.scores["auroc"].by_seed
    assert area.a == pytest.approx([all_three[0], all_three[2]])
    assert area.b == pytest.approx(springboard.result.scores["auroc"].by_seed)
    assert area.difference.mean == pytest.approx(np.mean(np.subtract(area.a, area.b)))
    assert found.averaged is not None
    markdown = (tmp_path / "out/study.md").read_text()
    assert "2 of 3 so far" in markdown
    assert "**Is it?**" in markdown


def test_stopping_leaves_the_rest_for_next_time(study, dataset, jobs, tmp_path) -> None:
    plan, out = study("gray-150", seeds=[0, 1]), tmp_path / "out"
    jobs.errors["gray-150-s1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(plan, dataset, out)
    jobs.errors.clear()
    result = run(plan, dataset, out)
    assert jobs.done == ["gray-150-s0", "gray-150-s1", "gray-150-s1"]
    assert len(result.systems[0].measured) == 2


def test_a_place_of_earlier_runs_must_be_there(study, dataset, jobs, tmp_path) -> None:
    with pytest.raises(RunError, match="no such folder to take runs up from"):
        run(study("gray-150"), dataset, tmp_path / "out", runs=[tmp_path / "nowhere"])


def test_a_place_without_any_run_is_refused_and_the_one_with_some_is_named(
    study, dataset, jobs, tmp_path
) -> None:
    plan, first = study("gray-150", seeds=[0]), tmp_path / "first"
    run(plan, dataset, first)
    told: list[str] = []
    options = {"runs": [first], "tell": told.append}
    with pytest.raises(RunError, match=r"first: there is no run in it .*first/runs, which has"):
        run(plan, dataset, tmp_path / "second", **options)
    with pytest.raises(RunError, match=r"jobs: there is no run in it .* a run's folder, or one"):
        run(plan, dataset, tmp_path / "second", runs=[first / "jobs"])
    assert jobs.done == ["gray-150-s0"]
    assert told == []
    both = study("gray-150", "springboard-150", seeds=[0])
    run(both, dataset, tmp_path / "second", **options | {"runs": [first / "runs"]})
    assert told[0] == f"{first / 'runs'}: 1 of 1 run folders taken up"
    assert jobs.done == ["gray-150-s0", "springboard-150-s0"]


def test_seeds_may_stand_in_any_order(study, dataset, jobs, tmp_path) -> None:
    result = run(study("gray-150", seeds=[2, 0]), dataset, tmp_path / "out")
    (system,) = result.systems
    assert [each.seed for each in system.runs] == [2, 0]
    assert all(each.state == "measured" for each in system.runs)


def test_a_run_measured_the_other_way_is_not_averaged(
    study, dataset, jobs, make_run, predictor, tmp_path
) -> None:
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    evaluate_run(earlier, dataset, predict=predictor(1))
    path = earlier.path / "metrics.json"
    content = json.loads(path.read_text())
    content["run"]["checkpoint"] = "bundle.onnx"
    path.write_text(json.dumps(content))
    result = run(study("gray-150"), dataset, tmp_path / "out", runs=[earlier.path])
    (system,) = result.systems
    assert [each.state for each in system.runs] == ["failed", "measured"]
    assert "measured through its bundle" in (system.runs[0].reason or "")
    assert jobs.done == ["gray-150-s1"]


def test_a_run_calibrated_another_way_is_not_averaged_where_bundles_are_measured(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    content = yaml.safe_load((earlier.path / "recipe.yaml").read_text())
    content["calibration"] = {"data": "changed_tuning"}
    (earlier.path / "recipe.yaml").write_text(yaml.safe_dump(content))
    states = {}
    for way in ("run", "bundle"):
        plan = study(seeds=[0], systems=[{"recipe": "gray-150", "measured_by": way}])
        result = run(plan, dataset, tmp_path / way, runs=[earlier.path], works=False)
        states[way] = result.systems[0].runs[0].state
        reason = result.systems[0].runs[0].reason or ""
    assert states == {"run": "trained", "bundle": "failed"}
    assert "its recipe's `calibration` is another than the study's" in reason
    assert jobs.done == []


def test_a_folder_that_cannot_be_made_is_told(study, dataset, jobs, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/out: not written\."):
        run(study("gray-150"), dataset, tmp_path / "file" / "out")
    assert jobs.done == []


def test_runs_with_other_generated_images_are_not_pooled(
    study, dataset, jobs, make_run, predictor, tmp_path
) -> None:
    for seed, samples in enumerate("aab"):
        each = make_run(tmp_path / f"earlier/{seed}", recipe="springboard-150-gan", seed=seed)
        each.facts["data"]["added"] = {
            "kind": "generated", "count": 2500, "fingerprint": 64 * samples
        }  # fmt: skip
        each.write_facts()
        evaluate_run(each, dataset, predict=predictor(seed))
    named = [{"recipe": "springboard-150-gan", "name": "with-samples"}]
    plan = study(seeds=[0, 1, 2], systems=named)
    result = run(plan, dataset, tmp_path / "out", runs=[tmp_path / "earlier"], works=False)
    (system,) = result.systems
    assert [each.state for each in system.runs] == ["measured", "measured", "failed"]
    assert "other generated images (fingerprint bbbbbbbbbbbb)" in (system.runs[2].reason or "")
    evaluation = json.loads((tmp_path / "earlier/0/metrics.json").read_text())
    assert any("generator of its added images" in line for line in evaluation["caveats"])
    told = "with-samples (seeds 0, 1): The generator of its added images learnt from what may be"
    for page in ("study.md", "study.html"):
        assert told in (tmp_path / "out" / page).read_text()


def test_what_only_other_generated_images_hold_apart_is_told_with_both_fingerprints(
    study, dataset, jobs, make_run, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(StudyData, "_added", lambda *_: 64 * "b")
    plan, out = study("springboard-150-gan", seeds=[0, 1]), tmp_path / "out"
    places = [out / "runs/springboard-150-gan-s0", tmp_path / "earlier/1"]
    for seed, place in enumerate(places):
        each = make_run(place, recipe="springboard-150-gan", seed=seed)
        each.facts["data"]["added"] = {"kind": "generated", "fingerprint": 64 * "a"}
        each.write_facts()
    told: list[str] = []
    options = {"runs": [tmp_path / "earlier"], "tell": told.append, "trains": False}
    (system,) = run(plan, dataset, out, **options).systems
    assert [each.state for each in system.runs] == ["failed", "missing"]
    for place, found, line in zip(places, system.runs, told[1:], strict=True):
        assert str(place) in (found.reason or "")
        assert "images (fingerprint aaaaaaaaaaaa) than those of --added (bbbbbbbbbbbb)" in line
        assert (found.reason or "") in line
    assert "another recipe" not in (system.runs[0].reason or "")
    assert told[0] == f"{tmp_path / 'earlier'}: 0 of 1 run folders taken up"
    assert "It is not taken up" in (out / "study.md").read_text()


def test_a_run_in_use_is_not_failed(study, dataset, jobs, tmp_path) -> None:
    jobs.errors["gray-150-s0"] = InUseError("another process is at work in it")
    (system,) = run(study("gray-150", seeds=[0]), dataset, tmp_path / "out").systems
    assert system.runs[0].state == "in use"


def test_a_folder_without_pictures_is_refused_before_any_work(
    study, dataset, jobs, tmp_path
) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(UsageError, match=folder):
            run(study("gray-150"), dataset, tmp_path / "out", pictures=tmp_path / folder)
    assert jobs.done == []


def test_without_pictures_latency_alone_is_missing_and_that_is_told_once(
    study, dataset, jobs, tmp_path, monkeypatch
) -> None:
    exported: list[str] = []

    def export(run, dataset, path, **options) -> None:
        exported.append(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(3_000_000))

    monkeypatch.setattr(study_costs, "export_bundle", export)
    monkeypatch.setattr(study_costs, "_EXAMPLES", tmp_path / "nowhere")
    run(study("gray-150", "springboard-150", seeds=[0, 1, 2]), dataset, tmp_path / "out")
    assert len(exported) == 2  # one of each system
    markdown = (tmp_path / "out/study.md").read_text()
    assert markdown.count("| 1,234,567 | 1 min | 210 | 3.0 MB |  |") == 2
    assert markdown.count("give --pictures") == 1
    assert "| gray-150, springboard-150 |  | no latency |" in markdown
    assert "no bundle" not in markdown


def test_latency_is_said_to_be_of_the_machine_that_it_was_measured_on(
    study, dataset, jobs, tmp_path
) -> None:
    out, plan = tmp_path / "out", study("gray-150", "springboard-150", seeds=[0])
    run(plan, dataset, out)
    measured = Path(__file__).parents[2] / "studies/measured/costs.json"
    costs_of_one = json.loads(measured.read_text())["springboard-150"]

    def method_with(**machines: str) -> str:
        costs = {name: costs_of_one | {"machine": machine} for name, machine in machines.items()}
        (out / "costs.json").write_text(json.dumps(costs))
        run(plan, dataset, out, works=False)
        return (out / "study.md").read_text()

    one = method_with(**{"gray-150": "ELSEWHERE", "springboard-150": "ELSEWHERE"})
    assert "on the machine that it was measured on: ELSEWHERE." in one
    two = method_with(**{"gray-150": "ELSEWHERE", "springboard-150": "ANOTHER"})
    assert "measured on: ELSEWHERE (gray-150); ANOTHER (springboard-150)." in two


def test_a_loss_beside_a_bundles_is_of_its_calibrated_probabilities(evaluated, tmp_path) -> None:
    """As metrics.json has it; logits of other runs stay as they are, to the last digit."""
    source, evaluation = evaluated
    folder = tmp_path / "run"
    folder.mkdir()
    table = read_predictions(source.path / "predictions-test.csv").table
    log_odds = (table["logit"].to_numpy() + 0.5) / 2
    probability = 1 / (1 + np.exp(-log_odds))
    Predictions(table.with_columns(probability=pl.Series(probability))).write(
        folder / "predictions-test.csv"
    )
    for checkpoint, expected in (("bundle.onnx", log_odds), ("best.ckpt", None)):
        record = evaluation.run.model_copy(update={"checkpoint": checkpoint})
        evaluation.model_copy(update={"run": record}).write(folder / "metrics.json")
        measured = load_measured(folder)
        given = measured.calibrated_predictions.logit
        of_path = dict(zip(table["path"], log_odds, strict=True))
        wanted = (
            measured.predictions.logit
            if expected is None
            else [of_path[path] for path in measured.predictions.path]
        )
        np.testing.assert_allclose(given, wanted, rtol=0, atol=0 if expected is None else 1e-6)


def test_data_agree_where_every_fingerprint_that_matters_does() -> None:
    plain = Expected(training="t", test="e", added=None)
    generated = Expected(training="t", test="e", added="g")
    facts = {"fingerprint": "t", "added": {"kind": "generated", "fingerprint": "g"}}
    assert generated.is_training_of(facts)
    assert not plain.is_training_of({"fingerprint": "other"})
    assert generated.is_added_of(facts)
    assert plain.is_added_of({"fingerprint": "t"})
    assert plain.is_added_of(facts)  # without --added, whatever was added then is taken as it is
    assert not generated.is_added_of({"fingerprint": "t"})
    assert not generated.is_added_of(facts | {"added": {"fingerprint": "other"}})
    tuned = Expected(training="t", test="e", added=None, tuning="u", subtype="s")
    assert tuned.is_training_of({"fingerprint": "t"})  # a run of an earlier version tells no more
    assert not tuned.is_training_of({"fingerprint": "t", "tuning_fingerprint": "other"})
    assert not tuned.is_training_of({"fingerprint": "t", "subtype_fingerprint": "other"})
