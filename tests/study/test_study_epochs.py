"""Real training of a tiny network, every epoch kept; then test is read after each of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn import metrics as sk

from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.data.cache import open_cache
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.report.epochs_page import short_gaps
from pneumoscope.report.epochs_results import RULES, Rule
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.seeds_and_patients import MeanOverSeeds, mean_over_seeds
from pneumoscope.study.study_epochs import PURPOSE, read_epochs
from pneumoscope.study.test_reads import read_log
from pneumoscope.training import fit
from pneumoscope.training.epoch_answers import answer_epochs
from pneumoscope.training.epoch_weights import stored_epochs
from pneumoscope.training.inference import load_network, predict_pixels
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_folder import RunFolder

N_EPOCHS = 3
BACKBONE = {"kind": "backbone", "backbone": "test_resnet", "frozen_stages": "all"}
SCRATCH = {
    "kind": "scratch",
    "conv_padding": "same",
    "blocks": [{"filters": [4], "batch_norm": True}],
    "dense": [],
}


def recipe(*, network=None, epochs: int = N_EPOCHS, **training):
    return parse_recipe(
        {
            "name": "tiny-epochs",
            "title": "A network small enough for tests",
            "source": {"title": "None"},
            "input": {"size_px": 32, "channels": 1},
            "network": SCRATCH if network is None else network,
            "augmentation": {"horizontal_flip": True, "copies": 2},
            "split": {"tuning_fraction": 0.3},
            "training": {
                "epochs": epochs,
                "batch_size": 8,
                "optimizer": {"name": "adam", "learning_rate": 0.003},
                "precision": "fp32",
            }
            | training,
        },
        where="test",
    )


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return open_dataset(
        make_phantoms(tmp_path_factory.mktemp("p") / "p", count=60, seed=0, size_px=32)
    )


def train(phantoms, out: Path, *, wanted=None, **options) -> RunFolder:
    options = {"accelerator": "cpu", "show_progress": False, "store_epochs": True} | options
    return fit(wanted or recipe(), phantoms, out, **options)


@pytest.fixture(scope="module")
def finished(phantoms, tmp_path_factory) -> RunFolder:
    run = train(phantoms, tmp_path_factory.mktemp("runs") / "run")
    evaluate_run(run, phantoms)
    return run


@pytest.fixture(scope="module")
def result(finished, phantoms, tmp_path_factory):
    out = tmp_path_factory.mktemp("epochs")
    return read_epochs([finished.path], phantoms, out, n_resamples=30), out


def test_storing_epochs_changes_nothing_else(phantoms, finished, tmp_path) -> None:
    """Also an oracle for the first stored epoch: a run that ended after it has the same weights."""
    assert stored_epochs(finished.path) == [1, 2, 3]
    plain = train(phantoms, tmp_path / "plain", store_epochs=False)
    assert stored_epochs(plain.path) == []
    assert plain.predictions("tuning").table.equals(finished.predictions("tuning").table)
    short = train(phantoms, tmp_path / "short", wanted=recipe(epochs=1), store_epochs=False)
    pixels = open_cache(phantoms, size_px=32).pixels
    answers = dict(answer_epochs(finished, pixels, [1, 2]))
    np.testing.assert_array_equal(answers[1], predict_pixels(load_network(short), pixels))
    assert not np.array_equal(answers[1], answers[2])


@pytest.mark.parametrize("training", [{}, {"ema_decay": 0.9}])
def test_a_fixed_backbone_is_stored_once_and_answers_once(phantoms, tmp_path, training) -> None:
    wanted = recipe(network=BACKBONE | {"dense": [{"units": 4}]}, epochs=2, **training)
    run = train(phantoms, tmp_path / "run", wanted=wanted)
    head = tmp_path / "run/checkpoints/epoch-001.ckpt"
    assert head.stat().st_size < (tmp_path / "run/checkpoints/last.ckpt").stat().st_size / 3
    pixels = open_cache(phantoms, size_px=32).pixels
    (answer,) = (
        logit
        for epoch, logit in answer_epochs(run, pixels, [1, 2])
        if epoch == run.facts["best_epoch"]
    )
    own = predict_pixels(load_network(run), pixels)
    np.testing.assert_allclose(answer, own, atol=1e-6)


def test_figures_of_every_epoch_are_those_of_scikit_learn(result, finished) -> None:
    found, out = result
    (run,) = found.runs
    own = json.loads((finished.path / "metrics.json").read_text())
    files = sorted((out / "answers/tiny-epochs-s0").iterdir())
    assert len(files) == len(run.epochs) == N_EPOCHS
    for epoch, file in zip(run.epochs, files, strict=True):
        table = pl.read_csv(file)
        target, probability = table["target"].to_numpy(), table["probability"].to_numpy()
        assert epoch.test_auroc == pytest.approx(sk.roc_auc_score(target, probability))
        assert epoch.test_accuracy == pytest.approx(sk.accuracy_score(target, probability >= 0.5))
        assert epoch.test_loss == pytest.approx(sk.log_loss(target, probability))
    chosen = run.epochs[run.chosen_epoch - 1]
    assert run.chosen_epoch == finished.facts["best_epoch"]
    assert chosen.test_auroc == pytest.approx(own["scores"]["auroc"]["value"])
    by_accuracy = run.gaps[0]
    accuracies = [epoch.test_accuracy for epoch in run.epochs]
    assert by_accuracy.gap == pytest.approx(max(accuracies) - chosen.test_accuracy)
    assert found.over_seeds[0].gap.by_seed == pytest.approx([by_accuracy.gap])


def test_seeds_that_stopped_at_different_epochs_are_each_measured_from_their_own(
    phantoms, tmp_path
) -> None:
    """Oracle: each run read by itself."""
    wanted = recipe(epochs=8, early_stop={"monitor": "tuning_loss", "patience_epochs": 1})
    runs = [train(phantoms, tmp_path / f"s{seed}", wanted=wanted, seed=seed) for seed in (0, 1, 2)]
    for run in runs:
        evaluate_run(run, phantoms)
    found = read_epochs([run.path for run in runs], phantoms, tmp_path / "out", n_resamples=30)
    assert [run.seed for run in found.runs] == [0, 1, 2]
    chosen = [run.chosen_epoch for run in found.runs]
    assert chosen == [run.facts["best_epoch"] for run in runs]
    assert (
        len({(run.chosen_epoch, len(run.epochs)) for run in found.runs}) > 1
    )  # or it shows little
    alone = [
        read_epochs([run.path], phantoms, tmp_path / "out", n_resamples=30).over_seeds
        for run in runs
    ]
    assert len(found.over_seeds) == len(RULES)
    for place, over in enumerate(found.over_seeds):
        each = [of_one[place] for of_one in alone]
        assert over.seeds == [0, 1, 2]
        assert over.gap.by_seed == [one.gap.mean for one in each]
        assert over.gap.by_seed == [run.gaps[place].gap for run in found.runs]
        assert over.gap.mean == pytest.approx(np.mean(over.gap.by_seed))
        assert over.kept == pytest.approx(np.mean([one.kept for one in each]))
        bare = unbounded_gap(over.rule, runs, chosen, tmp_path / "out/answers")
        least = 0 if over.rule.by == over.rule.figure else -1
        assert over.gap.low == pytest.approx(max(bare.low, least), nan_ok=True)
        assert over.gap.high == pytest.approx(min(bare.high, 1), nan_ok=True)


def unbounded_gap(
    rule: Rule, runs: list[RunFolder], chosen: list[int], answers: Path
) -> MeanOverSeeds:
    """Return the gap over seeds from the written answers, by scikit-learn's figures."""
    tables = [
        [pl.read_csv(file) for file in sorted((answers / f"tiny-epochs-s{seed}").iterdir())]
        for seed in range(len(runs))
    ]
    facts = tables[0][0]

    def figure(name: str, target: np.ndarray, logit: np.ndarray) -> float:
        if name == "auroc":
            return sk.roc_auc_score(target, logit)
        if name == "loss":
            return -sk.log_loss(target, 1 / (1 + np.exp(-logit)))
        return sk.accuracy_score(target, logit >= 0)

    def gaps(target: np.ndarray, *logits: np.ndarray) -> np.ndarray:
        if target.all() or not target.any():
            return np.full(len(runs), np.nan)
        found = []
        for logit, own in zip(logits, chosen, strict=True):
            values = [figure(rule.by, target, epoch) for epoch in logit.T]
            best = logit[:, int(np.argmax(values))]
            of_best, of_own = (figure(rule.figure, target, x) for x in (best, logit[:, own - 1]))
            found.append(of_best - of_own)
        return np.array(found)

    logits = [np.array([each["logit"] for each in run]).T for run in tables]
    target = facts["target"].to_numpy() == 1
    return mean_over_seeds(gaps, facts["patient_id"], target, *logits, n_resamples=30)


def test_every_reading_is_written_down_with_its_purpose(result, finished, phantoms) -> None:
    found, out = result
    log = read_log(finished.path)
    assert [read.purpose for read in log] == [None, *[PURPOSE] * N_EPOCHS]
    assert [read.checkpoint_sha256 for read in log[1:]] == [
        epoch.checkpoint_sha256 for epoch in found.runs[0].epochs
    ]
    again = read_epochs([finished.path], phantoms, out, n_resamples=30)
    assert again.runs == found.runs
    assert len(read_log(finished.path)) == 1 + N_EPOCHS  # nothing is read twice


def test_page_and_table_are_whole(result) -> None:
    found, out = result
    page, markdown = (out / "epochs.html").read_text(), (out / "epochs.md").read_text()
    assert (out / "figures/epochs.svg").read_text() in page
    gap = found.over_seeds[0].gap.mean
    for text in (page, markdown):
        assert f"{gap:+.3f}" in text
        assert "Synthetic phantoms" in text
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_terminal_shows_every_gap_over_seeds_in_eighty_columns(result) -> None:
    found, _ = result
    tables = short_gaps(found)
    assert [table.caption for table in tables] == [f"{rule.words}: gap" for rule in RULES]
    cells = [row for table in tables for row in table.rows]
    assert [row[2].split(" ")[0] for row in cells] == [
        f"{each.gap.mean:+.3f}" for each in found.over_seeds
    ]
    assert all(sum(map(len, row)) + 3 * len(row) + 1 <= 80 for row in cells)


def test_two_recipes_of_one_name_are_told_apart(finished, phantoms, tmp_path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(finished.path, changed)
    recipe_file = changed / "recipe.yaml"
    content = yaml.safe_load(recipe_file.read_text())
    content["title"] = "The same but for its learning rate"
    content["training"]["optimizer"]["learning_rate"] = 0.006
    recipe_file.write_text(yaml.safe_dump(content))
    result = read_epochs([finished.path, changed], phantoms, tmp_path / "out", n_resamples=20)
    names = {each.recipe_sha256: each.recipe for each in result.runs}
    assert len(names) == 2
    assert set(names.values()) == {f"tiny-epochs ({sha256[:6]})" for sha256 in names}
    assert {each.recipe for each in result.over_seeds} == set(names.values())


def test_what_cannot_be_read_is_refused_before_anything_is(finished, phantoms, tmp_path) -> None:
    with pytest.raises(UsageError, match="each once"):
        read_epochs([], phantoms, tmp_path / "out")
    with pytest.raises(UsageError, match="each once"):
        read_epochs([finished.path, finished.path], phantoms, tmp_path / "out")
    n_before = len(read_log(finished.path))
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    with pytest.raises(UsageError, match="both are tiny-epochs-s0, the same recipe and seed"):
        read_epochs([finished.path, copy], phantoms, tmp_path / "out")
    assert len(read_log(finished.path)) == n_before
    shutil.rmtree(copy)

    def refused(reason: str) -> None:
        with pytest.raises(RunError, match=reason):
            read_epochs([finished.path, copy], phantoms, tmp_path / "out")
        assert len(read_log(finished.path)) == n_before
        shutil.rmtree(copy)

    shutil.copytree(finished.path, copy)
    (copy / "checkpoints/epoch-002.ckpt").unlink()
    refused("weights of epoch 2 are not stored")
    shutil.copytree(finished.path, copy)
    (copy / "metrics.json").unlink()
    refused("not evaluated yet")
    shutil.copytree(finished.path, copy)
    facts = json.loads((copy / "run.json").read_text()) | {"state": "stopped"}
    (copy / "run.json").write_text(json.dumps(facts))
    refused("has not finished")


def test_weights_of_another_training_are_found_out(finished, phantoms, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    chosen = finished.facts["best_epoch"]
    other = 1 if chosen != 1 else 2
    checkpoints = copy / "checkpoints"
    shutil.copy(checkpoints / f"epoch-{other:03d}.ckpt", checkpoints / f"epoch-{chosen:03d}.ckpt")
    with pytest.raises(RunError, match="of another training"):
        read_epochs([copy], phantoms, tmp_path / "out")
