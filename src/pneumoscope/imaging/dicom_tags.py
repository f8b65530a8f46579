"""What a DICOM image's tags must say before its pixels are decoded, and what they tell of it."""

import re
from typing import Any

from pydicom.multival import MultiValue

from pneumoscope.core.errors import UnreadableImageError

# RF is read because fluoroscopy units take plain chest radiographs, too, and OT because
# secondary captures of radiographs are filed under it; DR is a common slip for DX.
RADIOGRAPH_MODALITIES = frozenset(("CR", "DX", "DR", "RG", "RF", "OT"))
# Those of PS3.3, C.7.3.1.1.1 that a chest folder is likely to hold. Only a known term is quoted
# in a message: what else stands in the tag could be anything, a patient's name among it.
# fmt: off
_OTHER_MODALITIES = frozenset(
    (
        "AU", "BI", "CT", "DOC", "ECG", "EPS", "ES", "GM", "HD", "IO", "IVUS", "KO", "LS",
        "MG", "MR", "NM", "OAM", "OP", "OPT", "PR", "PT", "PX", "REG", "RTDOSE", "RTIMAGE",
        "RTPLAN", "RTSTRUCT", "SEG", "SM", "SR", "TG", "US", "XA", "XC",
    )
)
# fmt: on
_PHOTOMETRIC = (
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
    "XYB",
)
_REQUIRED_NUMBERS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
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
    "HighBit",
)
_UNITS_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def drop_empty(file: Any) -> None:
    """Delete the optional elements that have no value."""
    for keyword in _OPTIONAL:
        if keyword in file and file[keyword].is_empty:
            del file[keyword]


def check_tags(file: Any, title: str) -> None:
    """Refuse whatever is not one gray frame of 8 to 16 bits.

    Raises: UnreadableImageError: with the tag that says so.
    """
    if "PixelData" not in file:
        raise refused(
            title,
            "has no pixel data (7FE0,0010)",
            "Send the image itself, not a report, a presentation state or a part of the file",
        )
    required = (*_REQUIRED_NUMBERS, "PhotometricInterpretation")
    missing = [keyword for keyword in required if file.get(keyword) in (None, "")]
    if missing:
        raise refused(title, f"lacks {', '.join(missing)}", "Export it again, whole")
    for keyword in (*_REQUIRED_NUMBERS, "NumberOfFrames", "HighBit"):
        if not isinstance(file.get(keyword, 0), int):
            raise refused(title, f"has a {keyword} that is no number", "Export it again")
    if file.Rows < 1 or file.Columns < 1:
        raise refused(title, "has no Rows or no Columns", "Export it again, whole")
    if file.get("NumberOfFrames", 1) > 1:
        raise refused(
            title,
            f"has {file.NumberOfFrames} frames, and a radiograph has one",
            "Export the frame as an image of its own",
        )
    _check_pixel_tags(file, title)


def _check_pixel_tags(file: Any, title: str) -> None:
    photometric = str(file.PhotometricInterpretation)
    if file.SamplesPerPixel != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        known = photometric if photometric in (*_PHOTOMETRIC, "MONOCHROME1", "MONOCHROME2") else ""
        raise refused(
            title,
            f"is {known or 'of an unknown PhotometricInterpretation'} with "
            f"{file.SamplesPerPixel} samples a pixel, not a gray image",
            "Send the original radiograph, MONOCHROME1 or MONOCHROME2",
        )
    if file.BitsAllocated not in (8, 16) or not 8 <= file.BitsStored <= file.BitsAllocated:
        raise refused(
            title,
            f"stores {file.BitsStored} bits in {file.BitsAllocated}, and 8 to 16 are read",
            "Export it with 8 to 16 bits",
        )
    if file.get("HighBit", file.BitsStored - 1) != file.BitsStored - 1:
        raise refused(
            title,
            f"has HighBit {file.HighBit} with {file.BitsStored} bits stored, not one less",
            "Export it again from where it came",
        )


def check_modality(file: Any, title: str) -> None:
    """Refuse an image that another kind of machine took; one without a modality passes.

    Raises: UnreadableImageError: Modality (0008,0060) is not that of a radiograph.
    """
    modality = text(file, "Modality")
    if modality is None or modality in RADIOGRAPH_MODALITIES:
        return
    known = modality if modality in _OTHER_MODALITIES else "none of the standard's"
    raise refused(
        title,
        f"has the Modality (0008,0060) {known}, and a radiograph has one of "
        f"{', '.join(sorted(RADIOGRAPH_MODALITIES))}",
        "Send the chest radiograph itself",
    )


def check_intent(file: Any, title: str) -> None:
    """Refuse the detector's own values, which no display was meant to show as they are.

    Raises: UnreadableImageError: PresentationIntentType (0008,0068) is FOR PROCESSING.
    """
    if text(file, "PresentationIntentType") == "FOR PROCESSING":
        raise refused(
            title,
            "has the PresentationIntentType (0008,0068) FOR PROCESSING: the detector's raw values",
            "Send the image FOR PRESENTATION of the same radiograph",
        )


def padding_range(file: Any) -> tuple[int, int] | None:
    """Return the smallest and the largest stored value that fill up the rows beside the picture.

    Returns: None where PixelPaddingValue (0028,0120) is absent.
    Source: DICOM PS3.3, C.7.5.1.1.2.
    """
    value = file.get("PixelPaddingValue")
    limit = file.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    ends = (value, limit if isinstance(limit, int) else value)
    # 16 bits with the pixels' sign, whatever sign the tags' own type (US or SS) gives them.
    words = [end & 0xFFFF for end in ends]
    if file.PixelRepresentation == 1:
        words = [word - (1 << 16) if word >= 1 << 15 else word for word in words]
    return min(words), max(words)


def text(file: Any, keyword: str) -> str | None:
    """Return a one-word value in capitals, or None where it is absent or empty.

    Several values are joined as the file holds them, by a backslash.
    """
    value = file.get(keyword) or ""
    words = "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
    return words.strip().upper() or None


def age_years(age: str | None) -> float | None:
    """Read an Age String, such as "004Y" or "018M"; bare digits are years, as in RSNA's files."""
    match = re.fullmatch(r"(\d{1,3})([YMWD]?)", age or "")
    return int(match[1]) / _UNITS_PER_YEAR[match[2] or "Y"] if match else None


def refused(title: str, fault: str, advice: str) -> UnreadableImageError:
    """Return the error: which image, what is wrong, what to do."""
    return UnreadableImageError(f"{title}: {fault}. {advice}.")
