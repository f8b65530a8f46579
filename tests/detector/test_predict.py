"""From a file to an answer, one by one and many at once."""

import hashlib
import io
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import pneumoscope
from pneumoscope.core.errors import (
    BundleError,
    ImageTooLargeError,
    UnreadableImageError,
    UsageError,
)
from pneumoscope.core.types import Radiograph
from pneumoscope.detector import predict as predict_module
from pneumoscope.detector.predict import Detector, load
from pneumoscope.detector.prediction import Failure, Prediction

Save = Callable[..., Path]


def test_a_path_its_bytes_and_its_pixels_get_one_answer(
    detector: Detector, save_picture: Save
) -> None:
    path = save_picture("bright.png", bright=0.7)
    pixels = np.asarray(Image.open(path))
    by_path, by_text, by_bytes, by_array = (
        detector.predict(source) for source in (path, str(path), path.read_bytes(), pixels)
    )
    for other in (by_text, by_bytes, by_array):
        assert (other.logit, other.probability, other.regions, other.label) == (
            by_path.logit,
            by_path.probability,
            by_path.regions,
            by_path.label,
        )
    assert by_path.path == by_text.path == str(path)
    assert by_path.sha256 == by_bytes.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert by_array.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert detector.predict(path, name="case 7").path == "case 7"


def test_the_answer_is_that_of_the_formula(
    tiny: ModuleType, detector: Detector, save_picture: Save
) -> None:
    path = save_picture("one.png", bright=0.6)
    prediction = detector.predict(path)
    # The cells are means of whole blocks nearly, so the logit is nearly that of the mean.
    mean = np.asarray(Image.open(path)).mean() / 255
    assert prediction.logit == pytest.approx(8 * mean - 4, abs=0.05)
    assert prediction.atypicality == pytest.approx(1 - mean, abs=1e-5)
    scaled = (prediction.logit + tiny.BIAS) / tiny.TEMPERATURE
    assert prediction.probability == pytest.approx(1 / (1 + np.exp(-scaled)), abs=1e-6)
    # The threshold 0.5 is where the calibrated logit is 0.
    assert prediction.threshold_logit == pytest.approx(-tiny.BIAS)
    assert (prediction.height_px, prediction.width_px) == (150, 200)
    assert prediction.cam.shape == (7, 7)


def test_label_and_regions_follow_the_operating_point(
    detector: Detector, save_picture: Save
) -> None:
    path = save_picture("middle.png", bright=0.37)  # probability about 0.43
    balanced = detector.predict(path)
    assert (balanced.label, balanced.regions) == ("normal", ())
    assert balanced.operating_point.name == "balanced"
    sensitive = detector.predict(path, operating_point="sensitive")
    assert sensitive.label == "pneumonia"
    assert sensitive.regions
    assert sensitive.probability == balanced.probability


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_an_operating_point_at_an_end_answers(
    tiny: ModuleType, tmp_path: Path, threshold: float
) -> None:
    point = tiny.tiny_card()["operating_points"][0] | {"threshold": threshold}
    detector = load(tiny.write_bundle(tmp_path / "b.onnx", operating_points=[point]))
    prediction = detector.predict(np.full((150, 150), 90, np.uint8))
    assert prediction.label == ("pneumonia" if threshold == 0 else "normal")
    assert bool(prediction.regions) == (threshold == 0)
    assert prediction.overlay().width >= 150


def test_an_unknown_operating_point_is_told_at_once(detector: Detector, save_picture: Save) -> None:
    with pytest.raises(UsageError, match="no operating point 'best'. It has: balanced, sensitive"):
        detector.predict(save_picture("a.png"), operating_point="best")
    with pytest.raises(UsageError, match="no operating point"):
        detector.predict_many([], operating_point="best")
    with pytest.raises(UsageError, match="n_workers is 0"):
        detector.predict_many([], n_workers=0)


@pytest.mark.parametrize(
    "array", [np.zeros((9, 9)), np.zeros((9, 9, 3), np.uint8), np.zeros((0, 9), np.uint8)]
)
def test_other_arrays_are_refused(
    detector: Detector, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    with pytest.raises(UnreadableImageError, match=r"Give uint8 display values of shape \(H, W\)"):
        detector.predict(array)


def test_many_are_as_one_by_one_and_in_order(detector: Detector, save_picture: Save) -> None:
    paths = [
        save_picture(f"{n}.png", bright=n / 20, size=(100 + 7 * n, 180 - 3 * n)) for n in range(20)
    ]
    many = list(detector.predict_many(iter(paths), n_workers=3))
    for path, prediction in zip(paths, many, strict=True):
        assert isinstance(prediction, Prediction)
        assert prediction.to_dict() == detector.predict(path).to_dict()
        assert prediction.radiograph is None, "thousands of pictures would fill the memory"
        assert np.array_equal(prediction.pixels(), np.asarray(Image.open(path)))


def bomb(path: Path, size_px: int = 40_000) -> Path:
    """A PNG of some hundred bytes that claims 1.6 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", size_px, size_px, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def test_a_file_that_fails_leaves_the_others_answered(
    detector: Detector, save_picture: Save, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpeg"
    text.write_text("not a picture")
    good = [save_picture(f"good{n}.png") for n in range(3)]
    paths = [good[0], bomb(tmp_path / "bomb.png"), text, good[1], tmp_path / "gone.png", tmp_path,
             good[2]]  # fmt: skip
    answers = list(detector.predict_many(paths, n_workers=2))
    kinds = [answer.type if isinstance(answer, Failure) else answer.label for answer in answers]
    assert kinds[1:3] == ["ImageTooLargeError", "UnreadableImageError"]
    assert kinds[4:6] == ["UnreadableImageError"] * 2
    for path, answer in zip(paths, answers, strict=True):
        assert answer.path == str(path)
        if isinstance(answer, Failure):
            assert str(path) in answer.message
            error = {"type": answer.type, "message": answer.message}
            assert answer.to_dict() == {"path": str(path), "error": error}


def test_one_that_fails_raises(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ImageTooLargeError, match="40000 x 40000"):
        detector.predict(bomb(tmp_path / "bomb.png"))
    with pytest.raises(ImageTooLargeError):
        detector.predict(bomb(tmp_path / "small.png", 60), max_pixels=3599)


def test_large_pictures_take_turns(
    detector: Detector, save_picture: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save_picture(f"{n}.png", size=(90, 90 if n % 2 else 20)) for n in range(12)]
    alone = [detector.predict(path).to_dict() for path in paths]
    n_at_once, most_at_once, lock = 0, 0, threading.Lock()
    real = predict_module.read_radiograph

    def read(data: bytes, *, max_pixels: int, **options: Any) -> Radiograph:
        nonlocal n_at_once, most_at_once
        is_large = max_pixels > 5000
        with lock:
            n_at_once += is_large
            most_at_once = max(most_at_once, n_at_once)
        try:
            time.sleep(0.01 * is_large)
            return real(data, max_pixels=max_pixels, **options)
        finally:
            with lock:
                n_at_once -= is_large

    monkeypatch.setattr(predict_module, "LARGE_PIXELS", 5000)
    monkeypatch.setattr(predict_module, "read_radiograph", read)
    answers = list(detector.predict_many(paths, n_workers=4))
    assert [answer.to_dict() for answer in answers] == alone
    assert most_at_once == 1


def test_a_lateral_of_an_adult_is_answered_with_warnings(tiny: ModuleType, tmp_path: Path) -> None:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Modality, file.ViewPosition, file.PatientAge, file.PatientSex = "CR", "LL", "063Y", "F"
    file.Rows, file.Columns, file.SamplesPerPixel = 200, 160, 1
    file.PhotometricInterpretation = "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    ramp = np.tile(np.linspace(255, 90, 160).astype(np.uint8), (200, 1))
    file.PixelData = ramp.tobytes()
    file.save_as(tmp_path / "lateral", enforce_file_format=True)
    population = {"age_years": [1, 5], "view_positions": ["AP", "PA"], "modalities": ["CR", "DX"]}
    detector = load(tiny.write_bundle(tmp_path / "b.onnx", population=population))
    prediction = detector.predict(tmp_path / "lateral")
    assert prediction.label == "pneumonia"
    assert (prediction.age_years, prediction.sex) == (63, "F")
    assert (prediction.view_position, prediction.modality) == ("LL", "CR")
    assert [warning.partition(":")[0] for warning in prediction.warnings] == ["age", "view"]


@pytest.mark.parametrize("error", [MemoryError(), BundleError("the graph failed")])
def test_want_of_memory_is_one_files_failure(
    detector: Detector, save_picture: Save, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    paths = [save_picture("a.png"), save_picture("big.png"), save_picture("c.png")]
    real = Detector.predict

    def predict(self: Detector, source: Path, **options: object) -> Prediction:
        if source == paths[1]:
            raise error
        return real(self, source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "predict", predict)
    first, failed, last = detector.predict_many(paths)
    assert isinstance(first, Prediction)
    assert isinstance(failed, Failure)
    assert failed.type == type(error).__name__
    assert failed.message
    assert isinstance(last, Prediction)


def test_fast_decode_answers_in_the_files_own_pixels(tiny: ModuleType, tmp_path: Path) -> None:
    detector = load(tiny.write_bundle(tmp_path / "b.onnx", size_px=64))
    y, x = np.mgrid[:800, :1200]
    smooth = 150 + 90 * np.sin(x / 300) * np.cos(y / 200)
    buffer = io.BytesIO()
    Image.fromarray(smooth.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    whole, fast = (detector.predict(data, fast_decode=fast) for fast in (False, True))
    assert fast.radiograph is not None
    assert fast.radiograph.pixels.shape == (200, 300)  # at least twice the square
    assert (fast.height_px, fast.width_px) == (800, 1200)
    assert fast.probability == pytest.approx(whole.probability, abs=0.01)
    assert len(fast.regions) == len(whole.regions) >= 1
    for one, other in zip(fast.regions, whole.regions, strict=True):
        assert one.x == pytest.approx(other.x, abs=20)
        assert one.width == pytest.approx(other.width, abs=40)
        assert one.y == pytest.approx(other.y, abs=20)
        assert one.height == pytest.approx(other.height, abs=40)
    assert fast.pixels().shape == (800, 1200), "an overlay is at full resolution all the same"
    assert fast.overlay().size == whole.overlay().size


def test_the_top_level_gives_what_people_use(bundle_path: Path) -> None:
    assert isinstance(pneumoscope.load(bundle_path), pneumoscope.Detector)
    assert pneumoscope.Prediction is Prediction
    assert pneumoscope.Failure is Failure
    assert set(pneumoscope.__all__) <= set(dir(pneumoscope))
    assert "tiny 3" in repr(pneumoscope.load(str(bundle_path)))
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        pneumoscope.laod  # noqa: B018
