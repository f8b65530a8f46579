"""HEAD: what GET answers, without the body."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

READ_PATHS = (
    "/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/start.js",
    "/device/bundle.onnx", "/device/bundle.onnx.sha256", "/api/v1/bundle", "/api/v1/predictions",
    "/nowhere",
)  # fmt: skip
OF_ONE_REPLY = {"date", "x-request-id"}


def ask(server: Any, method: str, path: str) -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and all that came after them on the wire."""
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = b""
    with server.connect() as connection:
        connection.sendall(request.encode())
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("path", READ_PATHS)
def test_head_is_answered_as_get_without_the_body(server: Any, path: str) -> None:
    """Oracle: RFC 9110, 9.3.2."""
    status, headers, body = ask(server, "GET", path)
    head_status, head_headers, head_body = ask(server, "HEAD", path)
    assert head_status == status
    assert head_body == b""
    assert int(headers["content-length"]) == len(body) > 0
    assert head_headers.keys() == headers.keys()
    # The counters have grown by the request before.
    changing = OF_ONE_REPLY | ({"content-length"} if path == "/metrics" else set())
    for name in headers.keys() - changing:
        assert head_headers[name] == headers[name], name


def test_head_wants_the_token_where_get_does(start_client: Callable[..., TestClient]) -> None:
    client = start_client(token="correct-token")
    for path in ("/api/v1/bundle", "/metrics"):
        assert client.head(path).status_code == 401
        right = client.head(path, headers={"Authorization": "Bearer correct-token"})
        assert right.status_code == 200
    assert client.head("/livez").status_code == 200


def test_head_of_a_server_that_is_not_ready_is_503_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = client.app.context.pool  # type: ignore[attr-defined]
    monkeypatch.setattr(type(pool), "is_ready", False)
    replies = [client.request(method, "/readyz") for method in ("GET", "HEAD")]
    assert [reply.status_code for reply in replies] == [503, 503]
    assert [reply.headers["retry-after"] for reply in replies] == ["2", "2"]
    assert replies[1].content == b""
