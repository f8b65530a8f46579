"""Every file gives the same display values, or the same refusal, in the browser as at a shell."""

import io
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.pixels.utils import compress
from pydicom.uid import (
    ExplicitVRBigEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pneumoscope.core.errors import RadiographError
from pneumoscope.imaging.read import read_radiograph

GOLDEN = Path(__file__).parents[2] / "golden" / "reading"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
FACTS = {
    "isColour": "is_colour",
    "modality": "modality",
    "viewPosition": "view_position",
    "ageYears": "age_years",
    "sex": "sex",
}
RNG = np.random.default_rng(11)
COLOURS = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(COLOURS[::8, ::8]).resize((301, 203), Image.Resampling.BICUBIC))

Load = Callable[[str], ModuleType]


def pixels_of(read: dict[str, Any]) -> np.ndarray:
    assert "error" not in read, read["error"]
    return np.frombuffer(read["pixels"], np.uint8).reshape(read["height"], read["width"])


def assert_as_at_the_shell(core: Any, data: bytes, *, tolerance: int = 0) -> None:
    expected = read_radiograph(data)
    read = core.read(data)
    difference = pixels_of(read).astype(int) - expected.pixels
    assert np.abs(difference).max() <= tolerance
    for there, here in FACTS.items():
        assert read[there] == getattr(expected, here)


def encode(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_file_decodes_as_written_down(name: str, core: Any) -> None:
    expected = EXPECTED[name]
    rows = np.array([list(bytes.fromhex(row)) for row in expected["rows"]], int)
    read = core.read((GOLDEN / name).read_bytes())
    pixels = pixels_of(read).astype(int)
    if "scaled_to_px" in expected:  # the page always decodes whole; that is another picture
        assert pixels.shape == (expected["file_height_px"], expected["file_width_px"])
        return
    assert pixels.shape == rows.shape
    assert np.abs(pixels - rows).max() <= expected.get("tolerance", 0)
    for there, here in FACTS.items():
        assert read[there] == expected.get(here, False if here == "is_colour" else None)


def test_radiographs_decode_as_at_the_shell(core: Any, radiographs: list[Path]) -> None:
    for path in radiographs:
        assert_as_at_the_shell(core, path.read_bytes(), tolerance=2)


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGB", "RGBA"])
def test_png_is_exact_in_every_mode(mode: str, core: Any) -> None:
    assert_as_at_the_shell(core, encode(Image.fromarray(COLOURS).convert(mode), "PNG"))


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("colour_type", [0, 3])
@pytest.mark.parametrize("size", [(19, 21), (1, 1), (3, 2), (8, 5)])
def test_interlaced_png_of_few_bits(
    depth: int, colour_type: int, size: tuple[int, int], core: Any, load_test_module: Load
) -> None:
    helpers = load_test_module("imaging/test_read_raster.py")
    samples = RNG.integers(0, 1 << depth, size)
    rows = b""
    for x, y, step_x, step_y in ADAM7:
        for row in samples[y::step_y, x::step_x]:
            if row.size:
                bits = "".join(f"{sample:0{depth}b}" for sample in row)
                bits += "0" * (-len(bits) % 8)
                rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = np.array([size[1], size[0]], ">u4").tobytes() + bytes((depth, colour_type, 0, 0, 1))
    palette = RNG.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes()
    data = b"\x89PNG\r\n\x1a\n" + helpers.png_chunk(b"IHDR", header)
    data += helpers.png_chunk(b"PLTE", palette) if colour_type == 3 else b""
    data += helpers.png_chunk(b"IDAT", zlib.compress(rows)) + helpers.png_chunk(b"IEND", b"")
    assert_as_at_the_shell(core, data)


def test_png_with_a_see_through_colour_is_exact(core: Any) -> None:
    palette = Image.fromarray(COLOURS).convert("P")
    assert_as_at_the_shell(core, encode(palette, "PNG", transparency=bytes(range(0, 256, 2))))
    gray = COLOURS[..., 0].copy()
    assert_as_at_the_shell(core, encode(gray, "PNG", transparency=int(gray[3, 3])))
    key = tuple(int(value) for value in COLOURS[3, 3])
    assert_as_at_the_shell(core, encode(COLOURS, "PNG", transparency=key))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_colour_profile_changes_nothing(kind: str, core: Any) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ", 128)  # the red primary becomes the green one
    profile[at : at + 4] = b"gXYZ"
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(COLOURS, kind, icc_profile=bytes(profile), **options)
    assert_as_at_the_shell(core, data, tolerance=2 if kind == "JPEG" else 0)


def test_gamma_of_a_png_changes_nothing(core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_read_raster.py")
    data = encode(COLOURS, "PNG")
    gamma = helpers.png_chunk(b"gAMA", (220_000).to_bytes(4, "big"))
    assert_as_at_the_shell(core, data[:33] + gamma + data[33:])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 77])
def test_exif_orientation_is_applied_once(orientation: int, kind: str, core: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(SMOOTH[..., 0].copy(), kind, exif=exif, **options)
    assert_as_at_the_shell(core, data, tolerance=2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_coloured_jpeg(quality: int, subsampling: int, progressive: bool, core: Any) -> None:
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    assert_as_at_the_shell(core, encode(SMOOTH, "JPEG", **options), tolerance=2)


def test_picture_larger_than_one_canvas_tile(core: Any) -> None:
    wide = np.asarray(Image.fromarray(COLOURS).resize((4100, 30)))
    for picture in (wide, wide.transpose(1, 0, 2).copy()):
        assert_as_at_the_shell(core, encode(picture, "JPEG"), tolerance=2)


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB"])
def test_bmp(mode: str, core: Any) -> None:
    assert_as_at_the_shell(core, encode(Image.fromarray(COLOURS).convert(mode), "BMP"))


def test_bmp_of_32_bits(core: Any, load_test_module: Load) -> None:
    files = load_test_module("imaging/test_read_raster.py").BMP_32
    assert len(files) == 5
    for data in files.values():
        assert_as_at_the_shell(core, data)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_with_a_see_through_level(bits: int, core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_read_raster.py")
    for level in {0, 1, 2**bits - 1}:
        assert_as_at_the_shell(core, helpers.gray_png(bits, see_through=level))


def test_dicom_with_values_of_eight_bytes(core: Any, load_test_module: Load) -> None:
    """An Extended Offset Table (OV) stands before the pixels; SV and UV may stand anywhere."""
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    file = helpers.make_file(helpers.draw(12), bits=12)
    file.add_new(0x00090010, "LO", "A WRITER")
    file.add_new(0x00091001, "SV", -5)
    file.add_new(0x00091002, "UV", 5)
    assert_as_at_the_shell(core, helpers.encode(file))
    compress(file, RLELossless, generate_instance_uid=False)
    file.add_new(0x7FE00001, "OV", bytes(8))
    file.add_new(0x7FE00002, "OV", (100).to_bytes(8, "little"))
    assert_as_at_the_shell(core, helpers.encode(file))


def test_several_views(core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_read_dicom.py")
    data = helpers.encode(helpers.make_file(helpers.NOISE, ViewPosition=["AP", "PA"]))
    assert_as_at_the_shell(core, data)


def test_webp(core: Any) -> None:
    assert_as_at_the_shell(core, encode(COLOURS, "WEBP", lossless=True))
    assert_as_at_the_shell(core, encode(SMOOTH, "WEBP"), tolerance=2)
    see_through = encode(Image.fromarray(COLOURS).convert("RGBA"), "WEBP", lossless=True)
    assert_as_at_the_shell(core, see_through, tolerance=1)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", [(8, False), (8, True), (10, False), (12, True), (16, False)])
def test_compressed_dicom(
    syntax: Any, kind: tuple[int, bool], core: Any, load_test_module: Load
) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    bits, is_signed = kind
    file = helpers.make_file(helpers.draw(bits, is_signed=is_signed), bits=bits)
    compress(file, syntax, generate_instance_uid=False)
    assert_as_at_the_shell(core, helpers.encode(file))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_bits_above_those_stored(syntax: Any, core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    stored = helpers.draw(12)
    with_overlay = stored | np.uint16(0x8000) * (stored % 2)
    data = helpers.compressed_with_more_bits(with_overlay, syntax, bits=12)
    assert_as_at_the_shell(core, data)


def test_orientation_behind_the_pixels(core: Any, load_test_module: Load) -> None:
    data = load_test_module("imaging/test_read_raster.py").with_exif_at_the_end(6)
    assert_as_at_the_shell(core, data)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("options", [{}, {"rows_per_restart": 4}, {"shift": 3}])
def test_lossless_jpeg(
    predictor: int, bits: int, options: dict[str, int], core: Any, load_test_module: Load
) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    writer = load_test_module("imaging/test_jpeg_lossless.py")
    stored = helpers.draw(bits)
    frame = writer.encode_lossless(stored, bits=bits, predictor=predictor, **options)
    assert_as_at_the_shell(core, helpers.wrap(frame, JPEGLosslessSV1, stored, bits=bits))


def test_high_throughput_jpeg_2000(core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    frame = (Path(__file__).parent / "high-throughput.j2c").read_bytes()
    stored = np.zeros((23, 37), np.uint16)
    assert_as_at_the_shell(core, helpers.wrap(frame, HTJ2KLossless, stored, bits=12))


@pytest.mark.parametrize(("bits", "vr"), [(8, "OB"), (8, "OW"), (12, "OW")])
def test_big_endian_dicom(bits: int, vr: str, core: Any, load_test_module: Load) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    stored = helpers.draw(bits)
    file = helpers.make_file(stored, bits=bits)
    file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file.PixelData = stored.byteswap().tobytes() if bits > 8 else stored.tobytes()
    file["PixelData"].VR = vr
    buffer = io.BytesIO()
    file.save_as(buffer, little_endian=False, implicit_vr=False, enforce_file_format=True)
    assert_as_at_the_shell(core, buffer.getvalue())


def refused(load_test_module: Load) -> Iterator[tuple[str, bytes, str]]:
    """Yield what, the bytes and what the message must say, as the shell's own tests have them."""
    compressed = load_test_module("imaging/test_dicom_compressed.py")
    raster = load_test_module("imaging/test_read_raster.py")
    plain = load_test_module("imaging/test_read_dicom.py")
    for helpers in (compressed, raster, plain):
        for what, (data, reason) in helpers.REFUSED.items():
            yield what, data, reason
    for what, (frame, syntax) in compressed.HOSTILE.items():
        data = compressed.wrap(frame, syntax, compressed.draw(8), bits=8)
        yield f"hostile {what}", data, "40000 x 40000 .* tags say 48 x 64"
    yield "deflated bomb", compressed.deflated_bomb(), "inflates to more than"
    for claim in (raster.claim_png, raster.claim_jpeg):
        yield "40000 x 40000", claim(40_000, 40_000), "64,000,000"
        yield "one row too many", claim(8_001, 8_000), "8001 x 8000 .* 64,000,000"
    # What differs in words alone: the page names neither its limit's owner nor unknown syntaxes.
    yield "webp", b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(12), ""


OWN_WORDS = {"text": "first bytes", "video": "4.100.*dcmdjpeg"}


def test_refusals_are_the_shells(core: Any, load_test_module: Load) -> None:
    for what, data, reason in refused(load_test_module):
        with pytest.raises(RadiographError) as shell:
            read_radiograph(data, name="row 7")
        answer = core.read(data, "row 7")
        assert "error" in answer, what
        assert answer["error"]["type"] == type(shell.value).__name__, what
        message = answer["error"]["message"]
        assert message.startswith("row 7: "), what
        assert message.endswith("."), what
        assert re.search(OWN_WORDS.get(what, reason), message), (what, message)
        assert "ROE" not in message


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9", bytes(2000)])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_cut_jpeg_is_never_silently_half_gray(
    share: float, ending: bytes, options: dict[str, object], core: Any
) -> None:
    data = encode(COLOURS[..., 0].copy(), "JPEG", quality=90, **options)
    answer = core.read(data[: int(share * len(data))] + ending)
    assert "damaged" in answer["error"]["message"]


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_mid_gray_picture_is_not_taken_for_a_cut_one(options: dict[str, object], core: Any) -> None:
    assert_as_at_the_shell(core, encode(np.full((48, 64), 128, np.uint8), "JPEG", **options))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_cut_lossless_jpeg_is_never_filled_up(
    share: float, core: Any, load_test_module: Load
) -> None:
    helpers = load_test_module("imaging/test_dicom_compressed.py")
    writer = load_test_module("imaging/test_jpeg_lossless.py")
    stored = helpers.draw(12)
    frame = writer.encode_lossless(stored, bits=12)
    frame = frame[: int(share * len(frame))] + b"\xff\xd9"
    answer = core.read(helpers.wrap(frame, JPEGLosslessSV1, stored, bits=12))
    assert "cannot be decoded" in answer["error"]["message"]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_damaged_file_is_read_alike_or_refused(
    name: str, core: Any, load_test_module: Load
) -> None:
    """Parsers forgive different faults; but what both read is the same picture."""
    damage = load_test_module("imaging/test_read_fuzz.py").damage
    rng, data = random.Random(f"browser {name}"), (GOLDEN / name).read_bytes()
    n_refused = 0
    for _ in range(25):
        damaged = damage(data, rng)
        answer = core.read(damaged, "row 7")
        if "error" in answer:
            assert answer["error"]["type"] in ("UnreadableImageError", "ImageTooLargeError")
            assert answer["error"]["message"].startswith("row 7: ")
            n_refused += 1
            continue
        try:
            expected = read_radiograph(damaged)
        except RadiographError:
            continue
        assert np.abs(pixels_of(answer).astype(int) - expected.pixels).max() <= 2
    assert 0 < n_refused < 25  # else it tells nothing
