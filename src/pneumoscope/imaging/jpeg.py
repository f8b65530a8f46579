"""What is particular about a JPEG: where it ends, whether all of it is there, its own scales."""

import io

import numpy as np
from PIL import Image, JpegImagePlugin

_SCALES = (1, 2, 4, 8)  # the decoder can leave out high frequencies and give 1/2, 1/4 or 1/8


def find_jpeg_end(data: bytes) -> int:
    """Return where the end-of-image marker is, behind the first scan, as a thumbnail has one.

    Returns: -1 where there is no such marker: the file is cut short.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker == 0xDA:  # start of scan
            break
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position)


def jpeg_scale(size: tuple[int, int], scaled_to_px: int | None) -> int:
    """Return by how much to divide both sides, so that the smaller keeps ``scaled_to_px``."""
    if scaled_to_px is None:
        return 1
    return max(scale for scale in _SCALES if scale == 1 or min(size) >= scale * scaled_to_px)


def set_scale(image: Image.Image, scale: int) -> None:
    """Tell Pillow to decode at 1/``scale``; both sides are rounded up."""
    if scale > 1:
        # Pillow takes the largest scale that leaves at least the size that it is told.
        image.draft(None, (image.width // scale, image.height // scale))


def is_filled_up(image: Image.Image, data: bytes, end: int, scale: int) -> bool:
    """Tell whether the decoder ran out of data and filled the rest of a JPEG with mid-gray.

    It does so without a word when an end marker comes too early. Then the last 8 x 8 block is
    mid-gray, or, in a progressive file, the last scan is incomplete. An honest picture may look
    like that too, so it is decoded again with more data before its end: that changes the picture
    only if something was missing.
    """
    block_px = 8 // scale
    left, top = ((side - 1) // block_px * block_px for side in image.size)
    corner = np.asarray(image.crop((left, top, image.width, image.height)))
    if "progressive" not in image.info and not (corner == 128).all():
        return False
    longer = JpegImagePlugin.JpegImageFile(io.BytesIO(data[:end] + b"\x55" * 65536 + data[end:]))
    set_scale(longer, scale)
    return longer.tobytes() != image.tobytes()
