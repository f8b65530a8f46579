"""Look into an ONNX file's bytes before onnxruntime does: its metadata, and what it points at.

onnxruntime follows a tensor's `external_data` to any file beside a model, or in the working folder
when the model comes from memory. A bundle is one file, so such a tensor is refused first. The base
installation has no `onnx`; the protobuf wire format is small enough to walk here.
Source: onnx.proto (field numbers), protobuf.dev/programming-guides/encoding (wire format).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_VARINT, _64_BIT, _LENGTH_DELIMITED, _32_BIT = 0, 1, 2, 5
_FIXED_BYTES: Final = {_64_BIT: 8, _32_BIT: 4}

# Message -> field number -> message within it: every way that leads from a model to a tensor.
_WITHIN: Final[dict[str, dict[int, str]]] = {
    "Model": {7: "Graph", 14: "Entry", 20: "TrainingInfo", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
}
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


class GraphFile(NamedTuple):
    """What an ONNX file's own bytes say."""

    metadata: dict[str, str]  # metadata_props
    points_outside: bool  # a tensor's values lie in another file


class _Field(NamedTuple):
    number: int
    wire_type: int
    start: int  # of its content
    end: int
    value: int  # of a varint, else 0


def read_graph_file(data: bytes) -> GraphFile:
    """Walk an ONNX file.

    Raises: ValueError: the bytes are no protobuf message, or they end too early.
    """
    metadata: dict[str, str] = {}
    points_outside = False
    waiting = [("Model", 0, len(data))]  # a list, not recursion: a hostile file may nest deeply
    while waiting:
        message, start, end = waiting.pop()
        for field in _fields(data, start, end):
            if message == "Tensor":
                is_external = field.number == _DATA_LOCATION and field.value != 0
                points_outside |= is_external or field.number == _EXTERNAL_DATA
                continue
            inner = _WITHIN[message].get(field.number)
            if inner is None or field.wire_type != _LENGTH_DELIMITED:
                continue
            if inner == "Entry":
                key, value = _entry(data, field)
                metadata[key] = value
            else:
                waiting.append((inner, field.start, field.end))
    return GraphFile(metadata, points_outside)


def _fields(data: bytes, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        value, start = 0, position
        if wire_type == _VARINT:
            value, position = _varint(data, position, end)
        elif wire_type == _LENGTH_DELIMITED:
            length, start = _varint(data, position, end)
            position = start + length
        elif wire_type in _FIXED_BYTES:
            position += _FIXED_BYTES[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {start}")
        if position > end or number == 0:
            raise ValueError(f"field {number} at byte {start} does not fit")
        yield _Field(number, wire_type, start, position, value)


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for n_bits in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << n_bits
        if byte < 0x80:
            return value, position
    raise ValueError(f"a number at byte {position} has no end")


def _entry(data: bytes, entry: _Field) -> tuple[str, str]:
    texts = {
        field.number: data[field.start : field.end].decode("utf-8")
        for field in _fields(data, entry.start, entry.end)
        if field.wire_type == _LENGTH_DELIMITED
    }
    return texts.get(_ENTRY_KEY, ""), texts.get(_ENTRY_VALUE, "")
