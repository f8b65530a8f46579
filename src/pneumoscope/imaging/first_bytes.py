"""What kind of image a file is: its first bytes say it, not its name."""

from pathlib import Path

N_FIRST_BYTES = 132  # as many as tell every kind
_DICOM_MARK = slice(128, 132)  # behind the preamble (PS3.10, section 7.1)
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}


def is_dicom(data: bytes) -> bool:
    """Return True where the DICOM mark stands behind the preamble."""
    return data[_DICOM_MARK] == b"DICM"


def raster_kind(data: bytes) -> str | None:
    """Return JPEG, PNG, BMP, WebP, GIF or TIFF by the first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((kind for mark, kind in _SIGNATURES.items() if data.startswith(mark)), None)


def is_picture(data: bytes) -> bool:
    """Return True where a file that no suffix calls a picture is one by its first bytes."""
    # Two letters are too little to go by here: a text may begin with BM.
    return raster_kind(data) not in (None, "BMP") or data[:2] + data[6:10] == b"BM" + bytes(4)


def read_first_bytes(path: Path) -> bytes:
    """Return a file's first 132 bytes; none of what is no regular file, or can't be read."""
    try:
        if not path.is_file():  # opening a pipe could wait for ever
            return b""
        with path.open("rb", buffering=0) as file:
            return file.read(N_FIRST_BYTES)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return b""
