"""The graph's resize against two others: torch's, and Pillow's on floats."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from pneumoscope.training.resize_graph import resize_graph

SIDE = 48
# Height and width: larger, smaller, one of each, the square itself, and next to nothing.
SIZES = [
    (300, 500),
    (1400, 1100),
    (97, 61),
    (20, 31),
    (20, 200),
    (48, 100),
    (48, 48),
    (1, 1),
    (1, 90),
]
GRAY_LEVELS = 2e-3 / 255  # Resize's float32 weights; a wrong border would be off by 15 levels


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        resize_graph(SIDE).SerializeToString(), providers=["CPUExecutionProvider"]
    )


def draw(height: int, width: int) -> np.ndarray:
    """Noise, with a white frame that a wrong border would darken."""
    rng = np.random.default_rng(height * 10_007 + width)
    pixels = rng.integers(0, 256, (2, 1, height, width), dtype=np.uint8)
    pixels[:, :, [0, -1]] = 255
    pixels[:, :, :, [0, -1]] = 255
    return pixels


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_equals_torch(
    session: onnxruntime.InferenceSession, height: int, width: int
) -> None:
    pixels = draw(height, width)
    (found,) = session.run(None, {"pixels": pixels})
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).float(),
        (SIDE, SIDE),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy() / 255, atol=GRAY_LEVELS, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_equals_pillow_on_floats(
    session: onnxruntime.InferenceSession, height: int, width: int
) -> None:
    pixels = draw(height, width)
    (found,) = session.run(None, {"pixels": pixels})
    for picture, square in zip(pixels, found, strict=True):
        image = Image.fromarray(picture[0].astype(np.float32))
        assert image.mode == "F"
        wanted = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
        np.testing.assert_allclose(square[0], wanted, atol=GRAY_LEVELS, rtol=0)


def test_graph_is_valid_and_free_in_size() -> None:
    model = resize_graph(SIDE)
    onnx.checker.check_model(model, full_check=True)
    (pixels,), (square,) = model.graph.input, model.graph.output
    shape = pixels.type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["N", 1, "H", "W"]
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in square.type.tensor_type.shape.dim] == [
        "N", 1, SIDE, SIDE,
    ]  # fmt: skip
