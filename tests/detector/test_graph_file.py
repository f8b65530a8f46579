"""The walk through an ONNX file, against the onnx library."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pneumoscope.detector.graph_file import read_graph_file


def external(name: str = "away") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, location="other.bin")
    tensor.ClearField("raw_data")
    return tensor


def sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array([1], np.int64), "indices")
    return helper.make_sparse_tensor(external(), indices, [4])


def constant(**attribute: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["x"], **attribute)


def subgraph(tensor: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([], "branch", [], [], [tensor])


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external())


def in_sparse_initializer(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(sparse())


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(constant(value=external()))


def in_sparse_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(constant(sparse_value=sparse()))


def in_sparse_list(model: onnx.ModelProto) -> None:
    model.graph.node.append(constant(sparse_values=[sparse()]))


def in_tensor_list(model: onnx.ModelProto) -> None:
    model.graph.node.append(constant(values=[external()]))


def in_nested_graph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([constant(body=subgraph(external()))], "inner", [], [])
    model.graph.node.append(constant(body=inner))


def in_graph_list(model: onnx.ModelProto) -> None:
    model.graph.node.append(constant(bodies=[subgraph(external())]))


def in_function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "f", [], ["x"], [constant(value=external())], opset)
    model.functions.append(function)


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.CopyFrom(subgraph(external()))


def without_location(model: onnx.ModelProto) -> None:
    tensor = external()
    del tensor.external_data[:]  # data_location alone says that the values are elsewhere
    model.graph.initializer.append(tensor)


def without_mark(model: onnx.ModelProto) -> None:
    tensor = external()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)


PLACES = [
    in_initializer,
    in_sparse_initializer,
    in_attribute,
    in_sparse_attribute,
    in_sparse_list,
    in_tensor_list,
    in_nested_graph,
    in_graph_list,
    in_function,
    in_training,
    without_location,
    without_mark,
]


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_in_another_file_is_seen_wherever_it_stands(
    tiny: ModuleType, place: Callable[[onnx.ModelProto], None]
) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    assert not read_graph_file(model.SerializeToString()).points_outside
    place(model)
    assert read_graph_file(model.SerializeToString()).points_outside


def test_metadata_is_what_onnx_wrote(tiny: ModuleType) -> None:
    model = tiny.tiny_model(None)
    written = {"pneumoscope": '{"ö": 1}', "other": "x" * 300, "empty": ""}
    helper.set_model_props(model, written)
    file = read_graph_file(model.SerializeToString())
    assert file.metadata == written


def test_any_cut_inside_a_field_is_an_error(tiny: ModuleType) -> None:
    model = tiny.tiny_model(tiny.tiny_card())
    data = model.SerializeToString()
    n_whole = 0
    for length in range(1, len(data)):
        try:
            file = read_graph_file(data[:length])
        except ValueError:
            continue
        # What is left ends between two fields, so protobuf can read it too; something is missing.
        onnx.ModelProto.FromString(data[:length])
        assert not file.metadata
        n_whole += 1
    assert n_whole < 10


@pytest.mark.parametrize(
    "data",
    [b"\xff\xd8\xff\xe0\0\x10JFIF", b"PK\x03\x04" * 20, b"\x0f", b"\x80" * 20, b"\x00\x01"],
)
def test_other_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="byte"):
        read_graph_file(data)


def test_deep_nesting_ends() -> None:
    data = b""
    for _ in range(3000):  # Graph -> Node -> Attribute -> Graph ...
        for tag in (0x32, 0x2A, 0x0A):
            data = bytes([tag]) + _length(len(data)) + data
    assert not read_graph_file(b"\x3a" + _length(len(data)) + data).points_outside


def _length(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])
