"""Read a radiograph from a DICOM file: stored -> modality -> display values."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pneumoscope.core.errors import ImageTooLargeError, RadiographError
from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.dicom_frame import COMPRESSED, LOSSLESS, decode_frame
from pneumoscope.imaging.dicom_tags import (
    age_years,
    check_intent,
    check_modality,
    check_tags,
    drop_empty,
    padding_range,
    refused,
    text,
)
from pneumoscope.imaging.quiet import quiet_warnings
from pneumoscope.imaging.source import MAX_PIXELS, check_size, read_source

_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
_FACTS = (0x00100020, 0x00100040, 0x00101010, 0x00185101)  # in ascending order
_HEADER_BYTES = 1 << 24  # more than the elements beside the pixels ever need
_CHUNK_BYTES = 1 << 20
_BLOCK_ROWS = 256
_VOI_DEPTHS = (8, *range(10, 17))  # PS3.3, C.11.2.1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomFacts:
    """What a file states of its patient; None where it does not."""

    patient_id: str | None  # (0010,0020)
    view_position: str | None  # (0018,5101): "PA", "AP", "LL"
    age_years: float | None  # (0010,1010)
    sex: str | None  # (0010,0040): "F", "M", "O"


def read_dicom_facts(path: Path) -> DicomFacts | None:
    """Return what a file's header states; None where it is no DICOM file that can be read.

    About a millisecond a file: nothing behind ViewPosition is looked at, least of all the pixels.
    """
    try:
        if not path.is_file():  # opening a pipe could wait for ever
            return None
        with quiet_warnings(), path.open("rb") as stream:
            _check_inflated_size(stream, str(path), MAX_PIXELS)
            stream.seek(0)
            file = read_partial(stream, stop_when=_is_behind_facts, specific_tags=list(_FACTS))
            return DicomFacts(
                patient_id=str(file.get("PatientID") or "").strip() or None,
                view_position=text(file, "ViewPosition"),
                age_years=age_years(text(file, "PatientAge")),
                sex=text(file, "PatientSex"),
            )
    except Exception:  # pydicom raises many kinds; decoding will say what is wrong with it
        return None


def read_dicom(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    any_modality: bool = False,
) -> Radiograph:
    """Read a single-frame gray DICOM image as display values.

    Stored values pass the modality LUT (or RescaleSlope and RescaleIntercept), then the VOI LUT
    or the first window; without either, the image's smallest and largest values become black and
    white. MONOCHROME1 is inverted, so that larger is always brighter. Pixels that the file states
    to be padding take no part in this and are black.

    Args:
        source: The file, or its bytes.
        name: What to call the image in messages instead of the file's path.
        max_pixels: Larger images are refused before they are decoded.
        any_modality: Read an image that cannot be a radiograph (CT, MR, US), or that is meant for
            processing, all the same.

    Returns: Pixels (H, W), and the modality, view, age and sex that the file states.

    Raises:
        UnreadableImageError: not DICOM, damaged, no pixel data, several frames, colour, of
            another modality, meant for processing, a required tag is missing, or a transfer
            syntax that is not decoded.
        ImageTooLargeError: it claims more than ``max_pixels``.
        MemoryError: too little is free to decode it.

    Source: DICOM PS3.3, sections C.7.6.3 (image pixel), C.11.1 and C.11.2 (modality and VOI LUT).
    """
    data, title = read_source(source, name=name)
    try:
        with quiet_warnings():
            return _decode(data, title, max_pixels, any_modality)
    except (RadiographError, MemoryError):  # a lack of memory is no fault of the file
        raise
    except Exception as error:
        # pydicom raises many kinds for damaged bytes; we promise one. Its words stay out of ours,
        # because they may quote a patient's tags.
        raise refused(
            title,
            f"is not a DICOM file that can be read ({type(error).__name__} while parsing it)",
            "Export it again from where it came, or leave it out",
        ) from error


def _decode(data: bytes, title: str, max_pixels: int, any_modality: bool) -> Radiograph:
    _check_inflated_size(io.BytesIO(data), title, max_pixels)
    file = pydicom.dcmread(io.BytesIO(data))
    drop_empty(file)
    check_tags(file, title)
    if not any_modality:
        check_modality(file, title)
        check_intent(file, title)
    check_size(title, width_px=file.Columns, height_px=file.Rows, max_pixels=max_pixels)
    return Radiograph(
        pixels=_display_values(_stored_values(file, title), file, title),
        modality=text(file, "Modality"),
        view_position=text(file, "ViewPosition"),
        age_years=age_years(text(file, "PatientAge")),
        sex=text(file, "PatientSex"),
    )


def _check_inflated_size(stream: BinaryIO, title: str, max_pixels: int) -> None:
    """Inflate a deflated file piece by piece and refuse it when it grows past what is sensible."""
    stream.seek(132)
    meta = FileMetaDataset(read_dataset(stream, False, True, stop_when=_is_behind_meta))
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    limit = 2 * max_pixels + _HEADER_BYTES  # 16 bits a pixel
    inflater, n_bytes, pending = zlib.decompressobj(-zlib.MAX_WBITS), 0, stream.read()
    while pending and not inflater.eof:
        n_bytes += len(inflater.decompress(pending, _CHUNK_BYTES))
        pending = inflater.unconsumed_tail
        if n_bytes > limit:
            raise ImageTooLargeError(
                f"{title}: inflates to more than the {limit:,} bytes that are read at most. "
                "Check that it is a radiograph, or export it uncompressed."
            )


def _is_behind_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _is_behind_facts(tag: int, vr: str | None, length: int) -> bool:
    return tag > _FACTS[-1]


def _stored_values(file: Dataset, title: str) -> NDArray[np.int32]:
    """Return (H, W) stored values, decoded where they are compressed."""
    syntax = UID(getattr(file.file_meta, "TransferSyntaxUID", None) or "")
    if not syntax:
        raise refused(title, "lacks TransferSyntaxUID (0002,0010)", "Export it again, whole")
    if syntax in _NATIVE:
        return _native_values(file, syntax, title)
    if syntax not in COMPRESSED:
        known = f"{syntax.name} ({syntax})" if syntax.is_transfer_syntax else "of its own kind"
        raise refused(
            title,
            f"has the transfer syntax {known}, which is not decoded here",
            "Convert it to Explicit VR Little Endian, for example with dcmdjpeg or gdcmconv --raw",
        )
    try:
        values = decode_frame(
            get_frame(file.PixelData, 0, number_of_frames=1),
            syntax=syntax,
            width_px=file.Columns,
            height_px=file.Rows,
            bits_allocated=file.BitsAllocated,
            is_signed=file.PixelRepresentation == 1,
        )
    except MemoryError:
        raise
    except Exception as error:  # each decoder has kinds of its own; what they say names no patient
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        raise refused(
            title,
            f"has pixel data ({syntax.name}) that cannot be decoded: {reason}",
            "Export it again from where it came, uncompressed if that can be chosen",
        ) from error
    # What was lossy may lie a little above the bits stored: that is part of the value.
    return _cut_to_stored(values, file) if syntax in LOSSLESS else values


def _native_values(file: Dataset, syntax: UID, title: str) -> NDArray[np.int32]:
    n_bytes = file.BitsAllocated // 8
    n_expected = file.Rows * file.Columns * n_bytes
    data = file.PixelData or b""  # None where it is there and empty
    if len(data) < n_expected:
        raise refused(
            title,
            f"has {len(data):,} bytes of pixel data where its tags promise {n_expected:,}",
            "It was cut short: copy it again from where it came",
        )
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if n_bytes == 1 and order == ">" and file["PixelData"].VR == "OW":
        # Bytes in 16-bit words, each of them turned round (PS3.5, A.3).
        data = np.frombuffer(data, ">u2", len(data) // 2).astype("<u2").tobytes()
    stored = np.frombuffer(data, f"{order}u{n_bytes}", file.Rows * file.Columns)
    values = stored.astype(np.int32).reshape(file.Rows, file.Columns)
    return _cut_to_stored(values, file)


def _cut_to_stored(values: NDArray[np.int32], file: Dataset) -> NDArray[np.int32]:
    """Return the values, changed in place, without the bits above those stored (BitsStored).

    These are no part of the value: old files hide overlays there, or leave out a number's sign.
    """
    values &= (1 << file.BitsStored) - 1
    if file.PixelRepresentation == 1:
        values[values >= 1 << (file.BitsStored - 1)] -= 1 << file.BitsStored
    return values


def _display_values(stored: NDArray[np.int32], file: Dataset, title: str) -> NDArray[np.uint8]:
    """Return (H, W) display values; padding is black. ``stored`` may be changed."""
    padding = padding_range(file)
    if padding is None:
        return _picture_values(stored, file, title)
    is_padding = (stored >= padding[0]) & (stored <= padding[1])
    if is_padding.all():
        return np.zeros(stored.shape, np.uint8)
    stored[is_padding] = stored.flat[is_padding.argmin()]  # the picture's extremes stay as they are
    shown = _picture_values(stored, file, title)
    shown[is_padding] = 0
    return shown


def _picture_values(stored: NDArray[np.int32], file: Dataset, title: str) -> NDArray[np.uint8]:
    """Return (H, W) display values: one look-up for each stored value, then one for each pixel."""
    lowest, highest = int(stored.min()), int(stored.max())
    try:
        table = apply_modality_lut(np.arange(lowest, highest + 1), file)
        black, white = float(table.min()), float(table.max())
        if "VOILUTSequence" in file:
            table, bits = _through_voi_lut(table, file)
            black, white = 0.0, 2.0**bits - 1
        elif "WindowCenter" in file and "WindowWidth" in file:
            table = apply_windowing(table, file)
            # The ends of the window's scale, as values far below and far above it show them. Not
            # those of the table: an image that uses half of its window must not be stretched.
            black, white = (float(end) for end in apply_windowing(np.array([-1e9, 1e9]), file))
        share = (table.astype(np.float64) - black) / ((white - black) or 1.0)
        if not np.isfinite(share).all():
            raise ValueError("not finite")
    except MemoryError:
        raise
    except Exception as error:
        raise refused(
            title,
            "has a rescale, WindowWidth, WindowCenter or LUT that has no meaning",
            "Export it again from where it came",
        ) from error
    display = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    if file.PhotometricInterpretation == "MONOCHROME1":
        display = 255 - display
    shown = np.empty(stored.shape, np.uint8)
    for top in range(0, len(shown), _BLOCK_ROWS):  # so that NumPy's 64-bit indices stay few
        shown[top : top + _BLOCK_ROWS] = display[stored[top : top + _BLOCK_ROWS] - lowest]
    return shown


def _through_voi_lut(values: NDArray[np.generic], file: Dataset) -> tuple[NDArray[np.uint16], int]:
    """Return what the first VOI LUT has for modality values (N,), and the bits of its entries.

    Values outside the table take its first or last entry; fractions are cut off. pydicom's own
    `apply_voi` indexes in the entries' type, so that 8-bit entries would repeat after 256.

    Raises: ValueError: the table is too short, or of a depth or with entries that have no meaning.
    """
    item = file.VOILUTSequence[0]
    n_entries, first, bits = item.LUTDescriptor
    n_entries = n_entries or 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        is_big = file.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
        data = np.frombuffer(data, ">u2" if is_big else "<u2")
    entries = np.atleast_1d(np.asarray(data)).astype(np.uint16)[:n_entries]
    if bits not in _VOI_DEPTHS or len(entries) < n_entries:
        raise ValueError("a table of another depth, or too short")
    if bits == 8 and entries.max() > 255:
        raise ValueError("too large entries")
    index = np.clip(np.trunc(values.astype(np.float64) - first), 0, n_entries - 1)
    if np.isnan(index).any():
        raise ValueError("no number")
    return entries[index.astype(np.intp)], bits
