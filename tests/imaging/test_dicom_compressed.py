"""Compressed DICOM equals its uncompressed twin; what is damaged or hostile is refused."""

import io
import json
import logging
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import compress
from pydicom.uid import (
    JPEG2000,
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pneumoscope.core.errors import ImageTooLargeError, UnreadableImageError
from pneumoscope.imaging.dicom_frame import decode_frame
from pneumoscope.imaging.read import read_radiograph
from pneumoscope.imaging.read_dicom import read_dicom
from pneumoscope.imaging.rle import decode_rle

GOLDEN = Path(__file__).parents[1] / "golden" / "reading"
SHAPE = (64, 48)
PATIENT_NAME = "ROE^RICHARD"  # a patient's name, which no message may repeat


def make_file(stored: np.ndarray, *, bits: int, **tags: object) -> Dataset:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "2.25.7"
    file.SOPClassUID = DigitalXRayImageStorageForPresentation
    file.Modality, file.PatientName = "DX", PATIENT_NAME
    file.Rows, file.Columns = stored.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
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


def wrap(frame: bytes, syntax: UID, stored: np.ndarray, *, bits: int, **tags: object) -> bytes:
    file = make_file(stored, bits=bits, **tags)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([frame])
    file["PixelData"].is_undefined_length = True
    return encode(file)


def draw(bits: int, *, is_signed: bool = False) -> np.ndarray:
    low = -(1 << (bits - 1)) if is_signed else 0
    kind = f"{'i' if is_signed else 'u'}{1 if bits == 8 else 2}"
    return np.random.default_rng(bits).integers(low, low + (1 << bits), SHAPE).astype(kind)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    ("bits", "is_signed"), [(8, False), (10, False), (12, False), (16, False), (12, True)]
)
def test_lossless_equals_the_uncompressed_twin(syntax: UID, bits: int, is_signed: bool) -> None:
    stored = draw(bits, is_signed=is_signed)
    plain = make_file(stored, bits=bits)
    expected = read_dicom(encode(plain)).pixels
    compress(plain, syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read_dicom(encode(plain)).pixels, expected)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
    ],
)
def test_files_of_other_writers_equal_their_twin(name: str, twin: str) -> None:
    one, other = (
        read_dicom(Path(get_testdata_file(part)), any_modality=True).pixels for part in (name, twin)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "name",
    ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "JPEGLSNearLossless_16.dcm"],
)
def test_stored_values_equal_those_of_pydicom(name: str) -> None:
    # An oracle of its own: pydicom with its plugins, which the package does not use.
    file = pydicom.dcmread(get_testdata_file(name))
    decoded = decode_frame(
        pydicom.encaps.get_frame(file.PixelData, 0, number_of_frames=1),
        syntax=file.file_meta.TransferSyntaxUID,
        width_px=file.Columns,
        height_px=file.Rows,
        bits_allocated=file.BitsAllocated,
        is_signed=bool(file.PixelRepresentation),
    )
    np.testing.assert_array_equal(decoded, file.pixel_array)


def test_lossless_jpeg_of_another_writer_equals_its_twin() -> None:
    one, other = (read_dicom(GOLDEN / f"{name}.dcm").pixels for name in ("jpeg-lossless", "window"))
    np.testing.assert_array_equal(one, other)


def test_overlay_bits_above_those_stored_are_ignored() -> None:
    stored = draw(12)
    with_overlay = stored | np.uint16(0x8000) * (stored % 2)
    plain, marked = (encode(make_file(values, bits=12)) for values in (stored, with_overlay))
    np.testing.assert_array_equal(read_dicom(marked).pixels, read_dicom(plain).pixels)


def compressed_with_more_bits(stored: np.ndarray, syntax: UID, *, bits: int) -> bytes:
    """Return a compressed file whose samples fill 16 bits, though its tags name fewer."""
    file = make_file(stored, bits=16)
    compress(file, syntax, generate_instance_uid=False)
    file.BitsStored, file.HighBit = bits, bits - 1
    return encode(file)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_bits_above_those_stored_are_ignored_in_compressed_files(syntax: UID) -> None:
    stored = draw(12)
    expected = read_dicom(encode(make_file(stored, bits=12))).pixels
    with_overlay = stored | np.uint16(0x8000) * (stored % 2)
    data = compressed_with_more_bits(with_overlay, syntax, bits=12)
    np.testing.assert_array_equal(read_dicom(data).pixels, expected)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_a_sign_that_was_not_extended_is_read(syntax: UID) -> None:
    stored = draw(12, is_signed=True)
    expected = read_dicom(encode(make_file(stored, bits=12))).pixels
    data = compressed_with_more_bits(stored & np.int16(0x0FFF), syntax, bits=12)
    np.testing.assert_array_equal(read_dicom(data).pixels, expected)


def test_what_lossy_compression_lifts_above_the_bits_stored_stays() -> None:
    twelve = np.full(SHAPE, 4095, np.uint16)
    frame = Image.fromarray(twelve + np.uint16(9))
    buffer = io.BytesIO()
    frame.save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    data = wrap(buffer.getvalue(), JPEG2000, twelve, bits=12, WindowCenter=2048, WindowWidth=4096)
    assert (read_dicom(data).pixels == 255).all()


def jpeg_bytes(shape: tuple[int, int] = SHAPE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.resize(draw(8), shape)).save(buffer, "JPEG")
    return buffer.getvalue()


def claims_40000(frame: bytes, marker: bytes) -> bytes:
    at = frame.index(marker)
    return frame[: at + 5] + struct.pack(">HH", 40_000, 40_000) + frame[at + 9 :]


JLS = bytes.fromhex("ffd8fff7000b08") + struct.pack(">HH", *SHAPE) + bytes.fromhex("01011100")
J2K = struct.pack(">HHHHIIII", 0xFF4F, 0xFF51, 41, 0, 48, 64, 0, 0).ljust(40, b"\0")
HUGE_J2K = struct.pack(">HHHHIIII", 0xFF4F, 0xFF51, 41, 0, 40_000, 40_000, 0, 0).ljust(40, b"\0")
ONE_BYTE = bytes((0, 1, 7, 1, 1))  # one component of 8 bits
HOSTILE = {
    "jpeg": (claims_40000(jpeg_bytes(), b"\xff\xc0"), JPEGBaseline8Bit),
    "jpeg lossless": (
        b"\xff\xd8\xff\xc3\0\x0b\x08\x9c\x40\x9c\x40\x01\x01\x11\0\xff\xd9",
        JPEGLosslessSV1,
    ),
    "jpeg-ls": (claims_40000(JLS + bytes(40) + b"\xff\xd9", b"\xff\xf7"), JPEGLSLossless),
    "jpeg 2000": (HUGE_J2K + ONE_BYTE + bytes(40), JPEG2000Lossless),
    "htj2k": (HUGE_J2K + ONE_BYTE + bytes(40), HTJ2KLossless),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_frame_that_claims_more_than_its_tags_is_refused(what: str) -> None:
    frame, syntax = HOSTILE[what]
    with pytest.raises(UnreadableImageError, match="40000 x 40000 .* tags say 48 x 64"):
        read_dicom(wrap(frame, syntax, draw(8), bits=8))


def deflated_bomb() -> bytes:
    plain = encode(make_file(draw(8), bits=8))
    start = 144 + int.from_bytes(plain[140:144], "little")
    meta = make_file(draw(8), bits=8)
    meta.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    deflated = encode(meta)
    head = deflated[: 144 + int.from_bytes(deflated[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(plain[start:])
    for _ in range(300):
        body += packer.compress(bytes(1_000_000))
    return head + body + packer.flush()


def test_deflated_bomb_is_refused_while_it_inflates(tmp_path: Path) -> None:
    data = deflated_bomb()
    assert len(data) < 500_000
    path = tmp_path / "bomb.dcm"
    path.write_bytes(data)
    # In a process of its own, since the peak of this one is that of all tests before.
    code = (
        "import re, sys; from pathlib import Path\n"
        "from pneumoscope.core.errors import ImageTooLargeError\n"
        "from pneumoscope.imaging.read import read_radiograph\n"
        "try: read_radiograph(Path(sys.argv[1]))\n"
        "except ImageTooLargeError as error: print(error)\n"
        # Not ru_maxrss: on Linux it starts at the peak of the parent.
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    message, peak_kib = done.stdout.splitlines()
    assert "inflates to more than" in message
    assert int(peak_kib) < 250 << 10  # less than what it inflates to
    assert done.stderr == ""


def test_rle_never_unpacks_more_than_the_image() -> None:
    bomb = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x07" * 1_000_000  # 128 million sevens
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    values = decode_rle(bomb, n_pixels=300, n_bytes=1)
    np.testing.assert_array_equal(values, np.full(300, 7))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def twelve_bit_jpeg() -> bytes:
    frame = bytearray(jpeg_bytes())
    at = frame.index(b"\xff\xc0")
    frame[at + 1], frame[at + 4] = 0xC1, 12
    return wrap(bytes(frame), JPEGExtended12Bit, draw(12), bits=12)


def rgb_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([draw(8)] * 3)).save(buffer, "JPEG")
    return wrap(buffer.getvalue(), JPEGBaseline8Bit, draw(8), bits=8)


def cut(syntax: UID, share: float) -> bytes:
    file = make_file(draw(12), bits=12)
    compress(file, syntax, generate_instance_uid=False)
    frame = pydicom.encaps.get_frame(file.PixelData, 0, number_of_frames=1)
    return wrap(frame[: int(share * len(frame))], syntax, draw(12), bits=12)


REFUSED = {
    "cut rle": (cut(RLELossless, 0.6), "RLE Lossless.*cut short"),
    "cut jpeg-ls": (cut(JPEGLSLossless, 0.6), "JPEG-LS.*cannot be decoded: it is cut short"),
    "cut jpeg 2000": (cut(JPEG2000Lossless, 0.6), "JPEG 2000.*cannot be decoded"),
    "cut jpeg": (
        wrap(jpeg_bytes()[:900] + b"\xff\xd9", JPEGBaseline8Bit, draw(8), bits=8),
        "JPEG Baseline.*cannot be decoded",
    ),
    "jpeg without end": (wrap(jpeg_bytes()[:-2], JPEGBaseline8Bit, draw(8), bits=8), "cut short"),
    "no jpeg": (wrap(b"nothing like it", JPEGBaseline8Bit, draw(8), bits=8), "does not begin"),
    "no jpeg 2000": (wrap(b"nothing", JPEG2000Lossless, draw(8), bits=8), "does not begin"),
    "cut jpeg 2000 header": (wrap(J2K[:20], JPEG2000Lossless, draw(8), bits=8), "cut short"),
    "no rle": (wrap(b"nothing", RLELossless, draw(8), bits=8), "header"),
    "rle of one byte": (
        wrap(struct.pack("<16I", 1, 64, *[0] * 14), RLELossless, draw(12), bits=12),
        "one segment",
    ),
    "rle outside": (
        wrap(struct.pack("<16I", 1, 999, *[0] * 14), RLELossless, draw(8), bits=8),
        "outside",
    ),
    "jpeg in lossless": (wrap(jpeg_bytes(), JPEGLosslessSV1, draw(8), bits=8), "another kind"),
    "jpeg in jpeg-ls": (wrap(jpeg_bytes(), JPEGLSLossless, draw(8), bits=8), "another kind"),
    "12-bit jpeg": (twelve_bit_jpeg(), "extended JPEG with 12 bits"),
    "three components": (rgb_jpeg(), "3 components"),
    "16 bits in 8": (
        wrap(
            b"\xff\xd8\xff\xc3\0\x0b\x10\0\x40\0\x30\x01\x01\x11\0",
            JPEGLosslessSV1,
            draw(8),
            bits=8,
        ),
        "16 bits in 8",
    ),
    "ct": (encode(make_file(draw(12), bits=12, Modality="CT")), r"Modality.*CT.*CR, DR, DX"),
    "own modality": (
        encode(make_file(draw(12), bits=12, Modality="ROERICHARD")),
        "none of the standard's",
    ),
    "raw": (
        encode(make_file(draw(12), bits=12, PresentationIntentType="FOR PROCESSING")),
        "FOR PROCESSING.*FOR PRESENTATION",
    ),
    "high bit": (encode(make_file(draw(12), bits=12, HighBit=15)), "HighBit 15 with 12"),
    "cut native": (encode(make_file(draw(12), bits=12))[:-100], "cut short"),
    "own photometric": (
        encode(make_file(draw(12), bits=12, PhotometricInterpretation="ROE RICHARD")),
        "unknown PhotometricInterpretation",
    ),
    "window without width": (
        encode(make_file(draw(12), bits=12, WindowCenter=5, WindowWidth=-3)),
        "WindowWidth",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusal_names_the_fault_and_nothing_of_the_patient(
    what: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data, reason = REFUSED[what]
    with caplog.at_level(logging.DEBUG), pytest.raises(UnreadableImageError, match=reason) as error:
        read_radiograph(data, name="row 7")
    message = str(error.value)
    assert message.startswith("row 7: ")
    assert message.endswith(".")
    assert "ROE" not in message
    assert "RICHARD" not in message
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_any_modality_can_be_asked_for() -> None:
    raw = {"PresentationIntentType": "FOR PROCESSING"}
    data = encode(make_file(draw(12), bits=12, Modality="CT", **raw))
    assert read_radiograph(data, any_modality=True).modality == "CT"


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", "RG", "RF", "OT", ""])
def test_modalities_of_radiographs_are_read(modality: str) -> None:
    assert read_dicom(encode(make_file(draw(8), bits=8, Modality=modality))).pixels.shape == SHAPE


def test_huge_tags_are_refused_before_the_frame_is_looked_at() -> None:
    frame, syntax = HOSTILE["jpeg"]
    data = wrap(frame, syntax, draw(8), bits=8, Rows=40_000, Columns=40_000)
    with pytest.raises(ImageTooLargeError, match="40000 x 40000"):
        read_dicom(data)


def test_golden_answers_are_not_trivial() -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
    assert len({tuple(case["rows"]) for case in expected.values()}) >= 12
