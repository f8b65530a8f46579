"""What a compressed image says of itself, read before a decoder believes it.

A DICOM file states an image's size twice: in its tags, and in the compressed data, which is what
a decoder goes by. A small file could pass the check of one and fill the memory by the other.
"""

import struct
from dataclasses import dataclass
from typing import Literal

_JPEG_FRAMES = {
    0xC0: "baseline",
    0xC1: "extended",
    0xC2: "progressive",
    0xC3: "lossless",
    0xF7: "jpeg-ls",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codestream:
    """Size and depth by the compressed data's own header."""

    kind: Literal["baseline", "extended", "progressive", "lossless", "jpeg-ls", "jpeg 2000"]
    width_px: int
    height_px: int
    bits: int
    n_components: int
    is_signed: bool = False  # only JPEG 2000 can say so


def read_jpeg_header(data: bytes) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS.

    Raises: ValueError: there is none, or it is of a kind that is not decoded (arithmetic coding).
    Source: ITU-T T.81, B.2.2; ITU-T T.87, C.2.2.
    """
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("it does not begin as a JPEG does")
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if marker in _JPEG_FRAMES and position + 10 <= len(data):
            bits, height, width, n_components = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(
                kind=_JPEG_FRAMES[marker],  # type: ignore[arg-type]
                width_px=width,
                height_px=height,
                bits=bits,
                n_components=n_components,
            )
        if marker == 0xDA:
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ValueError("its JPEG frame header is missing or of a kind that is not decoded")


def find_jpeg_2000(data: bytes) -> int:
    """Return where the codestream begins, behind the boxes of a JP2 file where there are any.

    Raises: ValueError: there is none.
    """
    start = data.find(b"\xff\x4f\xff\x51")  # start of codestream, then size: T.800, A.4.1, A.5.1
    if start < 0:
        raise ValueError("it does not begin as a JPEG 2000 does")
    return start


def read_jpeg_2000_header(data: bytes) -> Codestream:
    """Read the SIZ segment of a JPEG 2000 codestream, plain or high-throughput.

    Raises: ValueError: there is none, or its image is not one whole from the grid's origin.
    Source: ITU-T T.800, A.5.1.
    """
    if not data.startswith(b"\xff\x4f\xff\x51") or len(data) < 45:
        raise ValueError("its JPEG 2000 header is cut short")
    width, height, left, top = struct.unpack_from(">4I", data, 8)
    n_components, depth, step_x, step_y = struct.unpack_from(">HBBB", data, 40)
    if left or top or (step_x, step_y) != (1, 1):
        raise ValueError("its JPEG 2000 image does not begin at the grid's origin")
    return Codestream(
        kind="jpeg 2000",
        width_px=width,
        height_px=height,
        bits=(depth & 0x7F) + 1,
        n_components=n_components,
        is_signed=bool(depth & 0x80),
    )
