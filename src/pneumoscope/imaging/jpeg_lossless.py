"""Decode lossless JPEG (processes 14 and 14 SV1), which many archives hold radiographs in.

Written here because the decoders that exist have licences that do not fit, or end the whole
process when a file is damaged. NumPy looks up the code word at every bit of the scan; only the
steps from one code word to the next are taken one by one.

Source: ITU-T T.81 (1992) | ISO/IEC 10918-1, annexes B (syntax), C and F (Huffman), H (lossless).
"""

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 17  # of a scan at once: a few ten MB of look-ups, whatever the picture's size
_PADDING = bytes(8)  # so that the look-ups of the last code word stay inside
_NO_CODE = 255


@dataclass(frozen=True, slots=True)
class _HuffmanTable:
    """What the next 16 bits mean, for each of their 65,536 values."""

    category: NDArray[np.uint8]  # SSSS: how many bits the difference has; 255: no such code word
    code_bits: NDArray[np.uint8]
    step_bits: NDArray[np.uint8]  # code word and difference together


@dataclass(slots=True)
class _Scan:
    width: int = 0
    height: int = 0
    bits: int = 0
    restart_interval: int = 0
    tables: dict[int, _HuffmanTable] = field(default_factory=dict)
    table_index: int = 0
    predictor: int = 0
    point_transform: int = 0
    start: int = 0  # of the entropy-coded data


def decode_jpeg_lossless(data: bytes) -> NDArray[np.uint16]:
    """Return the samples of a lossless JPEG with one component.

    The caller has compared the size in its header with what it is ready to hold.

    Returns: (H, W), 2 to 16 bits a sample.
    Raises: ValueError: damaged, cut short, or not a lossless JPEG with one component.
    """
    scan = _read_headers(data)
    intervals = _split_intervals(data, scan.start)
    n_samples = scan.width * scan.height
    per_interval = scan.restart_interval or n_samples
    if per_interval % scan.width or len(intervals) != -(-n_samples // per_interval):
        raise ValueError("its restart intervals do not fit its size")
    table = scan.tables[scan.table_index]
    samples = np.empty((scan.height, scan.width), np.uint16)
    for index, interval in enumerate(intervals):
        rows = samples[index * per_interval // scan.width :][: per_interval // scan.width]
        differences = _decode_differences(interval, rows.size, table).reshape(rows.shape)
        origin = 1 << (scan.bits - scan.point_transform - 1)
        rows[:] = _undo_prediction(differences, scan.predictor, origin)
    return samples << np.uint16(scan.point_transform)


def _read_headers(data: bytes) -> _Scan:
    scan, position = _Scan(), 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ValueError("a marker is missing")
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        position += 2 + length
        try:
            if marker == 0xC3:
                scan.bits, scan.height, scan.width, n_components = struct.unpack(">BHHB", body[:6])
                if not 2 <= scan.bits <= 16 or not scan.height * scan.width or n_components != 1:
                    raise ValueError("its frame header is not that of a gray image")
            elif marker == 0xC4:
                _read_tables(body, scan.tables)
            elif marker == 0xDD:
                (scan.restart_interval,) = struct.unpack(">H", body)
            elif marker == 0xDA:
                return _read_scan_header(body, scan, position)
            elif 0xC0 <= marker <= 0xCF and marker != 0xCC:
                raise ValueError("it is another kind of JPEG than the transfer syntax says")
        except (struct.error, IndexError) as error:
            raise ValueError("a segment of its header is too short") from error
    raise ValueError("its header is cut short")


def _read_scan_header(body: bytes, scan: _Scan, start: int) -> _Scan:
    n_components, _, tables, scan.predictor, _, bits = struct.unpack(">6B", body)
    scan.table_index, scan.point_transform, scan.start = tables >> 4, bits & 15, start
    if (
        not scan.width
        or n_components != 1
        or not 1 <= scan.predictor <= 7
        or scan.point_transform >= scan.bits
        or scan.table_index not in scan.tables
    ):
        raise ValueError("its scan header is not that of a lossless gray image")
    return scan


def _read_tables(body: bytes, tables: dict[int, _HuffmanTable]) -> None:
    while body:
        counts = body[1:17]
        n_codes = sum(counts)
        symbols = body[17 : 17 + n_codes]
        if len(counts) != 16 or len(symbols) != n_codes or any(s > 16 for s in symbols):
            raise ValueError("a Huffman table is damaged")
        category = np.full(65536, _NO_CODE, np.uint8)
        code_bits = np.ones(65536, np.uint8)
        first, index = 0, 0  # the first 16-bit value that begins with the next code word
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[index : index + count]:
                end = first + (1 << (16 - length))
                if end > 65536:
                    raise ValueError("a Huffman table has too many codes")
                category[first:end], code_bits[first:end] = symbol, length
                first = end
            index += count
        # Category 16 stands for the difference 32768 alone and has no further bits.
        step_bits = code_bits + np.where(category < 16, category, 0).astype(np.uint8)
        tables[body[0] & 15] = _HuffmanTable(category, code_bits, step_bits)
        body = body[17 + n_codes :]


def _split_intervals(data: bytes, start: int) -> list[bytes]:
    """Return the entropy-coded data between the restart markers, without stuffed zeros."""
    intervals, begin, position = [], start, start
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise ValueError("it is cut short")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0x00:
            position += 2
        else:
            intervals.append(data[begin:position].rstrip(b"\xff").replace(b"\xff\0", b"\xff"))
            position = begin = position + 2
            if not 0xD0 <= marker <= 0xD7:
                return intervals


def _decode_differences(data: bytes, n: int, table: _HuffmanTable) -> NDArray[np.uint16]:
    """Return (n,) differences modulo 2^16."""
    differences = np.empty(n, np.uint16)
    done, bit = 0, 0  # bit: where the next code word begins, counted from the chunk's first bit
    for begin in range(0, len(data), _CHUNK_BYTES):
        chunk = np.frombuffer(data[begin : begin + _CHUNK_BYTES + 8] + _PADDING, np.uint8)
        n_bits = 8 * min(_CHUNK_BYTES, len(data) - begin)
        places, bit = _find_code_words(chunk, n_bits, table.step_bits, bit, n - done)
        differences[done : done + places.size] = _differences_at(chunk, places, table)
        done += places.size
        if done == n:
            if 8 * begin + bit > 8 * len(data):
                break  # the last code word runs over the end
            return differences
        bit -= n_bits
    raise ValueError("it is cut short")


def _find_code_words(
    chunk: NDArray[np.uint8], n_bits: int, step_bits: NDArray[np.uint8], bit: int, n_max: int
) -> tuple[NDArray[np.int64], int]:
    """Return where code words begin in the chunk, and where the next one behind it does."""
    three = chunk[:-2].astype(np.uint32) << 16 | chunk[1:-1].astype(np.uint32) << 8 | chunk[2:]
    windows = (three[: n_bits // 8, np.newaxis] >> np.arange(8, 0, -1, dtype=np.uint32)) & 0xFFFF
    steps = step_bits[windows.ravel()].tobytes()
    places: list[int] = []
    while bit < n_bits and len(places) < n_max:
        places.append(bit)
        bit += steps[bit]
    return np.array(places, np.int64), bit


def _differences_at(
    chunk: NDArray[np.uint8], places: NDArray[np.int64], table: _HuffmanTable
) -> NDArray[np.uint16]:
    byte = places >> 3
    bits = np.zeros(places.size, np.uint64)  # 40 bits from the byte in which the code word begins
    for offset in range(5):
        bits = bits << np.uint64(8) | chunk[byte + offset]
    bits = (bits >> (8 - (places & 7)).astype(np.uint64)) & np.uint64(0xFFFFFFFF)
    window = bits >> np.uint64(16)
    category = table.category[window]
    if (category == _NO_CODE).any():
        raise ValueError("it holds a code word that is in no table")
    n_extra = np.where(category < 16, category, 0).astype(np.int64)
    extra = (bits.astype(np.int64) >> (32 - table.code_bits[window] - n_extra)) & (
        (1 << n_extra) - 1
    )
    # The lower half of each category's values are the negative differences (T.81, F.1.2.1.1).
    difference = np.where(extra < (1 << n_extra) >> 1, extra - (1 << n_extra) + 1, extra)
    return np.where(category == 16, 32768, difference).astype(np.uint16)


def _undo_prediction(
    differences: NDArray[np.uint16], predictor: int, origin: int
) -> NDArray[np.uint16]:
    """Turn (H, W) differences into samples, in place and modulo 2^16 (T.81, table H.1)."""
    samples = differences
    samples[0, :1] += np.uint16(origin)  # a slice, since NumPy warns where a scalar wraps
    np.cumsum(samples[:, 0], out=samples[:, 0], dtype=np.uint16)
    if predictor == 1:
        return np.cumsum(samples, axis=1, dtype=np.uint16)
    np.cumsum(samples[0], out=samples[0], dtype=np.uint16)
    height, width = samples.shape
    flat = samples.reshape(-1)
    # A diagonal from lower left to upper right needs only the two before it, so all of it is
    # worked out at once. Along it, the flat index moves by width - 1.
    for diagonal in range(2, height + width - 1):
        first_row, last_row = max(1, diagonal - width + 1), min(height - 1, diagonal - 1)
        if last_row < first_row:
            continue
        begin = first_row * width + diagonal - first_row
        here = slice(begin, last_row * width + diagonal - last_row + 1, width - 1)
        left, above, corner = (
            flat[here.start - back : here.stop - back : width - 1].astype(np.int32)
            for back in (1, width, width + 1)
        )
        flat[here] += _predict(predictor, left, above, corner).astype(np.uint16)
    return samples


def _predict(
    predictor: int,
    left: NDArray[np.int32],
    above: NDArray[np.int32],
    corner: NDArray[np.int32],
) -> NDArray[np.int32]:
    if predictor == 2:
        return above
    if predictor == 3:
        return corner
    if predictor == 4:
        return left + above - corner
    if predictor == 5:
        return left + ((above - corner) >> 1)
    if predictor == 6:
        return above + ((left - corner) >> 1)
    return (left + above) >> 1
