import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from scipy import stats
from sklearn import metrics as sk

from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.core.files import write_json
from pneumoscope.data.predictions import Predictions, read_predictions
from pneumoscope.metrics.delong import delong_paired
from pneumoscope.report.results import ReportedFigure
from pneumoscope.study.compare import compare_runs
from pneumoscope.study.records import caveats

THRESHOLDS = {0: 0.4, 1: 0.55, 2: 0.6}  # each seed has a balanced threshold of its own


@pytest.fixture
def make_evaluated(evaluated, tmp_path):
    """Return a function that writes what an evaluation leaves, for any recipe and seed."""
    run, evaluation = evaluated
    test = read_predictions(run.path / "predictions-test.csv")

    def make(recipe: str, seed: int, *, noise: float = 1.0, sha256: str = "r", **changes) -> Path:
        folder = tmp_path / f"{recipe}-{seed}-{sha256}"
        folder.mkdir()
        rng = np.random.default_rng([seed, *recipe.encode()])
        logit = test.logit + rng.normal(0, noise, len(test))
        probability = 1 / (1 + np.exp(-logit))
        table = test.table.with_columns(
            logit=pl.Series(logit), probability=pl.Series(probability)
        ).sample(fraction=1, shuffle=True, seed=seed)  # rows need not be in one order
        Predictions(table).write(folder / "predictions-test.csv")
        record = evaluation.run.model_copy(
            update={"recipe": recipe, "seed": seed, "recipe_sha256": recipe + sha256}
        )
        points = [
            point.model_copy(update={"threshold": THRESHOLDS[seed]})
            if point.name == "balanced"
            else point
            for point in evaluation.operating_points
        ]
        update = {"run": record, "operating_points": points, **changes}
        evaluation.model_copy(update=update).write(folder / "metrics.json")
        return folder

    return make


@pytest.fixture
def six_runs(make_evaluated) -> list[Path]:
    runs = [make_evaluated("alpha", seed, noise=0.5) for seed in (2, 0, 1)]
    return runs + [make_evaluated("beta", seed, noise=3.0) for seed in (0, 1, 2)]


def by_path(run: Path) -> pl.DataFrame:
    return pl.read_csv(run / "predictions-test.csv").sort("path")


def seed_of(run: Path) -> int:
    return int(run.name.split("-")[1])


def test_mean_spread_and_range_are_those_of_the_seeds(six_runs, tmp_path) -> None:
    comparison = compare_runs(six_runs, tmp_path / "out", n_resamples=40)
    assert [recipe.label for recipe in comparison.recipes] == ["alpha", "beta"]
    for recipe, runs in zip(comparison.recipes, (six_runs[:3], six_runs[3:]), strict=True):
        assert recipe.seeds == [0, 1, 2]
        tables = [by_path(run) for run in sorted(runs)]
        area = [
            sk.roc_auc_score(t["target"].to_numpy(), t["probability"].to_numpy()) for t in tables
        ]
        figure = recipe.scores["auroc"]
        assert figure.by_seed == pytest.approx(area)
        assert figure.mean == pytest.approx(sum(area) / 3)
        variance = sum((x - sum(area) / 3) ** 2 for x in area) / 2
        assert figure.sd == pytest.approx(variance**0.5)
        assert (figure.minimum, figure.maximum) == pytest.approx((min(area), max(area)))
        assert figure.low < figure.mean < figure.high
        for point, thresholds in (("balanced", [0.4, 0.55, 0.6]), ("0.5", [0.5] * 3)):
            accuracy = [
                sk.accuracy_score(t["target"].to_numpy(), t["probability"].to_numpy() >= limit)
                for t, limit in zip(tables, thresholds, strict=True)
            ]
            assert recipe.points[point]["accuracy"].by_seed == pytest.approx(accuracy)
            assert recipe.thresholds[point] == thresholds


def test_interval_is_that_of_the_mean_over_seeds_with_patients_resampled(
    six_runs, tmp_path
) -> None:
    recipe = compare_runs(six_runs[:3], tmp_path / "out", n_resamples=400).recipes[0]
    tables = [by_path(run) for run in sorted(six_runs[:3])]
    target, patient = tables[0]["target"].to_numpy(), tables[0]["patient_id"].to_numpy()
    calls = [t["probability"].to_numpy() >= 0.5 for t in tables]
    rng = np.random.default_rng(99)
    means = []
    for _ in range(2000):
        drawn = rng.choice(np.unique(patient), size=np.unique(patient).size)
        rows = np.concatenate([np.flatnonzero(patient == name) for name in drawn])
        means.append(np.mean([(call[rows] == target[rows]).mean() for call in calls]))
    figure = recipe.points["0.5"]["accuracy"]
    expected = np.quantile(means, [0.025, 0.975])
    assert [figure.low, figure.high] == pytest.approx(expected, abs=0.03)


def test_paired_tests_take_the_seeds_as_one_detector(six_runs, tmp_path) -> None:
    comparison = compare_runs(six_runs, tmp_path / "out", n_resamples=20)
    (pair,) = comparison.tests
    first = by_path(six_runs[0])
    target = first["target"].to_numpy() == 1

    def margin(runs: list[Path]) -> np.ndarray:
        total = np.zeros(len(target))
        for run in runs:
            limit = THRESHOLDS[seed_of(run)]
            total += by_path(run)["logit"].to_numpy() - np.log(limit / (1 - limit))
        return total / len(runs)

    a, b = margin(six_runs[:3]), margin(six_runs[3:])
    assert pair.auroc.auroc_a == pytest.approx(sk.roc_auc_score(target, a))
    assert pair.auroc.auroc_b == pytest.approx(sk.roc_auc_score(target, b))
    delong = delong_paired(a, b, target, patient_id=first["patient_id"].to_numpy())
    assert pair.auroc.p_value == pytest.approx(delong.p_value)
    assert pair.auroc.p_holm == pytest.approx(delong.p_value)  # one pair, nothing to correct
    right_a, right_b = (a >= 0) == target, (b >= 0) == target
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    assert (pair.accuracy.n_only_a, pair.accuracy.n_only_b) == (only_a, only_b)
    assert only_a + only_b > 0
    assert pair.accuracy.p_value == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert pair.accuracy.accuracy_a == pytest.approx(right_a.mean())


def test_holm_corrects_over_all_pairs_each_figure_apart(make_evaluated, tmp_path) -> None:
    runs = [make_evaluated(name, 0, noise=n) for name, n in (("a", 0.2), ("b", 2.0), ("c", 4.0))]
    tests = compare_runs(runs, tmp_path / "out", n_resamples=20).tests
    assert [(pair.a, pair.b) for pair in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    for figures in ([pair.auroc for pair in tests], [pair.accuracy for pair in tests]):
        adjusted = {}
        highest = 0.0
        ranked = sorted(enumerate(figures), key=lambda item: item[1].p_value)
        for rank, (index, figure) in enumerate(ranked):
            highest = max(highest, min(1.0, (3 - rank) * figure.p_value))
            adjusted[index] = highest
        assert [figure.p_holm for figure in figures] == pytest.approx(
            [adjusted[index] for index in range(3)]
        )


def test_recipes_with_other_seeds_are_tested_on_those_that_both_have(
    make_evaluated, tmp_path
) -> None:
    """Oracle: each pair compared by itself, given the runs of the common seeds alone."""
    whole = [make_evaluated("alpha", seed, noise=2.0) for seed in (0, 1, 2)]
    some = [make_evaluated("beta", seed, noise=2.0) for seed in (1, 2)]
    other = make_evaluated("gamma", 0, noise=2.0)
    found = compare_runs([*whole, *some, other], tmp_path / "out", n_resamples=20)
    pairs = [("alpha", "beta", [1, 2]), ("alpha", "gamma", [0])]
    assert [(pair.a, pair.b, pair.seeds) for pair in found.tests] == pairs
    alone = [
        compare_runs([*whole[1:], *some], tmp_path / "first", n_resamples=20).tests[0],
        compare_runs([whole[0], other], tmp_path / "second", n_resamples=20).tests[0],
    ]
    for name in ("auroc", "accuracy"):
        expected = [getattr(test, name).p_value for test in alone]
        assert [getattr(pair, name).p_value for pair in found.tests] == pytest.approx(expected)
        # Two tests to correct for, not three: a pair without a common seed is none.
        least = min(range(2), key=lambda place: expected[place])
        assert getattr(found.tests[least], name).p_holm == pytest.approx(
            min(1, 2 * expected[least])
        )
    assert [(pair.a, pair.b) for pair in found.untested] == [("beta", "gamma")]
    assert "of recipes (2)" in " ".join(found.method)
    assert "not tested" in found.method[-1]
    assert "not tested" not in compare_runs(whole, tmp_path / "third", n_resamples=20).method[-1]


def test_one_system_with_three_seeds_and_with_one_of_them_does_not_differ(
    make_evaluated, tmp_path
) -> None:
    """An average of three ranks better than one: by itself that is no better system."""
    runs = [make_evaluated("alpha", seed, noise=3.0) for seed in (0, 1, 2)]
    same = make_evaluated("beta", 1)
    shutil.copy(runs[1] / "predictions-test.csv", same)
    (pair,) = compare_runs([*runs, same], tmp_path / "out", n_resamples=20).tests
    assert (pair.auroc.difference, pair.auroc.p_value) == (0, 1)
    assert (pair.accuracy.n_only_a, pair.accuracy.n_only_b) == (0, 0)


def test_reported_figures_stand_beside_the_mean_of_ours(
    make_evaluated, evaluated, tmp_path
) -> None:
    figure = ReportedFigure(name="accuracy", reported=0.9, ours=0, ours_is="", difference=0)
    reported = evaluated[1].reported.model_copy(update={"figures": [figure], "how": "by eye"})
    runs = [make_evaluated("alpha", seed, reported=reported) for seed in (0, 1)]
    comparison = compare_runs(runs, tmp_path / "out", n_resamples=20)
    (row,) = comparison.recipes[0].reported.figures
    accuracy = [
        (by_path(r)["probability"] >= 0.5).cast(int).eq(by_path(r)["target"]).mean() for r in runs
    ]
    assert row.ours == pytest.approx(np.mean(accuracy))
    assert row.difference == pytest.approx(np.mean(accuracy) - 0.9)
    markdown = (tmp_path / "out/comparison.md").read_text()
    assert f"| alpha | accuracy | 0.900 | {np.mean(accuracy):.3f} |" in markdown
    assert "by eye" in markdown


def test_files_are_whole_and_need_nothing_else(six_runs, tmp_path) -> None:
    out = tmp_path / "out"
    comparison = compare_runs(six_runs, out, n_resamples=20)
    content = json.loads((out / "comparison.json").read_text())
    assert (
        content["recipes"][0]["scores"]["auroc"]["mean"]
        == comparison.recipes[0].scores["auroc"].mean
    )
    page = (out / "comparison.html").read_text()
    for reference in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert reference.startswith(("data:", "#")), reference
    assert (out / "figures/roc.svg").read_text() in page
    assert (out / "figures/roc.png").stat().st_size > 1000
    tables = re.findall(r"(?m)(?:^\|.*\n)+", (out / "comparison.md").read_text())
    assert len(tables) >= 5
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_a_single_run_has_no_spread_and_no_tests(make_evaluated, tmp_path) -> None:
    comparison = compare_runs([make_evaluated("alpha", 0)], tmp_path / "out", n_resamples=20)
    assert np.isnan(comparison.recipes[0].scores["auroc"].sd)
    assert comparison.tests == []
    rows = re.findall(r"(?m)^\| alpha \|.*", (tmp_path / "out/comparison.md").read_text())
    assert rows
    assert not any("±" in row for row in rows)
    assert (
        json.loads((tmp_path / "out/comparison.json").read_text())["recipes"][0]["scores"]["auroc"][
            "sd"
        ]
        is None
    )


def test_phantoms_come_in_the_first_line(make_evaluated, evaluated, tmp_path) -> None:
    data = evaluated[1].data.model_copy(update={"origin": "phantom"})
    run = make_evaluated("alpha", 0, data=data, notice="Synthetic phantoms, not radiographs.")
    comparison = compare_runs([run], tmp_path / "out", n_resamples=20)
    assert comparison.notice == "Synthetic phantoms, not radiographs."
    assert (tmp_path / "out/comparison.md").read_text().startswith("**Synthetic phantoms")
    assert next(iter(json.loads((tmp_path / "out/comparison.json").read_text()))) == "notice"
    assert (
        "synthetic phantoms"
        in re.findall("<h1>(.*)</h1>", (tmp_path / "out/comparison.html").read_text())[0]
    )


def test_what_some_runs_learnt_from_is_told_first_with_their_names(
    make_evaluated, evaluated, tmp_path
) -> None:
    _, evaluation = evaluated
    added = {"kind": "generated", "is_generator_on_same_training": False}
    notes = caveats(evaluation.data, evaluation.run, is_training_data_same=False, added=added)
    standing, generator, training = notes
    runs = [
        make_evaluated("alpha", 0, caveats=notes),
        make_evaluated("alpha", 1, caveats=notes[:2]),
        make_evaluated("beta", 0, caveats=notes),
        make_evaluated("gamma", 0, caveats=notes[:1]),
    ]
    notice = compare_runs(runs, tmp_path / "out", n_resamples=20).notice
    assert notice == (
        f"alpha (seeds 0, 1), beta (seed 0): {generator} alpha (seed 0), beta (seed 0): {training}"
    )
    assert (tmp_path / "out/comparison.md").read_text().startswith(f"**{notice}**")
    assert compare_runs(runs[3:], tmp_path / "plain", n_resamples=20).notice is None


def test_changed_recipes_of_one_name_are_told_apart(make_evaluated, tmp_path) -> None:
    runs = [make_evaluated("alpha", 0), make_evaluated("alpha", 0, sha256="set")]
    comparison = compare_runs(runs, tmp_path / "out", n_resamples=20)
    labels = [recipe.label for recipe in comparison.recipes]
    assert len(set(labels)) == 2
    assert all(label.startswith("alpha (") for label in labels)


def test_bundles_of_one_recipe_are_told_apart(make_evaluated, evaluated, tmp_path) -> None:
    """By precision, and where that is the same by the weights."""
    runs = []
    for place, (precision, letter) in enumerate((("fp32", "a"), ("int8", "b"), ("fp32", "c"))):
        runs.append(make_evaluated("alpha", 0, sha256=str(place)))
        weights = {"checkpoint": "bundle.onnx", "checkpoint_sha256": 64 * letter}
        change(runs[-1] / "metrics.json", precision=precision, **weights)
    comparison = compare_runs(runs, tmp_path / "out", n_resamples=20)
    assert [recipe.label for recipe in comparison.recipes] == [
        "alpha (bundle, fp32), aaaaaa",
        "alpha (bundle, int8)",
        "alpha (bundle, fp32), cccccc",
    ]


def test_runs_on_different_radiographs_are_refused_by_name(
    make_evaluated, evaluated, tmp_path
) -> None:
    one, other = make_evaluated("alpha", 0), make_evaluated("beta", 0)
    table = pl.read_csv(other / "predictions-test.csv")
    table.with_columns(target=1 - pl.col("target")).write_csv(other / "predictions-test.csv")
    with pytest.raises(RunError, match="different radiographs") as caught:
        compare_runs([one, other], tmp_path / "out")
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)
    data = evaluated[1].data.model_copy(update={"fingerprint": "0" * 64})
    changed = make_evaluated("gamma", 0, data=data)
    with pytest.raises(RunError, match="whose content or targets differ"):
        compare_runs([one, changed], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_compared_is_refused(make_evaluated, evaluated, tmp_path) -> None:
    run = make_evaluated("alpha", 0)
    with pytest.raises(UsageError, match="no run"):
        compare_runs([], tmp_path / "out")
    with pytest.raises(UsageError, match="twice"):
        compare_runs([run, run], tmp_path / "out")
    with pytest.raises(RunError, match="no such run folder"):
        compare_runs([tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "fresh").mkdir()
    with pytest.raises(RunError, match=f"pneumoscope evaluate {tmp_path / 'fresh'} --data"):
        compare_runs([tmp_path / "fresh"], tmp_path / "out")
    twin = run.rename(tmp_path / "twin")
    run = make_evaluated("alpha", 0)
    with pytest.raises(RunError, match="seed 0: a mean over seeds counts each once"):
        compare_runs([run, twin], tmp_path / "out")
    table = pl.read_csv(run / "predictions-test.csv")
    table.head(-1).write_csv(run / "predictions-test.csv")
    with pytest.raises(RunError, match="has 49 rows"):
        compare_runs([run], tmp_path / "out")
    data = evaluated[1].data.model_copy(update={"split": "tuning"})
    with pytest.raises(RunError, match="tuning split"):
        compare_runs([make_evaluated("beta", 0, data=data)], tmp_path / "out")


def change(path: Path, **changes) -> None:
    """Change keys of a YAML or JSON file's own, or those of its `run`."""
    content = yaml.safe_load(path.read_text())
    content.get("run", content).update(changes)
    write_json(path, content)


def test_seeds_that_a_study_would_not_pool_are_not_averaged(
    make_evaluated, evaluated, tmp_path: Path
) -> None:
    runs = [make_evaluated("alpha", seed) for seed in (0, 1)]

    def refused(what: str) -> None:
        with pytest.raises(RunError, match=what) as caught:
            compare_runs(runs, tmp_path / "out", n_resamples=20)
        assert f"{runs[0]} and {runs[1]} are both alpha" in str(caught.value)

    for run, letter in zip(runs, "ab", strict=True):
        write_json(
            run / "run.json", {"data": {"added": {"kind": "repeated", "fingerprint": letter}}}
        )
    compare_runs(runs, tmp_path / "out", n_resamples=20)  # a control's images differ by seed
    for run, letter in zip(runs, "ab", strict=True):
        facts = {"data": {"added": {"kind": "generated", "fingerprint": 64 * letter}}}
        write_json(run / "run.json", facts)
    refused("the generated images of fingerprint a{12} .* b{12}: a mean")
    shutil.copy(runs[0] / "run.json", runs[1])
    change(runs[1] / "metrics.json", checkpoint="bundle.onnx")
    refused("measured as trained and the other measured through its bundle")
    change(runs[0] / "metrics.json", checkpoint="bundle.onnx")
    for run, data in zip(runs, ("tuning", "changed_tuning"), strict=True):
        shutil.copy(evaluated[0].path / "recipe.yaml", run)
        change(run / "recipe.yaml", calibration={"data": data})
    refused("calibrated as its recipe says: data='tuning' .* data='changed_tuning'")


def test_runs_evaluated_by_another_version_are_known_by_their_recipe(
    make_evaluated, evaluated, tmp_path: Path
) -> None:
    """The hash in metrics.json may come from a version whose recipes had fewer keys."""
    folders = [make_evaluated("gamma", seed, sha256=f"version {seed}") for seed in (0, 1)]
    assert len(compare_runs(folders, tmp_path / "apart", n_resamples=20).recipes) == 2
    for folder in folders:
        shutil.copy(evaluated[0].path / "recipe.yaml", folder)
    assert len(compare_runs(folders, tmp_path / "together", n_resamples=20).recipes) == 1
