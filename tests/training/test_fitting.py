import csv
import errno
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss, roc_auc_score

from pneumoscope.core.errors import DatasetError, DivergedError, RunError, SplitError, StorageError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.training import fit, fitting
from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.classifier import Classifier, balanced_class_weights, tuning_figures
from pneumoscope.training.inference import load_network, predict_rows, sigmoid
from pneumoscope.training.keeper import HISTORY_COLUMNS
from pneumoscope.training.recipe import Recipe, SplitRecipe
from pneumoscope.training.run_data import prepare_data, roles_of
from pneumoscope.training.run_folder import RunFolder, open_run


def change(recipe: Recipe, **training: object) -> Recipe:
    changed = recipe.training.model_dump() | training
    return Recipe.model_validate(recipe.model_dump() | {"training": changed})


def train(recipe: Recipe, dataset: Dataset, out: Path, **options: object) -> RunFolder:
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False, **options)


def history(run: RunFolder) -> list[dict[str, str]]:
    return list(csv.DictReader(run.history_path.read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(tiny, dataset, tmp_path_factory.mktemp("runs") / "run")


def test_a_run_folder_holds_what_the_design_names(finished: RunFolder) -> None:
    names = {path.name for path in finished.path.iterdir()} - {".lock"}
    assert names == {
        "recipe.yaml",
        "run.json",
        "history.csv",
        "checkpoints",
        "predictions-tuning.csv",
        "tensorboard",
    }
    assert {path.name for path in (finished.path / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }
    assert any((finished.path / "tensorboard").iterdir())


def test_run_json_records_what_repeats_the_run(finished: RunFolder, dataset: Dataset) -> None:
    facts = json.loads((finished.path / "run.json").read_text())
    assert facts["state"] == "finished"
    assert facts["seed"] == 0
    assert facts["precision"] == "fp32"
    assert facts["channels_last"] is True
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["epochs_run"] == 4
    assert facts["images_per_s"] > 0
    assert facts["data"]["origins"] == {"phantom": 56}
    assert facts["data"]["n_training"] + facts["data"]["n_tuning"] == 56
    assert len(facts["data"]["fingerprint"]) == 64
    again = open_run(finished.path)
    assert again.facts == facts
    assert again.recipe == finished.recipe


def test_history_has_a_row_an_epoch_and_the_best_one_is_kept(finished: RunFolder) -> None:
    rows = history(finished)
    assert tuple(rows[0]) == HISTORY_COLUMNS
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    losses = [float(row["tuning_loss"]) for row in rows]
    assert finished.facts["best_epoch"] == int(np.argmin(losses)) + 1


def test_tuning_predictions_are_the_kept_epochs_own(finished: RunFolder, dataset: Dataset) -> None:
    rows = history(finished)
    best = rows[finished.facts["best_epoch"] - 1]
    answers = finished.predictions("tuning")
    assert len(answers) == finished.facts["data"]["n_tuning"]
    loss = log_loss(answers.target, answers.probability)
    assert loss == pytest.approx(float(best["tuning_loss"]), rel=1e-4)
    auroc = roc_auc_score(answers.target, answers.logit)
    assert auroc == pytest.approx(float(best["tuning_auroc"]), abs=1e-6)
    accuracy = np.mean((answers.probability >= 0.5) == answers.target)
    assert accuracy == pytest.approx(float(best["tuning_accuracy"]), abs=1e-9)


def test_predictions_of_rows_repeat_those_of_training(
    finished: RunFolder, dataset: Dataset
) -> None:
    roles = roles_of(finished.recipe, dataset)
    again = predict_rows(finished, dataset, roles.tuning)
    assert again.path == finished.predictions("tuning").path
    assert np.allclose(again.logit, finished.predictions("tuning").logit, atol=1e-5)


def test_training_patients_are_not_tuning_patients(finished: RunFolder, dataset: Dataset) -> None:
    roles = roles_of(finished.recipe, dataset)
    patients = dataset.manifest.table["patient_id"]
    sides = [set(patients[rows.tolist()]) for rows in (roles.training, roles.tuning, roles.test)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]


def test_the_same_seed_repeats_the_weights_and_another_does_not(
    finished: RunFolder, dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    same = train(tiny, dataset, tmp_path / "same")
    other = train(tiny, dataset, tmp_path / "other", seed=1)
    first = load_network(finished).state_dict()
    assert all(
        torch.equal(first[key], value) for key, value in load_network(same).state_dict().items()
    )
    assert not torch.equal(first["head.weight"], load_network(other).state_dict()["head.weight"])


def test_what_is_decided_after_training_is_taken_up_on_resume(
    dataset: Dataset,
    tiny: Recipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop_at_once(tiny, dataset, tmp_path / "run")
    calibration = tiny.calibration.model_copy(update={"copies": 3})
    other = tiny.model_copy(update={"calibration": calibration})
    assert other != tiny
    run = train(other, dataset, tmp_path / "run", resume=True)
    assert open_run(run.path).recipe.calibration == calibration
    assert not caplog.records
    # Finished, it keeps its own, and says so.
    kept = train(tiny, dataset, tmp_path / "run", resume=True)
    assert open_run(kept.path).recipe.calibration == calibration
    assert "its calibration stays as it was" in caplog.text


def test_a_finished_run_resumes_to_itself_and_is_not_overwritten(
    finished: RunFolder, dataset: Dataset, tiny: Recipe
) -> None:
    before = (finished.path / "checkpoints" / "last.ckpt").read_bytes()
    assert train(tiny, dataset, finished.path, resume=True).facts["state"] == "finished"
    assert (finished.path / "checkpoints" / "last.ckpt").read_bytes() == before
    with pytest.raises(RunError, match="holds a run already. Continue it with --resume"):
        train(tiny, dataset, finished.path)
    with pytest.raises(RunError, match="another experiment"):
        train(tiny, dataset, finished.path, resume=True, seed=1)
    with pytest.raises(RunError, match="another experiment"):
        train(change(tiny, epochs=9), dataset, finished.path, resume=True)
    reworded = tiny.model_copy(update={"title": "The same in other words"})
    assert train(reworded, dataset, finished.path, resume=True).facts["state"] == "finished"


def test_a_folder_with_other_files_is_left_alone(
    dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="holds other files"):
        train(tiny, dataset, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"thesis.txt", ".lock"}


def test_early_stopping_and_plateau_follow_the_tuning_loss(
    dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    recipe = change(
        tiny,
        epochs=30,
        optimizer={"name": "sgd", "learning_rate": 1e-9},  # nothing moves: no progress after the
        early_stop={"monitor": "tuning_accuracy", "patience_epochs": 5},  # first epoch
        plateau={"monitor": "tuning_accuracy", "factor": 0.1, "patience_epochs": 2},
    )
    run = train(recipe, dataset, tmp_path / "run")
    rows = history(run)
    best = max(float(row["tuning_accuracy"]) for row in rows)
    first_best = next(i for i, row in enumerate(rows) if float(row["tuning_accuracy"]) == best)
    assert len(rows) == first_best + 6 < 30
    assert [float(row["learning_rate"]) for row in rows[first_best:]] == pytest.approx(
        [1e-9, 1e-9, 1e-9, 1e-10, 1e-10, 1e-11]  # lowered, then counted anew
    )


def test_a_diverging_loss_stops_with_the_reason_and_keeps_the_last_good_epoch(
    dataset: Dataset, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pneumoscope.training.classifier as module

    whole = module.weighted_bce

    def explode(logit, target, weights):  # type: ignore[no-untyped-def]
        calls.append(1)
        return whole(logit, target, weights) * (float("nan") if len(calls) > 7 else 1)

    calls: list[int] = []
    monkeypatch.setattr(module, "weighted_bce", explode)
    with pytest.raises(DivergedError, match=r"became nan in epoch 2.*learning_rate"):
        train(tiny, dataset, tmp_path / "run")
    run = open_run(tmp_path / "run", needs_finished=False)
    assert run.facts["state"] == "stopped"
    weights = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.isfinite(value).all() for value in weights.values())
    with pytest.raises(RunError, match="has not finished"):
        open_run(tmp_path / "run")


def test_a_last_step_that_diverges_is_no_good_epoch(
    dataset: Dataset, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training loss has not seen the weights that its last step made; the tuning split has."""
    end_of_epoch = Classifier.on_validation_epoch_start

    def spoil(self: Classifier) -> None:
        end_of_epoch(self)
        if self.current_epoch == 1:
            with torch.no_grad():
                next(iter(self.network.parameters())).fill_(float("nan"))

    monkeypatch.setattr(Classifier, "on_validation_epoch_start", spoil)
    with pytest.raises(DivergedError, match=r"tuning split are no numbers any more in epoch 2"):
        train(tiny, dataset, tmp_path / "run")
    weights = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_full_disk_leaves_the_last_good_checkpoint(
    dataset: Dataset, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pneumoscope.training.checkpoint_io as module

    whole = torch.save
    saved: list[object] = []

    def fill_up(content, file):  # type: ignore[no-untyped-def]
        saved.append(content)
        if len(saved) > 3:  # best and last of the first epoch, then the second's first
            file.write(b"half a checkpoint")
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(content, file)

    monkeypatch.setattr(module.torch, "save", fill_up)
    with pytest.raises(StorageError, match="The disk is full"):
        train(tiny, dataset, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert read_checkpoint(folder / "last.ckpt")["epoch"] >= 0
    monkeypatch.setattr(module.torch, "save", whole)
    assert train(tiny, dataset, tmp_path / "run", resume=True).facts["epochs_run"] == 4


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        read_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(RunError, match="not a checkpoint of a detector"):
        read_checkpoint(path)
    with pytest.raises(RunError, match="missing"):
        read_checkpoint(tmp_path / "none.ckpt")


def make_folders(root: Path, *, n: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("NORMAL", "PNEUMONIA"):
            (root / split / name).mkdir(parents=True)
            for index in range(n):
                pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{name[0]}{index}.png")
    return root


def test_an_unreadable_file_is_listed_and_left_out_unless_strict(
    tiny: Recipe, tmp_path: Path
) -> None:
    root = make_folders(tmp_path / "data")
    (root / "train" / "NORMAL" / "N3.png").write_text("not a picture")
    dataset = open_dataset(root)
    run = train(change(tiny, epochs=1), dataset, tmp_path / "run")
    assert [left["path"] for left in run.facts["data"]["left_out"]] == ["train/NORMAL/N3.png"]
    assert run.facts["data"]["n_training"] + run.facts["data"]["n_tuning"] == 23
    with pytest.raises(DatasetError, match=r"--strict.*\n.*N3\.png"):
        train(change(tiny, epochs=1), dataset, tmp_path / "strict", strict=True)


def stop_at_once(recipe: Recipe, dataset: Dataset, out: Path) -> None:
    """Leave a run that was begun, and stopped before its first epoch."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "_fit_with_lightning", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, dataset, out)


def test_changed_radiographs_are_not_resumed_on(tiny: Recipe, tmp_path: Path) -> None:
    root = make_folders(tmp_path / "data")
    stop_at_once(tiny, open_dataset(root), tmp_path / "run")
    pixels = np.zeros((32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "train" / "NORMAL" / "N1.png")
    with pytest.raises(RunError, match="trained on other radiographs"):
        train(tiny, open_dataset(root), tmp_path / "run", resume=True)


def test_a_radiograph_that_trained_does_not_tune_after_a_resumption(
    dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    recipe = tiny.model_copy(update={"split": SplitRecipe(tuning_from="val")})
    table = dataset.manifest.table
    of_train = table.with_row_index().filter(split="train")["index"].to_list()

    def tuned_on(rows: list[int]) -> Dataset:
        """Return the dataset with these rows of its train as its val."""
        splits = table["split"].cast(str).to_list()
        for row in rows:
            splits[row] = "val"
        column = pl.Series("split", splits, dtype=table.schema["split"])
        manifest = Manifest(table.with_columns(column), dataset.manifest.root, "moved")
        return FileDataset(manifest)

    out = tmp_path / "run"
    stop_at_once(recipe, tuned_on(of_train[:16]), out)
    with pytest.raises(RunError, match="trained with another tuning split"):
        train(recipe, tuned_on(of_train[-16:]), out, resume=True)
    assert train(recipe, tuned_on(of_train[:16]), out, resume=True).facts["state"] == "finished"


def test_subtypes_are_on_record_where_the_loss_heeds_them(
    dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    def fingerprint(weight: float, subtype: str) -> str | None:
        training = tiny.training.model_copy(update={"subtype_loss_weight": weight})
        table = dataset.manifest.table.with_columns(pl.lit(subtype).alias("subtype"))
        changed = FileDataset(Manifest(table, dataset.manifest.root, "subtypes"))
        recipe = tiny.model_copy(update={"training": training})
        data = prepare_data(
            recipe, changed, cache_folder=tmp_path, strict=True, show_progress=False
        )
        return data.facts.get("subtype_fingerprint")

    assert fingerprint(0, "viral") is None
    assert fingerprint(0.5, "viral") == fingerprint(0.25, "viral")
    assert fingerprint(0.5, "viral") != fingerprint(0.5, "bacterial")


def test_a_finished_run_is_no_result_on_other_radiographs(
    finished: RunFolder, tiny: Recipe, tmp_path: Path
) -> None:
    before = (finished.path / "run.json").read_bytes()
    with pytest.raises(RunError, match="trained on other radiographs"):
        train(tiny, open_dataset(make_folders(tmp_path / "data")), finished.path, resume=True)
    assert (finished.path / "run.json").read_bytes() == before


def test_time_that_a_kill_left_unwritten_counts(
    finished: RunFolder, dataset: Dataset, tiny: Recipe, tmp_path: Path
) -> None:
    """A kill leaves run.json as it was written before the first epoch."""
    killed = open_run(Path(shutil.copytree(finished.path, tmp_path / "killed")))
    killed.facts |= {"state": "running", "seconds": 0.0}
    killed.write_facts()
    trained_s = sum(float(row["seconds"]) for row in history(killed))
    run = train(tiny, dataset, killed.path, resume=True)
    assert trained_s - 0.05 <= run.facts["seconds"] < trained_s + 5


def test_one_class_is_refused(dataset: Dataset, tiny: Recipe, tmp_path: Path) -> None:
    table = dataset.manifest.table.filter(target=1)
    single = type(dataset)(Manifest(table=table, root=dataset.manifest.root, name="one-class"))
    with pytest.raises(SplitError, match="0 normal and"):
        train(tiny, single, tmp_path / "run")


def test_figures_of_an_epoch_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logit, target = rng.normal(size=50).astype(np.float32), rng.random(50) < 0.4
    figures = tuning_figures(logit, target)
    assert figures["tuning_loss"] == pytest.approx(log_loss(target, sigmoid(logit)), rel=1e-6)
    assert figures["tuning_auroc"] == pytest.approx(roc_auc_score(target, logit))
    assert figures["tuning_accuracy"] == np.mean((logit > 0) == target)


def test_balanced_weights_make_both_classes_count_alike() -> None:
    target = np.arange(10) < 7
    negative, positive = balanced_class_weights(target)
    assert negative * 3 == pytest.approx(positive * 7)
    assert negative * 3 + positive * 7 == pytest.approx(10)


def test_logging_stays_free_of_file_names(
    tiny: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folders(tmp_path / "data", n=8)
    (root / "train" / "NORMAL" / "N3.png").write_text("not a picture")
    with caplog.at_level(logging.DEBUG, logger="pneumoscope"):
        train(change(tiny, epochs=1), open_dataset(root), tmp_path / "run")
    assert "N3.png" not in caplog.text
