"""What every HTML report shares: templates, figures as inline SVG, pictures as data URIs.

A report is one file that asks the network for nothing, so it can be mailed, kept and printed.
"""

import base64
import hashlib
import io
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pneumoscope
from pneumoscope.core.optional import import_extra

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure

_PURPOSE = "Writing an HTML report"
_JPEG_QUALITY = 85


def render(template_name: str, **values: object) -> str:
    """Return the page that a template of ``report/templates`` makes of the values.

    Every value is escaped, except `Markup` (such as `figure_svg` returns). A name that the
    template uses and the caller forgot is an error, not an empty place on the page.

    Args:
        template_name: File name, such as ``audit.html.j2``. Pages extend ``base.html.j2``.
        values: What the template may use.

    Raises: MissingExtraError: jinja2 is not installed.
    """
    return _environment().get_template(template_name).render(values)


def figure_svg(figure: "Figure", *, label: str = "") -> "Markup":
    """Return a matplotlib figure as one ``<svg>`` element: the same figure gives the same text.

    Args:
        figure: A `matplotlib.figure.Figure`; it need not belong to pyplot.
        label: What the figure shows, for people who listen to the page instead of seeing it.

    Raises: MissingExtraError: matplotlib or jinja2 is not installed.
    """
    matplotlib = import_extra("matplotlib", extra="train", purpose="Drawing figures")
    markupsafe = import_extra("markupsafe", extra="train", purpose=_PURPOSE)
    buffer = io.StringIO()
    # matplotlib's ids are random and its files dated unless told otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "pneumoscope"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _make_ids_unique(text)
    if label:
        text = f'<svg role="img" aria-label="{markupsafe.escape(label)}"{text[len("<svg") :]}'
    return markupsafe.Markup(text)  # type: ignore[no-any-return]


def picture_uri(pixels: NDArray[np.uint8], *, max_px: int = 160) -> str:
    """Return a picture as a JPEG ``data:`` address for ``<img src>``.

    Args:
        pixels: (H, W) gray or (H, W, 3) RGB display values.
        max_px: The longer side is shrunk to this; a smaller picture stays as it is.
    """
    picture = Image.fromarray(pixels)
    picture.thumbnail((max_px, max_px), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _make_ids_unique(svg: str) -> str:
    """Prefix the ids of one figure: a page with two figures must not hold ``axes_1`` twice."""
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    svg = re.sub(r'(\sid=")', rf"\g<1>{prefix}", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)


@cache
def _environment() -> "Environment":
    jinja2 = import_extra("jinja2", extra="train", purpose=_PURPOSE)
    environment: Any = jinja2.Environment(
        loader=jinja2.PackageLoader("pneumoscope.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = pneumoscope.__version__
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment  # type: ignore[no-any-return]
