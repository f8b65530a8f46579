"""A run with added images: they train, nothing else does, and the parent's files are shared."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.core.errors import DatasetError, RunError, SplitError, UsageError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.inference import load_network
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_file import recipe_yaml
from pneumoscope.training.run_data import roles_of
from pneumoscope.training.run_folder import RunFolder, open_run

write_samples = runpy.run_path(str(Path(__file__).parents[1] / "sample_folder.py"))["write_samples"]
_ADDED = runpy.run_path(str(Path(__file__).with_name("added_runs.py")))
COUNT, SMALL_PX, KINDS = _ADDED["COUNT"], _ADDED["SMALL_PX"], _ADDED["KINDS"]
with_key, train, prepare = _ADDED["with_key"], _ADDED["train"], _ADDED["prepare"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("gan") / "samples", count=COUNT + 4)


@pytest.fixture(scope="module")
def runs(
    tiny: Recipe, dataset: Dataset, samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        kind: train(
            with_key(tiny, kind),
            dataset,
            folder / kind,
            added=samples if kind == "generated" else None,
        )
        for kind in KINDS
    }


# Who trains


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_training_split_grows(
    kind: str, tiny: Recipe, dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    folder = samples if kind == "generated" else None
    parent = prepare(with_key(tiny, None), dataset, tmp_path)
    child = prepare(with_key(tiny, kind), dataset, tmp_path, samples=folder)
    n = len(dataset)
    assert np.array_equal(child.tuning, parent.tuning)
    assert child.training.tolist() == [*parent.training, *range(n, n + COUNT)]
    assert child.training_target.sum() == parent.training_target.sum()
    assert np.array_equal(child.target[:n], parent.target)
    assert (child.target[n:] == 0).all()
    assert (child.subtype[n:] == 0).all()
    assert len(child.target) == len(child.subtype) == len(child.pixels) == n + COUNT
    assert np.array_equal(child.pixels[np.arange(n)], parent.cache.pixels)
    facts = dict(child.facts)
    assert facts.pop("added")["kind"] == kind
    assert facts == parent.facts


def test_the_controls_draw_from_the_training_normals_alone(
    tiny: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    data = prepare(with_key(tiny, "repeated"), dataset, tmp_path)
    of_training = {data.cache.sha256[r] for r in data.training if r < data.n_own}
    normals = {
        data.cache.sha256[row] for row, target in enumerate(data.target[: data.n_own]) if not target
    }
    assert data.added is not None
    assert set(data.added.contents) <= of_training & normals
    assert data.added.facts["n_different"] == len(of_training & normals)  # 31 of 16: all of them


def test_both_controls_are_paired_seed_by_seed(
    tiny: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    prints = {
        (kind, seed): prepare(with_key(tiny, kind), dataset, tmp_path, seed=seed).facts["added"][
            "fingerprint"
        ]
        for kind in ("resampled", "repeated")
        for seed in (0, 1, 2)
    }
    assert len(set(prints.values())) == 3
    assert all(prints["resampled", seed] == prints["repeated", seed] for seed in range(3))


# From end to end


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_says_what_was_added_and_tunes_on_the_datasets_own_images(
    kind: str, runs: dict[str, RunFolder], dataset: Dataset
) -> None:
    run = runs[kind]
    facts = json.loads((run.path / "run.json").read_text())["data"]
    assert facts["added"]["count"] == COUNT
    gan = facts["added"].get("gan")
    assert (gan is None) if kind != "generated" else (gan["run"] == "dcgan-tiny-s0")
    assert facts["origins"] == {"phantom": 56}
    assert facts["n_training"] + facts["n_tuning"] == 56
    roles = roles_of(run.recipe, dataset)
    paths = dataset.manifest.table["path"]
    assert run.predictions("tuning").path == paths[roles.tuning.tolist()].to_list()
    # Each epoch goes through all: steps times the batch, the last one short.
    n_steps = -(-(len(roles.training) + COUNT) // 8)
    state = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2 * n_steps
    assert open_run(run.path).recipe.added == run.recipe.added


def test_what_is_added_changes_what_is_learnt(runs: dict[str, RunFolder]) -> None:
    weights = {kind: load_network(run).state_dict()["head.weight"] for kind, run in runs.items()}
    assert not torch.equal(weights["generated"], weights["resampled"])
    assert not torch.equal(weights["repeated"], weights["resampled"])


# What is refused


def test_a_folder_is_needed_by_generated_alone(
    tiny: Recipe, dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=r"tiny: trains with generated.*gan sample.*--added DIR"):
        train(with_key(tiny, "generated"), dataset, out)
    for kind in (None, "resampled", "repeated"):
        with pytest.raises(UsageError, match="tiny adds no generated images"):
            train(with_key(tiny, kind), dataset, out, added=samples)
    assert not out.exists()


def test_wrong_usage_is_told_at_the_shell(phantoms: Path, samples: Path, tmp_path: Path) -> None:
    words = ["--data", str(phantoms), "--out", str(tmp_path / "run")]
    for recipe, more in (("springboard-150-gan", []), ("gray-150", ["--added", str(samples)])):
        result = CliRunner().invoke(app, ["train", recipe, *words, *more])
        assert isinstance(result.exception, UsageError)
        assert "--added" in str(result.exception)


def test_the_program_trains_with_a_folder(
    phantoms: Path, tiny: Recipe, samples: Path, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "mine.yaml", tmp_path / "run"
    recipe.write_text(recipe_yaml(with_key(tiny, "generated")))
    words = ["--data", str(phantoms), "--out", str(out), "--added", str(samples)]
    words += ["--accelerator", "cpu", "--no-bundle", "--set", "training.epochs=1"]
    result = CliRunner().invoke(app, ["train", str(recipe), *words])
    assert result.exit_code == 0, result.output
    assert "on 40 radiographs and 31 generated ones in" in result.output
    assert open_run(out).facts["data"]["added"]["path"] == str(samples)


@pytest.mark.parametrize(
    ("samples_of", "error", "reason"),
    [
        ({"count": COUNT - 1}, DatasetError, "has 30 generated images"),
        ({"target": 1}, DatasetError, "have the target 1"),
        ({"origin": ["real"]}, DatasetError, "not generated"),
        ({"split": ["test"]}, SplitError, "may only train"),
        ({"size_px": 16}, DatasetError, "16 x 16 px"),
    ],
)
def test_a_folder_that_does_not_fit_leaves_no_run(
    tiny: Recipe,
    dataset: Dataset,
    tmp_path: Path,
    samples_of: dict[str, Any],
    error: type[Exception],
    reason: str,
) -> None:
    folder = write_samples(tmp_path / "samples", **({"count": COUNT} | samples_of))
    with pytest.raises(error, match=reason):
        train(with_key(tiny, "generated"), dataset, tmp_path / "run", added=folder)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_radiograph_of_test_does_not_train_under_the_name_of_a_generated_one(
    tiny: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = with_key(tiny, "generated")
    recipe = Recipe.model_validate(
        recipe.model_dump() | {"added": {"kind": "generated", "count": COUNT, "size_px": 32}}
    )
    folder = write_samples(tmp_path / "samples", count=COUNT, size_px=32)
    row = int(roles_of(recipe, dataset).test[0])
    (folder / "00003.png").write_bytes(dataset.read_bytes(row))
    with pytest.raises(DatasetError, match="1 of its images are byte for byte images of phantoms"):
        train(recipe, dataset, tmp_path / "run", added=folder)


def test_a_generator_that_learned_from_other_radiographs_is_told_of(
    tiny: Recipe, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = with_key(tiny, "generated")
    data = prepare(with_key(tiny, None), dataset, tmp_path)
    # As `gan train` writes it: of the training split's normals.
    normals = [int(row) for row in data.training if data.target[row] == 0]
    same = data.cache.fingerprint(normals)
    for name, trained_on, is_told in (("same", same, False), ("other", "0" * 64, True)):
        folder = write_samples(tmp_path / name, count=COUNT, trained_on=trained_on)
        caplog.clear()
        facts = prepare(recipe, dataset, tmp_path, samples=folder).facts["added"]
        assert ("other: its generator was trained on other radiographs" in caplog.text) == is_told
        assert facts["is_generator_on_same_training"] is not is_told
    (folder / "sample.json").unlink()
    facts = prepare(recipe, dataset, tmp_path, samples=folder).facts["added"]
    assert "nothing says which radiographs its generator was trained on" in caplog.text
    assert facts["is_generator_on_same_training"] is None


# Going on


def break_down_in_epoch_2(patch: pytest.MonkeyPatch) -> None:
    step = Classifier.training_step

    def break_down(self: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 2:
            raise OSError("power cut")
        return step(self, batch, batch_idx)

    patch.setattr(Classifier, "training_step", break_down)


@pytest.mark.parametrize("kind", ["generated", "repeated"])
def test_a_stopped_run_goes_on_with_the_same_images_to_the_same_weights(
    kind: str,
    runs: dict[str, RunFolder],
    dataset: Dataset,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, folder = runs[kind].recipe, samples if kind == "generated" else None
    with monkeypatch.context() as patch:
        break_down_in_epoch_2(patch)
        with pytest.raises(OSError, match="power cut"):
            train(recipe, dataset, tmp_path / "stopped", added=folder)
    resumed = train(recipe, dataset, tmp_path / "stopped", added=folder, resume=True)
    one, other = load_network(runs[kind]).state_dict(), load_network(resumed).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_folder_is_not_gone_on_with(
    tiny: Recipe,
    dataset: Dataset,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, out = with_key(tiny, "generated"), tmp_path / "run"
    other = write_samples(tmp_path / "other", count=COUNT, seed=1)
    moved = write_samples(tmp_path / "moved", count=COUNT + 4)  # the same images elsewhere
    with monkeypatch.context() as patch:
        break_down_in_epoch_2(patch)
        with pytest.raises(OSError, match="power cut"):
            train(recipe, dataset, out, added=samples)
    for _ in ("stopped", "finished"):
        with pytest.raises(RunError, match=r"trained with other added images \(fingerprint"):
            train(recipe, dataset, out, added=other, resume=True)
        assert train(recipe, dataset, out, added=moved, resume=True).facts["state"] == "finished"
    with pytest.raises(UsageError, match="--added DIR"):
        train(recipe, dataset, out, resume=True)


# Evaluation


def test_generated_images_are_not_evaluated(
    runs: dict[str, RunFolder], dataset: Dataset, samples: Path, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="samples: the test split has 0 normal.*may only train"):
        evaluate_run(runs["generated"], open_dataset(samples), out=tmp_path / "results")
    own = dataset.manifest.table
    for split, role in (("train", "training"), ("test", "test")):
        origin = pl.when(pl.col("split") == split).then(pl.lit("generated")).otherwise("origin")
        table = own.with_columns(origin.cast(own.schema["origin"]).alias("origin"))
        if role == "training":  # some stay, or nothing is left to tune on
            table = pl.concat([own[:20], table[20:]])
        mixed = FileDataset(Manifest(table, dataset.manifest.root, "mixed"))
        with pytest.raises(SplitError, match=f"{role} split .*generated"):
            evaluate_run(runs["generated"], mixed, split=role, out=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_run_with_generated_images_is_evaluated_on_the_real_test_split(
    runs: dict[str, RunFolder], dataset: Dataset, tmp_path: Path
) -> None:
    run = runs["generated"]
    evaluation = evaluate_run(run, dataset, out=tmp_path / "results")
    assert evaluation.data.origin == "phantom"
    assert evaluation.run.trained_on_origins == {"phantom": 56, "generated": COUNT}
    assert "is not the one that this run learnt from" not in " ".join(evaluation.caveats)
    paths = pl.read_csv(tmp_path / "results" / "predictions-test.csv")["path"].to_list()
    table = dataset.manifest.table.filter(split="test")
    assert paths == table["path"].to_list()
