"""Which BMP files are read: those whose pixels have one meaning for every reader."""

import struct

from pneumoscope.core.errors import UnreadableImageError

_CORE_HEADER = 12  # bytes; that of OS/2, without compression
_BITS = (1, 4, 8, 24, 32)
_RGB, _BITFIELDS = 0, 3
_MASKS = (0xFF0000, 0xFF00, 0xFF)  # red, green, blue: the order in which 32 bits lie anyway


def check_bmp(data: bytes, title: str) -> None:
    """Refuse the kinds of BMP that the page, or some other reader, shows differently or not at all.

    The page in the browser keeps to the same rule. What else may be wrong is left to the decoder.

    Raises: UnreadableImageError: compressed, not 1, 4, 8, 24 or 32 bits a pixel, or 32 bits in
        another order than blue, green, red and a byte that does not count.
    Source: Microsoft, BITMAPINFOHEADER and BITMAPV5HEADER.
    """
    if len(data) < 34:
        return
    (header,) = struct.unpack_from("<I", data, 14)
    if header == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = _RGB
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if width < 1 or height == 0:
        return
    is_plain = compression == _RGB
    if bits == 32 and compression == _BITFIELDS and len(data) >= 66:
        is_plain = struct.unpack_from("<III", data, 54) == _MASKS
    if bits not in _BITS or not is_plain:
        raise UnreadableImageError(f"{title}: is a BMP of a rare kind. Save it as a PNG.")
