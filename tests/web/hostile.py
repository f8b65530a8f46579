"""Files that a server must survive, made here byte by byte, and the status that each must get."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

UID = {
    "explicit": b"1.2.840.10008.1.2.1",
    "deflated": b"1.2.840.10008.1.2.1.99",
    "rle": b"1.2.840.10008.1.2.5",
    "jpeg-2000": b"1.2.840.10008.1.2.4.90",
}
HUGE = 40_000


def png_bomb(side: int = HUGE) -> bytes:
    """10 KB that claim 40,000 x 40,000 pixels."""
    deflated = zlib.compress(bytes(10_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + _chunk(b"IDAT", deflated)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_text_bomb() -> bytes:
    """A small picture with a text of 100 MB, deflated."""
    text = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    gray = png(np.full((140, 140), 90, np.uint8))
    return gray[:33] + _chunk(b"zTXt", text) + gray[33:]


def jpeg_bomb(side: int = HUGE) -> bytes:
    """A small JPEG whose frame header claims more."""
    data = bytearray(jpeg(np.full((160, 160), 90, np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data) + bytes(8000)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    if kind in (b"OB", b"OW", b"SQ", b"UN"):
        return struct.pack("<HH2sHI", group, number, kind, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def _file(syntax: str, dataset: bytes) -> bytes:
    uid = UID[syntax] + b"\0" * (len(UID[syntax]) % 2)
    meta = _element(2, 0x10, b"UI", uid)
    length = _element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + dataset


def _tags(side: int) -> bytes:
    return (
        _element(0x28, 2, b"US", struct.pack("<H", 1))
        + _element(0x28, 4, b"CS", b"MONOCHROME2")
        + _element(0x28, 0x10, b"US", struct.pack("<H", side))
        + _element(0x28, 0x11, b"US", struct.pack("<H", side))
        + _element(0x28, 0x100, b"US", struct.pack("<H", 8))
        + _element(0x28, 0x101, b"US", struct.pack("<H", 8))
        + _element(0x28, 0x102, b"US", struct.pack("<H", 7))
        + _element(0x28, 0x103, b"US", struct.pack("<H", 0))
    )


def dicom_deflated_bomb() -> bytes:
    """A quarter of a megabyte that inflates to 256 MB."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 1 << 28)
    parts = [deflater.compress(_tags(5000) + pixels)]
    parts += [deflater.compress(bytes(1 << 20)) for _ in range(256)]
    return _file("deflated", b"".join([*parts, deflater.flush()]))


def dicom_nested(depth: int) -> bytes:
    """Sequences in sequences, of undefined length."""
    begin = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return _file("explicit", (begin + item) * depth)


def dicom_rle_bomb(side: int = HUGE) -> bytes:
    """An RLE frame of a few bytes that claims 40,000 x 40,000 pixels."""
    run = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 4000
    run += bytes(len(run) % 2)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(run))
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + items + run + end
    return _file("rle", _tags(side) + pixels)


def dicom_long_element() -> bytes:
    """An element that claims 4 GB."""
    return _file("explicit", struct.pack("<HH2sHI", 0x10, 0x10, b"UN", 0, 0xFFFFFFFE) + b"x" * 100)


def bad_files(good: bytes, golden: dict[str, bytes]) -> Iterator[tuple[str, bytes, int]]:
    """Yield a name, the bytes and the status that a request with them alone must get."""
    yield "empty", b"", 422
    yield "one byte", b"\xff", 422
    for name, data in golden.items():
        yield f"{name} cut in half", data[: len(data) // 2], 422
    yield "cut JPEG", good[:-2000], 422
    yield "PNG bomb", png_bomb(), 413
    yield "JPEG bomb", jpeg_bomb(), 413
    yield "PNG text bomb", png_text_bomb(), 422
    yield "deflated DICOM bomb", dicom_deflated_bomb(), 413
    yield "nested DICOM", dicom_nested(100_000), 422
    yield "RLE bomb", dicom_rle_bomb(), 413
    yield "RLE cut short", dicom_rle_bomb(2000), 422
    yield "long DICOM element", dicom_long_element(), 422
    yield "text", b"this is no radiograph\n" * 50, 422
    yield "PDF", b"%PDF-1.7\n" + bytes(500), 422
    yield "GIF", b"GIF89a" + bytes(500), 422
    yield "TIFF", b"II*\0" + bytes(500), 422
    yield "ZIP", b"PK\x03\x04" + bytes(500), 422
    yield "ELF", b"\x7fELF" + bytes(500), 422
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 422
    yield "zeros", bytes(1 << 20), 422
    yield "noise", np.random.default_rng(0).bytes(1 << 20), 422
    yield "DICOM mark alone", bytes(128) + b"DICM", 422


def hostile_names() -> list[bytes]:
    """Return 200 file names."""
    seeds = [
        b"../../etc/passwd", b"..\\..\\windows\\system32\\a.dll", b"/etc/shadow", b"C:\\x.png",
        b"a\0b.png", b"a\rb.png", b"\x1b[31mred", b"<script>alert(1)</script>.png",
        b"'; DROP TABLE x; --", b"$(reboot).png", b"`id`.png", b"%s%n%x.png", b"{0.__class__}",
        b"${jndi:ldap://x/a}", b"\xff\xfe.png", b"\xc3\x28.png", b"\xed\xa0\x80.png",
        "\u202egnp.exe".encode(), "\u0000\u2028\u2029".encode(), "\U0001f4a9.png".encode(),
        "e\u0301.png".encode(), "\ufeff.png".encode(), b"CON", b"NUL.png", b".", b"..", b"...",
        b"", b" ", b"\t", b"-rf", b"--help", b"~root", b"a" * 300, "\u00e4".encode() * 300,
        b"a.png%00.jpg", b"%2e%2e%2f", b'\\"quoted\\".png', b"a;b=c.png", b"a,b.png",
    ]  # fmt: skip
    endings = (b"", b".dcm", b"/", b"/../x", b" Jane Doe 1970-01-01")
    return [seed + ending for seed in seeds for ending in endings][:200]
