"""From a run to a bundle: does the file answer as the network does, and is it refused otherwise?"""

import dataclasses
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pneumoscope.core.errors import ExportError, RunError, UsageError
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.detector.bundle import open_bundle
from pneumoscope.detector.card import METADATA_KEY, BundleCard
from pneumoscope.metrics.calibration import fit_calibration
from pneumoscope.models.cam import evidence_map
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.training import export
from pneumoscope.training.export import export_bundle
from pneumoscope.training.export_checks import Parity
from pneumoscope.training.fitting import fit
from pneumoscope.training.inference import load_network
from pneumoscope.training.recipe import KeepRecipe, Recipe
from pneumoscope.training.run_folder import RunFolder, open_run

OUTPUTS = ["logit", "probability", "cam", "embedding", "atypicality"]


@pytest.fixture(scope="module")
def run(tiny: Recipe, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run long enough that it ranks phantoms the right way round."""
    keep = KeepRecipe(epoch="best", monitor="tuning_auroc")
    training = tiny.training.model_copy(update={"epochs": 40, "plateau": None, "keep": keep})
    recipe = tiny.model_copy(update={"augmentation": AugmentationRecipe(), "training": training})
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return fit(recipe, dataset, out, accelerator="cpu", show_progress=False)


@pytest.fixture(scope="module")
def exported(
    run: RunFolder, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Parity, onnx.ModelProto]:
    """Return a bundle, what its export measured, and the graph that torch's exporter gave."""
    out = tmp_path_factory.mktemp("bundles") / "tiny.onnx"
    graphs = []
    original = export.module_graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "module_graph", lambda m: graphs.append(original(m)) or graphs[0])
        parity = export_bundle(run, dataset, out, show_progress=False)
    return out, parity, graphs[0]


@pytest.fixture
def export_again(
    exported: tuple[Path, Parity, onnx.ModelProto],
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Parity]:
    """Return an `export_bundle` that skips torch's exporter, the slow part."""

    def again(run: RunFolder, out: Path, *, shift: float = 0, **options: str) -> Parity:
        graph = onnx.ModelProto()
        graph.CopyFrom(exported[2])
        for tensor in graph.graph.initializer:
            if shift and tensor.name.endswith("head.bias"):
                value = onnx.numpy_helper.to_array(tensor) + np.float32(shift)
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        monkeypatch.setattr(export, "module_graph", lambda module: graph)
        return export_bundle(run, dataset, out, show_progress=False, **options)

    return again


def answer(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(OUTPUTS, {"pixels": pixels}), strict=True))


def card_of(path: Path) -> BundleCard:
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return BundleCard.model_validate(json.loads(metadata[METADATA_KEY]))


@pytest.mark.parametrize("size", [(32, 32), (200, 90), (20, 41)])
def test_bundle_answers_as_the_network(
    exported: tuple[Path, Parity, onnx.ModelProto], run: RunFolder, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, *size), dtype=np.uint8)
    found = answer(exported[0], pixels)
    network = load_network(run)
    gray = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).float() / 255, (32, 32), mode="bilinear", antialias=True
    )
    with torch.inference_mode():
        logit = network(gray).numpy()
        maps = network.levels(gray)[-1]
        cam = evidence_map(
            maps, dense=list(network.dense), head=network.head, pooling=network.pooling
        )[1]
    card = card_of(exported[0])
    probability = 1 / (1 + np.exp(-(logit + card.calibration.bias) / card.calibration.temperature))
    np.testing.assert_allclose(found["logit"], logit, atol=1e-4)
    np.testing.assert_allclose(found["probability"], probability, atol=1e-5)
    np.testing.assert_allclose(found["cam"], cam.numpy(), atol=1e-3)
    np.testing.assert_allclose(found["embedding"], maps.mean((2, 3)).numpy(), atol=1e-4)
    assert {name: (value.dtype.name, value.shape) for name, value in found.items()} == {
        "logit": ("float32", (3,)),
        "probability": ("float32", (3,)),
        "cam": ("float32", (3, 8, 8)),
        "embedding": ("float32", (3, 8)),
        "atypicality": ("float32", (3,)),
    }
    alone = [answer(exported[0], picture[None]) for picture in pixels]
    for name, value in found.items():
        np.testing.assert_allclose(value, np.concatenate([a[name] for a in alone]), atol=1e-5)


def test_parity_is_measured_on_enough_pictures(
    exported: tuple[Path, Parity, onnx.ModelProto],
) -> None:
    parity = exported[1]
    assert parity.n_radiographs == 16
    assert parity.n == 64  # its own size and three others
    assert 0 <= parity.max_abs_logit <= 1e-3
    assert parity.n_bytes == exported[0].stat().st_size


def test_bundle_is_one_valid_file_with_its_hash(
    exported: tuple[Path, Parity, onnx.ModelProto],
) -> None:
    path = exported[0]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [18]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    for word in (b"site-packages", b"bundle_graph.py", str(Path.cwd()).encode()):
        assert word not in path.read_bytes(), "the exporter's source lines are left in"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (path.parent / "tiny.onnx.sha256").read_text() == f"{digest}  tiny.onnx\n"
    if shutil.which("sha256sum"):
        words = ["sha256sum", "-c", "tiny.onnx.sha256"]
        subprocess.run(words, cwd=path.parent, check=True, capture_output=True)
    assert open_bundle(path).sha256 == digest


def test_card_says_what_the_run_knows(
    exported: tuple[Path, Parity, onnx.ModelProto], run: RunFolder, dataset: Dataset
) -> None:
    card = card_of(exported[0])
    assert (card.name, card.version, card.title) == ("tiny", "1", run.recipe.title)
    assert (card.recipe, card.seed, card.size_px) == ("tiny", 0, 32)
    assert card.map_kind == "Grad-CAM"  # its head is flattened
    assert card.training_data.fingerprint == run.facts["data"]["fingerprint"]
    assert card.training_data.n_tuning_pneumonia == run.predictions("tuning").target.sum()
    assert card.results == (), "the run is not evaluated"
    assert "not radiographs of patients" in card.limits[0]
    tuning = run.predictions("tuning")
    fitted = fit_calibration(tuning.logit, tuning.target)
    assert card.calibration.temperature == pytest.approx(fitted.temperature, rel=1e-3)
    assert card.calibration.bias == pytest.approx(fitted.bias, abs=1e-3)
    assert card.calibration.n == len(tuning)

    rows = [dataset.manifest.table["path"].to_list().index(path) for path in tuning.path]
    pixels = np.stack([dataset.read(row).pixels for row in rows])[:, None]
    found = answer(exported[0], pixels)
    share = np.mean(found["atypicality"] > card.atypicality.threshold)
    assert share == pytest.approx(card.atypicality.share_flagged_on_tuning)
    assert share <= 0.02
    for point in card.operating_points:
        is_called = found["probability"] >= point.threshold
        assert np.mean(is_called[tuning.target]) == pytest.approx(point.sensitivity)
        assert np.mean(~is_called[~tuning.target]) == pytest.approx(point.specificity)
        assert point.measured_on == "tuning"
        assert point.sensitivity_interval is not None


def test_same_run_gives_the_same_bytes(
    exported: tuple[Path, Parity, onnx.ModelProto],
    run: RunFolder,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    again = tmp_path / "another-name.onnx"
    export_bundle(open_run(run.path), dataset, again, show_progress=False)
    assert again.read_bytes() == exported[0].read_bytes()


def test_evaluated_run_has_its_results_at_the_bundles_own_points(
    run: RunFolder, dataset: Dataset, tmp_path: Path, export_again: Callable[..., Parity]
) -> None:
    evaluated = open_run(Path(shutil.copytree(run.path, tmp_path / "evaluated")))
    evaluate_run(evaluated, dataset, split="test")
    out = tmp_path / "b.onnx"
    export_again(evaluated, out, name="mine", version="7")
    card = card_of(out)
    assert (card.name, card.version) == ("mine", "7")
    (result,) = card.results
    test = evaluated.predictions("test")
    assert (result.split, result.n) == ("test", len(test))
    assert result.figures["auroc"].value == pytest.approx(roc_auc_score(test.target, test.logit))
    point = card.operating_points[0]
    probability = 1 / (
        1 + np.exp(-(test.logit + card.calibration.bias) / card.calibration.temperature)
    )
    wanted = np.mean((probability >= point.threshold) == test.target)
    assert result.figures["accuracy_at_balanced"].value == pytest.approx(wanted)


def test_int8_is_smaller_and_calibrated_by_its_own_answers(
    exported: tuple[Path, Parity, onnx.ModelProto],
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    export_again: Callable[..., Parity],
) -> None:
    monkeypatch.setattr(export, "MAX_AUROC_FALL", 1.0)  # phantoms in 24 tuning images: coarse
    out = tmp_path / "small.onnx"
    parity = export_again(run, out, precision="int8")
    assert parity.auroc_int8 is not None
    card, exact = card_of(out), card_of(exported[0])
    assert card.precision == "int8"
    assert card.calibration.temperature != exact.calibration.temperature
    assert card.results == ()
    kinds = [node.op_type for node in onnx.load(out).graph.node]
    assert "QuantizeLinear" in kinds
    assert kinds[:2] == ["Cast", "Resize"], "the resize stays float"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 50, 40), dtype=np.uint8)
    here, there = answer(out, pixels), answer(exported[0], pixels)
    np.testing.assert_allclose(here["logit"], there["logit"], atol=0.5)
    assert not np.array_equal(here["logit"], there["logit"])
    open_bundle(out)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nothing_is_written_when_answers_differ(
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    export_again: Callable[..., Parity],
    precision: str,
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    if precision == "int8":
        monkeypatch.setattr(export, "MAX_AUROC_FALL", -1.1)
        with pytest.raises(ExportError, match="int8 lowers the AUROC"):
            export_again(run, folder / "b.onnx", precision="int8")
    else:
        with pytest.raises(ExportError, match=r"differs from torch's by up to 0\.00[23]"):
            export_again(run, folder / "b.onnx", shift=0.0025)
    assert list(folder.iterdir()) == []


def test_another_dataset_is_refused(run: RunFolder, tmp_path: Path) -> None:
    other = open_dataset(make_phantoms(tmp_path / "other", count=80, seed=1, size_px=32))
    with pytest.raises(RunError, match="other radiographs"):
        export_bundle(run, other, tmp_path / "b.onnx", show_progress=False)


def test_a_tables_order_does_not_matter_to_an_export(
    run: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    manifest = dataclasses.replace(dataset.manifest, table=dataset.manifest.table.reverse())
    shuffled = FileDataset(manifest)
    export_bundle(run, shuffled, tmp_path / "b.onnx", show_progress=False)
    assert card_of(tmp_path / "b.onnx").recipe == run.recipe.name


def test_a_dataset_with_another_tuning_split_is_refused(
    run: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    tuned = open_run(run.path)
    tuned.facts["data"]["tuning_fingerprint"] = "0" * 64
    with pytest.raises(RunError, match=r"another tuning split .* than phantoms has"):
        export_bundle(tuned, dataset, tmp_path / "b.onnx", show_progress=False)


@pytest.mark.parametrize(("kind", "is_told"), [("generated", True), ("repeated", False)])
def test_generated_pictures_that_taught_it_stand_among_its_limits(
    run: RunFolder,
    tmp_path: Path,
    export_again: Callable[..., Parity],
    kind: str,
    is_told: bool,
) -> None:
    taught = open_run(Path(shutil.copytree(run.path, tmp_path / "taught")))
    taught.facts["data"]["added"] = {"kind": kind, "target": 0, "count": 2500}
    export_again(taught, tmp_path / "b.onnx")
    told = [limit for limit in card_of(tmp_path / "b.onnx").limits if "generated" in limit]
    assert len(told) == is_told
    assert all("2,500 generated pictures of target 0" in limit for limit in told)


def test_predictions_of_other_weights_are_refused(
    run: RunFolder, tmp_path: Path, export_again: Callable[..., Parity]
) -> None:
    changed = open_run(Path(shutil.copytree(run.path, tmp_path / "changed")))
    path = changed.predictions_path("tuning")
    lines = path.read_text().splitlines()
    fields = lines[1].split(",")
    fields[4] = str(float(fields[4]) + 1)
    path.write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]) + "\n")
    with pytest.raises(RunError, match="logits differ from the kept checkpoint's by up to 1"):
        export_again(changed, tmp_path / "b.onnx")
    path.unlink()
    with pytest.raises(RunError, match=r"predictions-tuning\.csv: missing"):
        export_again(changed, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_other_endings_are_refused(run: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        export_bundle(run, dataset, tmp_path / "b.pt", show_progress=False)
