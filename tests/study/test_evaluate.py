import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn import metrics as sk

from pneumoscope.core.errors import RunError, SplitError
from pneumoscope.data.open import open_dataset
from pneumoscope.data.predictions import Predictions
from pneumoscope.report.results import load_evaluation
from pneumoscope.study import evaluate
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.measurement import beside_reported, log_loss, measure_subgroups
from pneumoscope.study.records import caveats, notice
from pneumoscope.study.test_reads import read_log
from pneumoscope.training.run_folder import open_run


def never(run, dataset, rows, strict):
    raise AssertionError("the split was read")


@pytest.fixture(scope="module")
def table(evaluated):
    run, _ = evaluated
    return pl.read_csv(run.path / "predictions-test.csv")


def test_scores_equal_scikit_learn_on_the_written_predictions(evaluated, table) -> None:
    scores = json.loads((evaluated[0].path / "metrics.json").read_text())["scores"]
    target, probability = table["target"].to_numpy(), table["probability"].to_numpy()
    assert scores["auroc"]["value"] == pytest.approx(sk.roc_auc_score(target, probability))
    assert scores["average_precision"]["value"] == pytest.approx(
        sk.average_precision_score(target, probability)
    )
    assert scores["brier"]["value"] == pytest.approx(sk.brier_score_loss(target, probability))
    for figure in scores.values():
        assert figure["n"] == table.height
        assert figure["low"] < figure["high"]
    content = json.loads((evaluated[0].path / "metrics.json").read_text())
    assert content["log_loss"] == pytest.approx(sk.log_loss(target, probability))


def test_point_figures_equal_scikit_learn_on_the_written_predictions(evaluated, table) -> None:
    points = json.loads((evaluated[0].path / "metrics.json").read_text())["operating_points"]
    assert [point["name"] for point in points] == ["balanced", "sensitive", "0.5"]
    target = table["target"].to_numpy()
    for point in points:
        call = (table["probability"].to_numpy() >= point["threshold"]).astype(int)
        oracle = {
            "accuracy": sk.accuracy_score(target, call),
            "sensitivity": sk.recall_score(target, call),
            "specificity": sk.recall_score(target, call, pos_label=0),
            "ppv": sk.precision_score(target, call),
            "npv": sk.precision_score(target, call, pos_label=0),
            "f1": sk.f1_score(target, call),
            "mcc": sk.matthews_corrcoef(target, call),
        }
        ours = {name: figure["value"] for name, figure in point["figures"].items()}
        assert ours == pytest.approx(oracle)
        true_negative, false_positive, false_negative, true_positive = sk.confusion_matrix(
            target, call
        ).ravel()
        assert point["confusion"] == {
            "true_positive": true_positive,
            "false_negative": false_negative,
            "false_positive": false_positive,
            "true_negative": true_negative,
        }


def test_classification_report_equals_scikit_learns(evaluated, table) -> None:
    _, evaluation = evaluated
    ours = evaluation.classification_report
    call = (table["probability"].to_numpy() >= 0.5).astype(int)
    oracle = sk.classification_report(
        table["target"].to_numpy(), call, target_names=["normal", "pneumonia"], output_dict=True
    )
    rows = {
        "normal": ours.classes[0],
        "pneumonia": ours.classes[1],
        "macro avg": ours.macro_average,
        "weighted avg": ours.weighted_average,
    }
    for name, row in rows.items():
        assert row.precision == pytest.approx(oracle[name]["precision"])
        assert row.recall == pytest.approx(oracle[name]["recall"])
        assert row.f1 == pytest.approx(oracle[name]["f1-score"])
        assert row.support == oracle[name]["support"]
    assert ours.accuracy == pytest.approx(oracle["accuracy"])


def test_subgroups_set_a_subtype_against_all_normal_ones(evaluated, table) -> None:
    _, evaluation = evaluated
    assert [group.name for group in evaluation.subgroups] == ["bacterial", "viral"]
    for group in evaluation.subgroups:
        members = table.filter(pl.col("subtype") == group.name)
        rows = table.filter((pl.col("subtype") == group.name) | (pl.col("target") == 0))
        assert group.n == members.height
        assert group.auroc.value == pytest.approx(
            sk.roc_auc_score(rows["target"].to_numpy(), rows["probability"].to_numpy())
        )
        for point in evaluation.operating_points:
            found = (members["probability"] >= point.threshold).mean()
            assert group.sensitivity[point.name].value == pytest.approx(found)
            assert group.sensitivity[point.name].n == members.height


def test_metrics_json_reads_back_as_it_was(evaluated) -> None:
    run, evaluation = evaluated
    again = load_evaluation(run.path / "metrics.json")
    assert again.model_dump_json() == evaluation.model_dump_json()
    assert again.run.checkpoint == "best.ckpt"
    assert again.run.best_epoch == 2
    assert again.data.left_out == []
    assert again.notice is None
    assert again.caveats == caveats(again.data, again.run, is_training_data_same=True)
    assert "sigmoid" in again.caveats[0]


def test_every_file_is_there_and_nothing_temporary(evaluated) -> None:
    run, _ = evaluated
    names = ("learning-curves", "roc", "precision-recall", "reliability", "probabilities",
             "confusion-balanced", "confusion-sensitive", "confusion-0.5")  # fmt: skip
    figures = {path.name for path in (run.path / "figures").iterdir()}
    assert figures == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    for name in names:
        with Image.open(run.path / f"figures/{name}.png") as picture:
            picture.verify()
    assert not list(run.path.rglob("*.tmp"))


def test_report_needs_nothing_else_and_shows_each_figure(evaluated) -> None:
    run, _ = evaluated
    page = (run.path / "report.html").read_text()
    for reference in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert reference.startswith(("data:", "#")), reference
    assert not re.search(r"<(script|link)\b|@import|url\((?!['\"]?#)", page)
    for drawing in (run.path / "figures").glob("*.svg"):
        assert drawing.read_text() in page
    assert page.count("data:image/jpeg") > 10


def test_a_second_reading_is_numbered_and_keeps_the_operating_points(
    evaluated, dataset, predictor, tmp_path, caplog, monkeypatch
) -> None:
    run, first = evaluated
    monkeypatch.setattr(
        evaluate, "write_results", lambda *results, **options: None
    )  # figures take seconds
    with caplog.at_level(logging.WARNING):
        second = evaluate_run(run, dataset, out=tmp_path / "again", predict=predictor(8))
    assert (first.reading, second.reading) == (1, 2)
    assert "reading 2" in caplog.text
    assert second.scores["auroc"] != first.scores["auroc"]
    # Other answers on test, the same thresholds: they come from the tuning split alone.
    for one, other in zip(first.operating_points, second.operating_points, strict=True):
        assert one.threshold == other.threshold
        assert one.on_tuning == other.on_tuning
    assert [read.results for read in read_log(run.path)] == [str(run.path), str(tmp_path / "again")]


def test_reading_is_written_down_even_if_prediction_fails(make_run, dataset, tmp_path) -> None:
    run = make_run(tmp_path / "run")

    def fail(run, dataset, rows, strict):
        # On disk before the first prediction, not only afterwards.
        assert len(read_log(run.path)) == 1
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        evaluate_run(run, dataset, predict=fail)
    (read,) = read_log(run.path)
    assert read.n == 50
    assert read.dataset == dataset.name
    assert not (run.path / "metrics.json").exists()


@pytest.mark.parametrize("split", ["test", "tuning"])
def test_an_unfinished_run_is_not_measured(make_run, dataset, tmp_path, split) -> None:
    run = make_run(tmp_path / "run")
    run.facts["state"] = "stopped"
    (run.path / "predictions-tuning.csv").unlink()  # the end of training writes it
    with pytest.raises(RunError, match=r"stopped.*--resume.*history\.csv"):
        evaluate_run(run, dataset, split=split, predict=never)
    assert read_log(run.path) == []


def test_mixed_origins_and_one_class_are_refused_unread(make_run, make_dataset, tmp_path) -> None:
    run = make_run(tmp_path / "run")
    folder = make_dataset(tmp_path / "mixed")
    table = pl.read_csv(folder / "manifest.csv")
    is_last = pl.int_range(pl.len()) >= table.height - 10
    mixed = table.with_columns(
        pl.when(is_last).then(pl.lit("phantom")).otherwise("origin").alias("origin")
    )
    mixed.write_csv(folder / "manifest.csv")
    with pytest.raises(SplitError, match="mixes origins"):
        evaluate_run(run, open_dataset(folder), predict=never)
    table.filter((pl.col("split") == "train") | (pl.col("target") == 1)).write_csv(
        folder / "manifest.csv"
    )
    with pytest.raises(SplitError, match="both are needed"):
        evaluate_run(run, open_dataset(folder), predict=never)
    assert read_log(run.path) == []


def test_results_on_other_data_are_not_replaced(evaluated, make_dataset, tmp_path) -> None:
    run, evaluation = evaluated
    folder = tmp_path / evaluation.data.name  # the same name, elsewhere
    other = open_dataset(make_dataset(folder, test_origin="phantom"))
    assert other.name == evaluation.data.name
    table = other.manifest.table
    assert table["origin"].n_unique() == 2
    before = (run.path / "metrics.json").read_bytes()
    n_reads = len(read_log(run.path))
    rng = np.random.default_rng(0)
    for path in (folder / "test").iterdir():
        Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(path)
    with pytest.raises(RunError, match="--out"):
        evaluate_run(run, other, predict=never)
    assert (run.path / "metrics.json").read_bytes() == before
    assert len(read_log(run.path)) == n_reads


def test_results_of_another_run_are_not_replaced(
    evaluated, make_run, dataset, predictor, tmp_path
) -> None:
    first, _ = evaluated
    other = make_run(tmp_path / "other", seed=1)
    n_reads = len(read_log(other.path))
    before = (first.path / "metrics.json").read_bytes()
    with pytest.raises(RunError, match=r"folder of another run.*--out"):
        evaluate_run(other, dataset, out=first.path, predict=never)
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(first.path / "metrics.json", results)
    other.checkpoint_path.write_bytes(b"other weights")
    with pytest.raises(RunError, match=r"holds results of .*which those of other weights"):
        evaluate_run(other, dataset, out=results, predict=never)
    assert (first.path / "metrics.json").read_bytes() == before
    assert (results / "metrics.json").read_bytes() == before
    assert len(read_log(other.path)) == n_reads
    # What lies in a run's own folder is its own, whatever weights it had before.
    shutil.copy(first.path / "metrics.json", other.path)
    evaluate_run(other, dataset, predict=predictor(1))
    assert (other.path / "metrics.json").read_bytes() != before


def test_a_damaged_result_says_what_helps(evaluated, dataset, tmp_path) -> None:
    first, _ = evaluated
    run = open_run(Path(shutil.copytree(first.path, tmp_path / "run")))
    (run.path / "metrics.json").write_text('{"schema_version": 1,')
    with pytest.raises(RunError, match="Move it away and evaluate the run again"):
        evaluate_run(run, dataset, predict=never)


def test_phantoms_and_other_origins_are_told_first(evaluated) -> None:
    _, evaluation = evaluated
    data, run = evaluation.data, evaluation.run
    assert notice(data, run) is None
    phantom = data.model_copy(update={"origin": "phantom"})
    text = notice(phantom, run)
    assert text is not None
    assert text.startswith("Synthetic phantoms, not radiographs")
    assert "Trained on real images, measured on phantom ones" in text
    tuning = data.model_copy(update={"split": "tuning"})
    assert "better than on new ones" in str(notice(tuning, run))
    # Generated images may train; that alone is nothing unusual.
    mixed = run.model_copy(update={"trained_on_origins": {"real": 5, "generated": 5}})
    assert notice(data, mixed) is None


def test_left_out_and_unknown_training_data_are_caveats(evaluated) -> None:
    _, evaluation = evaluated
    data = evaluation.data.model_copy(update={"left_out": ["test/a.png"]})
    lines = caveats(data, evaluation.run, is_training_data_same=False)
    assert any("can't be told" in line for line in lines)
    assert any("1 of 51 images could not be read" in line for line in lines)


def test_a_tuning_split_that_is_not_the_runs_own_is_a_caveat(
    make_run, dataset, predictor, tmp_path, monkeypatch
) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setattr(evaluate, "write_results", lambda *results, **options: None)
    told = []
    for fingerprint in (None, "0" * 64):  # None: a run of an earlier version does not tell
        run.facts["data"]["tuning_fingerprint"] = fingerprint
        caveats = evaluate_run(run, dataset, split="tuning", predict=predictor(1)).caveats
        told.append(any("can't be told from here" in line for line in caveats))
    assert told == [False, True]


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("accuracy", sk.accuracy_score),
        ("accuracy_of_best_epoch", sk.accuracy_score),
        ("ppv", sk.precision_score),
        ("pneumonia_precision", sk.precision_score),
        ("sensitivity", sk.recall_score),
        ("npv", lambda t, c: sk.precision_score(t, c, pos_label=0)),
        ("normal recall", lambda t, c: sk.recall_score(t, c, pos_label=0)),
        ("specificity", lambda t, c: sk.recall_score(t, c, pos_label=0)),
        ("normal_f1", lambda t, c: sk.f1_score(t, c, pos_label=0)),
    ],
)
def test_reported_figures_stand_beside_ours_of_the_same_kind(table, name, oracle) -> None:
    predictions = Predictions(table)
    (row,) = beside_reported({name: 0.5}, runs=[predictions])
    call = predictions.probability >= 0.5
    assert row.ours == pytest.approx(oracle(predictions.target, call))
    assert row.difference == pytest.approx(row.ours - 0.5)


@pytest.mark.parametrize("name", ["auroc", "AUC", "test_auc"])
def test_a_reported_auroc_stands_beside_ours(table, name) -> None:
    predictions = Predictions(table)
    (row,) = beside_reported({name: 0.5}, runs=[predictions])
    assert row.ours == pytest.approx(sk.roc_auc_score(predictions.target, predictions.logit))
    assert row.ours_is == "AUROC"


def test_reported_figure_of_no_known_kind_is_undefined(table) -> None:
    (row,) = beside_reported({"kappa": 0.7}, runs=[Predictions(table)])
    assert np.isnan(row.ours)
    assert row.ours_is == "not measured"


def test_log_loss_stays_finite_where_the_probability_rounds_to_one(table) -> None:
    certain = table.head(2).with_columns(
        logit=pl.Series([800.0, 800.0]), probability=1.0, target=pl.Series([0, 1])
    )
    assert log_loss(Predictions(certain)) == pytest.approx(400.0)


def test_without_subtypes_there_are_no_subgroups(table) -> None:
    bare = table.with_columns(subtype=pl.lit(None, dtype=pl.String))
    assert measure_subgroups(Predictions(bare), {"0.5": 0.5}) == []


def test_a_damaged_metrics_file_is_refused_with_the_reason(evaluated, tmp_path: Path) -> None:
    content = json.loads((evaluated[0].path / "metrics.json").read_text())
    path = tmp_path / "metrics.json"
    with pytest.raises(RunError, match="pneumoscope evaluate"):
        load_evaluation(path)
    path.write_text("{")
    with pytest.raises(RunError, match="can't|cannot"):
        load_evaluation(path)
    path.write_text(json.dumps(content | {"schema_version": 2}))
    with pytest.raises(RunError, match="schema_version is 2"):
        load_evaluation(path)
    path.write_text(json.dumps(content | {"surprise": 1}))
    with pytest.raises(RunError, match="surprise"):
        load_evaluation(path)
