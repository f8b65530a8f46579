"""Read a radiograph from any file that is understood."""

from pathlib import Path

from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.first_bytes import is_dicom
from pneumoscope.imaging.source import MAX_PIXELS, check_scale, read_source


def read_radiograph(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    scaled_to_px: int | None = None,
    any_modality: bool = False,
) -> Radiograph:
    """Read a DICOM file, JPEG, PNG, BMP or WebP, by its first bytes and not by its name.

    Args:
        source: The file, or its bytes.
        name: What to call the image in messages instead of the file's path.
        max_pixels: Larger images are refused before they are decoded.
        scaled_to_px: Decode a JPEG at the smallest of its own scales (1/1, 1/2, 1/4, 1/8) whose
            smaller side is at least this long; ``file_height_px`` and ``file_width_px`` keep the
            whole picture's size. Progressive JPEGs and other formats, DICOM among them, are
            decoded whole.
        any_modality: Read a DICOM image that cannot be a radiograph (CT, MR, US), or that is meant
            for processing, all the same.

    Raises:
        UnreadableImageError: missing, damaged, or of a kind that has no fixed gray meaning.
        ImageTooLargeError: it claims more than ``max_pixels``.
        ValueError: ``scaled_to_px`` is below 1.
    """
    check_scale(scaled_to_px)
    data, title = read_source(source, name=name)
    if is_dicom(data):
        # Here, not above: thousands of pictures need not wait for the DICOM library.
        from pneumoscope.imaging.read_dicom import read_dicom

        return read_dicom(data, name=title, max_pixels=max_pixels, any_modality=any_modality)
    from pneumoscope.imaging.read_raster import read_raster

    return read_raster(data, name=title, max_pixels=max_pixels, scaled_to_px=scaled_to_px)
