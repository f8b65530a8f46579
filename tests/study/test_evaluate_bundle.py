"""A bundle measured through its file alone, against figures worked out here from the pixels."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score
from typer.testing import CliRunner

from pneumoscope.cli.app import app
from pneumoscope.core.errors import DatasetError, RunError
from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.data.predictions import read_predictions
from pneumoscope.data.splits import assign_roles
from pneumoscope.detector.bundle import open_bundle
from pneumoscope.detector.card import BundleCard
from pneumoscope.report.results import Evaluation
from pneumoscope.study import evaluate_bundle as module
from pneumoscope.study.bundle_origin import has_taught
from pneumoscope.study.evaluate import check_folder
from pneumoscope.study.evaluate_bundle import evaluate_bundle
from pneumoscope.study.measured_run import load_measured
from pneumoscope.study.test_reads import read_log
from pneumoscope.training.recipe_file import load_recipe
from pneumoscope.training.run_data import prepare_data
from pneumoscope.training.run_folder import RunFolder, open_run


@pytest.fixture
def bundle_path(tiny: ModuleType, tmp_path: Path) -> Path:
    path: Path = tiny.write_bundle(tmp_path / "tiny.onnx")
    return path


@pytest.fixture
def dataset_path(tmp_path: Path) -> Path:
    """Pneumonia is brighter, mostly; every picture has another size, of whole cells."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("test", 12)):
        for label, level in (("NORMAL", 0.4), ("PNEUMONIA", 0.6)):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for index in range(n):
                gray = np.full((14, 7 * (1 + index % 3)), 255 * (level + rng.normal(0, 0.15)))
                if (split, label, index) == ("test", "NORMAL", 1):
                    gray[:] = 0  # the tiny bundle finds black atypical
                Image.fromarray(gray.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "data"


def test_figures_are_those_of_the_pixels(
    tiny: ModuleType, bundle_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluation = evaluate_bundle(
        open_bundle(bundle_path), open_dataset(dataset_path), out=out, show_progress=False
    )
    target, brightness = [], []
    for path in sorted(dataset_path.glob("test/*/*.png")):
        target.append(path.parent.name == "PNEUMONIA")
        brightness.append(np.asarray(Image.open(path)).mean() / 255)
    logit = 8 * np.array(brightness) - 4
    probability = 1 / (1 + np.exp(-(logit + tiny.BIAS) / tiny.TEMPERATURE))
    assert evaluation.scores["auroc"].value == pytest.approx(roc_auc_score(target, logit))
    for name, threshold in (("balanced", 0.5), ("sensitive", 0.3), ("0.5", 0.5)):
        point = evaluation.point(name)
        assert point.threshold == threshold
        expected = accuracy_score(target, probability >= threshold)
        assert point.figures["accuracy"].value == pytest.approx(expected)
    of_target = np.where(target, probability, 1 - probability)
    assert evaluation.log_loss == pytest.approx(-np.log(of_target).mean(), rel=1e-5)
    n_atypical = int((1 - np.array(brightness) > 0.98).sum())  # as the tiny bundle defines it
    assert any(line.startswith(f"{n_atypical} of 24 ") for line in evaluation.caveats)
    written = read_predictions(out / "predictions-test.csv")
    assert len(written) == 24
    found = load_measured(out).calibration  # what `compare` averages over seeds by
    assert (found.temperature, found.bias) == pytest.approx((tiny.TEMPERATURE, tiny.BIAS), abs=1e-5)
    assert np.sort(written.logit) == pytest.approx(np.sort(logit), abs=1e-5)


def test_the_card_says_how_the_points_did_on_tuning(
    bundle_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(bundle_path)
    evaluation = evaluate_bundle(
        bundle, open_dataset(dataset_path), out=tmp_path / "out", show_progress=False
    )
    on_tuning = evaluation.point("balanced").on_tuning
    assert on_tuning["specificity"].value == 0.8
    assert (on_tuning["specificity"].low, on_tuning["specificity"].high) == (0.7, 0.87)
    assert on_tuning["specificity"].n is None  # this card has the images that tuned, not by class
    assert evaluation.run.checkpoint_sha256 == bundle.sha256
    assert evaluation.notice is not None  # trained on phantoms, measured on real files
    assert "phantom" in evaluation.notice


def test_a_figure_of_tuning_rests_on_its_class_alone(
    tiny: ModuleType, dataset_path: Path, tmp_path: Path
) -> None:
    taught = tiny.tiny_card()["training_data"] | {"n_tuning": 10, "n_tuning_pneumonia": 7}
    bundle = open_bundle(tiny.write_bundle(tmp_path / "tiny.onnx", training_data=taught))
    out = tmp_path / "out"
    evaluation = evaluate_bundle(bundle, open_dataset(dataset_path), out=out, show_progress=False)
    on_tuning = evaluation.point("balanced").on_tuning
    assert (on_tuning["sensitivity"].n, on_tuning["specificity"].n) == (7, 3)
    assert evaluation.point("0.5").on_tuning["sensitivity"].n is None


def test_a_bundle_is_read_on_its_runs_account(
    tiny: ModuleType,
    evaluated: tuple[RunFolder, Evaluation],
    dataset: Dataset,
    dataset_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "write_results", lambda *results, **options: None)  # seconds each
    run = open_run(Path(shutil.copytree(evaluated[0].path, tmp_path / "run")))
    taught = tiny.tiny_card()["training_data"]
    taught |= {"fingerprint": run.facts["data"]["fingerprint"]}
    own = {"recipe": run.recipe.name, "seed": run.facts["seed"], "training_data": taught}

    def read(bundle: Path, data: Dataset, out: Path) -> tuple[int | None, str, bool]:
        """Return the number of the reading, where it is counted, and whether training is known."""
        found = evaluate_bundle(open_bundle(bundle), data, out=out, show_progress=False)
        is_untold = any("can't be told from here" in line for line in found.caveats)
        return found.reading, found.counted_in, not is_untold

    n_before = len(read_log(run.path))  # the run itself was first
    bundle = tiny.write_bundle(run.path / "bundle.onnx", **own)
    assert read(bundle, dataset, tmp_path / "out") == (n_before + 1, "run", True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "moved").mkdir()
    moved = Path(shutil.copy(bundle, tmp_path / "moved"))
    assert read(moved, dataset, tmp_path / "elsewhere") == (1, "folder", True)
    assert read(moved, dataset, run.path) == (n_before + 2, "run", True)
    assert read(moved, open_dataset(dataset_path), tmp_path / "other") == (1, "folder", False)
    stranger = tiny.write_bundle(run.path / "stranger.onnx", **own | {"seed": 5})
    assert read(stranger, dataset, tmp_path / "stranger") == (1, "folder", True)


def test_a_bundle_tuned_on_the_official_val_is_matched_too(
    tiny: ModuleType, dataset_path: Path
) -> None:
    train, val = dataset_path / "train", dataset_path / "val"
    for picture in sorted(train.glob("*/3.png")):
        place = val / picture.parent.name
        place.mkdir(parents=True)
        picture.rename(place / picture.name)
    (train / "NORMAL" / "copy.png").write_bytes((val / "NORMAL" / "3.png").read_bytes())
    data = open_dataset(dataset_path)
    recipe = load_recipe("gray-150", changes=["split.tuning_from=val"])
    facts = prepare_data(recipe, data, cache_folder=None, strict=True, show_progress=False).facts
    assert "train/NORMAL/copy.png" in [left["path"] for left in facts["left_out"]]
    taught = tiny.tiny_card()["training_data"]
    card = BundleCard(
        **tiny.tiny_card(training_data=taught | {"fingerprint": facts["fingerprint"]})
    )
    cache = open_cache(data, size_px=recipe.input.size_px)
    roles = assign_roles(data.manifest)
    other = BundleCard(**tiny.tiny_card())
    assert has_taught(data, roles, cache, card=card, run=None)
    assert not has_taught(data, roles, cache, card=other, run=None)


def test_what_its_run_learnt_from_is_told_where_the_bundle_lies_in_its_folder(
    tiny: ModuleType,
    dataset: Dataset,
    make_run: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module, "write_results", lambda *_, **__: None)
    run = make_run(tmp_path / "run", recipe="springboard-150-gan", seed=3)
    added = {"kind": "generated", "fingerprint": "f", "count": 9}
    run.facts["data"]["added"] = added | {"is_generator_on_same_training": False}
    run.write_facts()
    data = tiny.tiny_card()["training_data"] | {"fingerprint": run.facts["data"]["fingerprint"]}
    card = {"recipe": run.recipe.name, "training_data": data}

    def told(folder: Path, on: Dataset = dataset, **changes: object) -> str:
        bundle = open_bundle(tiny.write_bundle(folder / "bundle.onnx", **card | changes))
        found = evaluate_bundle(bundle, on, out=tmp_path / "out", show_progress=False)
        return " ".join(found.caveats)

    own = told(run.path, seed=3)
    assert "The generator of its added images learnt from other radiographs than" in own
    assert "The training split of" not in own
    table = dataset.manifest.table
    fewer = FileDataset(Manifest(table[5:], dataset.manifest.root, "fewer"))
    assert "The training split of fewer can't be matched" in told(run.path, fewer, seed=3)
    for folder, seed in ((run.path, 4), (tmp_path, 3)):  # a bundle of another run; a lone one
        assert "generator" not in told(folder, seed=seed)


def test_every_reading_is_written_down(bundle_path: Path, dataset_path: Path) -> None:
    for reading in (1, 2):
        done = CliRunner().invoke(app, ["evaluate", str(bundle_path), "--data", str(dataset_path)])
        assert done.exit_code == 0, done.output
        folder = bundle_path.with_name("tiny-evaluation")
        lines = (folder / "test-reads.jsonl").read_text().splitlines()
        assert len(lines) == reading
    assert json.loads(lines[0])["checkpoint_sha256"] == open_bundle(bundle_path).sha256
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_bundle_knows_no_tuning_split(bundle_path: Path, dataset_path: Path) -> None:
    words = ["evaluate", str(bundle_path), "--data", str(dataset_path), "--split", "tuning"]
    error = CliRunner().invoke(app, words).exception
    assert "does not know which radiographs tuned it" in str(error)


def test_an_unreadable_radiograph_is_left_out_and_told(
    bundle_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    (dataset_path / "test" / "NORMAL" / "0.png").write_bytes(b"no picture")
    dataset, bundle = open_dataset(dataset_path), open_bundle(bundle_path)
    evaluation = evaluate_bundle(bundle, dataset, out=tmp_path / "out", show_progress=False)
    assert evaluation.data.left_out == ["test/NORMAL/0.png"]
    assert evaluation.data.n == 23
    with pytest.raises(DatasetError, match="0.png"):
        evaluate_bundle(bundle, dataset, out=tmp_path / "strict", strict=True, show_progress=False)


def test_strict_refuses_what_is_passed_over_before_test_is_read(
    bundle_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    (dataset_path / "test" / "NORMAL" / "patient 7").mkdir()
    dataset, bundle = open_dataset(dataset_path), open_bundle(bundle_path)
    with pytest.raises(DatasetError, match="--strict.*\n.*patient 7"):
        evaluate_bundle(bundle, dataset, out=tmp_path / "out", strict=True, show_progress=False)
    assert not (tmp_path / "out").exists()


def test_bundles_taught_on_different_radiographs_are_not_seeds_of_one(
    tiny: ModuleType, dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "write_results", lambda *results, **options: None)  # seconds each

    def hash_of(name: str, seed: int, taught: str) -> str:
        data = tiny.tiny_card()["training_data"] | {"fingerprint": 64 * taught}
        path = tiny.write_bundle(tmp_path / f"{name}.onnx", seed=seed, training_data=data)
        found = evaluate_bundle(
            open_bundle(path), open_dataset(dataset_path), out=tmp_path / name, show_progress=False
        )
        return found.run.recipe_sha256

    assert hash_of("one", 0, "a") == hash_of("two", 1, "a")
    assert hash_of("one", 0, "a") != hash_of("three", 1, "b")


def test_a_bundles_own_folder_takes_the_results_of_its_next_version(
    evaluated: tuple[RunFolder, Evaluation], tmp_path: Path
) -> None:
    run, evaluation = evaluated
    out = module.bundle_results_folder(tmp_path / "mine.onnx")
    assert out == tmp_path / "mine-evaluation"
    out.mkdir()
    shutil.copy(run.path / "metrics.json", out)

    def check(own: list[Path]) -> None:
        fingerprint = evaluation.data.fingerprint
        check_folder(
            out,
            dataset="d",
            split="test",
            fingerprint=fingerprint,
            checkpoint_sha256="0" * 64,
            own=own,
        )

    check([out])
    with pytest.raises(RunError, match="those of other weights"):
        check([])
