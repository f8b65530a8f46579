"""Read a radiograph from an ordinary picture file: JPEG, PNG, BMP or WebP."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageChops,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from pneumoscope.core.errors import ImageTooLargeError, RadiographError, UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.bmp import check_bmp
from pneumoscope.imaging.first_bytes import raster_kind
from pneumoscope.imaging.jpeg import find_jpeg_end, is_filled_up, jpeg_scale, set_scale
from pneumoscope.imaging.quiet import quiet_warnings
from pneumoscope.imaging.source import MAX_PIXELS, check_scale, check_size, read_source

# The plugins are called by themselves, not through Image.open: the list of formats stays closed
# whatever else a program has registered, and no size warning comes before our own check.
_PLUGINS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_COLOUR_SPREAD = 24  # gray levels between channels; the chroma noise of JPEG stays below it
_COLOUR_SHARE = 0.01  # of the pixels: a coloured letter in a corner does not make a photograph


def read_raster(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    scaled_to_px: int | None = None,
) -> Radiograph:
    """Read an 8-bit picture as gray display values.

    The first bytes decide the format, not the file's name. Gray is the file's own channel, or
    the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, Pillow's ``convert("L")``). Transparent
    pixels are laid on black, the background of a radiograph. The EXIF orientation is applied;
    colour profiles are not.

    Args:
        source: The file, or its bytes.
        name: What to call the image in messages instead of the file's path.
        max_pixels: Larger images are refused before they are decoded.
        scaled_to_px: Decode a JPEG at the smallest of its own scales (1/1, 1/2, 1/4, 1/8) whose
            smaller side is at least this long. Progressive JPEGs and other formats are decoded
            whole.

    Returns: Pixels (H, W), and the file's own size where they are scaled; all facts but
        ``is_colour`` are None, as a picture cannot state them.

    Raises:
        UnreadableImageError: not such a picture, damaged, cut short, animated, CMYK, 16-bit, or a
            BMP of a rare kind (compressed, or not 1, 4, 8, 24 or 32 bits a pixel).
        ImageTooLargeError: it claims more than ``max_pixels``.
        MemoryError: too little is free to decode it.
        ValueError: ``scaled_to_px`` is below 1.
    """
    check_scale(scaled_to_px)
    data, title = read_source(source, name=name)
    try:
        return _decode(data, title, max_pixels, scaled_to_px)
    except (RadiographError, MemoryError):  # a lack of memory is no fault of the file
        raise
    except Image.DecompressionBombError as error:  # WebP's plugin looks before we can
        raise ImageTooLargeError(
            f"{title}: claims far more than the {max_pixels:,} pixels that are decoded at most. "
            "Check that it is a radiograph, or scale it down first."
        ) from error
    except Exception as error:  # Pillow raises a dozen kinds for damaged bytes; we promise one
        raise _unreadable(title, _reason(error)) from error


def _decode(data: bytes, title: str, max_pixels: int, scaled_to_px: int | None) -> Radiograph:
    kind = _detect_format(data, title)
    jpeg_end = 0
    if kind == "PNG":
        _check_png(data, title)
    elif kind == "BMP":
        check_bmp(data, title)
    elif kind == "JPEG":
        jpeg_end = find_jpeg_end(data)
        if jpeg_end < 0:
            raise _truncated(title)
    with quiet_warnings():
        image: Image.Image = _PLUGINS[kind](io.BytesIO(data))
    check_size(title, width_px=image.width, height_px=image.height, max_pixels=max_pixels)
    if getattr(image, "n_frames", 1) > 1:
        raise UnreadableImageError(
            f"{title}: is an animation, and a radiograph is one image. Save its frame as a PNG."
        )
    if image.mode not in _MODES:
        raise UnreadableImageError(
            f"{title}: is {image.mode}, not gray or RGB with 8 bits. "
            "Convert it to 8-bit gray, or send the DICOM file."
        )
    full_size = image.size
    # A progressive one must be decoded whole to know that its last scans are there.
    has_scales = kind == "JPEG" and "progressive" not in image.info
    scale = jpeg_scale(full_size, scaled_to_px) if has_scales else 1
    set_scale(image, scale)
    image.load()
    with quiet_warnings():
        orientation = _read_orientation(image)  # now: a PNG's may stand behind its pixels
    if kind == "JPEG" and is_filled_up(image, data, jpeg_end, scale):
        raise _truncated(title)
    if kind == "BMP" and image.mode == "RGBA":
        image = image.convert("RGB")  # its fourth byte is filled by few programs, and rarely meant
    if kind == "PNG":
        _spread_transparent_level(image, data)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    is_colour = image.mode == "RGB" and _is_colour(image)
    gray = image if image.mode == "L" else image.convert("L")
    if orientation in _TRANSPOSE:
        gray = gray.transpose(_TRANSPOSE[orientation])
        if orientation >= 5:
            full_size = full_size[::-1]
    return Radiograph(
        # A copy, because Pillow's own memory is read-only and torch wants to be able to write.
        pixels=np.array(gray, dtype=np.uint8),
        is_colour=is_colour,
        file_size_px=full_size[::-1] if scale > 1 else None,
    )


def _detect_format(data: bytes, title: str) -> str:
    kind = raster_kind(data)
    if kind in _PLUGINS:
        return kind
    if kind is not None:
        raise UnreadableImageError(
            f"{title}: is a {kind} file, which may hold several frames, other depths or colours. "
            "Convert it to an 8-bit gray PNG, or send the DICOM file."
        )
    raise UnreadableImageError(
        f"{title}: its first bytes are not those of a JPEG, PNG, BMP, WebP or DICOM file, "
        "whatever its name says. Export the radiograph again in one of these."
    )


def _check_png(data: bytes, title: str) -> None:
    """Walk the chunks, since Pillow does not check that the pixel data are what was written."""
    position, is_first = len(_PNG_SIGNATURE), True
    while True:
        head = data[position : position + 8]
        if len(head) < 8:
            raise _truncated(title)
        length, kind = struct.unpack(">I4s", head)
        end = position + 12 + length
        if end > len(data):
            raise _truncated(title)
        if is_first and kind != b"IHDR":
            raise _unreadable(title, "no image header")
        is_first = False
        is_critical = kind[:1].isupper()
        checksum = int.from_bytes(data[end - 4 : end], "big")
        # A view, so that a large chunk is not copied to be summed.
        if is_critical and zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            raise _unreadable(title, f"wrong checksum in chunk {kind.decode('latin-1')}")
        if kind == b"IHDR" and length >= 9 and data[position + 16] > 8:
            raise UnreadableImageError(
                f"{title}: has {data[position + 16]} bits a channel and no display window to show "
                "them by. Send the DICOM file, or convert it to 8-bit gray with a window."
            )
        if kind == b"IEND":
            return
        position = end


def _spread_transparent_level(image: Image.Image, data: bytes) -> None:
    """Spread a see-through level of 2 or 4 bits over 0 to 255, as Pillow has spread the pixels."""
    bits, colour_type = data[24], data[25]
    level = image.info.get("transparency")
    if colour_type == 0 and bits in (2, 4) and isinstance(level, int):
        image.info["transparency"] = level * 255 // (2**bits - 1)


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or it is damaged."""
    if "exif" not in image.info:
        return 1
    try:
        exif = Image.Exif()
        exif.load(image.info["exif"])
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged note about a picture is no reason to refuse the picture
        return 1


def _is_colour(image: Image.Image) -> bool:
    red, green, blue = image.split()
    n_max = _COLOUR_SHARE * image.width * image.height
    for one, other in ((red, green), (green, blue), (blue, red)):
        histogram = ImageChops.difference(one, other).histogram()
        if sum(histogram[_COLOUR_SPREAD + 1 :]) > n_max:
            return True
    return False


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _unreadable(title: str, reason: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"{title}: is damaged ({reason}). Copy it again from where it came, or leave it out."
    )


def _truncated(title: str) -> UnreadableImageError:
    return _unreadable(title, "cut short: its end is missing")
