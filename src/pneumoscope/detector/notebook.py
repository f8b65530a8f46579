"""How a prediction shows itself in a notebook: HTML that asks the network for nothing."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Final

from PIL import Image

from pneumoscope.core.errors import RadiographError
from pneumoscope.detector.card import RESEARCH_USE

if TYPE_CHECKING:
    from pneumoscope.detector.prediction import Prediction

_PICTURE_PX: Final = (
    480  # the longer side; the overlay at full resolution is `Prediction.overlay()`
)
_JPEG_QUALITY: Final = 85


def show_prediction(prediction: "Prediction") -> str:
    """Return the radiograph, its overlay, the probability on a scale, and the warnings, as HTML."""
    point = prediction.operating_point
    verdict = (
        f"{prediction.label}, probability {prediction.probability:.3f} "
        f"({point.name}: pneumonia at {point.threshold:.3f} or above)"
    )
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in prediction.warnings)
    bundle = f"{prediction.bundle['name']} {prediction.bundle['version']}"
    return (
        '<div class="pneumoscope" style="font-family:sans-serif;max-width:62em">'
        f'<div style="overflow-wrap:anywhere">{escape(prediction.path)}</div>'
        f"<div><b>{escape(verdict)}</b></div>"
        f"{_scale(prediction.probability, point.threshold)}"
        f"{_pictures(prediction)}"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}"
        f"<small>{escape(bundle)}. {escape(RESEARCH_USE)}</small>"
        "</div>"
    )


def _pictures(prediction: "Prediction") -> str:
    try:
        pictures = {
            "Radiograph": Image.fromarray(prediction.pixels()),
            "Evidence for pneumonia": prediction.overlay(),
        }
    except RadiographError as error:  # the file is gone: the answer still stands
        return f"<p>{escape(str(error))}</p>"
    figures = "".join(
        f'<img alt="{name}" title="{name}" src="{_data_uri(picture)}" '
        'style="max-width:48%;vertical-align:top;margin-right:1%">'
        for name, picture in pictures.items()
    )
    return f"<div>{figures}</div>"


def _scale(probability: float, threshold: float) -> str:
    """Draw the probability as a bar from 0 to 1, with a mark at the operating point."""
    bar, mark = 400 * probability, 400 * threshold
    return (
        '<svg width="420" height="42" role="img" '
        f'aria-label="probability {probability:.3f}, operating point {threshold:.3f}">'
        '<rect x="10" y="6" width="400" height="14" fill="#ddd"/>'
        f'<rect x="10" y="6" width="{bar:.1f}" height="14" fill="#7e03a8"/>'
        f'<line x1="{10 + mark:.1f}" x2="{10 + mark:.1f}" y1="1" y2="25" '
        'stroke="#e16462" stroke-width="3"/>'
        '<g font-size="12" fill="#777" text-anchor="middle">'
        '<text x="10" y="38">0</text><text x="410" y="38">1</text>'
        f'<text x="{10 + min(max(mark, 25), 375):.1f}" y="38">{threshold:.2f}</text></g></svg>'
    )


def _data_uri(picture: Image.Image) -> str:
    picture = picture.copy()
    picture.thumbnail((_PICTURE_PX, _PICTURE_PX), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
