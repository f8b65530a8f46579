"""A small dataset, run folders made by hand, and a stand-in for the network."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from pneumoscope.core.errors import ExportError
from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.predictions import Predictions, make_predictions
from pneumoscope.metrics import measure
from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.report.results import Evaluation
from pneumoscope.study import compare, evaluate, study_costs
from pneumoscope.study import study as runner
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.study_plan import load_study
from pneumoscope.training.recipe_file import load_recipe, recipe_yaml
from pneumoscope.training.run_data import roles_of
from pneumoscope.training.run_folder import RunFolder, open_run

N_TRAIN, N_TEST = 60, 50


def write_dataset(folder: Path, *, test_origin: str = "real", name: str = "manifest.csv") -> Path:
    """Write tiny radiographs; every third patient of the test split has two of them."""
    rng = np.random.default_rng(5)
    rows = []
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        for index in range(n):
            target = int(index % 5 < 3)
            # Five back has the same target, so most patients with two are of one class.
            patient = index if index % 3 else max(index - 5, 0)
            path = f"{split}/{index:03d}.png"
            (folder / split).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / path)
            rows.append(
                {
                    "path": path,
                    "target": target,
                    "patient_id": f"{split}/p{patient}",
                    "split": split,
                    "subtype": ("bacterial", "viral")[index % 2] if target else None,
                    "origin": test_origin if split == "test" else "real",
                }
            )
    pl.DataFrame(rows).write_csv(folder / name)
    return folder


def answer(dataset: Dataset, rows: Any, *, seed: int, strength: float = 1.5) -> Predictions:
    """Stand in for a network: logits that know the target, but not well."""
    table = dataset.manifest.table[np.asarray(rows).tolist()]
    rng = np.random.default_rng(seed)
    logit = strength * (table["target"].to_numpy() * 2.0 - 1.0) + rng.normal(0, 1.5, len(table))
    return make_predictions(table, logit=logit, probability=1 / (1 + np.exp(-logit)))


def stand_in(seed: int) -> Callable[..., Predictions]:
    """Return what `evaluate_run` takes as ``predict``."""
    return lambda run, dataset, rows, strict: answer(dataset, rows, seed=seed)


@pytest.fixture(scope="session")
def predictor() -> Callable[[int], Callable[..., Predictions]]:
    return stand_in


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(cache_folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNEUMOSCOPE_CACHE", str(cache_folder))
        yield


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    return write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_dataset(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="session")
def evaluated(
    dataset: Dataset, make_run: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, Evaluation]:
    """A run whose test split was read once, with the stand-in's seed 7."""
    run = make_run(tmp_path_factory.mktemp("evaluated") / "springboard-0")
    evaluation = evaluate_run(run, dataset, predict=stand_in(7))
    return run, evaluation


@pytest.fixture(scope="session")
def make_run(dataset: Dataset) -> Callable[..., RunFolder]:
    """Return a function that makes a finished run's folder by hand."""

    def make(path: Path, *, recipe: str = "springboard-150", seed: int = 0) -> RunFolder:
        loaded = load_recipe(recipe)
        roles = roles_of(loaded, dataset)
        used = np.sort(np.concatenate([roles.training, roles.tuning]))
        cache = open_cache(dataset, size_px=loaded.input.size_px)
        (path / "checkpoints").mkdir(parents=True)
        for name in ("best", "last"):
            (path / f"checkpoints/{name}.ckpt").write_bytes(f"{name} weights".encode())
        (path / "recipe.yaml").write_text(recipe_yaml(loaded))
        data = {
            "name": dataset.name,
            "fingerprint": cache.fingerprint(used),
            "origins": {"real": len(used)},
            "n_training": len(roles.training),
            "n_tuning": len(roles.tuning),
            "n_test": len(roles.test),
            "left_out": [],
        }
        facts = {
            "schema": 1,
            "recipe": recipe,
            "seed": seed,
            "state": "finished",
            "versions": {"python": "3.11"},
            "machine": {"platform": "Test OS"},
            "precision": "fp32",
            "channels_last": True,
            "data": data,
            "n_parameters": 1234567,
            "n_trainable": 1234560,
            "epochs_run": 3,
            "best_epoch": 2,
            "selected_checkpoint": "best",
            "started": "2026-01-02T03:04:05+00:00",
            "seconds": 61.0,
            "images_per_s": 210.5,
        }
        (path / "run.json").write_text(json.dumps(facts))
        epochs = [1, 2, 3]
        history = {"epoch": epochs, "learning_rate": [1e-3] * 3, "seconds": [20.0] * 3}
        for column in ("training_loss", "training_accuracy", "tuning_loss", "tuning_accuracy"):
            history[column] = [0.6, 0.5, 0.55]
        pl.DataFrame(history).write_csv(path / "history.csv")
        answer(dataset, roles.tuning, seed=100 + seed).write(path / "predictions-tuning.csv")
        return open_run(path)

    return make


@pytest.fixture
def without_figures_and_bundles(monkeypatch):
    """Leave out what takes time and no test of the runner is about."""

    def write(evaluation, predictions, *, dataset, out, history) -> None:
        predictions.write(out / "predictions-test.csv")
        evaluation.write(out / "metrics.json")

    def refuse(*args, **options) -> None:
        raise ExportError("there is no network behind this run")

    monkeypatch.setattr(evaluate, "write_results", write)
    few = functools.partial(bootstrap_by_patient, n_resamples=20)  # no test here is of intervals
    monkeypatch.setattr(measure, "bootstrap_by_patient", few)
    monkeypatch.setattr(study_costs, "export_bundle", refuse)
    monkeypatch.setattr(compare, "write_comparison", lambda *args, **options: None)


@pytest.fixture
def study(tmp_path):
    """Return a function that writes a study of shipped recipes and loads it."""

    def load(*recipes: str, seeds=(0, 1), **changes):
        content = {"name": "toy", "title": "A toy <study>", "seeds": list(seeds)}
        content["systems"] = [{"recipe": recipe} for recipe in recipes]
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return load_study(path)

    return load


@pytest.fixture
def jobs(make_run, predictor, monkeypatch):
    """Stand in for training and reading; return the list of what was done, in order."""
    done: list[str] = []
    errors: dict[str, BaseException] = {}

    def do(job, dataset, *, show_progress) -> None:
        folder = Path(job.folder)
        done.append(folder.name)
        if folder.name in errors:
            raise errors[folder.name]
        if not job.is_trained:
            make_run(folder, recipe=load_recipe(job.recipe).name, seed=job.seed)
        seed = job.seed + 10 * len(load_recipe(job.recipe).name)
        evaluate_run(open_run(folder), dataset, predict=predictor(seed))

    monkeypatch.setattr(runner, "do_job", do)
    do.done, do.errors = done, errors
    return do
