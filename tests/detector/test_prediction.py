"""What a prediction says in JSON, and how it shows itself."""

import base64
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import UnreadableImageError
from pneumoscope.detector.predict import Detector, load

Save = Callable[..., Path]


class Page(HTMLParser):
    """Collects the tags, attributes and text of a piece of HTML, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_json_is_as_the_command_line_promises(detector: Detector, save_picture: Save) -> None:
    path = save_picture("bright.png", bright=0.8)
    value = json.loads(json.dumps(detector.predict(path).to_dict(), allow_nan=False))
    assert list(value) == [
        "path",
        "sha256",
        "probability",
        "logit",
        "label",
        "operating_point",
        "regions",
        "warnings",
        "bundle",
    ]
    assert value["path"] == str(path)
    assert value["label"] == "pneumonia"
    assert value["operating_point"] == {"name": "balanced", "threshold": 0.5}
    assert list(value["regions"][0]) == ["x", "y", "width", "height", "score"]
    assert value["warnings"] == []
    assert value["bundle"] == detector.bundle.identity


def test_it_shows_itself_in_a_notebook(
    tiny: ModuleType, tmp_path: Path, save_picture: Save
) -> None:
    population = {"age_years": [1, 5], "view_positions": ["AP"]}
    detector = load(tiny.write_bundle(tmp_path / "b.onnx", population=population))
    prediction = detector.predict(save_picture("bright.png", bright=0.8, size=(600, 900)))
    page = Page(prediction._repr_html_())
    sources = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 2
    for source in sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert max(picture.size) == 480
    assert f"{prediction.probability:.3f}" in page.text
    assert "age: the age is unknown" in page.text
    assert "Research use only" in page.text
    line = next(attributes for tag, attributes in page.tags if tag == "line")
    assert line["x1"] == "210.0", "the operating point 0.5 stands in the middle"


def test_names_cannot_smuggle_html_in(tiny: ModuleType, tmp_path: Path, save_picture: Save) -> None:
    evil = '<img src=x onerror="alert(1)">'
    path = save_picture("a.png", bright=0.8)
    point = tiny.tiny_card()["operating_points"][0] | {"name": evil}
    detector = load(tiny.write_bundle(tmp_path / "b.onnx", name=evil, operating_points=[point]))
    shown = detector.predict(path.read_bytes(), name=evil)._repr_html_()
    assert evil not in shown
    assert Page(shown).text.count(evil) == 3
    assert not re.search(r'(src|href)="(?!data:)', shown)


def test_an_answer_outlives_its_file(detector: Detector, save_picture: Save) -> None:
    path = save_picture("a.png", bright=0.8)
    (prediction,) = detector.predict_many([path])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    with pytest.raises(UnreadableImageError, match="has changed since it was answered"):
        prediction.overlay()  # type: ignore[union-attr]
    assert "has changed" in Page(prediction._repr_html_()).text  # type: ignore[union-attr]
    path.unlink()
    with pytest.raises(UnreadableImageError, match="does not exist"):
        prediction.pixels()  # type: ignore[union-attr]


def test_pixels_of_an_array_that_was_not_kept_say_so(detector: Detector) -> None:
    prediction = detector.predict(np.full((90, 90), 200, np.uint8)).without_radiograph()
    with pytest.raises(UnreadableImageError, match="was not kept"):
        prediction.pixels()


def test_its_text_form_holds_no_arrays(detector: Detector, save_picture: Save) -> None:
    assert "array" not in repr(detector.predict(save_picture("a.png")))
