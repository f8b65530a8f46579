"""Scaled decoding: the JPEG's own scales, and the file's whole size beside them."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.read import read_radiograph

ACROSS = np.add.outer(np.arange(203), np.arange(331)).astype(np.uint8) // 3  # (203, 331)


def encode(image: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("scaled_to_px", "scale"),
    [(None, 1), (204, 1), (203, 1), (102, 1), (101, 2), (51, 2), (50, 4), (26, 4), (25, 8), (1, 8)],
)
def test_smallest_scale_whose_smaller_side_is_long_enough(
    scaled_to_px: int | None, scale: int
) -> None:
    radiograph = read_radiograph(encode(ACROSS), scaled_to_px=scaled_to_px)
    assert radiograph.pixels.shape == (-(-203 // scale), -(-331 // scale))  # rounded up
    assert (radiograph.file_height_px, radiograph.file_width_px) == (203, 331)
    assert min(radiograph.pixels.shape) >= min(scaled_to_px or 0, 203)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("is_rgb", [False, True])
def test_scaled_pixels_are_block_means(scale: int, is_rgb: bool) -> None:
    image = np.random.default_rng(5).integers(0, 256, (64, 96)).astype(float)
    for _ in range(6):  # smooth, so that the scaled DCT and the mean agree closely
        image = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
    image = image.astype(np.uint8)
    data = encode(np.dstack([image] * 3) if is_rgb else image, quality=98)
    means = image.reshape(64 // scale, scale, 96 // scale, scale).mean((1, 3))
    radiograph = read_radiograph(data, scaled_to_px=64 // scale)
    np.testing.assert_allclose(radiograph.pixels, means, atol=4)
    assert not radiograph.is_colour


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_the_pixels_and_the_file_size(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(ACROSS, exif=exif)
    whole, scaled = read_radiograph(data), read_radiograph(data, scaled_to_px=50)
    upright = (331, 203) if orientation >= 5 else (203, 331)
    assert whole.pixels.shape == upright
    for radiograph in (whole, scaled):
        assert (radiograph.file_height_px, radiograph.file_width_px) == upright
    shrunk = np.asarray(Image.fromarray(whole.pixels).resize(scaled.pixels.shape[::-1]))
    assert scaled.pixels.shape == tuple(-(-side // 4) for side in upright)
    # A wrong turn would differ by tens of gray levels; the last block is partly outside.
    difference = np.abs(scaled.pixels[2:-2, 2:-2].astype(int) - shrunk[2:-2, 2:-2])
    assert difference.mean() < 2


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_decoded_whole(kind: str) -> None:
    radiograph = read_radiograph(encode(ACROSS, kind), scaled_to_px=10)
    assert radiograph.pixels.shape == (203, 331)
    assert radiograph.file_size_px is None


def test_dicom_is_decoded_whole() -> None:
    path = Path(__file__).parents[1] / "golden" / "reading" / "jpeg-baseline.dcm"
    assert read_radiograph(path, scaled_to_px=2).pixels.shape == (12, 20)


NOISE = np.random.default_rng(6).integers(0, 256, (203, 331), dtype=np.uint8)


@pytest.mark.parametrize("scaled_to_px", [25, 50, 101])
@pytest.mark.parametrize("share", [0.67, 0.99])  # of 1,092 blocks, 11 are missing in the latter
def test_cut_jpeg_is_refused_at_every_scale(scaled_to_px: int, share: float) -> None:
    data = encode(NOISE, quality=90)
    with pytest.raises(UnreadableImageError, match="damaged"):
        read_radiograph(data[: int(share * len(data))] + b"\xff\xd9", scaled_to_px=scaled_to_px)


def test_progressive_jpeg_is_decoded_whole_and_refused_when_cut() -> None:
    # At a small scale nothing would show that its last scans are missing.
    data = encode(NOISE, quality=90, progressive=True)
    assert read_radiograph(data, scaled_to_px=25).pixels.shape == (203, 331)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(UnreadableImageError, match="damaged"):
            read_radiograph(data[: int(share * len(data))] + b"\xff\xd9", scaled_to_px=25)


def test_mid_gray_picture_is_read_at_every_scale() -> None:
    data = encode(np.full((203, 331), 128, np.uint8))
    for scaled_to_px in (25, 50, 101):
        assert np.ptp(read_radiograph(data, scaled_to_px=scaled_to_px).pixels) == 0


@pytest.mark.parametrize("scaled_to_px", [0, -5])
def test_a_side_below_one_is_the_callers_mistake(scaled_to_px: int) -> None:
    with pytest.raises(ValueError, match="scaled_to_px"):
        read_radiograph(encode(ACROSS), scaled_to_px=scaled_to_px)


def test_a_lossless_jpeg_has_no_scales_and_is_read_whole_or_refused() -> None:
    # SOF3 with 8 bits: some builds of Pillow decode it, none can scale it.
    head = b"\xff\xd8\xff\xc4\0\x14\0\x01" + bytes(16) + b"\xff\xc3\0\x0b\x08"
    frame = struct.pack(">HH", 64, 64) + b"\x01\x01\x11\0"
    data = head + frame + b"\xff\xda\0\x08\x01\x01\0\x01\0\0" + bytes(512) + b"\xff\xd9"
    for scaled_to_px in (None, 8):
        try:
            assert read_radiograph(data, scaled_to_px=scaled_to_px).pixels.shape == (64, 64)
        except UnreadableImageError as error:
            assert "damaged" in str(error)  # noqa: PT017


def test_a_radiograph_that_is_not_scaled_states_its_own_size() -> None:
    radiograph = Radiograph(pixels=ACROSS)
    assert (radiograph.file_height_px, radiograph.file_width_px) == (203, 331)
