"""A network so sure of itself that its probabilities round to 1: its logits still rank."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.data.predictions import Predictions, make_predictions, read_predictions
from pneumoscope.report.evaluation_figures import precision_recall_figure, roc_figure
from pneumoscope.study import study_epochs
from pneumoscope.study.compare import compare_runs
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.training import fit
from pneumoscope.training.export_card import make_card
from pneumoscope.training.export_tuning import TuningAnswers, choose
from pneumoscope.training.inference import sigmoid
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_folder import open_run

CERTAIN = 40.0  # from about 37 on, sigmoid(logit) is 1.0


def count_pairs(score: np.ndarray, target: np.ndarray) -> float:
    """Oracle: the definition of AUROC, pair by pair (Hanley & McNeil 1982)."""
    pairs = list(itertools.product(score[target], score[~target]))
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


def saturate(logit: np.ndarray) -> np.ndarray:
    """Return logits from 40 to 180 in the same order: not one probability differs from 1."""
    least, most = logit.min(), logit.max()
    return CERTAIN + 140 * (logit - least) / (most - least)


def draw(table: pl.DataFrame, *, seed: int, strength: float) -> Predictions:
    rng = np.random.default_rng(seed)
    logit = saturate(strength * table["target"].to_numpy() + rng.normal(0, 1, table.height))
    answers = make_predictions(table, logit=logit, probability=sigmoid(logit))
    assert (answers.probability == 1).all()
    return answers


@pytest.fixture
def predictor():
    """Return, in the place of the shared one, what answers with certainty and differs by seed."""

    def of_seed(seed: int):
        def predict(run, dataset, rows, strict) -> Predictions:
            table = dataset.manifest.table[np.asarray(rows).tolist()]
            return draw(table, seed=seed, strength=1.0 + seed % 10)

        return predict

    return of_seed


def written(run) -> Predictions:
    table = read_predictions(run / "predictions-test.csv").table.sort("path")
    return Predictions(table)


@pytest.fixture
def measured(make_run, dataset, predictor, without_figures_and_bundles, tmp_path):
    """Runs of two recipes and two seeds, each measured."""
    runs = []
    for place, recipe in enumerate(("springboard-150", "gray-150")):
        for seed in (0, 1):
            run = make_run(tmp_path / f"{recipe}-{seed}", recipe=recipe, seed=seed)
            evaluate_run(run, dataset, predict=predictor(seed + 20 * place))
            runs.append(run.path)
    return runs


def test_evaluate_ranks_by_logits(measured) -> None:
    for run in measured:
        content, answers = json.loads((run / "metrics.json").read_text()), written(run)
        scores, target = content["scores"], answers.target
        assert scores["auroc"]["value"] == pytest.approx(count_pairs(answers.logit, target))
        assert scores["auroc"]["low"] < scores["auroc"]["value"] < scores["auroc"]["high"]
        average = sk.average_precision_score(target, answers.logit)
        assert scores["average_precision"]["value"] == pytest.approx(average)
        assert scores["brier"]["value"] == pytest.approx((~target).mean())  # of probabilities
        subtype = np.array([name or "" for name in answers.subtype])
        assert [group["name"] for group in content["subgroups"]] == ["bacterial", "viral"]
        for group in content["subgroups"]:
            rows = (subtype == group["name"]) | ~target
            expected = count_pairs(answers.logit[rows], target[rows])
            assert group["auroc"]["value"] == pytest.approx(expected)


def test_curves_are_those_of_the_logits(dataset) -> None:
    table = dataset.manifest.table
    answers = draw(table, seed=0, strength=1.0)
    roc = roc_figure(answers, [], auroc=0.5).axes[0].get_lines()[-1]
    expected = sk.roc_curve(answers.target, answers.logit, drop_intermediate=False)
    np.testing.assert_allclose(roc.get_xydata(), np.transpose(expected[:2]))
    curve = precision_recall_figure(answers, [], average_precision=0.5).axes[0].get_lines()[-1]
    ppv, sensitivity, _ = sk.precision_recall_curve(answers.target, answers.logit)
    # scikit-learn leaves the points out that lie left of the first positive's threshold.
    drawn = [tuple(point) for point in np.round(curve.get_xydata(), 9)]
    wanted = [tuple(point) for point in np.round(np.transpose([sensitivity, ppv]), 9)]
    assert set(wanted) <= set(drawn)


def test_compare_ranks_by_logits_and_averages_them(measured, tmp_path) -> None:
    comparison = compare_runs(measured, tmp_path / "out", n_resamples=20)
    target = written(measured[0]).target
    means = []
    for recipe, runs in zip(comparison.recipes, (measured[:2], measured[2:]), strict=True):
        logits = [written(run).logit for run in runs]
        areas = [count_pairs(logit, target) for logit in logits]
        assert recipe.scores["auroc"].by_seed == pytest.approx(areas)
        averages = [sk.average_precision_score(target, logit) for logit in logits]
        assert recipe.scores["average_precision"].by_seed == pytest.approx(averages)
        means.append(count_pairs(np.mean(logits, axis=0), target))  # a threshold shifts all alike
    (pair,) = comparison.tests
    assert [pair.auroc.auroc_a, pair.auroc.auroc_b] == pytest.approx(means)
    assert means[0] != means[1]


def test_contrasts_rank_by_logits(study, dataset, jobs, without_figures_and_bundles, tmp_path):
    contrast = {"question": "Is it?", "of": ["gray-150"], "against": [["springboard-150"]]}
    plan = study("gray-150", "springboard-150", contrasts=[contrast])
    options = StudyOptions(n_resamples=20, has_processes=False, show_progress=False)
    (found,) = run_study(plan, dataset, tmp_path / "out", options).contrasts
    (by_auroc,) = (each for each in found.differences if each.figure == "auroc")
    assert found.averaged is not None
    whole = (found.averaged.auroc.auroc_a, found.averaged.auroc.auroc_b)
    for system, by_seed, mean in zip(
        ("gray-150", "springboard-150"), (by_auroc.a, by_auroc.b), whole, strict=True
    ):
        runs = [written(tmp_path / f"out/runs/{system}-s{seed}") for seed in (0, 1)]
        areas = [count_pairs(run.logit, run.target) for run in runs]
        assert by_seed == pytest.approx(areas)
        logits = np.mean([run.logit for run in runs], axis=0)
        assert mean == pytest.approx(count_pairs(logits, runs[0].target))


def test_a_bundles_card_ranks_by_logits(measured, dataset) -> None:
    run = open_run(measured[0])
    target = np.arange(40) % 2 == 0
    tuning = TuningAnswers(
        target=target,
        logit=np.where(target, 1.0, -1.0) + np.random.default_rng(0).normal(0, 0.5, 40),
        atypicality=np.zeros(40),
        changed_logit=np.empty((0, 40)),
    )
    data = SimpleNamespace(
        cache=SimpleNamespace(manifest=dataset.manifest),
        training=np.arange(5),
        tuning=np.arange(5, 9),
        target=np.arange(9) % 2,
    )
    choices = choose(tuning)
    card = make_card(
        run, data, choices, name=None, version=None, precision="fp32", is_pooled_linear=True
    )
    answers = written(run.path)
    probability = choices.calibration.probability(answers.logit)
    assert (probability == 1).all()
    found = card.results[0].figures["auroc"].value
    assert found == pytest.approx(count_pairs(answers.logit, answers.target))


def test_what_an_earlier_version_ranked_by_probability_stands_beside_the_table(
    study, dataset, jobs, without_figures_and_bundles, tmp_path
) -> None:
    """A run measured before logits ranked is not damaged: its test split need not be read again."""
    plan, out = study("gray-150", seeds=[0]), tmp_path / "out"
    options = StudyOptions(n_resamples=20, has_processes=False, show_progress=False)
    run_study(plan, dataset, out, options)
    path = out / "runs/gray-150-s0/metrics.json"
    content, answers = json.loads(path.read_text()), written(path.parent)
    content["scores"]["auroc"]["value"] = count_pairs(answers.probability, answers.target)
    content["scores"]["average_precision"]["value"] = float(answers.target.mean())
    path.write_text(json.dumps(content))
    (system,) = run_study(plan, dataset, out, options).systems
    assert [each.state for each in system.runs] == ["measured"], system.runs[0].reason
    assert system.result is not None
    expected = count_pairs(answers.logit, answers.target)
    assert system.result.scores["auroc"].by_seed == pytest.approx([expected])
    assert jobs.done == ["gray-150-s0"]


def test_epochs_rank_by_logits(tmp_path, monkeypatch) -> None:
    phantoms = open_dataset(make_phantoms(tmp_path / "phantoms", count=40, seed=0, size_px=32))
    recipe = parse_recipe(
        {
            "name": "tiny-saturated",
            "title": "A network small enough for tests",
            "source": {"title": "None"},
            "input": {"size_px": 32, "channels": 1},
            "network": {
                "kind": "scratch",
                "conv_padding": "same",
                "blocks": [{"filters": [4], "batch_norm": True}],
                "dense": [],
            },
            "augmentation": {},
            "split": {"tuning_fraction": 0.3},
            "training": {
                "epochs": 2,
                "batch_size": 8,
                "optimizer": {"name": "adam", "learning_rate": 0.003},
                "precision": "fp32",
            },
        },
        where="test",
    )
    run = fit(
        recipe,
        phantoms,
        tmp_path / "run",
        accelerator="cpu",
        show_progress=False,
        store_epochs=True,
    )

    def answer(run, pixels, epochs):
        """Answer each epoch with certainty, the second better than the first."""
        target = phantoms.manifest.table.filter(pl.col("split") == "test")["target"].to_numpy()
        for epoch in epochs:
            noise = np.random.default_rng(epoch).normal(0, 1, target.size)
            yield epoch, saturate(0.5 * epoch * target + noise)

    def predict(run, dataset, rows, strict) -> Predictions:
        ((_, logit),) = answer(run, None, [run.facts["best_epoch"]])
        table = dataset.manifest.table[rows.tolist()]
        return make_predictions(table, logit=logit, probability=sigmoid(logit))

    evaluate_run(run, phantoms, predict=predict)
    monkeypatch.setattr(study_epochs, "answer_epochs", answer)
    found = study_epochs.read_epochs([run.path], phantoms, tmp_path / "out", n_resamples=20)
    tables = sorted((tmp_path / "out/answers/tiny-saturated-s0").iterdir())
    areas = []
    for epoch, file in zip(found.runs[0].epochs, tables, strict=True):
        answers = read_predictions(file)
        assert (answers.probability == 1).all()
        areas.append(count_pairs(answers.logit, answers.target))
        assert epoch.test_auroc == pytest.approx(areas[-1])
        # Of a sure wrong answer the cross-entropy is its logit, however large.
        loss = np.where(answers.target, 0, answers.logit).mean()
        assert epoch.test_loss == pytest.approx(loss)
        assert epoch.test_accuracy == pytest.approx(answers.target.mean())
    assert areas[0] != areas[1]
    (gap,) = (each for each in found.runs[0].gaps if each.rule.by == "auroc")
    assert gap.gap == pytest.approx(max(areas) - areas[found.runs[0].chosen_epoch - 1])
