"""Decode DICOM's RLE Lossless."""

import struct

import numpy as np
from numpy.typing import NDArray


def decode_rle(data: bytes, *, n_pixels: int, n_bytes: int) -> NDArray[np.uint16]:
    """Return (n_pixels,) unsigned values of ``n_bytes`` (1 or 2) each.

    A damaged or hostile segment never becomes longer than the image.

    Raises: ValueError: damaged, cut short, or not one segment for each byte of a value.
    Source: DICOM PS3.5, annex G.
    """
    if len(data) < 64:
        raise ValueError("its RLE header is cut short")
    n_segments, *offsets = struct.unpack("<16I", data[:64])
    if n_segments != n_bytes:
        raise ValueError("its RLE header has not one segment for each byte of a value")
    bounds = [*offsets[:n_segments], len(data)]
    values = np.zeros(n_pixels, np.uint16)
    for begin, end in zip(bounds, bounds[1:], strict=False):  # the high byte's segment is first
        if not 64 <= begin <= end <= len(data):
            raise ValueError("its RLE header points outside the data")
        plane = np.frombuffer(_unpack(data[begin:end], n_pixels), np.uint8)
        values = values << np.uint16(8) | plane
    return values


def _unpack(segment: bytes, n: int) -> bytes:
    unpacked, position = bytearray(), 0
    while len(unpacked) < n:
        if position + 1 >= len(segment):
            raise ValueError("it is cut short")
        control = segment[position]
        if control < 128:  # so many bytes and one more, as they are
            unpacked += segment[position + 1 : position + 2 + control]
            position += 2 + control
        else:
            if control > 128:  # one byte, repeated
                unpacked += segment[position + 1 : position + 2] * (257 - control)
            position += 2 if control > 128 else 1
    return bytes(unpacked[:n])  # some writers encode the padding byte of an odd length, too
