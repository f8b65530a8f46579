"""Write the golden files of reading: tiny pictures and DICOM images, and what they decode to.

The expected display values are worked out here from the formulas of docs/reading.md, in floating
point and without the package, so that Python and the browser can both be held to them. Lossy
JPEGs are the exception: there the values are what libjpeg-turbo decodes, and `tolerance` is what
another decoder may differ by. Run it as `python tests/golden/make_reading.py`.
"""

import io
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import compress
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

FOLDER = Path(__file__).parent / "reading"
HEIGHT, WIDTH = 12, 20
RNG = np.random.default_rng(2026)
SMOOTH = (np.add.outer(7 * np.arange(HEIGHT), 9 * np.arange(WIDTH)) % 256).astype(np.uint8)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
TWELVE = RNG.integers(0, 4096, (HEIGHT, WIDTH), dtype=np.uint16)
SIGNED = RNG.integers(-2048, 2048, (HEIGHT, WIDTH), dtype=np.int16)
# The first columns are padding, far from the picture's own values.
PADDED = np.where(np.arange(WIDTH) < 4, 30_000, TWELVE).astype(np.uint16)
PADDED_SIGNED = np.where(np.arange(WIDTH) < 4, -9000 - SIGNED % 3, SIGNED).astype(np.int16)


def luma(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = (rgb[..., channel].astype(int) for channel in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def window(value: np.ndarray, center: float, width: float) -> np.ndarray:
    share = (value - (center - 0.5)) / (width - 1) + 0.5
    share = np.where(value <= center - 0.5 - (width - 1) / 2, 0, share)
    return np.rint(255 * np.where(value > center - 0.5 + (width - 1) / 2, 1, share))


def sigmoid(value: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.rint(255 / (1 + np.exp(-4 * (value - center) / width)))


def stretch(value: np.ndarray) -> np.ndarray:
    value = value.astype(float)
    return np.rint(255 * (value - value.min()) / (value.max() - value.min()))


def stretch_picture(value: np.ndarray) -> np.ndarray:
    shown = np.zeros(value.shape)
    shown[:, 4:] = stretch(value[:, 4:])
    return shown


def picture(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_decoded(data: bytes, scale: int = 1) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    return np.asarray(image.convert("L"))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def dicom(stored: np.ndarray, *, bits: int, **tags: object) -> Dataset:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "2.25.20261121"
    file.SOPClassUID = DigitalXRayImageStorageForPresentation
    file.Modality, file.ViewPosition, file.PatientAge, file.PatientSex = "DX", "AP", "018M", "F"
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


def encode(file: Dataset, change: Callable[[Dataset], None] | None = None) -> bytes:
    if change:
        change(file)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(file: Dataset, syntax: str) -> bytes:
    return encode(file, lambda f: compress(f, syntax, generate_instance_uid=False))


def with_lut(file: Dataset, entries: np.ndarray, bits: int, first: int) -> bytes:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries.tolist())
    file.VOILUTSequence = Sequence([item])
    return encode(file)


def padded(stored: np.ndarray, first: int, last: int, **tags: object) -> bytes:
    file = dicom(stored, bits=16, **tags)
    # As some write them, in the unsigned type though the pixels are signed.
    file.add_new("PixelPaddingValue", "US", first & 0xFFFF)
    file.add_new("PixelPaddingRangeLimit", "US", last & 0xFFFF)
    return encode(file)


def jpeg_2000_dicom(**tags: object) -> bytes:
    file = dicom(TWELVE, bits=12, **tags)
    file.file_meta.TransferSyntaxUID = JPEG2000Lossless
    frame = picture(TWELVE, "JPEG2000", no_jp2=True, num_resolutions=2, irreversible=False)
    file.PixelData = encapsulate([frame])
    file["PixelData"].is_undefined_length = True
    return encode(file)


def gdcm_lossless(data: bytes) -> bytes:
    """Compress with GDCM's own program (python-gdcm brings it), as archives do."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain.dcm"), Path(folder, "packed.dcm")
        plain.write_bytes(data)
        subprocess.run(["gdcmconv", "--jpeg", plain, packed], check=True)
        return packed.read_bytes()


def jpeg_dicom() -> bytes:
    file = dicom(SMOOTH, bits=8, WindowCenter=128, WindowWidth=256)
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file.PixelData = encapsulate([picture(SMOOTH, "JPEG", quality=92)])
    file["PixelData"].is_undefined_length = True
    return encode(file)


def deflate(file: Dataset) -> None:
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def rasters() -> dict[str, tuple[bytes, np.ndarray, dict[str, object]]]:
    palette = Image.fromarray(RGB[:, :8]).quantize(16)
    alpha = np.dstack([RGB, np.where(np.arange(WIDTH) % 2, 255, 0) * np.ones((HEIGHT, 1))])
    gray_jpeg = picture(SMOOTH, "JPEG", quality=92)
    lossy: dict[str, object] = {"tolerance": 2}
    made = {
        "gray.png": (picture(SMOOTH, "PNG"), SMOOTH, {}),
        "rgb.png": (picture(RGB, "PNG"), luma(RGB), {"is_colour": True}),
        "palette.png": (
            picture(palette, "PNG"),
            luma(np.asarray(palette.convert("RGB"))),
            {"is_colour": True},
        ),
        "see-through.png": (
            picture(alpha.astype(np.uint8), "PNG"),
            luma(RGB) * (np.arange(WIDTH) % 2),
            {"is_colour": True},
        ),
        "gray.jpeg": (gray_jpeg, as_decoded(gray_jpeg), lossy),
    }
    turned = picture(SMOOTH, "JPEG", quality=92, exif=exif(6))
    made["turned.jpeg"] = (turned, as_decoded(turned)[::-1].T, lossy)
    three = picture(np.dstack([SMOOTH] * 3), "JPEG", quality=92, progressive=True)
    made["progressive-rgb.jpeg"] = (three, as_decoded(three), lossy)
    half = {"scaled_to_px": 6, "file_height_px": 20, "file_width_px": 12}
    made["turned-half.jpeg"] = (turned, as_decoded(turned, 2)[::-1].T, lossy | half)
    return made


def dicoms() -> dict[str, tuple[bytes, np.ndarray, dict[str, object]]]:
    facts = {"modality": "DX", "view_position": "AP", "age_years": 1.5, "sex": "F"}
    entries = (np.linspace(0, 1, 4096) ** 2 * 1023).astype(np.uint16)
    bytes_of_lut = entries // 4
    far = {"RescaleSlope": 32, "RescaleIntercept": 0, "RescaleType": "US"}  # to 131,040
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -700, "RescaleType": "US"}
    bent = {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}
    jpeg = jpeg_dicom()
    linear = {"WindowCenter": [1800, 1], "WindowWidth": [3000, 2]}
    shown = window(TWELVE.astype(float), 1800, 3000)
    in_jpeg = as_decoded(picture(SMOOTH, "JPEG", quality=92)).astype(float)
    cases = {
        "no-window.dcm": (encode(dicom(TWELVE, bits=12)), stretch(TWELVE)),
        "window.dcm": (encode(dicom(TWELVE, bits=12, **linear)), shown),
        "deflated.dcm": (encode(dicom(TWELVE, bits=12, **linear), deflate), shown),
        "rle.dcm": (compressed(dicom(TWELVE, bits=12, **linear), RLELossless), shown),
        "jpeg-ls.dcm": (compressed(dicom(TWELVE, bits=12, **linear), JPEGLSLossless), shown),
        "jpeg-2000.dcm": (jpeg_2000_dicom(**linear), shown),
        "jpeg-lossless.dcm": (gdcm_lossless(encode(dicom(TWELVE, bits=12, **linear))), shown),
        "monochrome1.dcm": (
            encode(dicom(TWELVE, bits=12, PhotometricInterpretation="MONOCHROME1", **linear)),
            255 - shown,
        ),
        "rescaled-signed.dcm": (
            encode(dicom(SIGNED, bits=12, WindowCenter=0, WindowWidth=4000, **rescale)),
            window(2.0 * SIGNED - 700, 0, 4000),
        ),
        "sigmoid.dcm": (
            encode(dicom(TWELVE, bits=12, **bent)),
            sigmoid(TWELVE.astype(float), 2000, 900),
        ),
        "voi-lut.dcm": (
            with_lut(dicom(TWELVE, bits=12), entries, 10, 0),
            np.rint(entries[TWELVE] / 1023 * 255),
        ),
        "voi-lut-8-bit.dcm": (
            with_lut(dicom(TWELVE, bits=12), bytes_of_lut, 8, 0),
            bytes_of_lut[TWELVE],
        ),
        "voi-lut-far-outside.dcm": (
            with_lut(dicom(TWELVE, bits=12, **far), entries, 10, 0),
            np.rint(entries[np.minimum(32 * TWELVE.astype(int), 4095)] / 1023 * 255),
        ),
        "padding.dcm": (
            encode(dicom(PADDED, bits=16, PixelPaddingValue=30_000)),
            stretch_picture(PADDED),
        ),
        "padding-range.dcm": (  # padding is black also in a negative
            padded(PADDED_SIGNED, -9002, -9000, PhotometricInterpretation="MONOCHROME1"),
            stretch_picture(-PADDED_SIGNED.astype(int)),
        ),
        "padding-alone.dcm": (padded(PADDED_SIGNED[:, :4], -9000, -9002), np.zeros((HEIGHT, 4))),
        "jpeg-baseline.dcm": (jpeg, window(in_jpeg, 128, 256)),
    }
    lossy = {"jpeg-baseline.dcm": {"tolerance": 2}}
    return {name: (*case, facts | lossy.get(name, {})) for name, case in cases.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    expected = {}
    for name, (data, pixels, facts) in (rasters() | dicoms()).items():
        (FOLDER / name).write_bytes(data)
        rows = [bytes(row).hex() for row in pixels.astype(np.uint8)]
        expected[name] = {**facts, "rows": rows}
    text = json.dumps(expected, indent=1) + "\n"
    (FOLDER / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
