"""What becomes of a study when runs fail: the reason is told, and the rest goes on."""

import json

import polars as pl
import pytest

from pneumoscope.core.errors import DatasetError, DivergedError, StorageError, WeightsError
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.study.test_reads import read_log

QUICK = {"n_resamples": 20, "has_processes": False, "show_progress": False}
pytestmark = pytest.mark.usefixtures("without_figures_and_bundles")


def run(study, dataset, out, **options):
    return run_study(study, dataset, out, StudyOptions(**QUICK | options))


def test_a_run_that_fails_is_told_and_the_others_go_on(study, dataset, jobs, tmp_path) -> None:
    plan, out = study("springboard-150", "gray-150"), tmp_path / "out"
    jobs.errors["springboard-150-s0"] = DivergedError("the loss became nan in epoch 3")
    jobs.errors["gray-150-s1"] = ZeroDivisionError("a bug")
    result = run(plan, dataset, out)
    states = {s.name: [each.state for each in s.runs] for s in result.systems}
    assert states == {
        "springboard-150": ["failed", "measured"],
        "gray-150": ["measured", "failed"],
    }
    markdown = (out / "study.md").read_text()
    assert "DivergedError: the loss became nan in epoch 3" in markdown
    assert "ZeroDivisionError: a bug" in markdown
    assert markdown.count("1 of 2 so far") == 2
    assert all(system.not_reproducible is None for system in result.systems)
    jobs.errors.clear()
    jobs.done.clear()
    result = run(plan, dataset, out)  # what failed is tried again, nothing else
    assert sorted(jobs.done) == ["gray-150-s1", "springboard-150-s0"]
    assert all(len(system.measured) == 2 for system in result.systems)


def test_weights_that_cannot_be_had_are_asked_for_once(study, dataset, jobs, tmp_path) -> None:
    for seed in (0, 1):
        jobs.errors[f"pneunet-s{seed}"] = WeightsError("resnet50 can't be had here")
    result = run(study("pneunet", "gray-150"), dataset, tmp_path / "out")
    assert jobs.done.count("pneunet-s0") == 1
    assert "pneunet-s1" not in jobs.done
    pneunet, gray = result.systems
    assert pneunet.not_reproducible == "WeightsError: resnet50 can't be had here"
    assert [figure.reported for figure in pneunet.reported.figures][:2] == [0.906, 0.9006]
    assert len(gray.measured) == 2
    assert "not reproducible here" in (tmp_path / "out/study.md").read_text()


def test_a_foreign_run_in_the_place_of_ones_own_is_left_alone(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    foreign = make_run(tmp_path / "out/runs/gray-150-s0", recipe="springboard-150", seed=5)
    before = (foreign.path / "run.json").read_bytes()
    (system,) = run(study("gray-150", seeds=[0]), dataset, tmp_path / "out").systems
    assert jobs.done == []
    assert system.runs[0].state == "failed"
    assert "another recipe, seed or dataset" in (system.runs[0].reason or "")
    assert system.not_reproducible is None
    assert (foreign.path / "run.json").read_bytes() == before


def change_auroc(folder) -> None:
    change_metrics(folder, "scores", "auroc", "value", to=0.999)


def change_ece(folder) -> None:
    change_metrics(folder, "scores", "ece", "value", to=0.001)


def change_seed(folder) -> None:
    change_metrics(folder, "run", "seed", to=9)


def change_name(folder) -> None:
    change_metrics(folder, "run", "recipe", to="gray-151")


def change_patient(folder) -> None:
    path = folder / "predictions-test.csv"
    path.write_text(path.read_text().replace("test/p0", "test/p1"))


def lose_probability(folder) -> None:
    path = folder / "predictions-test.csv"
    pl.read_csv(path).with_columns(probability=None).write_csv(path)


def change_metrics(folder, *keys: str, to: object) -> None:
    path = folder / "metrics.json"
    content = json.loads(path.read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to
    path.write_text(json.dumps(content))


DAMAGES = {
    change_auroc: "auroc is 0.999, but predictions-test.csv beside it gives",
    change_ece: "ece is 0.001, but predictions-test.csv beside it gives",
    change_seed: "is of seed 9, but the run in that folder has seed 1",
    change_name: "names another recipe (gray-151) than the other runs of gray-150",
    change_patient: "has other radiographs, targets or patients than",
    lose_probability: "no figures can be worked out from its predictions-test.csv",
}


def test_a_damaged_run_is_told_and_the_others_stand(study, dataset, jobs, tmp_path) -> None:
    plan, out = study("gray-150", "springboard-150", seeds=[0, 1, 2]), tmp_path / "out"
    _, before = run(plan, dataset, out).systems
    done, folder = list(jobs.done), out / "runs/gray-150-s1"
    kept = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for damage, reason in DAMAGES.items():
        damage(folder)
        works = damage is change_auroc  # the others' table alone: nothing would be done for them
        gray, springboard = run(plan, dataset, out, works=works).systems
        assert [each.state for each in gray.runs] == ["measured", "failed", "measured"]
        assert reason in (gray.runs[1].reason or "")
        assert gray.result is not None
        assert gray.result.seeds == [0, 2]
        assert springboard.result == before.result
        assert reason in (out / "study.md").read_text()
        for path, content in kept.items():
            path.write_bytes(content)
    assert jobs.done == done  # its test split is not read again for that
    assert len(read_log(folder)) == 1


def test_only_missing_weights_make_a_system_not_reproducible(
    study, dataset, jobs, tmp_path
) -> None:
    for seed in (0, 1):
        jobs.errors[f"gray-150-s{seed}"] = MemoryError()
    jobs.errors["pneunet-s0"] = WeightsError("resnet50 can't be had here")
    out = tmp_path / "out"
    for works in (True, False):
        gray, pneunet = run(study("gray-150", "pneunet"), dataset, out, works=works).systems
        assert [each.state for each in gray.runs] == ["failed", "failed"]
        assert gray.not_reproducible is None
        assert pneunet.not_reproducible is not None
        markdown = (out / "study.md").read_text()
        assert "| gray-150 | 0, 1 | failed | MemoryError: MemoryError |" in markdown
        assert "| pneunet | all | not reproducible here | WeightsError: resnet50" in markdown


def test_without_generated_images_the_systems_that_want_them_fail_at_once(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    told: list[str] = []
    plan, out = study("springboard-150-gan", "gray-150"), tmp_path / "out"
    run(plan, dataset, out, only=["gray-150"], tell=told.append)
    assert not any("generated images" in line for line in told)
    plan = study("springboard-150-gan", "gray-150", seeds=[0, 1, 2])
    trained = make_run(tmp_path / "earlier/gan", recipe="springboard-150-gan", seed=1)
    told.clear()
    jobs.done.clear()
    result = run(plan, dataset, out, runs=[trained.path], tell=told.append)
    assert told[0] == f"{trained.path}: 1 of 1 run folders taken up"
    assert told[1].startswith("springboard-150-gan: fails, the others go on")
    assert "`pneumoscope gan sample`, and give that folder with --added DIR" in told[1]
    assert sum("generated images" in line for line in told) == 1
    assert sorted(jobs.done) == ["gan", "gray-150-s2"]  # what is trained needs none to be measured
    gan, gray = result.systems
    assert [each.state for each in gan.runs] == ["failed", "measured", "failed"]
    assert "give that folder with --added DIR" in (gan.runs[0].reason or "")
    assert len(gray.measured) == 3
    run(plan, dataset, out, runs=[trained.path], works=False)
    assert "give that folder with --added DIR" in (out / "study.md").read_text()


def test_what_one_system_lacks_does_not_stop_the_others(study, dataset, jobs, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    told: list[str] = []
    options = {"added": tmp_path / "empty", "tell": told.append}
    plan = study("springboard-150-gan", "gray-150", seeds=[0])
    gan, gray = run(plan, dataset, tmp_path / "out", **options).systems
    assert jobs.done == ["gray-150-s0"]
    assert gan.runs[0].state == "failed"
    assert str(tmp_path / "empty") in (gan.runs[0].reason or "")
    assert told[0].startswith("springboard-150-gan-s0: failed (")
    assert len(gray.measured) == 1
    with pytest.raises(DatasetError, match="empty"):  # nothing can be done at all
        run(study("springboard-150-gan"), dataset, tmp_path / "other", **options)


def test_a_run_of_ones_own_without_its_epochs_fails_where_they_are_wanted(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    out = tmp_path / "out"
    run(study("gray-150", seeds=[0]), dataset, out)
    plan = study("gray-150", seeds=[0], systems=[{"recipe": "gray-150", "store_epochs": True}])
    (system,) = run(plan, dataset, out).systems
    assert jobs.done == ["gray-150-s0"]
    assert system.runs[0].state == "failed"
    assert "lacks weights of epochs that it has trained" in (system.runs[0].reason or "")
    assert "Move it away, or give another --out" in (system.runs[0].reason or "")
    earlier = make_run(tmp_path / "earlier", recipe="gray-150", seed=0)
    for epoch in (1, 2, 3):
        (earlier.path / f"checkpoints/epoch-{epoch:03d}.ckpt").write_bytes(b"weights")
    (system,) = run(plan, dataset, out, runs=[earlier.path]).systems
    assert jobs.done == ["gray-150-s0", "earlier"]
    assert system.runs[0].is_taken_up


def test_why_a_trained_run_was_not_measured_is_known_the_next_time(
    study, dataset, jobs, make_run, tmp_path
) -> None:
    plan, out = study("gray-150", "springboard-150", seeds=[0]), tmp_path / "out"
    make_run(out / "runs/gray-150-s0", recipe="gray-150", seed=0)
    jobs.errors["gray-150-s0"] = StorageError("the disk is full")
    jobs.errors["springboard-150-s0"] = DivergedError("no")
    run(plan, dataset, out)
    for options in ({"works": False}, {"only": ["springboard-150"]}):
        gray, _ = run(plan, dataset, out, **options).systems
        assert gray.runs[0].state == "failed"
        assert gray.runs[0].reason == "StorageError: the disk is full"
    # Of a run that was trained since, the failure of before says nothing.
    later = make_run(tmp_path / "later", recipe="springboard-150", seed=0)
    _, springboard = run(plan, dataset, out, runs=[later.path], works=False).systems
    assert (springboard.runs[0].state, springboard.runs[0].reason) == ("trained", None)


def test_why_a_run_failed_is_known_the_next_time(study, dataset, jobs, tmp_path) -> None:
    plan, out = study("pneunet", seeds=[0, 1]), tmp_path / "out"
    jobs.errors["pneunet-s0"] = WeightsError("resnet50 can't be had here")
    run(plan, dataset, out)
    (system,) = run(plan, dataset, out, works=False).systems
    assert system.not_reproducible == "WeightsError: resnet50 can't be had here"
    assert [each.state for each in system.runs] == ["failed", "failed"]
    jobs.errors.clear()
    (system,) = run(plan, dataset, out).systems
    assert [each.state for each in system.runs] == ["measured", "measured"]
