"""Get at an image's bytes, whether it comes as a file or from memory."""

import stat
from pathlib import Path

from pneumoscope.core.errors import ImageTooLargeError, UnreadableImageError

MAX_PIXELS = 64_000_000  # larger than any chest radiograph (a DX detector has 4 to 16 million)
MAX_FILE_BYTES = 1 << 30  # 16 bytes for each of those pixels: no honest file needs more


def read_source(source: Path | bytes, *, name: str | None = None) -> tuple[bytes, str]:
    """Return the encoded bytes, and what to call the image in messages.

    Raises:
        UnreadableImageError: no such file, a folder, no permission, or no bytes.
        ImageTooLargeError: the file is larger than ``MAX_FILE_BYTES``.
    """
    if isinstance(source, bytes):
        title, data = name or "image", source
    else:
        title = name or str(source)
        data = _read_file(source, title)
    if not data:
        raise UnreadableImageError(
            f"{title}: has no bytes. Copy it again from where it came, or leave it out."
        )
    return data, title


def check_size(title: str, *, width_px: int, height_px: int, max_pixels: int) -> None:
    """Refuse an image that claims more pixels than is safe, before any of them is decoded.

    Raises: ImageTooLargeError: ``width_px * height_px`` exceeds ``max_pixels``.
    """
    if width_px * height_px > max_pixels:
        raise ImageTooLargeError(
            f"{title}: claims {width_px} x {height_px} pixels, more than the {max_pixels:,} that "
            "are decoded at most. Check that it is a radiograph, or scale it down first."
        )


def check_scale(scaled_to_px: int | None) -> None:
    """Refuse a side that no picture can have.

    Raises: ValueError: ``scaled_to_px`` is below 1.
    """
    if scaled_to_px is not None and scaled_to_px < 1:
        raise ValueError(f"scaled_to_px is {scaled_to_px}; it must be at least 1, or None")


def _read_file(path: Path, title: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImageError(f"{title}: is a folder. Name the files in it instead.")
        if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait for ever
            raise UnreadableImageError(f"{title}: is not a regular file. Name an image file.")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageTooLargeError(
                f"{title}: has {status.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} that are "
                "read at most. Check that it is a radiograph."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError(
            f"{title}: does not exist. Check the path, or leave it out."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UnreadableImageError(
            f"{title}: cannot be read ({reason}). Check the path and its permissions."
        ) from error
