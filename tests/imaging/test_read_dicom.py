"""DICOM: written here with pydicom, read back as display values, refused with the reason."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import compress
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from pneumoscope.core.errors import ImageTooLargeError, RadiographError, UnreadableImageError
from pneumoscope.imaging.read import read_radiograph
from pneumoscope.imaging.read_dicom import read_dicom

NOISE = np.random.default_rng(3).integers(0, 256, (40, 56), dtype=np.uint8)
TWELVE_BIT = np.random.default_rng(4).integers(0, 4096, (40, 56), dtype=np.uint16)


def make_file(
    stored: np.ndarray, *, bits: int = 8, syntax: UID = ExplicitVRLittleEndian, **tags: object
) -> Dataset:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.SOPClassUID = SecondaryCaptureImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Modality = "CR"
    file.Rows, file.Columns = stored.shape[:2]
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME2"
    file.BitsAllocated = 8 * stored.dtype.itemsize
    file.BitsStored, file.HighBit = bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    file.PixelData = stored.tobytes()
    file["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    return file


def encode(file: Dataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def jpeg_file(pixels: np.ndarray, **tags: object) -> Dataset:
    """Return a file such as RSNA's: 8-bit MONOCHROME2 secondary capture in JPEG baseline."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    file = make_file(pixels, syntax=JPEGBaseline8Bit, **tags)
    file.PixelData = encapsulate([buffer.getvalue()])
    file["PixelData"].is_undefined_length = True
    return file


def linear_window(value: np.ndarray, center: float, width: float) -> np.ndarray:
    """Oracle: the formula of PS3.3, C.11.2.1.2.1, with the display's ends 0 and 255."""
    inside = ((value - (center - 0.5)) / (width - 1) + 0.5) * 255
    inside = np.where(value <= center - 0.5 - (width - 1) / 2, 0, inside)
    return np.where(value > center - 0.5 + (width - 1) / 2, 255, inside)


def stretch(value: np.ndarray) -> np.ndarray:
    value = value.astype(float)
    return (value - value.min()) / (value.max() - value.min()) * 255


def test_rsna_like_file_with_all_its_facts(tmp_path: Path) -> None:
    across = np.add.outer(np.arange(1024), np.arange(1024)) // 8
    path = tmp_path / "0004cfab.dcm"
    file = jpeg_file(across.astype(np.uint8), ViewPosition="PA", PatientSex="F", Modality="CR")
    file.PatientAge = "051Y"
    path.write_bytes(encode(file))
    radiograph = read_radiograph(path)
    assert radiograph.pixels.shape == (1024, 1024)
    assert radiograph.pixels.dtype == np.uint8
    np.testing.assert_allclose(radiograph.pixels, across, atol=4)
    assert (radiograph.modality, radiograph.view_position) == ("CR", "PA")
    assert (radiograph.age_years, radiograph.sex) == (51, "F")
    assert not radiograph.is_colour


@pytest.mark.parametrize(
    ("age", "years"),
    [("004Y", 4), ("018M", 1.5), ("003W", 21 / 365.25), ("010D", 10 / 365.25), ("51", 51)]
    + [(bad, None) for bad in ("", "Y", "12X", "-04Y", "abcd")],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_age(age: str, years: float | None) -> None:
    read = read_dicom(encode(make_file(NOISE, PatientAge=age))).age_years
    assert read == (None if years is None else pytest.approx(years))


def test_absent_and_empty_facts_are_none() -> None:
    radiograph = read_dicom(encode(make_file(NOISE, ViewPosition="", PatientSex="", Modality="")))
    assert radiograph.modality is None
    assert radiograph.view_position is None
    assert radiograph.sex is None
    assert radiograph.age_years is None


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
)
def test_without_a_window_the_extremes_are_black_and_white(syntax: UID) -> None:
    stored = TWELVE_BIT
    if syntax == RLELossless:
        file = make_file(stored, bits=12)
        compress(file, RLELossless, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        file = make_file(stored, bits=12, syntax=syntax)
        file.PixelData = stored.byteswap().tobytes()
    else:
        file = make_file(stored, bits=12, syntax=syntax)
    buffer = io.BytesIO()
    file.save_as(
        buffer,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    pixels = read_dicom(buffer.getvalue()).pixels
    np.testing.assert_allclose(pixels, stretch(stored), atol=0.5)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("is_signed", [False, True])
def test_window_by_the_standards_formula(bits: int, is_signed: bool) -> None:
    low = -(2 ** (bits - 1)) if is_signed else 0
    kind = f"{'i' if is_signed else 'u'}{1 if bits == 8 else 2}"
    stored = np.random.default_rng(bits).integers(low, low + 2**bits, (30, 30)).astype(kind)
    center, width = low + 0.4 * 2**bits, 0.3 * 2**bits
    tags = {"WindowCenter": [center, 1], "WindowWidth": [width, 2]}  # the first window counts
    pixels = read_dicom(encode(make_file(stored, bits=bits, **tags))).pixels
    np.testing.assert_allclose(pixels, linear_window(stored, center, width), atol=0.51)


@pytest.mark.parametrize("slope", [2.5, -1.0])
def test_rescale_comes_before_the_window(slope: float) -> None:
    tags = {"RescaleSlope": slope, "RescaleIntercept": -700, "RescaleType": "US"}
    tags |= {"WindowCenter": slope * 2000 - 700, "WindowWidth": 1500}
    pixels = read_dicom(encode(make_file(TWELVE_BIT, bits=12, **tags))).pixels
    modality = slope * TWELVE_BIT.astype(float) - 700
    expected = linear_window(modality, slope * 2000 - 700, 1500)
    np.testing.assert_allclose(pixels, expected, atol=0.51)


def test_sigmoid_window() -> None:
    tags = {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}
    pixels = read_dicom(encode(make_file(TWELVE_BIT, bits=12, **tags))).pixels
    expected = 255 / (1 + np.exp(-4 * (TWELVE_BIT - 2000.0) / 900))  # PS3.3, C.11.2.1.3.1
    np.testing.assert_allclose(pixels, expected, atol=0.51)


def test_voi_lut_is_looked_up_and_goes_before_the_window() -> None:
    entries = (np.linspace(0, 1, 4096) ** 2 * 1023).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 10]
    item.LUTData = entries.tolist()
    file = make_file(TWELVE_BIT, bits=12, WindowCenter=1, WindowWidth=2)
    file.VOILUTSequence = Sequence([item])
    file.VOILUTSequence[0]["LUTDescriptor"].VR = "US"
    file.VOILUTSequence[0]["LUTData"].VR = "US"
    pixels = read_dicom(encode(file)).pixels
    np.testing.assert_allclose(pixels, entries[TWELVE_BIT] / 1023 * 255, atol=0.51)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1800, "WindowWidth": 3000}])
def test_monochrome1_is_the_negative(window: dict[str, int]) -> None:
    positive = make_file(TWELVE_BIT, bits=12, **window)
    negative = make_file(TWELVE_BIT, bits=12, PhotometricInterpretation="MONOCHROME1", **window)
    shown, inverted = (read_dicom(encode(file)).pixels for file in (positive, negative))
    np.testing.assert_array_equal(shown.astype(int) + inverted, 255)


@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleSlope", "VOILUTFunction"])
def test_an_empty_optional_tag_counts_as_absent(keyword: str) -> None:
    whole = {"WindowCenter": "100", "WindowWidth": "80", "RescaleSlope": "1"}
    whole |= {"RescaleIntercept": "0", "VOILUTFunction": "LINEAR"}
    empty = read_dicom(encode(make_file(NOISE, **(whole | {keyword: ""})))).pixels
    absent = {key: value for key, value in whole.items() if key != keyword}
    np.testing.assert_array_equal(empty, read_dicom(encode(make_file(NOISE, **absent))).pixels)


def test_constant_image_is_one_gray_and_no_error() -> None:
    assert np.ptp(read_dicom(encode(make_file(np.full((9, 9), 7, np.uint8)))).pixels) == 0


def without(keyword: str) -> bytes:
    file = make_file(NOISE)
    delattr(file, keyword)
    return encode(file)


def video() -> bytes:
    file = jpeg_file(NOISE)
    file.file_meta.TransferSyntaxUID = MPEG2MPML
    return encode(file)


REFUSED = {
    "zero bytes": (b"", "no bytes"),
    "text": (b"x" * 4000, "not a DICOM file"),
    "no pixel data": (without("PixelData"), "no pixel data"),
    "no rows": (without("Rows"), "lacks Rows"),
    "no photometric": (without("PhotometricInterpretation"), "lacks Photometric"),
    "frames": (encode(make_file(np.stack([NOISE] * 3)[0], NumberOfFrames=3)), "3 frames"),
    "colour": (encode(make_file(NOISE, PhotometricInterpretation="RGB", SamplesPerPixel=3)), "RGB"),
    "palette": (encode(make_file(NOISE, PhotometricInterpretation="PALETTE COLOR")), "PALETTE"),
    "one bit": (encode(make_file(NOISE, BitsStored=1, HighBit=0)), "1 bits"),
    "too few pixels": (encode(make_file(NOISE, Rows=80)), "pixel data"),
    "empty pixels": (encode(make_file(NOISE, PixelData=b"")), "has 0 bytes of pixel data"),
    "two slopes": (
        encode(make_file(NOISE, RescaleSlope=[1, 2], RescaleIntercept=0)),
        "read|meaning|LUT|slope|Rescale",
    ),
    "no rows at all": (encode(make_file(NOISE, Rows=0)), "rows|Rows"),
    "window of no width": (encode(make_file(NOISE, WindowCenter=1, WindowWidth=0)), "Width"),
    "video": (video(), "MPEG2.*dcmdjpeg"),
    "cut short": (encode(make_file(NOISE))[:-500], "bytes|pixel"),
    "jpeg cut short": (encode(jpeg_file(NOISE))[:-500], "pixel|read|damaged"),
    "only the mark": (bytes(128) + b"DICM", "lacks|no pixel data|TransferSyntaxUID"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusal_names_the_file_and_the_reason(what: str, tmp_path: Path) -> None:
    data, reason = REFUSED[what]
    path = tmp_path / "chest.dcm"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_dicom(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(UnreadableImageError, match="^row 7: "):
        read_radiograph(path, name="row 7")


def test_several_values_are_told_as_the_file_has_them() -> None:
    radiograph = read_dicom(encode(make_file(NOISE, ViewPosition=["AP", "PA"])))
    assert radiograph.view_position == "AP\\PA"


def test_gigantic_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageTooLargeError, match="40000 x 40000"):
        read_dicom(encode(make_file(NOISE, Rows=40_000, Columns=40_000)))
    with pytest.raises(ImageTooLargeError, match="56 x 40"):
        read_radiograph(encode(make_file(NOISE)), max_pixels=56 * 40 - 1)


@pytest.mark.parametrize("step", ["check_tags", "decode_frame", "apply_modality_lut"])
def test_lack_of_memory_is_no_damage(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    data = encode(jpeg_file(NOISE))
    monkeypatch.setattr(f"pneumoscope.imaging.read_dicom.{step}", fail)
    with pytest.raises(MemoryError):
        read_dicom(data)


def test_name_and_suffix_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "chest.jpeg"
    path.write_bytes(encode(make_file(NOISE, Modality="DX")))
    assert read_radiograph(path).modality == "DX"


SEEDS = {
    "raw": encode(make_file(TWELVE_BIT, bits=12, WindowCenter=100, WindowWidth=90)),
    "jpeg": encode(jpeg_file(NOISE, PatientAge="004Y")),
}


@pytest.mark.parametrize("seed", SEEDS)
@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))),
    share=st.sampled_from([1.0, 1.0, 0.98, 0.5, 0.1]),
)
def test_fuzz(seed: str, flips: list[tuple[float, int]], share: float) -> None:
    data = bytearray(SEEDS[seed])
    for place, change in flips:
        data[132 + int(place * 800)] ^= change  # the elements before the pixels
    try:  # no exception of another kind, and no warning (here an error), may come out
        radiograph = read_dicom(bytes(data[: int(share * len(data))]), max_pixels=4_000_000)
    except RadiographError:
        return
    assert radiograph.pixels.dtype == np.uint8


def test_pictures_do_not_pay_for_the_dicom_library() -> None:
    code = (
        "import io, sys; from PIL import Image; b = io.BytesIO();"
        "Image.new('L', (4, 4)).save(b, 'PNG');"
        "from pneumoscope.imaging.read import read_radiograph; read_radiograph(b.getvalue());"
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
