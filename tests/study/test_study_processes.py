"""A study as people run it: real trainings, real readings, in processes of their own."""

import json
import runpy
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from pneumoscope.core.errors import ExportError
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.detector.bundle import open_bundle
from pneumoscope.study import study_costs, study_job
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.study.study_plan import Study, load_study
from pneumoscope.study.test_reads import read_log

_TESTS = Path(__file__).parents[1]
TINY = runpy.run_path(str(_TESTS / "tiny_recipe.py"))["TINY"]
write_samples = runpy.run_path(str(_TESTS / "sample_folder.py"))["write_samples"]
N_EPOCHS, N_ADDED, SMALL_PX = 12, 10, 20
PROGRAM = "from pneumoscope.cli.app import main; main()"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("p") / "phantoms", count=80, seed=0, size_px=32)


@pytest.fixture(scope="module")
def phantom_set(phantoms: Path) -> Dataset:
    return open_dataset(phantoms)


@pytest.fixture
def pictures(phantoms: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "one.png").write_bytes(next(iter(sorted(phantoms.rglob("*.png")))).read_bytes())
    return folder


def write_plan(folder: Path, *, seeds: list[int], system: dict[str, object], **recipe) -> Path:
    content = TINY | {"training": TINY["training"] | {"epochs": N_EPOCHS}} | recipe
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    systems = [{"recipe": "tiny.yaml"} | system]
    plan = {"name": "toy", "title": "Toy", "seeds": seeds, "systems": systems}
    (folder / "study.yaml").write_text(yaml.safe_dump(plan))
    return folder / "study.yaml"


def wait_until(is_so: Callable[[], bool], *, what: str, seconds: float = 240) -> None:
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def rows(folder: Path) -> list[str]:
    """Return the lines of a run's history.csv, one an epoch that has ended."""
    path = folder / "history.csv"
    return path.read_text().splitlines()[1:] if path.is_file() else []


@pytest.mark.timeout(600)  # five processes, each of which imports torch
def test_a_study_killed_in_mid_run_goes_on_and_does_nothing_twice(
    phantoms: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = write_plan(tmp_path, seeds=[0, 1], system={}), tmp_path / "out"
    words = ["study", str(plan), "--data", str(phantoms), "--out", str(out)]
    words += ["--jobs", "2", "--threads", "1", "--pictures", str(pictures)]
    runs = [out / "runs" / f"tiny-s{seed}" for seed in (0, 1)]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stderr=subprocess.DEVNULL
    ) as program:
        wait_until(lambda: any(map(rows, runs)) or program.poll() is not None, what="first epoch")
        program.send_signal(signal.SIGKILL)
    assert program.returncode == -signal.SIGKILL
    # Its runs' processes notice, keep their last whole epoch, and say so.
    answers = [out / "jobs" / f"tiny-s{seed}.outcome.json" for seed in (0, 1)]
    wait_until(lambda: all(answer.is_file() for answer in answers), what="both processes end")
    assert [json.loads(answer.read_text())["state"] for answer in answers] == ["stopped"] * 2
    kept = [rows(run) for run in runs]
    assert 1 <= max(map(len, kept)) < N_EPOCHS
    has_begun = [(run / "run.json").is_file() for run in runs]  # one may have been slow to start

    def refuse(*args: object, **options: object) -> None:
        raise ExportError("no bundle is needed here")

    monkeypatch.setattr(study_costs, "export_bundle", refuse)
    told: list[str] = []
    options = StudyOptions(n_jobs=2, n_threads=1, pictures=pictures, tell=told.append)
    run_study(load_study(plan), open_dataset(phantoms), out, options)
    assert len(told) == 4
    for run, is_gone_on_with in zip(runs, has_begun, strict=True):
        what = "going on with" if is_gone_on_with else "training"
        assert any(line.endswith(f"{run.name}: {what} {run}") for line in told)
    for run, before in zip(runs, kept, strict=True):
        after = rows(run)
        assert after[: len(before)] == before  # with their seconds: no epoch was trained again
        assert [int(row.split(",")[0]) for row in after] == list(range(1, N_EPOCHS + 1))
        assert len(read_log(run)) == 1
    content = json.loads((out / "study.json").read_text())
    (system,) = content["systems"]
    assert [(run["state"], run["reading"]) for run in system["runs"]] == [("measured", 1)] * 2
    for seed, run in enumerate(runs):
        table = pl.read_csv(run / "predictions-test.csv")
        answered = {"called": table["probability"] >= 0.5, "target": table["target"] == 1}
        accuracy = (answered["called"] == answered["target"]).mean()
        figure = system["result"]["points"]["0.5"]["accuracy"]["by_seed"][seed]
        assert figure == pytest.approx(accuracy)
    assert "so far" not in (out / "study.md").read_text()

    told.clear()
    run_study(load_study(plan), open_dataset(phantoms), out, options)
    assert told == []
    assert all(len(read_log(run)) == 1 for run in runs)


def test_a_bundle_with_added_images_is_trained_exported_and_read_once(
    phantom_set: Dataset, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = write_samples(tmp_path / "samples", count=N_ADDED + 3, size_px=SMALL_PX)
    added = {"kind": "generated", "target": 0, "count": N_ADDED, "size_px": SMALL_PX}
    training = TINY["training"] | {
        "epochs": 40,  # so many that it ranks phantoms the right way round; export refuses others
        "plateau": None,
        "keep": {"epoch": "best", "monitor": "tuning_auroc"},
    }
    system = {"name": "bundled", "measured_by": "bundle"}
    plan = load_study(
        write_plan(
            tmp_path, seeds=[0], system=system, added=added, training=training, augmentation={}
        )
    )
    result = in_this_process(plan, phantom_set, tmp_path / "out", samples, pictures)
    (run,), folder = result.systems[0].runs, tmp_path / "out/runs/bundled-s0"
    assert run.reason is None
    assert (run.state, run.measured_by, run.reading) == ("measured", "bundle", 1)
    facts = json.loads((folder / "run.json").read_text())["data"]["added"]
    assert facts["count"] == N_ADDED
    bundle = open_bundle(folder / "bundle.onnx")
    table = pl.read_csv(folder / "predictions-test.csv")
    for row, path in enumerate(table["path"].head(3)):
        place = phantom_set.manifest.table["path"].to_list().index(path)
        answer = bundle.run(phantom_set.read(place).pixels[None, None])
        assert answer.probability[0] == pytest.approx(table["probability"][row], abs=1e-6)
    assert result.systems[0].costs is not None
    assert result.systems[0].costs.bundle_sha256 == bundle.sha256

    monkeypatch.setattr(study_job, "_train", None)
    again = in_this_process(plan, phantom_set, tmp_path / "out", samples, pictures)
    assert again.systems[0].result == result.systems[0].result
    assert len(read_log(folder)) == 1
    # Other images, and it is no run of this study any more.
    others = write_samples(tmp_path / "others", count=N_ADDED, size_px=SMALL_PX, seed=1)
    changed = in_this_process(plan, phantom_set, tmp_path / "out", others, pictures)
    assert changed.systems[0].runs[0].state == "failed"


def in_this_process(plan: Study, dataset: Dataset, out: Path, added: Path, pictures: Path):
    options = StudyOptions(
        added=added, pictures=pictures, n_resamples=20, has_processes=False, show_progress=False
    )
    return run_study(plan, dataset, out, options)


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a shell script in the place of the runs' Python.

    Its arguments: -m, the module, the job's file, the answer's.
    """

    def put(script: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(program))

    return put


@pytest.mark.parametrize(("n_jobs", "most"), [(1, 1), (2, 2)])
def test_as_many_runs_are_side_by_side_as_are_wanted(
    phantom_set: Dataset,
    tmp_path: Path,
    act: Callable[[str], None],
    n_jobs: int,
    most: int,
) -> None:
    # Each writes down how many are at work when it begins and, a second later, when it ends.
    act(
        f'cd "{tmp_path}"; mkdir -p busy; touch busy/$$; ls busy | wc -l >> seen; sleep 1; '
        "ls busy | wc -l >> seen; rm busy/$$; "
        'echo \'{"state": "failed", "error": "Toy", "reason": "done"}\' > "$4"'
    )
    plan = load_study(write_plan(tmp_path, seeds=[0, 1, 2, 3], system={}))
    options = StudyOptions(n_jobs=n_jobs, n_threads=1, show_progress=False)
    result = run_study(plan, phantom_set, tmp_path / "out", options)
    assert [run.reason for run in result.systems[0].runs] == ["Toy: done"] * 4
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 8
    assert max(seen) == most


def test_stopping_a_study_stops_its_runs_and_waits_for_them(
    phantom_set: Dataset, tmp_path: Path, act: Callable[[str], None]
) -> None:
    # They go on until their standard input is closed, and need a moment then.
    act(
        f'cd "{tmp_path}"; echo begun >> begun; cat > /dev/null; sleep 0.5; echo ended >> ended; '
        'echo \'{"state": "stopped"}\' > "$4"; exit 130'
    )

    def stop(line: str) -> None:
        if line.startswith("2 of 3"):
            wait_until((tmp_path / "begun").is_file, what="the first run begins", seconds=60)
            raise KeyboardInterrupt

    plan = load_study(write_plan(tmp_path, seeds=[0, 1, 2], system={}))
    options = StudyOptions(n_jobs=2, n_threads=1, show_progress=False, tell=stop)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, phantom_set, tmp_path / "out", options)
    assert (tmp_path / "begun").read_text().split() == ["begun"]
    assert (tmp_path / "ended").read_text().split() == ["ended"]
    assert not (tmp_path / "out/study.json").exists()
