import base64
import io
import re
import xml.etree.ElementTree as ET

import jinja2
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pneumoscope.report import html
from pneumoscope.report.html import figure_svg, picture_uri, render


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives a page its template for the length of a test."""

    def set_template(text: str) -> str:
        environment = html._environment()
        loader = jinja2.ChoiceLoader([jinja2.DictLoader({"page": text}), environment.loader])
        monkeypatch.setattr(environment, "loader", loader)
        monkeypatch.setattr(environment, "cache", None)
        return "page"

    return set_template


def draw(heights: list[int]) -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot(heights, marker="o", label="a & b")
    axes.legend()
    return figure


def test_values_are_escaped_and_figures_are_not(template) -> None:
    name = template("<p>{{ text }}</p>{{ figure }}")
    page = render(name, text="<script>&", figure=figure_svg(draw([1, 2])))
    assert page.startswith("<p>&lt;script&gt;&amp;</p><svg")


def test_a_forgotten_value_is_an_error(template) -> None:
    with pytest.raises(jinja2.UndefinedError, match="forgotten"):
        render(template("{{ forgotten }}"))


def test_the_skeleton_says_research_use_and_asks_the_network_for_nothing(template) -> None:
    page = render(
        template(
            '{% extends "base.html.j2" %}{% block title %}T & {{ t }}{% endblock %}'
            "{% block content %}body{% endblock %}"
        ),
        t="<x>",
    )
    assert page.count("Research use only. Not a medical device.") == 2  # on top and at the foot
    assert "<title>T & &lt;x&gt;</title>" in page
    assert "<h1>T & &lt;x&gt;</h1>" in page
    assert not re.search(r"""(src|href)=|url\(|@import|http""", page)


def test_the_same_figure_gives_the_same_svg() -> None:
    assert figure_svg(draw([1, 2, 3])) == figure_svg(draw([1, 2, 3]))
    assert figure_svg(draw([1, 2, 3])) != figure_svg(draw([1, 2, 4]))


def test_a_figure_is_one_svg_element_with_a_label() -> None:
    text = str(figure_svg(draw([1, 2]), label='Loss "by" epoch'))
    root = ET.fromstring(text)  # well-formed, and one element
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == 'Loss "by" epoch'
    assert root.get("role") == "img"
    assert "<metadata" not in text
    assert "<!DOCTYPE" not in text


def test_two_figures_on_a_page_share_no_id_and_each_finds_its_own() -> None:
    texts = [str(figure_svg(draw(heights))) for heights in ([1, 2], [1, 3])]
    ids = [re.findall(r'\sid="([^"]+)"', text) for text in texts]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip(texts, ids, strict=True):
        used = re.findall(r'(?:url\(#|href="#)([^")]+)', text)
        assert used
        assert set(used) <= set(own)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((400, 200), (50, 100)), ((60, 90), (90, 60)), ((300, 300, 3), (100, 100))],
)
def test_a_picture_is_a_small_jpeg(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    pixels = np.full(shape, 77, dtype=np.uint8)
    uri = picture_uri(pixels, max_px=100)
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format == "JPEG"
    assert image.size == size
    assert np.asarray(image) == pytest.approx(77, abs=2)
