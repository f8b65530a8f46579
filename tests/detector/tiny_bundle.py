"""A bundle small enough to work out by hand: the brighter a place, the more evidence.

cam = 8 * (brightness in 7 x 7 cells) - 4, in logits; logit = mean(cam); brightness in [0, 1].
probability = sigmoid((logit + bias) / temperature); atypicality = 1 - mean brightness.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BIAS, TEMPERATURE = 0.5, 2.0


def tiny_card(**changes: Any) -> dict[str, Any]:
    card: dict[str, Any] = {
        "schema_version": 1,
        "name": "tiny",
        "version": "3",
        "title": "Brightness as evidence",
        "recipe": "tiny-recipe",
        "seed": 7,
        "size_px": 224,
        "operating_points": [
            {
                "name": "balanced",
                "threshold": 0.5,
                "sensitivity": 0.9,
                "specificity": 0.8,
                "sensitivity_interval": [0.85, 0.94],
                "specificity_interval": [0.7, 0.87],
                "measured_on": "tuning",
            },
            {
                "name": "sensitive",
                "threshold": 0.3,
                "sensitivity": 0.97,
                "specificity": 0.6,
                "measured_on": "tuning",
            },
        ],
        "calibration": {
            "temperature": TEMPERATURE,
            "bias": BIAS,
            "fitted_on": "tuning",
            "n": 100,
        },
        "atypicality": {"threshold": 0.98, "share_flagged_on_tuning": 0.02},
        "training_data": {
            "name": "phantoms",
            "fingerprint": "ab" * 32,
            "n_training": 90,
            "n_tuning": 10,
            "origins": {"phantom": 100},
        },
    }
    return card | changes


def tiny_model(card: dict[str, Any] | str | None) -> onnx.ModelProto:
    """Return the graph; a string is taken as the metadata itself, None leaves it out."""
    constants = {
        "255": np.float32(255),
        "8": np.float32(8),
        "4": np.float32(4),
        "1": np.float32(1),
        "bias": np.float32(BIAS),
        "temperature": np.float32(TEMPERATURE),
        "sizes": np.array([7, 7], np.int64),
        "channel": np.array([1], np.int64),
        "map": np.array([1, 2], np.int64),
        "all": np.array([1, 2, 3], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        node("Div", ["float", "255"], ["bright"]),
        node(
            "Resize",
            ["bright", "", "", "sizes"],
            ["cells"],
            mode="linear",
            antialias=1,
            exclude_outside=1,
            axes=[2, 3],
        ),
        node("Squeeze", ["cells", "channel"], ["flat"]),
        node("Mul", ["flat", "8"], ["scaled"]),
        node("Sub", ["scaled", "4"], ["cam"]),
        node("ReduceMean", ["cam", "map"], ["logit"], keepdims=0),
        node("Add", ["logit", "bias"], ["moved"]),
        node("Div", ["moved", "temperature"], ["calibrated"]),
        node("Sigmoid", ["calibrated"], ["probability"]),
        node("ReduceMean", ["bright", "all"], ["mean"], keepdims=0),
        node("Sub", ["1", "mean"], ["atypicality"]),
        node("Flatten", ["cells"], ["embedding"]),
    ]
    shapes: dict[str, list[int | str]] = {
        "logit": ["N"],
        "probability": ["N"],
        "cam": ["N", 7, 7],
        "embedding": ["N", 49],
        "atypicality": ["N"],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if card is not None:
        text = card if isinstance(card, str) else json.dumps(card)
        helper.set_model_props(model, {"pneumoscope": text})
    return model


def write_bundle(
    path: Path, *, model: onnx.ModelProto | None = None, with_hash: bool = False, **changes: Any
) -> Path:
    """Write a bundle; ``changes`` replace keys of its card."""
    model = tiny_model(tiny_card(**changes)) if model is None else model
    data = model.SerializeToString()
    path.write_bytes(data)
    if with_hash:
        beside = path.with_name(path.name + ".sha256")
        beside.write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    return path
