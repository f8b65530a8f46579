"""The bundle gives the same answer in the browser as at a shell, and refuses the same bundles."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from pydicom.pixels.utils import compress
from pydicom.uid import JPEG2000Lossless

import pneumoscope as ps
from pneumoscope.core.errors import BundleError
from pneumoscope.detector.bundle import open_bundle
from pneumoscope.detector.predict import Detector
from pneumoscope.imaging.read import read_radiograph

OpenCore = Callable[..., Any]
Load = Callable[[str], ModuleType]
BOX = ("x", "y", "width", "height")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return ps.load()


@pytest.fixture(scope="module", params=[True, False], ids=["threads", "one thread"])
def opened(
    request: pytest.FixtureRequest, site: Any, site_without_isolation: Any, open_core: OpenCore
) -> Iterator[Any]:
    """Return the core with the shipped bundle open, with and without cross-origin isolation."""
    core = open_core(site if request.param else site_without_isolation)
    answer = core.open()
    assert "error" not in answer, answer["error"]
    assert answer["isolated"] == request.param
    cores = os.cpu_count() or 1
    assert answer["threads"] == (min(4, cores) if request.param else 1)
    assert answer["card"] == json.loads(ps.load().card.model_dump_json())
    assert answer["identity"] == ps.load().bundle.identity
    yield core
    core.page.close()


def png_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def assert_same(answer: dict[str, Any], expected: ps.Prediction, *, tolerance: float) -> None:
    assert "error" not in answer, answer["error"]
    here, there = expected.to_dict(), answer["json"]
    assert list(there) == list(here)  # the keys, in their order
    for key in ("sha256", "label", "operating_point", "warnings", "bundle"):
        assert there[key] == here[key]
    assert there["probability"] == pytest.approx(here["probability"], abs=tolerance)
    boxes = [[tuple(region[key] for key in BOX) for region in json_["regions"]]
             for json_ in (there, here)]  # fmt: skip
    assert boxes[0] == boxes[1]
    scores = [[region["score"] for region in json_["regions"]] for json_ in (there, here)]
    assert scores[0] == pytest.approx(scores[1], abs=max(tolerance, 1e-4))
    assert answer["shape"] == list(expected.cam.shape)
    # In logits, where the map of one radiograph spans 10 to 100.
    np.testing.assert_allclose(answer["cam"], expected.cam.ravel(), atol=2e-3, rtol=0)
    assert answer["thresholdLogit"] == pytest.approx(expected.threshold_logit, abs=1e-12)
    assert answer["atypicality"] == pytest.approx(expected.atypicality, abs=1e-3)
    assert answer["image"] == {"height": expected.height_px, "width": expected.width_px}


def test_radiographs_get_the_shells_answer(
    opened: Any, detector: Detector, radiographs: list[Path]
) -> None:
    assert len(radiographs) == 16
    labels = set()
    for path in radiographs:
        data = path.read_bytes()
        expected = detector.predict(data, name=path.name)
        assert_same(opened.predict(data, path.name), expected, tolerance=1e-3)
        # From the same decoded pixels, which a PNG carries exactly:
        png = png_of(read_radiograph(data).pixels)
        answer = opened.predict(png, path.name)
        assert_same(answer, detector.predict(png, name=path.name), tolerance=1e-5)
        assert answer["json"]["path"] == path.name
        assert answer["isLeftWhole"]
        labels.add(expected.label)
    assert labels == {"normal", "pneumonia"}


def test_another_operating_point(opened: Any, detector: Detector, radiographs: list[Path]) -> None:
    data = radiographs[-1].read_bytes()
    for point in detector.card.operating_points:
        expected = detector.predict(data, operating_point=point.name)
        assert_same(opened.predict(data, point=point.name), expected, tolerance=1e-3)
    assert opened.predict(data, point="best")["error"] == {
        "type": "UsageError",
        "message": "pneumoscope-1 has no operating point 'best'. It has: balanced, sensitive.",
    }


def test_dicom_with_its_facts(opened: Any, detector: Detector, load_test_module: Load) -> None:
    golden = Path(__file__).parents[2] / "golden" / "reading"
    data = (golden / "window.dcm").read_bytes()
    expected = detector.predict(data, name="image")
    assert_same(opened.predict(data), expected, tolerance=1e-5)
    assert [warning.partition(":")[0] for warning in expected.warnings][:1] == ["size"]


def test_nothing_is_asked_for_while_it_answers(
    opened: Any, site: Any, site_without_isolation: Any, radiographs: list[Path]
) -> None:
    opened.predict(radiographs[0].read_bytes())
    logs = [site.requests, site_without_isolation.requests]
    before = [len(log) for log in logs]
    opened.predict(radiographs[1].read_bytes())
    assert [len(log) for log in logs] == before
    # Nor did anything but the files themselves ever leave the page.
    assert {line.split()[0] for log in logs for line in log} == {"GET"}


def test_an_unreadable_file_does_no_harm_to_the_next(
    opened: Any, detector: Detector, radiographs: list[Path]
) -> None:
    data = radiographs[0].read_bytes()
    assert opened.predict(data[:5000])["error"]["type"] == "UnreadableImageError"
    assert_same(opened.predict(data), detector.predict(data, name="image"), tolerance=1e-3)


def test_many_at_once_are_not_mixed_up(opened: Any, radiographs: list[Path]) -> None:
    alone = [opened.predict(path.read_bytes())["json"]["logit"] for path in radiographs[:4]]
    together = opened.page.evaluate(
        """async (files) => {
          const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const answers = files.map((file, n) => detector.predict(bytesOf(file), String(n)));
          return (await Promise.all(answers)).map(({ prediction }) => prediction);
        }""",
        [opened.encode(path.read_bytes()) for path in radiographs[:4]],
    )
    assert [answer["path"] for answer in together] == list("0123")
    assert [answer["logit"] for answer in together] == pytest.approx(alone, abs=1e-5)


def test_a_bundle_of_ones_own(core: Any, tiny: ModuleType, tmp_path: Path) -> None:
    path = tiny.write_bundle(tmp_path / "own.onnx")
    opened = core.open(path.read_bytes())
    assert opened["identity"] == open_bundle(path).identity
    pixels = np.random.default_rng(5).integers(0, 256, (140, 130), dtype=np.uint8)
    expected = ps.load(path).predict(png_of(pixels), name="image")
    assert_same(core.predict(png_of(pixels)), expected, tolerance=1e-6)


def wrong_bundles(tiny: ModuleType, helpers: ModuleType) -> Iterator[tuple[str, bytes]]:
    whole = tiny.tiny_model(tiny.tiny_card()).SerializeToString()
    yield "cut short", whole[: len(whole) // 2]
    yield "a checkpoint", b"PK\x03\x04 a torch checkpoint"
    for card in (
        {"schema_version": 2, "operating_points": None},
        {"operating_points": []},
        {"calibration": {"temperature": -1, "bias": 0, "fitted_on": "x", "n": 1}},
    ):
        yield str(card), tiny.tiny_model(tiny.tiny_card(**card)).SerializeToString()
    for text in ("{", "[1]", "[" * 100_000, None):
        yield str(text)[:5], tiny.tiny_model(text).SerializeToString()
    for change in (
        helpers.rename_input,
        helpers.float_input,
        helpers.fixed_size,
        helpers.no_cam,
        helpers.fixed_batch,
        helpers.flat_cam,
    ):
        model = tiny.tiny_model(tiny.tiny_card())
        change(model)
        yield change.__name__, model.SerializeToString()
    model = tiny.tiny_model(tiny.tiny_card())
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    yield "external data", model.SerializeToString()
    model = tiny.tiny_model(tiny.tiny_card())
    model.graph.node[0].op_type = "Nonsense"
    yield "unknown operator", model.SerializeToString()


def test_what_is_no_bundle_is_refused(
    core: Any, tiny: ModuleType, load_test_module: Load, tmp_path: Path
) -> None:
    helpers = load_test_module("detector/test_bundle.py")
    for what, data in wrong_bundles(tiny, helpers):
        path = tmp_path / "wrong.onnx"
        path.write_bytes(data)
        with pytest.raises(BundleError) as shell:
            open_bundle(path)
        answer = core.open(data)
        assert answer.get("error", {}).get("type") == "BundleError", (what, answer)
        here, there = (
            re.sub(r"onnxruntime [\d.]+", "onnxruntime", words).partition(": ")[2].split()[:3]
            for words in (str(shell.value), answer["error"]["message"])
        )
        assert there == here, what


def changed_site(built_core: Path, folder: Path) -> Path:
    shutil.copytree(built_core, folder, dirs_exist_ok=True)
    return folder / "device"


def change_bundle(device: Path) -> None:
    data = bytearray((device / "bundle.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (device / "bundle.onnx").write_bytes(data)


def change_runtime(device: Path) -> None:
    path = next(device.glob("ort-*.wasm"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def cut_runtime(device: Path) -> None:
    path = next(device.glob("ort-*.wasm"))
    path.write_bytes(path.read_bytes()[:-1])


def other_runtime(device: Path) -> None:
    path = device / "device.json"
    parts = json.loads(path.read_text())
    parts["runtime"]["version"] = "1.0.0"
    path.write_text(json.dumps(parts))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (change_bundle, "BundleError", "bundle.onnx: was changed or damaged"),
        (lambda device: (device / "bundle.onnx.sha256").unlink(), "DeviceError", "make web"),
        (lambda device: (device / "device.json").unlink(), "DeviceError", "make web"),
        (change_runtime, "DeviceError", "not the file that device.json names"),
        (cut_runtime, "DeviceError", "not the file that device.json names"),
        (other_runtime, "DeviceError", "holds onnxruntime 1.0.0"),
    ],
)
def test_changed_parts_are_refused(
    change: Callable[[Path], object],
    kind: str,
    words: str,
    built_core: Path,
    serve: Callable[[Path], Any],
    open_core: OpenCore,
    tmp_path: Path,
) -> None:
    change(changed_site(built_core, tmp_path))
    core = open_core(serve(tmp_path))
    answer = core.open()
    core.page.close()
    assert answer.get("error", {}).get("type") == kind, answer
    assert words in answer["error"]["message"]


def test_a_missing_decoder_says_what_to_do(
    built_core: Path,
    serve: Callable[[Path], Any],
    open_core: OpenCore,
    tmp_path: Path,
) -> None:
    shutil.rmtree(changed_site(built_core, tmp_path))
    core = open_core(serve(tmp_path))
    golden = Path(__file__).parents[2] / "golden" / "reading"
    for name in ("jpeg-ls.dcm", "jpeg-2000.dcm"):
        message = core.read((golden / name).read_bytes(), "row 7")["error"]["message"]
        assert message.startswith("row 7: this file is compressed with JPEG")
        assert "pneumoscope predict" in message
    core.page.close()


def test_the_server_gives_the_same_answer_and_the_picture(
    server: Any,
    built_core: Path,
    open_core: OpenCore,
    detector: Detector,
    radiographs: list[Path],
    load_test_module: Load,
) -> None:
    core = open_core(SiteAtServer(server.url, built_core))
    assert core.open_server(f"{server.url}/") == detector.bundle.identity
    data = radiographs[-1].read_bytes()
    expected = detector.predict(data, name="child.jpeg")
    answer = core.predict(data, "child.jpeg")
    assert_same(answer, expected, tolerance=1e-6)
    assert answer["picture"] == [expected.height_px, expected.width_px]
    # The page has no decoder of its own there, so the server's picture is shown.
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    stored = np.random.default_rng(3).integers(0, 4096, (200, 180)).astype(np.uint16)
    file = helpers.make_file(stored, bits=12)
    compress(file, JPEG2000Lossless, generate_instance_uid=False)
    dicom = helpers.encode(file)
    answer = core.predict(dicom, "child.dcm")
    assert_same(answer, detector.predict(dicom, name="child.dcm"), tolerance=1e-6)
    shown = core.page.evaluate("Array.from(globalThis.answer.radiograph.pixels)")
    np.testing.assert_array_equal(np.reshape(shown, (200, 180)), read_radiograph(dicom).pixels)
    refusal = core.predict(b"nothing", "note.txt")["error"]
    assert refusal["type"] == "UnreadableImageError"
    assert "first bytes" in refusal["message"]


class SiteAtServer:
    """The core's files at the server's own address, below core/; without those for the device."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = f"{url}/core/", folder
