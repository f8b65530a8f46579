"""Everything that a bundle answers, as one torch module and then as one ONNX graph."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from pneumoscope import __version__
from pneumoscope.core.errors import ExportError
from pneumoscope.metrics.calibration import Calibration
from pneumoscope.models.cam import evidence_map
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.resize_graph import IR_VERSION, OPSET, SQUARE, resize_graph

OUTPUTS = ("logit", "probability", "cam", "embedding", "atypicality")
GRAY = "gray01"


class BundleModule(nn.Module):
    """A detector with everything that goes into its bundle, after the resize.

    Args:
        network: The trained network; put into evaluation mode.
        calibration: From logit to probability.
        atypicality: Feature maps, early to late, to (N,): how unlike training they are.
    """

    temperature: Tensor
    bias: Tensor

    def __init__(
        self, network: DetectorNetwork, *, calibration: Calibration, atypicality: nn.Module
    ) -> None:
        super().__init__()
        self.network = network
        self.atypicality = atypicality
        self.register_buffer("temperature", torch.tensor(float(calibration.temperature)))
        self.register_buffer("bias", torch.tensor(float(calibration.bias)))
        self.eval()

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return what the bundle answers.

        Args:
            gray: (N, 1, S, S), values in [0, 1], S the network's ``size_px``.

        Returns: logit (N,), probability (N,), cam (N, h, w), embedding (N, D), atypicality (N,).
        """
        levels = self.network.levels(gray)
        maps = levels[-1]
        logit, cam = evidence_map(
            maps,
            dense=[layer for layer in self.network.dense if isinstance(layer, nn.Linear)],
            head=self.network.head,
            pooling=self.network.pooling,
        )
        probability = torch.sigmoid((logit + self.bias) / self.temperature)
        return logit, probability, cam, maps.mean((2, 3)), self.atypicality(levels)

    def set_calibration(self, calibration: Calibration) -> None:
        """Take another calibration."""
        self.temperature.fill_(calibration.temperature)
        self.bias.fill_(calibration.bias)

    def map_size_px(self) -> tuple[int, int]:
        """Return height and width of the class activation map."""
        side = self.network.size_px
        with torch.inference_mode():
            maps = self.network.levels(torch.zeros(1, 1, side, side))[-1]
        return int(maps.shape[2]), int(maps.shape[3])


class _Uncalibrated(nn.Module):
    """The module's answers without the probability."""

    def __init__(self, module: BundleModule) -> None:
        super().__init__()
        self.module = module.eval()

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logit, _, cam, embedding, atypicality = self.module(gray)
        return logit, cam, embedding, atypicality


def module_graph(module: BundleModule) -> onnx.ModelProto:
    """Return the module as an ONNX graph: ``gray01`` float32 (N, 1, S, S) to all but probability.

    The square has a fixed side, so that padding that depends on it is a constant; N is free. The
    same weights give the same bytes.
    """
    size_px = module.network.size_px
    with warnings.catch_warnings(), _quiet_exporter():
        # torch's own calls of its own old interfaces: nothing that a caller could mend.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Uncalibrated(module),
            (torch.zeros(2, 1, size_px, size_px),),  # of 2, because 1 would be taken for constant
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            input_names=[GRAY],
            output_names=[name for name in OUTPUTS if name != "probability"],
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no graph. Export with another version of torch.")
    graph: onnx.ModelProto = program.model_proto
    graph.ir_version = IR_VERSION
    _strip(graph)
    return graph


def bundle_graph(
    graph: onnx.ModelProto, *, size_px: int, calibration: Calibration
) -> onnx.ModelProto:
    """Return the whole bundle: the resize, the detector's graph, the calibration.

    Args:
        graph: What `module_graph` returned, or the same quantised.
        size_px: Side of the square.
        calibration: From logit to probability.

    Returns: ``pixels`` uint8 (N, 1, H, W) to `OUTPUTS`, without metadata.
    """
    merged = compose.merge_models(resize_graph(size_px), graph, io_map=[(SQUARE, GRAY)])
    versions = {each.domain: each.version for each in merged.opset_import}
    versions.pop("ai.onnx", None)  # another name of ONNX's own domain, ""
    del merged.opset_import[:]
    merged.opset_import.extend(helper.make_opsetid(*each) for each in versions.items())
    _add_probability(merged, calibration)
    _strip(merged)
    merged.graph.name = "pneumoscope"
    merged.producer_name = "pneumoscope"
    merged.producer_version = __version__
    return merged


def set_metadata(bundle: onnx.ModelProto, values: Mapping[str, str]) -> None:
    """Replace the model's metadata."""
    del bundle.metadata_props[:]
    helper.set_model_props(bundle, dict(values))


def _add_probability(model: onnx.ModelProto, calibration: Calibration) -> None:
    """Append probability = sigmoid((logit + bias) / temperature), second of the outputs.

    By hand, because the exporter merges equal constants and drops an addition of 0, after which no
    other calibration could be put in for int8.
    """
    graph = model.graph
    values = {"calibration_bias": calibration.bias, "temperature": calibration.temperature}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()
    )
    graph.node.extend(
        [
            helper.make_node("Add", ["logit", "calibration_bias"], ["shifted"], name="shift"),
            helper.make_node("Div", ["shifted", "temperature"], ["scaled"], name="calibrate"),
            helper.make_node("Sigmoid", ["scaled"], ["probability"], name="probability"),
        ]
    )
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])
    by_name = {output.name: output for output in [*graph.output, probability]}
    ordered = [by_name[name] for name in OUTPUTS]
    del graph.output[:]
    graph.output.extend(ordered)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep a hundred lines on each constant that was folded out of the log."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _strip(model: onnx.ModelProto) -> None:
    """Take out what only the exporter needed: source lines, their paths, inner shapes."""
    model.doc_string = ""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    for part in _parts(model):
        part.doc_string = ""
        del part.metadata_props[:]


def _parts(model: onnx.ModelProto) -> Iterator[Any]:
    graph = model.graph
    yield graph
    for group in (graph.node, graph.input, graph.output, graph.initializer):
        yield from group
    for function in model.functions:
        yield function
        yield from function.node
