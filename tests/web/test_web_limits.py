"""What is refused before it costs anything, and the headers of every reply."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pneumoscope.web.app import create_app
from pneumoscope.web.child_process import Child
from pneumoscope.web.settings import WebSettings

URL = "/api/v1/predictions"
CSP = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "img-src 'self' blob: data:; style-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
EVERYWHERE = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/start.js", 200),
        ("GET", "/api/v1/bundle", 200),
        ("GET", "/device/bundle.onnx", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/docs/../settings.py", 404),
        ("DELETE", URL, 405),
        ("POST", URL, 415),
        ("POST", f"{URL}?operating_point=x", 400),
    ],
)
def test_every_reply_has_its_headers(
    client: TestClient, method: str, path: str, status: int
) -> None:
    sha256 = client.get("/api/v1/bundle").json()["sha256"]
    reply = client.request(method, path)
    assert reply.status_code == status
    assert {name: reply.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert reply.headers["x-bundle-sha256"] == sha256
    assert len(reply.headers["x-request-id"]) == 16
    assert "access-control-allow-origin" not in reply.headers
    assert reply.headers.get_list("cache-control") in (["no-store"], ["no-cache"])
    if status >= 400:
        assert set(reply.json()["error"]) == {"type", "message"}


def test_each_request_has_an_id_of_its_own_whatever_the_client_says(client: TestClient) -> None:
    found = {
        client.get("/livez", headers={"X-Request-Id": "mine"}).headers["x-request-id"]
        for _ in range(5)
    }
    assert len(found) == 5
    assert "mine" not in found


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("operating_point=none", "balanced, sensitive"),
        ("include=everything", "map, overlay, picture"),
        ("include=map,,x", "map, overlay, picture"),
        ("operatingpoint=sensitive", "operating_point, include"),
        ("operating_point=balanced&operating_point=sensitive", "at most once"),
    ],
)
def test_unknown_words_are_told_what_there_is(client: TestClient, query: str, word: str) -> None:
    reply = client.post(f"{URL}?{query}", files={"files": b"x"})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "UsageError"
    assert word in reply.json()["error"]["message"]


def test_other_bodies_are_415_with_how_to_do_it(client: TestClient) -> None:
    reply = client.post(URL, json={"files": "x"})
    assert reply.status_code == 415
    assert "curl -F files=@" in reply.json()["error"]["message"]


@pytest.fixture(scope="module")
def small(start_client: Callable[..., TestClient]) -> TestClient:
    return start_client(max_body_bytes=20_000, max_files=2, max_pixels=40_000)


def test_limits_of_body_files_and_pixels(
    small: TestClient, hostile: Any, examples: list[Path]
) -> None:
    reply = small.post(URL, files={"files": bytes(20_000)})
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "BodyTooLargeError")
    three = [("files", (f"{n}", b"x")) for n in range(3)]
    reply = small.post(URL, files=three)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "TooManyFilesError")
    assert small.post(URL, files=three[:2]).status_code == 422
    for side, status in ((200, 200), (201, 413)):
        data = hostile.png(np.full((side, side), 90, np.uint8))
        assert small.post(URL, files={"files": data}).status_code == status


def run_guard(
    settings: WebSettings, headers: list[tuple[bytes, bytes]], pieces: list[bytes]
) -> tuple[int, int, bytes]:
    """Return the status, how many pieces were asked for until then, and the body."""
    app = create_app(settings)
    asked, asked_at_start = 0, -1
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked > len(pieces):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces[asked - 1], "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        nonlocal asked_at_start
        if message["type"] == "http.response.start":
            asked_at_start = asked
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": URL, "raw_path": URL.encode(), "query_string": b"",
        "root_path": "", "headers": headers, "client": None, "server": ("localhost", 80),
    }  # fmt: skip

    async def run() -> None:
        app.context.pool._children[0] = object()  # type: ignore[assignment]
        await app(scope, receive, send)

    asyncio.run(run())
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], asked_at_start, body


FORM = (b"content-type", b"multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    "authorization",
    [b"", b"Bearer", b"Bearer wrong-token", b"Basic correct-token", b"Bearer correct-token2"],
)
def test_token_is_asked_for_ahead_of_the_body(web_bundle: Path, authorization: bytes) -> None:
    settings = WebSettings(bundle=web_bundle, token="correct-token", n_workers=1)
    headers = [FORM, (b"content-length", b"1000"), (b"authorization", authorization)]
    status, n_asked, body = run_guard(settings, headers, [bytes(10)])
    assert (status, n_asked) == (401, 0)
    assert b"UnauthorizedError" in body
    headers[-1] = (b"authorization", b"bearer correct-token")
    assert run_guard(settings, headers, [bytes(10)])[0] == 400  # read, and no form


def test_bundle_of_ones_own_behind_a_token_is_not_given_away(
    web_bundle: Path,
) -> None:
    def statuses(**words: Any) -> list[int]:
        # Without the workers: these routes have no need of them.
        client = TestClient(create_app(WebSettings(n_workers=1, **words)))
        names = ("bundle.onnx", "bundle.onnx.sha256", "device.json")
        return [client.get(f"/device/{name}").status_code for name in names]

    assert statuses(bundle=web_bundle, token="correct-token") == [404, 404, 404]
    assert statuses(bundle=web_bundle)[:2] == [200, 200]
    assert statuses(token="correct-token")[:2] == [200, 200]  # the shipped one is public


def test_token_guards_the_api_and_metrics_alone(start_client: Callable[..., TestClient]) -> None:
    client = start_client(token="correct-token")
    for path in ("/api/v1/bundle", "/metrics"):
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        right = client.get(path, headers={"Authorization": "Bearer correct-token"})
        assert right.status_code == 200
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert "HTTPBearer" in client.get("/openapi.json").text


def test_stated_length_is_refused_before_a_byte_is_read(web_bundle: Path) -> None:
    settings = WebSettings(bundle=web_bundle, max_body_bytes=5000, n_workers=1)
    for length, status in ((b"5001", 413), (b"99999999999999999999", 413), (b"-5", 400)):
        found = run_guard(settings, [FORM, (b"content-length", length)], [bytes(10)])
        assert found[:2] == (status, 0)


def test_body_without_a_length_is_cut_where_it_is_too_much(web_bundle: Path) -> None:
    settings = WebSettings(bundle=web_bundle, max_body_bytes=5000, n_workers=1)
    pieces = [b"--b\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n"]
    pieces += [bytes(1000)] * 100
    status, n_asked, body = run_guard(settings, [FORM, (b"transfer-encoding", b"chunked")], pieces)
    assert (status, n_asked) == (413, 6)
    assert b"BodyTooLargeError" in body


def test_too_many_or_too_long_headers(web_bundle: Path) -> None:
    settings = WebSettings(bundle=web_bundle, n_workers=1, max_headers=10, max_header_bytes=2000)
    many = [FORM, *[(b"a", b"b")] * 10]
    assert run_guard(settings, many, [])[:2] == (431, 0)
    assert run_guard(settings, [FORM, (b"a", bytes(2000))], [])[:2] == (431, 0)
    assert run_guard(settings, many[:10], [b"x"])[0] == 400


def test_uploads_of_all_requests_together_are_limited(web_bundle: Path) -> None:
    settings = WebSettings(bundle=web_bundle, n_workers=1, max_body_bytes=5000, max_held_bytes=5000)
    app = create_app(settings)
    with app.context.held.open() as other:
        other.take(4000)
        with app.context.held.open() as mine:
            mine.take(1000)
            with pytest.raises(Exception, match="held already") as caught:
                mine.take(1)
            assert caught.value.status == 503
            assert mine.n_bytes == 1000
        other.take(1000)
    with app.context.held.open() as again:
        again.take(5000)


def test_answers_are_refused_as_soon_as_there_is_no_room_for_them(
    client: TestClient,
    start_client: Callable[..., TestClient],
    running: Any,
    examples: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = running.multipart(*((path.name, path.read_bytes()) for path in examples[:6]))
    words = {"content": form, "headers": {"Content-Type": running.CONTENT_TYPE}}
    n_sent = len(form)
    answers = client.post(f"{URL}?include=overlay", **words).json()
    n_answers = [len(json.dumps(value)) for value in answers]
    room = n_sent + sum(n_answers[:2]) + n_answers[2] // 2
    small = start_client(max_body_bytes=n_sent + 1000, max_held_bytes=room)
    n_bytes: list[int] = []
    ask = Child.ask

    async def watch(child: Child, facts: dict[str, Any], data: bytes = b"") -> Any:
        answer = await ask(child, facts, data)
        n_bytes.append(len(answer[1]))
        return answer

    monkeypatch.setattr(Child, "ask", watch)
    reply = small.post(f"{URL}?include=overlay", **words)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "QueueFullError")
    assert reply.headers["retry-after"] == "1"
    # Those that fit, and the one that did not: none of the others was worked on.
    assert len(n_bytes) == 3
    assert small.post(URL, files={"files": examples[0].read_bytes()}).status_code == 200
    assert len(n_bytes) == 4
    assert "pneumoscope_held_bytes 0.0" in small.get("/metrics").text
