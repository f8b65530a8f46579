"""Decode the compressed pixel data of a DICOM image: its frame -> stored values."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, Jpeg2KImagePlugin, JpegImagePlugin

from pneumoscope.imaging.codestream import (
    Codestream,
    find_jpeg_2000,
    read_jpeg_2000_header,
    read_jpeg_header,
)
from pneumoscope.imaging.jpeg import find_jpeg_end, is_filled_up
from pneumoscope.imaging.jpeg_lossless import decode_jpeg_lossless
from pneumoscope.imaging.rle import decode_rle

# PS3.5, section 10 and PS3.6, annex A. The plain strings keep this file free of pydicom.
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
LOSSLESS = frozenset((*_JPEG_LOSSLESS, _JPEG_LS[0], _JPEG_2000[0], *_HTJ2K[:2], _RLE))
COMPRESSED = frozenset((*_JPEG, *_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000, *_HTJ2K, _RLE))


def decode_frame(
    data: bytes,
    *,
    syntax: str,
    width_px: int,
    height_px: int,
    bits_allocated: int,
    is_signed: bool,
) -> NDArray[np.int32]:
    """Return the stored values of one compressed gray frame.

    The frame's own size must be the stated one before it is decoded, so that the caller's check
    of the size holds for the memory, too. Every decoder gives b-bit samples; where the file's
    values are signed, the upper half of them are the negative ones (two's complement).

    Args:
        data: The frame, its fragments joined.
        syntax: The transfer syntax UID, one of ``COMPRESSED``.
        width_px: Columns (0028,0011).
        height_px: Rows (0028,0010).
        bits_allocated: 8 or 16.
        is_signed: PixelRepresentation (0028,0103).

    Returns: (height_px, width_px).
    Raises: ValueError: damaged, cut short, or the frame differs from what is stated.
    """
    if syntax == _RLE:
        flat = decode_rle(data, n_pixels=width_px * height_px, n_bytes=bits_allocated // 8)
        return _with_sign(flat.reshape(height_px, width_px), bits_allocated, is_signed)
    if syntax in _JPEG_2000 or syntax in _HTJ2K:
        data = data[find_jpeg_2000(data) :]
        header = read_jpeg_2000_header(data)
    else:
        header = read_jpeg_header(data)
    if (header.width_px, header.height_px) != (width_px, height_px):
        raise ValueError(
            f"its compressed image is {header.width_px} x {header.height_px} pixels, "
            f"but its tags say {width_px} x {height_px}"
        )
    if header.n_components != 1:
        raise ValueError(f"its compressed image has {header.n_components} components, not one")
    if not 2 <= header.bits <= bits_allocated:
        raise ValueError(f"its compressed image has {header.bits} bits in {bits_allocated}")
    samples = _decode(data, syntax, header)
    if samples.shape != (height_px, width_px):
        raise ValueError("it decodes to another size than it claims")
    return _with_sign(samples, header.bits, is_signed)


def _decode(data: bytes, syntax: str, header: Codestream) -> NDArray[np.uint16]:
    if syntax in _JPEG:
        return _decode_jpeg(data, header)
    if syntax in _JPEG_LOSSLESS:
        return decode_jpeg_lossless(data)
    if syntax in _JPEG_LS:
        return _decode_jpeg_ls(data, header)
    return _decode_jpeg_2000(data, header)


def _decode_jpeg(data: bytes, header: Codestream) -> NDArray[np.uint16]:
    if header.kind not in ("baseline", "extended", "progressive") or header.bits != 8:
        # No decoder of 12-bit lossy JPEG has both a fitting licence and a small package.
        raise ValueError(f"{header.kind} JPEG with {header.bits} bits is not decoded here")
    end = find_jpeg_end(data)
    if end < 0:
        raise ValueError("it is cut short")
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    image.load()
    if image.mode != "L" or is_filled_up(image, data, end, 1):
        raise ValueError("it is cut short or not gray")
    return np.array(image, dtype=np.uint16)


def _decode_jpeg_ls(data: bytes, header: Codestream) -> NDArray[np.uint16]:
    if header.kind != "jpeg-ls":
        raise ValueError("it is another kind of JPEG than the transfer syntax says")
    # Its decoder searches on for seconds where the end is missing.
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("it is cut short")
    import jpeg_ls  # here, because few files need it

    decoded, _ = jpeg_ls.decode_pixel_data(data)
    samples = np.frombuffer(decoded, "<u2" if header.bits > 8 else "u1").astype(np.uint16)
    return samples.reshape(header.height_px, header.width_px)


def _decode_jpeg_2000(data: bytes, header: Codestream) -> NDArray[np.uint16]:
    image: Image.Image = Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(data))
    image.load()
    container_bits = 8 if image.mode == "L" else 16
    samples = np.array(image).astype(np.uint16)
    if header.bits < container_bits:  # Pillow moves samples up to fill 8 or 16 bits
        samples >>= np.uint16(container_bits - header.bits)
    if header.is_signed:  # ... and signed ones by half the range: undo it, modulo 2^bits
        samples = samples ^ np.uint16(1 << (header.bits - 1))
    return samples


def _with_sign(samples: NDArray[np.uint16], bits: int, is_signed: bool) -> NDArray[np.int32]:
    values = samples.astype(np.int32)
    if is_signed:
        values[values >= 1 << (bits - 1)] -= 1 << bits
    return values
