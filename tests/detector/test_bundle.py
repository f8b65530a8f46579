"""Opening a bundle: what is refused, in which words, and what an accepted one answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pneumoscope.core.errors import BundleError
from pneumoscope.detector import bundle as bundle_module
from pneumoscope.detector.bundle import open_bundle


def test_the_answer_is_that_of_the_formula(tiny: ModuleType, bundle_path: Path) -> None:
    cells = np.random.default_rng(0).integers(0, 256, size=(3, 1, 7, 7)).astype(np.uint8)
    answer = open_bundle(bundle_path).run(cells)
    cam = 8 * (cells[:, 0] / 255) - 4
    np.testing.assert_allclose(answer.cam, cam, atol=1e-5)
    np.testing.assert_allclose(answer.logit, cam.mean((1, 2)), atol=1e-5)
    expected = 1 / (1 + np.exp(-(cam.mean((1, 2)) + tiny.BIAS) / tiny.TEMPERATURE))
    np.testing.assert_allclose(answer.probability, expected, atol=1e-6)
    np.testing.assert_allclose(answer.atypicality, 1 - cells.mean((1, 2, 3)) / 255, atol=1e-6)
    assert answer.embedding.shape == (3, 49)
    assert {array.dtype for array in answer} == {np.dtype(np.float32)}


def test_threads_share_a_bundle(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    rng = np.random.default_rng(1)
    pictures = [
        rng.integers(0, 256, size=(1, 1, 40 + i, 90 - i)).astype(np.uint8) for i in range(40)
    ]
    alone = [bundle.run(each).logit[0] for each in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: bundle.run(each).logit[0], pictures)) == alone


def test_identity_and_card(tiny: ModuleType, tmp_path: Path) -> None:
    path = tiny.write_bundle(tmp_path / "b.onnx", with_hash=True, future_key=[1])
    bundle = open_bundle(path)
    digest = subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout.split()[0]
    assert bundle.identity == {"name": "tiny", "version": "3", "sha256": digest.decode()}
    assert bundle.card.operating_points[1].name == "sensitive"


def test_a_changed_byte_is_refused_wherever_it_is(tiny: ModuleType, tmp_path: Path) -> None:
    path = tiny.write_bundle(tmp_path / "b.onnx", with_hash=True)
    data = path.read_bytes()
    for position in range(0, len(data), 97):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(BundleError, match="was changed or damaged.*b.onnx.sha256 says"):
            open_bundle(path)


@pytest.mark.parametrize("content", ["", "nonsense", "00" * 32 + "  b.onnx\n"])
def test_a_wrong_hash_file_is_refused(tiny: ModuleType, tmp_path: Path, content: str) -> None:
    path = tiny.write_bundle(tmp_path / "b.onnx")
    (tmp_path / "b.onnx.sha256").write_text(content)
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_truncated_bundle_is_refused(bundle_path: Path, share: float) -> None:
    data = bundle_path.read_bytes()
    bundle_path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError, match="cut short|not a Pneumoscope bundle"):
        open_bundle(bundle_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a torch checkpoint", b"text" * 100])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(BundleError, match="not an ONNX file|not a Pneumoscope bundle"):
        open_bundle(path)


def test_what_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist.*pneumoscope export"):
        open_bundle(tmp_path / "none.onnx")
    with pytest.raises(BundleError, match="is a folder"):
        open_bundle(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(bundle_module.MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleError, match="bytes, more than"):
        open_bundle(path)


def test_the_shipped_bundle_is_named_where_it_is_missing_or_unchecked(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shipped.onnx"
    monkeypatch.setattr(bundle_module, "SHIPPED_BUNDLE", path)
    with pytest.raises(BundleError, match="no bundle ships with this installation"):
        open_bundle()
    tiny.write_bundle(path)
    with pytest.raises(BundleError, match="shipped.onnx.sha256: is missing"):
        open_bundle()
    tiny.write_bundle(path, with_hash=True)
    assert open_bundle().card.name == "tiny"


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ({"schema_version": 2}, "has schema 2, and this version .* reads up to 1.*--upgrade"),
        ({"schema_version": 2, "operating_points": None}, "has schema 2"),
        ({"operating_points": []}, r"card is wrong \(operating_points:"),
        ({"calibration": {"temperature": -1, "bias": 0, "fitted_on": "x", "n": 1}},
         r"calibration.temperature:"),
        ("{", "card is wrong"),
        ("[1]", "card is wrong"),
        ("[" * 100_000, "card is wrong"),
        (None, "lacks the key 'pneumoscope'"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_refused(
    tiny: ModuleType, tmp_path: Path, card: dict[str, object] | str | None, reason: str
) -> None:
    value = tiny.tiny_card(**card) if isinstance(card, dict) else card
    path = tiny.write_bundle(tmp_path / "b.onnx", model=tiny.tiny_model(value))
    with pytest.raises(BundleError, match=reason):
        open_bundle(path)


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "image"
    model.graph.node[0].input[0] = "image"


def float_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def fixed_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 224


def three_channels(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def no_cam(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def flat_cam(model: onnx.ModelProto) -> None:
    model.graph.node[5].op_type = "Sum"
    del model.graph.node[5].input[1]
    model.graph.node.append(helper.make_node("Identity", ["cells"], ["deep"]))
    model.graph.output[2].CopyFrom(
        helper.make_tensor_value_info("cam", TensorProto.FLOAT, ["N", 1, 7, 7])
    )
    model.graph.node[5].input[0] = "cells"
    model.graph.node[6].input[1] = "all"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename_input, r"its inputs are \['image'\]"),
        (float_input, r"'pixels' is tensor\(float\)"),
        (fixed_size, "of any size"),
        (three_channels, "of any size|cannot load"),
        (no_cam, "lacks the output cam"),
        (fixed_batch, "'logit' is"),
        (flat_cam, "'cam' is .* not float32 with 3 axes"),
    ],
)
def test_other_names_types_and_shapes_are_refused(
    tiny: ModuleType, tmp_path: Path, change: Callable[[onnx.ModelProto], None], reason: str
) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    change(model)
    with pytest.raises(BundleError, match=reason):
        open_bundle(tiny.write_bundle(tmp_path / "b.onnx", model=model))


def test_an_output_that_a_later_version_adds_is_read_over(tiny: ModuleType, tmp_path: Path) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N"]))
    bundle = open_bundle(tiny.write_bundle(tmp_path / "b.onnx", model=model))
    assert bundle.run(np.zeros((1, 1, 9, 9), np.uint8)).logit[0] == pytest.approx(-4)


def test_weights_in_another_file_are_refused_even_where_that_file_lies(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.onnx"
    model = tiny.tiny_model(tiny.tiny_card())
    onnx.save(model, path, save_as_external_data=True, location="b.bin", size_threshold=0)
    assert (tmp_path / "b.bin").exists()
    monkeypatch.chdir(tmp_path)  # from here onnxruntime would find it
    with pytest.raises(BundleError, match="keeps some weights in another file"):
        open_bundle(path)


def test_an_unknown_operator_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    model.graph.node[1].op_type = "Frobnicate"
    with pytest.raises(BundleError, match="onnxruntime .* cannot load it"):
        open_bundle(tiny.write_bundle(tmp_path / "b.onnx", model=model))


def test_an_answer_that_is_not_finite_is_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    model.graph.node[1].input[1] = "zero"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0).reshape(()), "zero"))
    bundle = open_bundle(tiny.write_bundle(tmp_path / "b.onnx", model=model))
    with pytest.raises(BundleError, match="not finite"):
        bundle.run(np.zeros((1, 1, 9, 9), np.uint8))


@pytest.mark.parametrize(
    "pixels", [np.zeros((9, 9), np.uint8), np.zeros((1, 1, 9, 9)), np.zeros((1, 1, 0, 9), np.uint8)]
)
def test_other_pixels_are_a_mistake_of_the_caller(
    bundle_path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    with pytest.raises(ValueError, match="uint8"):
        open_bundle(bundle_path).run(pixels)  # type: ignore[arg-type]


def test_predicting_imports_nothing_that_trains(bundle_path: Path, tmp_path: Path) -> None:
    code = (
        "import sys, json, numpy as np, pneumoscope\n"
        "first = 'onnxruntime' in sys.modules or 'pydantic' in sys.modules\n"
        "detector = pneumoscope.load(sys.argv[1])\n"
        "prediction = detector.predict(np.full((200, 300), 200, np.uint8))\n"
        "prediction.overlay(), prediction._repr_html_()\n"
        "heavy = {'torch', 'pytorch_lightning', 'timm', 'matplotlib', 'polars', 'sklearn', 'onnx',"
        " 'pydicom', 'rich', 'typer'}\n"
        "print(json.dumps([first, prediction.label, sorted(heavy & set(sys.modules))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [False, "pneumonia", []]
    assert done.stderr == ""
