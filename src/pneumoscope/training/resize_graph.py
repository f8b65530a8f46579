"""The first part of a bundle's graph: a picture of any size becomes the network's square."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # the first whose Resize has `antialias` and `axes`
IR_VERSION = 10
PIXELS = "pixels"  # the bundle's input
SQUARE = "square_gray01"  # what this part hands on


def resize_graph(size_px: int) -> onnx.ModelProto:
    """Return the graph that squeezes gray pictures to a square and scales them to [0, 1].

    Bilinear with antialiasing, as Pillow's ``BILINEAR`` and torch's ``antialias=True``; the
    training data were squeezed so too. Unlike Pillow on uint8, nothing is rounded.

    Args:
        size_px: Side of the square.

    Returns: ``pixels`` uint8 (N, 1, H, W), any H and W, to ``square_gray01`` float32
        (N, 1, size_px, size_px).
    """
    nodes = [
        # To float first: Resize on uint8 would round between its two passes.
        helper.make_node("Cast", [PIXELS], ["pixels_float"], name="cast", to=TensorProto.FLOAT),
        helper.make_node(
            "Resize",
            ["pixels_float", "", "", "square_size"],
            ["square_pixels"],
            name="resize",
            mode="linear",
            antialias=1,
            coordinate_transformation_mode="half_pixel",
            # Weights outside the picture are left out and the rest made to sum to 1. Without it
            # the border's pixels stand in for them, 15 to 24 gray levels off at the edges.
            exclude_outside=1,
            axes=[2, 3],
        ),
        helper.make_node("Div", ["square_pixels", "white"], [SQUARE], name="scale"),
    ]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info(SQUARE, TensorProto.FLOAT, ["N", 1, size_px, size_px])],
        [
            numpy_helper.from_array(np.array([size_px, size_px], np.int64), "square_size"),
            numpy_helper.from_array(np.array(255, np.float32), "white"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
