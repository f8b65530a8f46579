"""Lossless JPEG: every predictor, depth and restart interval gives back what was encoded."""

import itertools
import struct

import numpy as np
import pytest

from pneumoscope.imaging.jpeg_lossless import decode_jpeg_lossless

RNG = np.random.default_rng(11)


def predict(x: np.ndarray, row: int, column: int, predictor: int, origin: int, top: int) -> int:
    """Oracle: ITU-T T.81, H.1.2.1 and table H.1, a sample at a time."""
    if row == top:
        return origin if column == 0 else int(x[row, column - 1])
    if column == 0:
        return int(x[row - 1, 0])
    a, b, c = int(x[row, column - 1]), int(x[row - 1, column]), int(x[row - 1, column - 1])
    return [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor - 1]


def encode_lossless(
    image: np.ndarray, *, bits: int, predictor: int = 1, rows_per_restart: int = 0, shift: int = 0
) -> bytes:
    """Write a lossless JPEG with a fixed code: 5 bits for every category but the longest."""
    height, width = image.shape
    x = image.astype(int) >> shift
    intervals, origin = [], 1 << (bits - shift - 1)
    for top in range(0, height, rows_per_restart or height):
        stream = ""
        last = min(height, top + (rows_per_restart or height))
        for row, column in itertools.product(range(top, last), range(width)):
            difference = int(x[row, column]) - predict(x, row, column, predictor, origin, top)
            difference = (difference + 32767) % 65536 - 32767  # -32767 ... 32768
            category = abs(difference).bit_length() if difference != 32768 else 16
            stream += f"{category:05b}"
            if 0 < category < 16:
                value = difference if difference > 0 else difference + (1 << category) - 1
                stream += f"{value:0{category}b}"
        stream += "1" * (-len(stream) % 8)
        body = int(stream, 2).to_bytes(len(stream) // 8, "big")
        intervals.append(body.replace(b"\xff", b"\xff\0"))
    # 17 codes of 5 bits, 00000 to 10000
    table = b"\0" + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    parts = [
        (0xC4, table),
        (0xC3, struct.pack(">BHHBBBB", bits, height, width, 1, 1, 0x11, 0)),
        (0xDD, struct.pack(">H", rows_per_restart * width)),
        (0xDA, bytes([1, 1, 0, predictor, 0, shift])),
    ]
    data = b"\xff\xd8"
    for marker, body in parts:
        data += bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    for index, body in enumerate(intervals):
        data += (bytes([0xFF, 0xD0 + (index - 1) % 8]) if index else b"") + body
    return data + b"\xff\xd9"


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("rows_per_restart", [0, 4])
def test_every_predictor_comes_back_exactly(
    predictor: int, bits: int, rows_per_restart: int
) -> None:
    image = RNG.integers(0, 1 << bits, (11, 17))
    data = encode_lossless(image, bits=bits, predictor=predictor, rows_per_restart=rows_per_restart)
    np.testing.assert_array_equal(decode_jpeg_lossless(data), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 40), (40, 3)])
@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_narrow_pictures(shape: tuple[int, int], predictor: int) -> None:
    image = RNG.integers(0, 4096, shape)
    data = encode_lossless(image, bits=12, predictor=predictor)
    np.testing.assert_array_equal(decode_jpeg_lossless(data), image)


def test_extreme_steps_wrap_round_as_the_standard_says() -> None:
    image = np.array([[0, 65535, 0, 32768], [32768, 0, 65535, 1]])
    for predictor in range(1, 8):
        data = encode_lossless(image, bits=16, predictor=predictor)
        np.testing.assert_array_equal(decode_jpeg_lossless(data), image)


def test_point_transform_drops_the_lowest_bits() -> None:
    image = RNG.integers(0, 4096, (8, 9))
    data = encode_lossless(image, bits=12, shift=3)
    np.testing.assert_array_equal(decode_jpeg_lossless(data), image >> 3 << 3)


def test_a_picture_longer_than_one_chunk() -> None:
    image = RNG.integers(0, 65536, (120, 700))
    data = encode_lossless(image, bits=16)
    assert len(data) > 1 << 17  # else this tests nothing
    np.testing.assert_array_equal(decode_jpeg_lossless(data), image)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_cut_short_is_never_filled_up(share: float, ending: bytes) -> None:
    data = encode_lossless(RNG.integers(0, 4096, (16, 16)), bits=12)
    with pytest.raises(ValueError, match="cut short|missing|too short|damaged"):
        decode_jpeg_lossless(data[: int(share * len(data))] + ending)


def test_last_code_word_may_not_run_over_the_end() -> None:
    data = encode_lossless(np.array([[32768 + 600]]), bits=16)  # 15 bits in two bytes
    with pytest.raises(ValueError, match="cut short"):
        decode_jpeg_lossless(data[:-3] + data[-2:])


def test_unknown_code_word_is_refused() -> None:
    data = bytearray(encode_lossless(RNG.integers(0, 4096, (16, 16)), bits=12))
    data[-40:-2] = b"\xfe" * 38  # 11111 is no code of this table
    with pytest.raises(ValueError, match="no table"):
        decode_jpeg_lossless(bytes(data))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\xff\xc3", b"\xff\xc0", "another kind"),
        (b"\xff\xc3\0\x0b\x0c\0\x10\0\x10\x01", b"\xff\xc3\0\x0b\x0c\0\x10\0\x10\x03", "frame"),
        (b"\xff\xc3\0\x0b\x0c\0\x10", b"\xff\xc3\0\x0b\x0c\0\0", "frame"),
        (b"\xff\xda\0\x08\x01\x01\0\x01", b"\xff\xda\0\x08\x01\x01\0\x09", "scan header"),
        (b"\xff\xda\0\x08\x01\x01\0", b"\xff\xda\0\x08\x01\x01\x10", "scan header"),
        (b"\xff\xdd\0\x04\0\0", b"\xff\xdd\0\x04\0\x07", "restart"),
        (b"\xff\xc4\0\x24\0\0\0\0\0\x11", b"\xff\xc4\0\x24\0\x11\0\0\0\0", "too many codes"),
        (b"\xff\xc4\0\x24\0\0\0\0\0\x11", b"\xff\xc4\0\x24\0\0\0\0\0\x21", "table"),
    ],
)
def test_damaged_header_says_what_is_wrong(old: bytes, new: bytes, reason: str) -> None:
    data = encode_lossless(RNG.integers(0, 4096, (16, 16)), bits=12)
    assert old in data
    with pytest.raises(ValueError, match=reason):
        decode_jpeg_lossless(data.replace(old, new))
