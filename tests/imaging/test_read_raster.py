"""Pictures are read by their bytes; everything else gets one clear error."""

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pneumoscope.core.errors import ImageTooLargeError, RadiographError, UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.imaging.quiet import quiet_warnings
from pneumoscope.imaging.read import read_radiograph
from pneumoscope.imaging.read_raster import read_raster

RNG = np.random.default_rng(7)
GRADIENT = np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.uint8)  # (48, 64)
NOISE = RNG.integers(0, 256, (48, 64), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claim_png(width: int, height: int, *, depth: int = 8, colour_type: int = 0) -> bytes:
    """Return a small PNG that says it is large."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def claim_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encode(GRADIENT, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Oracle: ITU-R BT.601 in floating point."""
    return rgb.astype(float) @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_gray_pixels_come_back_exactly(kind: str) -> None:
    radiograph = read_raster(encode(NOISE, kind))
    np.testing.assert_array_equal(radiograph.pixels, NOISE)
    assert radiograph.pixels.dtype == np.uint8
    assert (radiograph.height_px, radiograph.width_px) == (48, 64)
    assert radiograph.pixels.flags.writeable
    assert not radiograph.is_colour
    assert radiograph.view_position is None
    assert radiograph.age_years is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 60}])
def test_jpeg_equals_what_pillow_decodes(options: dict[str, object]) -> None:
    data = encode(GRADIENT, "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_raster(data).pixels, expected)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": 1})])
def test_colour_becomes_bt601_luma_and_is_reported(kind: str, options: dict[str, object]) -> None:
    radiograph = read_raster(encode(COLOURS, kind, **options))
    np.testing.assert_allclose(radiograph.pixels, luma(COLOURS), atol=1)
    assert radiograph.is_colour


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_gray_picture_in_three_channels_is_not_colour(quality: int) -> None:
    three = np.stack([GRADIENT] * 3, axis=2)
    radiograph = read_raster(encode(three, "JPEG", quality=quality))
    assert not radiograph.is_colour
    np.testing.assert_allclose(radiograph.pixels, GRADIENT, atol=50)


def test_a_small_coloured_mark_is_not_a_colour_photograph() -> None:
    marked = np.stack([NOISE] * 3, axis=2)
    marked[:4, :4] = (255, 0, 0)  # 16 of 3,072 pixels
    assert not read_raster(encode(marked, "PNG")).is_colour
    marked[:20, :20] = (255, 0, 0)
    assert read_raster(encode(marked, "PNG")).is_colour


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA"])
def test_other_eight_bit_modes(mode: str) -> None:
    image = Image.fromarray(GRADIENT).convert(mode)
    expected = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(read_raster(encode(image, "PNG")).pixels, expected)


def test_two_and_four_bit_gray_span_the_whole_range() -> None:
    for depth, levels in ((2, 4), (4, 16)):
        header = struct.pack(">IIBBBBB", levels, 1, depth, 0, 0, 0, 0)
        row = sum(level << depth * (levels - 1 - level) for level in range(levels))
        body = b"\0" + row.to_bytes(levels * depth // 8, "big")
        data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
        data += png_chunk(b"IDAT", zlib.compress(body)) + png_chunk(b"IEND", b"")
        expected = np.rint(np.linspace(0, 255, levels))
        np.testing.assert_array_equal(read_raster(data).pixels[0], expected)


def test_transparency_lies_on_black() -> None:
    gray_alpha = np.stack([np.full((4, 4), 200, np.uint8), np.zeros((4, 4), np.uint8)], axis=2)
    gray_alpha[0, 0, 1] = 255
    gray_alpha[0, 1, 1] = 128
    pixels = read_raster(encode(Image.fromarray(gray_alpha, "LA"), "PNG")).pixels
    assert pixels[0, 0] == 200
    assert pixels[0, 1] == pytest.approx(200 * 128 / 255, abs=1)
    assert pixels[1:].max() == 0

    palette = Image.fromarray(GRADIENT).convert("P")
    see_through = encode(palette, "PNG", transparency=bytes(256))
    assert read_raster(see_through).pixels.max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(GRADIENT, kind, exif=exif)
    flat = np.asarray(Image.open(io.BytesIO(data)))
    row_0_is, column_0_is = {  # the tag's own words: EXIF 2.32, table of Orientation
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    upright = flat.T if row_0_is in ("left", "right") else flat
    if "bottom" in (row_0_is, column_0_is):
        upright = upright[::-1]
    if "right" in (row_0_is, column_0_is):
        upright = upright[:, ::-1]
    np.testing.assert_array_equal(read_raster(data).pixels, upright)


def with_exif_at_the_end(orientation: int) -> bytes:
    """Return a PNG whose eXIf chunk stands behind its pixels, as the standard allows."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(GRADIENT, "PNG", exif=exif)
    at = data.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    last = data.index(b"IEND") - 4
    return data[:at] + data[end:last] + data[at:end] + data[last:]


def test_an_orientation_behind_the_pixels_is_applied() -> None:
    np.testing.assert_array_equal(read_raster(with_exif_at_the_end(3)).pixels, GRADIENT[::-1, ::-1])


def test_damaged_exif_does_not_hide_the_picture() -> None:
    data = encode(GRADIENT, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40)
    assert read_raster(data).pixels.shape == (48, 64)


TWO_FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - GRADIENT)]}


def bmp(
    rows: bytes, *, bits: int = 32, compression: int = 0, masks: tuple[int, ...] = (), more: int = 0
) -> bytes:
    """Return a BMP of 64 x 48 pixels; with ``more`` bytes of header, the masks stand in it."""
    head = 40 + max(more, 0)
    numbers = struct.pack(f"<{len(masks)}I", *masks).ljust(more, b"\0")
    start = 14 + 40 + len(numbers)
    info = struct.pack(
        "<IiiHHIIiiII", head, 64, 48, 1, bits, compression, len(rows), 2835, 2835, 0, 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + numbers + rows


def four_bytes(fourth: int) -> bytes:
    """Return the rows of a 32-bit BMP of `COLOURS`, from below, with this fourth byte."""
    rows = np.full((48, 64, 4), fourth, np.uint8)
    rows[..., :3] = COLOURS[::-1, :, ::-1]
    return rows.tobytes()


RGB_MASKS = (0xFF0000, 0xFF00, 0xFF)
BMP_32 = {
    "saved by Pillow": encode(Image.fromarray(COLOURS).convert("RGBA"), "BMP"),
    "no fourth": bmp(four_bytes(0)),
    "masks": bmp(four_bytes(7), compression=3, masks=RGB_MASKS),
    "alpha never filled": bmp(
        four_bytes(0), compression=3, masks=(*RGB_MASKS, 0xFF000000), more=84
    ),
    "half see-through": bmp(
        four_bytes(128), compression=3, masks=(*RGB_MASKS, 0xFF000000), more=84
    ),
}


@pytest.mark.parametrize("what", BMP_32)
def test_a_bmps_fourth_byte_does_not_count(what: str) -> None:
    np.testing.assert_allclose(read_raster(BMP_32[what]).pixels, luma(COLOURS), atol=0.51)


def gray_png(bits: int, *, see_through: int) -> bytes:
    """Return a 16 x 2 PNG of all levels of so many bits, one of them see-through."""
    levels = np.arange(16) % 2**bits
    shifts = range(8 - bits, -1, -bits)
    per_byte = levels.reshape(-1, 8 // bits)
    row = bytes(int(sum(v << s for v, s in zip(pack, shifts, strict=True))) for pack in per_byte)
    header = struct.pack(">IIBBBBB", 16, 2, bits, 0, 0, 0, 0)
    chunks = [
        png_chunk(b"IHDR", header),
        png_chunk(b"tRNS", struct.pack(">H", see_through)),
        png_chunk(b"IDAT", zlib.compress((b"\0" + row) * 2)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_see_through_level_of_few_bits_lies_on_black(bits: int) -> None:
    level = 2 ** min(bits, 3) - 1  # of 8 bits 7, of the others one that is spread
    levels = np.arange(16) % 2**bits
    expected = np.where(levels == level, 0, levels * 255 // (2**bits - 1))
    np.testing.assert_array_equal(
        read_raster(gray_png(bits, see_through=level)).pixels, [expected] * 2
    )


REFUSED = {
    "zero bytes": (b"", "no bytes"),
    "text": (b"this is not a picture", "first bytes"),
    "html": (b"<!DOCTYPE html><html>404</html>", "first bytes"),
    "gif": (encode(GRADIENT, "GIF"), "GIF"),
    "animated gif": (encode(GRADIENT, "GIF", **TWO_FRAMES), "GIF"),
    "animated png": (encode(GRADIENT, "PNG", **TWO_FRAMES), "animation"),
    "animated webp": (encode(GRADIENT, "WEBP", **TWO_FRAMES), "animation"),
    "multi-frame tiff": (encode(GRADIENT, "TIFF", **TWO_FRAMES), "TIFF"),
    "16-bit tiff": (encode(GRADIENT.astype(np.uint16), "TIFF"), "TIFF"),
    "cmyk jpeg": (encode(Image.fromarray(COLOURS).convert("CMYK"), "JPEG"), "CMYK"),
    "16-bit png": (encode(GRADIENT.astype(np.uint16) * 200, "PNG"), "16 bits"),
    "16-bit rgb png": (claim_png(1, 1, depth=16, colour_type=2), "16 bits"),
    "only a signature": (b"\x89PNG\r\n\x1a\n", "cut short"),
    "only a start of image": (b"\xff\xd8\xff\xe0", "cut short"),
    "no pixels in bmp": (b"BM" + bytes(60), "damaged"),
    "16-bit bmp": (bmp(bytes(2 * 64 * 48), bits=16), "BMP of a rare kind"),
    "compressed bmp": (bmp(bytes(64 * 48), bits=8, compression=1), "BMP of a rare kind"),
    "bmp in another order": (
        bmp(four_bytes(0), compression=3, masks=RGB_MASKS[::-1]),
        "BMP of a rare kind",
    ),
    "half a webp": (encode(COLOURS, "WEBP")[:300], "damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusal_names_the_file_and_the_reason(what: str, tmp_path: Path) -> None:
    data, reason = REFUSED[what]
    path = tmp_path / "chest.jpeg"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(UnreadableImageError, match="^row 7 of set: "):
        read_radiograph(path, name="row 7 of set")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9", bytes(2000)])
def test_cut_jpeg_is_never_silently_half_gray(
    share: float, options: dict[str, object], ending: bytes
) -> None:
    data = encode(NOISE, "JPEG", quality=90, **options)
    with pytest.raises(UnreadableImageError, match="damaged"):
        read_raster(data[: int(share * len(data))] + ending)


def test_mid_gray_picture_is_not_taken_for_a_cut_one() -> None:
    gray = np.full((48, 64), 128, np.uint8)
    for options in ({}, {"progressive": True}):
        np.testing.assert_array_equal(read_raster(encode(gray, "JPEG", **options)).pixels, gray)


def test_thumbnail_does_not_stand_in_for_the_end_of_the_image() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + encode(GRADIENT[:8, :8], "JPEG")
    data = encode(NOISE, "JPEG", exif=exif)
    assert read_raster(data).pixels.shape == (48, 64)
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_raster(data[:-2])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_cut_png_is_refused(share: float) -> None:
    data = encode(NOISE, "PNG")
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_raster(data[: int(share * len(data))])


def test_flipped_bit_in_png_pixels_is_found_by_its_checksum() -> None:
    data = bytearray(encode(NOISE, "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImageError, match="checksum"):
        read_raster(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        claim_png(40_000, 40_000),
        claim_png(1, 2**31 - 1),
        claim_jpeg(40_000, 40_000),
        b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(12),
    ],
    ids=["png", "tall png", "jpeg", "webp"],
)
def test_gigantic_claim_costs_no_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError, match="64,000,000"):
            read_raster(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(40_000, 40_000), (9_000, 9_000), (8_001, 8_000)])
def test_limit_is_64_million_pixels(size: tuple[int, int]) -> None:
    # 81 million is where Pillow's own limit does not even warn, 1.6 thousand million raises there.
    for claim in (claim_png, claim_jpeg):
        with pytest.raises(ImageTooLargeError, match=f"{size[0]} x {size[1]} .* 64,000,000"):
            read_raster(claim(*size))


def test_limit_can_be_set_and_is_inclusive() -> None:
    data = encode(GRADIENT, "PNG")
    assert read_raster(data, max_pixels=48 * 64).pixels.shape == (48, 64)
    with pytest.raises(ImageTooLargeError):
        read_raster(data, max_pixels=48 * 64 - 1)


def test_missing_file_folder_and_pipe_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.png", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(UnreadableImageError, match=reason):
            read_radiograph(path)
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_radiograph(Path("/dev/null"))
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        read_radiograph(Path("nul\0byte.png"))


def read_or_refuse(data: bytes) -> Radiograph | None:
    """Let an exception of any other kind through, and every warning too (here an error)."""
    try:
        radiograph = read_radiograph(data, max_pixels=4_000_000)
    except RadiographError as error:
        message = str(error)
        if not (message.startswith("image: ") and message.endswith(".")):
            raise AssertionError(message) from error
        return None
    assert radiograph.pixels.ndim == 2
    assert radiograph.pixels.dtype == np.uint8
    return radiograph


SEEDS = {
    "gray jpeg": encode(GRADIENT, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + bytes(14)),
    "rgb jpeg": encode(COLOURS, "JPEG", dpi=(72, 72)),
    "progressive jpeg": encode(COLOURS, "JPEG", progressive=True),
    "gray png": encode(NOISE, "PNG"),
    "palette png": encode(Image.fromarray(GRADIENT).convert("P"), "PNG", transparency=bytes(9)),
    "bmp": encode(GRADIENT, "BMP"),
    "webp": encode(COLOURS, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0" + bytes(14)),
}


@pytest.mark.parametrize("seed", SEEDS)
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_fuzz_truncated(seed: str, share: float) -> None:
    data = SEEDS[seed]
    radiograph = read_or_refuse(data[: int(share * len(data))])
    if radiograph is not None:
        whole = read_radiograph(data)
        np.testing.assert_array_equal(radiograph.pixels, whole.pixels)


@pytest.mark.parametrize("seed", SEEDS)
@settings(max_examples=100, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1)
)
def test_fuzz_flipped(seed: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(SEEDS[seed])
    for place, change in flips:
        # Half of the changes hit the first bytes, where the headers are.
        data[int(place * len(data)) if change % 2 else int(place * 120)] ^= change
    read_or_refuse(bytes(data))


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBP"]),
    tail=st.binary(max_size=200),
)
def test_fuzz_noise_behind_a_signature(head: bytes, tail: bytes) -> None:
    read_or_refuse(head + tail)


def test_png_with_right_checksums_but_odd_fields_is_refused_or_read() -> None:
    for depth in range(17):
        for colour_type in range(8):
            read_or_refuse(claim_png(5, 5, depth=depth, colour_type=colour_type))


def test_quiet_warnings_leaves_the_filters_as_they_were() -> None:
    before = list(warnings.filters)

    def work(_: int) -> int:
        with quiet_warnings():
            warnings.warn("of the library", UserWarning, stacklevel=1)
            return read_raster(SEEDS["gray jpeg"]).pixels.shape[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(200))) == {48}
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)


def test_lack_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    data = encode(np.zeros((9, 9), np.uint8), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(MemoryError):
        read_raster(data)
