"""A prediction as the JSON object that the API answers with; runs in the workers."""

import base64
import io
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pneumoscope.detector.prediction import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

Part = Literal["map", "overlay", "picture"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)


def describe_prediction(
    prediction: Prediction, *, include: Collection[str], seconds: float
) -> dict[str, Any]:
    """Return what `predict` prints, and what the API adds.

    Args:
        prediction: With its radiograph.
        include: Some of ``PARTS``.
        seconds: What decoding and inference took.

    Raises: RadiographError: an overlay cannot be drawn.
    """
    value = prediction.to_dict() | {
        "image": {"height": prediction.height_px, "width": prediction.width_px},
        "atypicality": prediction.atypicality,
        "seconds": round(seconds, 6),
    }
    if "map" in include:
        value["map"] = _map(prediction)
    if "overlay" in include:
        value["overlay_png"] = _png(prediction.overlay(), level=3)
    if "picture" in include:
        from PIL import Image

        value["picture_png"] = _png(Image.fromarray(prediction.pixels()), level=1)
    return value


def _map(prediction: Prediction) -> dict[str, Any]:
    height, width = prediction.cam.shape
    threshold = prediction.threshold_logit
    return {
        "height": height,
        "width": width,
        "values": prediction.cam.ravel().tolist(),
        # JSON has no infinity: an operating point of probability 0 or 1 has no logit.
        "threshold_logit": threshold if math.isfinite(threshold) else None,
    }


def _png(picture: "Image", *, level: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=level)
    return base64.b64encode(buffer.getbuffer()).decode("ascii")
