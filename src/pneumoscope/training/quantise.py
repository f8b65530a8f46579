"""Eight-bit weights and activations for the convolutions of a detector's graph."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from pneumoscope.training.bundle_graph import GRAY

# What stands between the resize and the head. Everything else stays fp32.
_TYPES = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Mul", "Concat")


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, batches: Iterator[torch.Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {GRAY: batch.numpy()}


def quantise(graph: onnx.ModelProto, batches: Iterator[torch.Tensor]) -> onnx.ModelProto:
    """Return a detector's graph with its backbone in int8 (static, QDQ).

    Only what the last feature maps are made by is quantised, and of it only convolutions, pooling
    and sums: the first layers' input, the head, the map and the atypicality stay fp32. Weights have
    7 bits and a scale a channel: processors without VNNI add products of 8 bits in 16 and would
    saturate, so that two machines would answer differently.

    Args:
        graph: What `module_graph` returned.
        batches: (N, 1, S, S) in [0, 1]; the activations' ranges come from their extremes.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, done = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(graph, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # folds BatchNorm away
        model = onnx.load(prepared)
        quantize_static(
            prepared,
            done,
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_TYPES),
            nodes_to_quantize=_backbone_nodes(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        quantised = onnx.load(done)
    quantised.ir_version = graph.ir_version
    return quantised


def _backbone_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that the last feature maps are made by."""
    makers = {name: node for node in model.graph.node for name in node.output}
    # The embedding is the mean over the last maps: what it is worked out from is the backbone.
    waiting, found = list(makers["embedding"].input), set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input
    return sorted(found)
