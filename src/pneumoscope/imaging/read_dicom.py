"""Read a radiograph from a DICOM file: stored -> modality -> display values."""

import io
import re
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pneumoscope.core.errors import RadiographError, UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.quiet import quiet_warnings
from pneumoscope.imaging.source import MAX_PIXELS, check_size, read_source

_REQUIRED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)
# Where one of these stands in a file without a value, it counts as absent.
_OPTIONAL = (
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "NumberOfFrames",
)
_UNITS_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def read_dicom(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Radiograph:
    """Read a single-frame gray DICOM image as display values.

    Stored values pass the modality LUT (or RescaleSlope and RescaleIntercept), then the VOI LUT
    or the first window; without either, the image's smallest and largest values become black and
    white. MONOCHROME1 is inverted, so that larger is always brighter.

    Args:
        source: The file, or its bytes.
        name: What to call the image in messages instead of the file's path.
        max_pixels: Larger images are refused before they are decoded.

    Returns: Pixels (H, W), and the modality, view, age and sex that the file states.

    Raises:
        UnreadableImageError: not DICOM, damaged, no pixel data, several frames, colour, a
            required tag is missing, or a transfer syntax that cannot be decoded here.
        ImageTooLargeError: it claims more than ``max_pixels``.

    Source: DICOM PS3.3, sections C.7.6.3 (image pixel), C.11.1 and C.11.2 (modality and VOI LUT).
    """
    data, title = read_source(source, name=name)
    try:
        with quiet_warnings():
            return _decode(data, title, max_pixels)
    except RadiographError:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged bytes; we promise one
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        raise _refused(
            title,
            f"is not a DICOM file that can be read ({reason})",
            "Export it again from where it came, or leave it out",
        ) from error


def _decode(data: bytes, title: str, max_pixels: int) -> Radiograph:
    # Before parsing, because inflating a hostile file could fill the memory. The transfer syntax
    # stands among the first elements behind the preamble.
    if DeflatedExplicitVRLittleEndian.encode() in data[132:1024]:
        raise _syntax_error(title, DeflatedExplicitVRLittleEndian)
    file = pydicom.dcmread(io.BytesIO(data))
    for keyword in _OPTIONAL:
        if keyword in file and file[keyword].is_empty:
            del file[keyword]
    _check_tags(file, title)
    check_size(title, width_px=file.Columns, height_px=file.Rows, max_pixels=max_pixels)
    _check_transfer_syntax(file, title)
    stored = file.pixel_array
    if stored.shape != (file.Rows, file.Columns):
        raise _refused(title, f"decodes to the shape {stored.shape}", "Export it again")
    return Radiograph(
        pixels=_display_values(stored, file),
        modality=_text(file, "Modality"),
        view_position=_text(file, "ViewPosition"),
        age_years=_age_years(_text(file, "PatientAge")),
        sex=_text(file, "PatientSex"),
    )


def _check_tags(file: Dataset, title: str) -> None:
    if "PixelData" not in file:
        raise _refused(
            title,
            "has no pixel data (7FE0,0010)",
            "Send the image itself, not a report, a presentation state or a part of the file",
        )
    missing = [keyword for keyword in _REQUIRED if file.get(keyword) in (None, "")]
    if missing:
        raise _refused(title, f"lacks {', '.join(missing)}", "Export it again, whole")
    if int(file.get("NumberOfFrames", 1)) > 1:
        raise _refused(
            title,
            f"has {file.NumberOfFrames} frames, and a radiograph has one",
            "Export the frame as an image of its own",
        )
    photometric = str(file.PhotometricInterpretation)
    if file.SamplesPerPixel != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _refused(
            title,
            f"is {photometric} with {file.SamplesPerPixel} samples a pixel, not a gray image",
            "Send the original radiograph, MONOCHROME1 or MONOCHROME2",
        )
    if file.BitsAllocated not in (8, 16) or not 8 <= file.BitsStored <= file.BitsAllocated:
        raise _refused(
            title,
            f"stores {file.BitsStored} bits in {file.BitsAllocated}, and 8 to 16 are read",
            "Export it with 8 to 16 bits",
        )


def _check_transfer_syntax(file: Dataset, title: str) -> None:
    syntax = getattr(file.file_meta, "TransferSyntaxUID", None)
    if not syntax:
        raise _refused(title, "lacks TransferSyntaxUID (0002,0010)", "Export it again, whole")
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:  # pydicom's word for video and other strangers
        is_available = False
    if not is_available:
        raise _syntax_error(title, syntax)


def _display_values(stored: NDArray[np.integer], file: Dataset) -> NDArray[np.uint8]:
    """Return (H, W) display values: one look-up for each stored value, then one for each pixel."""
    lowest, highest = int(stored.min()), int(stored.max())
    table = apply_modality_lut(np.arange(lowest, highest + 1), file)
    black, white = float(table.min()), float(table.max())
    if "VOILUTSequence" in file:
        table = apply_voi_lut(table, file)
        black, white = 0.0, 2.0 ** file.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowCenter" in file and "WindowWidth" in file:
        table = apply_windowing(table, file)
        # The ends of the window's scale, as values far below and far above it show them. Not
        # those of the table: an image that uses half of its window must not be stretched.
        black, white = (float(end) for end in apply_windowing(np.array([-1e9, 1e9]), file))
    share = (table.astype(np.float64) - black) / ((white - black) or 1.0)
    if not np.isfinite(share).all():
        raise ValueError("the rescale or window values are not finite")
    display = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    if file.PhotometricInterpretation == "MONOCHROME1":
        display = 255 - display
    return display[stored.astype(np.int32) - lowest]


def _text(file: Dataset, keyword: str) -> str | None:
    """Return a one-word value in capitals, or None where it is absent or empty."""
    return str(file.get(keyword) or "").strip().upper() or None


def _age_years(age: str | None) -> float | None:
    """Read an Age String, such as "004Y" or "018M"; bare digits are years, as in RSNA's files."""
    match = re.fullmatch(r"(\d{1,3})([YMWD]?)", age or "")
    return int(match[1]) / _UNITS_PER_YEAR[match[2] or "Y"] if match else None


def _syntax_error(title: str, syntax: UID) -> UnreadableImageError:
    return _refused(
        title,
        f"has the transfer syntax {syntax.name} ({syntax}), which is not decoded here",
        "Convert it to Explicit VR Little Endian, for example with dcmdjpeg or gdcmconv --raw",
    )


def _refused(title: str, fault: str, advice: str) -> UnreadableImageError:
    return UnreadableImageError(f"{title}: {fault}. {advice}.")
