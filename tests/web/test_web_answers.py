"""What the API answers is what the detector says."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pneumoscope.detector.predict import Detector, load

URL = "/api/v1/predictions"
GOLDEN = Path(__file__).parents[1] / "golden" / "reading"
ADDED = {"image", "atypicality", "seconds"}


def files_of(*paths: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in paths]


def test_answers_are_those_of_the_detector_in_the_order_sent(
    client: TestClient, web_detector: Detector, examples: list[Path]
) -> None:
    mixed = [examples[index] for index in (9, 0, 15, 3)]
    reply = client.post(URL, files=files_of(*mixed))
    assert reply.status_code == 200
    assert [value["path"] for value in reply.json()] == [path.name for path in mixed]
    for path, value in zip(mixed, reply.json(), strict=True):
        expected = web_detector.predict(path.read_bytes(), name=path.name)
        assert {key: value[key] for key in value if key not in ADDED} == expected.to_dict()
        assert value["atypicality"] == expected.atypicality
        with Image.open(path) as picture:
            assert value["image"] == {"height": picture.height, "width": picture.width}
        assert value["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert 0 < value["seconds"] < 60


@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.iterdir() if p.suffix != ".json"))
def test_every_kind_of_file_is_read_as_at_the_shell(
    client: TestClient, web_detector: Detector, name: str
) -> None:
    data = (GOLDEN / name).read_bytes()
    # The name says nothing: the first bytes do.
    reply = client.post(URL, files=[("files", ("x.txt", data))])
    (value,) = reply.json()
    expected = web_detector.predict(data, name="x.txt").to_dict()
    assert {key: value[key] for key in value if key not in ADDED} == expected


def test_shipped_bundle_answers_as_the_shell_does(
    start_client: Callable[..., TestClient], examples: list[Path]
) -> None:
    client, detector = start_client(bundle=None), load()
    for path in (examples[0], examples[-1]):
        (value,) = client.post(URL, files=files_of(path)).json()
        expected = detector.predict(path).to_dict() | {"path": path.name}
        assert {key: value[key] for key in value if key not in ADDED} == expected


@pytest.mark.parametrize("name", ["balanced", "sensitive"])
def test_operating_point_is_the_one_asked_for(
    client: TestClient, web_detector: Detector, name: str
) -> None:
    # Between the two thresholds: 0.3 < sigmoid((logit + 0.5) / 2) < 0.5.
    level = np.full((140, 140), 100, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(level).save(buffer, "PNG")
    reply = client.post(f"{URL}?operating_point={name}", files={"files": buffer.getvalue()})
    (value,) = reply.json()
    probability = 1 / (1 + math.exp(-(8 * 100 / 255 - 4 + 0.5) / 2))
    assert value["probability"] == pytest.approx(probability, abs=1e-6)
    assert value["label"] == {"balanced": "normal", "sensitive": "pneumonia"}[name]
    assert value["operating_point"]["name"] == name


def test_parts_come_only_when_they_are_asked_for(
    client: TestClient, web_detector: Detector, examples: list[Path]
) -> None:
    path = examples[0]
    prediction = web_detector.predict(path.read_bytes(), name=path.name)
    (plain,) = client.post(URL, files=files_of(path)).json()
    assert not {"map", "overlay_png", "picture_png"} & set(plain)
    (value,) = client.post(f"{URL}?include=picture,map,overlay", files=files_of(path)).json()
    sent = value["map"]
    values = np.array(sent["values"], np.float32).reshape(sent["height"], sent["width"])
    assert np.array_equal(values, prediction.cam)
    # The threshold 0.5 of the card is sigmoid((logit + 0.5) / 2) at the logit -0.5.
    assert sent["threshold_logit"] == pytest.approx(-0.5)
    overlay = Image.open(io.BytesIO(base64.b64decode(value["overlay_png"])))
    assert np.array_equal(np.asarray(overlay), np.asarray(prediction.overlay()))
    picture = Image.open(io.BytesIO(base64.b64decode(value["picture_png"])))
    assert picture.mode == "L"
    assert np.array_equal(np.asarray(picture), prediction.pixels())


def test_infinite_threshold_is_null(
    start_client: Callable[..., TestClient], tiny: Any, tmp_path: Path, examples: list[Path]
) -> None:
    points = [tiny.tiny_card()["operating_points"][0] | {"threshold": 0.0}]
    bundle = tiny.write_bundle(tmp_path / "all.onnx", operating_points=points)
    client = start_client(bundle=bundle)
    reply = client.post(f"{URL}?include=map", files=files_of(examples[0]))
    assert reply.json()[0]["map"]["threshold_logit"] is None


def test_file_that_fails_leaves_the_others_their_answers(
    client: TestClient, web_detector: Detector, examples: list[Path]
) -> None:
    files = [("files", ("note.txt", b"words")), *files_of(examples[0])]
    reply = client.post(URL, files=files)
    assert reply.status_code == 200
    failed, answered = reply.json()
    assert failed["path"] == "note.txt"
    assert failed["error"]["type"] == "UnreadableImageError"
    assert failed["error"]["message"].startswith("note.txt: its first bytes are not those of")
    assert answered["path"] == examples[0].name


def test_without_any_answer_the_reasons_are_in_results(client: TestClient) -> None:
    reply = client.post(URL, files=[("files", ("a", b"words")), ("files", ("b", b""))])
    assert reply.status_code == 422
    value = reply.json()
    assert value["error"]["type"] == "UnreadableImageError"
    assert [each["path"] for each in value["results"]] == ["a", "b"]
    assert "has no bytes" in value["results"][1]["error"]["message"]


def test_only_when_every_picture_is_too_large_it_is_413(client: TestClient, hostile: Any) -> None:
    bomb = ("files", ("bomb.png", hostile.png_bomb()))
    assert client.post(URL, files=[bomb, bomb]).status_code == 413
    mixed = client.post(URL, files=[bomb, ("files", ("b", b"words"))])
    assert mixed.status_code == 422
    assert mixed.json()["error"]["type"] == "NoAnswerError"


def test_card_is_the_bundles(client: TestClient, web_detector: Detector) -> None:
    value = client.get("/api/v1/bundle").json()
    assert value.pop("sha256") == hashlib.sha256(
        web_detector.bundle.path.read_bytes()
    ).hexdigest()  # fmt: skip
    assert value == json.loads(web_detector.card.model_dump_json())
