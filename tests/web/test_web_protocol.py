"""Below the application: headers by the thousand, lengths that lie, clients that are slow."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from pneumoscope.web.protocol import GuardedProtocol
from pneumoscope.web.settings import WebSettings

SLOW_S = 0.7


@pytest.fixture(scope="module")
def hasty(start_server: Callable[..., Any]) -> Iterator[Any]:
    with start_server(
        header_s=SLOW_S, body_s=SLOW_S, send_s=SLOW_S, max_body_bytes=1_000_000, max_connections=40
    ) as server:
        yield server


@pytest.fixture
def good(hasty: Any, examples: list[Path]) -> Iterator[bytes]:
    data = examples[-1].read_bytes()
    yield data
    assert hasty.post(("good.jpeg", data)).status == 200


def check_reply(reply: Any, status: int, kind: str) -> None:
    assert (reply.status, reply.json()["error"]["type"]) == (status, kind)
    assert len(reply.headers["x-bundle-sha256"]) == 64
    assert len(reply.headers["x-request-id"]) == 16
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("n_headers", [100, 10_000, 100_000])
def test_headers_by_the_thousand(hasty: Any, good: bytes, n_headers: int) -> None:
    with hasty.connect() as connection:
        lines = b"a: b\r\n" * n_headers
        with contextlib.suppress(ConnectionError):  # it need not be read to its end
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
        assert read_head(connection) == 431


def test_headers_above_the_limit_are_431_however_they_arrive(
    hasty: Any, running: Any, good: bytes
) -> None:
    """Oracle: RFC 6585, 5. One byte beyond the limit, so that nothing is left unread."""
    start = b"GET /livez HTTP/1.1\r\nHost: x\r\nA: "
    limit = WebSettings().max_header_bytes
    whole = start.ljust(limit + 1, b"a")
    for pieces in ([whole], [whole[:limit], whole[limit:]]):
        with hasty.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.05)
            reply = running.read_reply(connection)
        check_reply(reply, 431, "HeadersTooLargeError")
        assert "32,768 bytes" in reply.json()["error"]["message"]


def test_headers_above_the_limit_are_431_where_they_are_whole(
    hasty: Any, running: Any, good: bytes
) -> None:
    with hasty.connect() as connection:
        connection.sendall(running.head("/livez", a="a" * 40_000))
        reply = running.read_reply(connection)
    assert (reply.status, reply.json()["error"]["type"]) == (431, "HeadersTooLargeError")
    assert "32,768 bytes" in reply.json()["error"]["message"]


def read_head(connection: socket.socket) -> int:
    return int(connection.recv(65536).split()[1])


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_nonsense_is_400_or_501_with_our_headers(
    hasty: Any, running: Any, good: bytes, request_bytes: bytes
) -> None:
    with hasty.connect() as connection:
        connection.sendall(request_bytes)
        check_reply(running.read_reply(connection), 400, "MalformedRequestError")


def test_length_beyond_the_limit_is_413_at_once(hasty: Any, running: Any, good: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(running.head(content_length=10**12))
        check_reply(running.read_reply(connection), 413, "BodyTooLargeError")


def test_reply_reaches_a_client_that_is_still_sending(
    hasty: Any, running: Any, good: bytes
) -> None:
    with hasty.connect() as connection:
        connection.sendall(running.head(content_length=20_000_000))
        connection.sendall(bytes(20_000_000))  # all of it, before the reply is looked at
        check_reply(running.read_reply(connection), 413, "BodyTooLargeError")


def test_chunks_without_end_are_cut(hasty: Any, running: Any, good: bytes) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with hasty.connect() as connection:
        connection.sendall(running.head(transfer_encoding="chunked"))
        start = b"------limit\r\nContent-Disposition: form-data; name=files\r\n\r\n"
        connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))
        connection.settimeout(0.01)
        n_sent = 0
        try:
            while n_sent < 200:
                connection.sendall(chunk)
                n_sent += 1
        except OSError:
            pass  # nobody reads any more
        connection.settimeout(30)
        check_reply(running.read_reply(connection), 413, "BodyTooLargeError")


def test_length_that_promises_more_than_comes(hasty: Any, running: Any, good: bytes) -> None:
    body = running.multipart(("a", good))
    with hasty.connect() as connection:  # and then waits
        connection.sendall(running.head(content_length=len(body) + 10) + body)
        reply = running.read_reply(connection)
    assert reply.status == 408
    with hasty.connect() as connection:  # and then leaves
        connection.sendall(running.head(content_length=len(body) + 10) + body)


def test_length_that_promises_less_than_comes(hasty: Any, running: Any, good: bytes) -> None:
    body = running.multipart(("a", good))
    with hasty.connect() as connection:
        connection.sendall(running.head(content_length=1000) + body)
        reply = running.read_reply(connection)
    # What came beyond it was another request, and no valid one.
    assert (reply.status, reply.json()["error"]["type"]) == (400, "MalformedUploadError")


@pytest.mark.parametrize("part", [b"", b"POST /api", b"GET /livez HTTP/1.1\r\nHost: x\r\nA: "])
def test_slow_headers_are_408(hasty: Any, running: Any, good: bytes, part: bytes) -> None:
    started = time.monotonic()
    with hasty.connect() as connection:
        connection.sendall(part)
        check_reply(running.read_reply(connection), 408, "SlowHeadersError")
    assert SLOW_S * 0.9 < time.monotonic() - started < 20


def test_slow_headers_of_a_second_request_are_408_too(
    hasty: Any, running: Any, good: bytes
) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_head(connection) == 200
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        check_reply(running.read_reply(connection), 408, "SlowHeadersError")


def test_slow_body_is_408_however_it_drips(hasty: Any, running: Any, good: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(running.head(content_length=1000) + b"------limit\r\n")
        connection.settimeout(SLOW_S / 10)
        received = b""
        for _ in range(200):
            connection.sendall(b"A")
            try:
                received = connection.recv(65536)
                break
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")


def test_thirty_slow_clients_do_not_keep_others_waiting(
    hasty: Any, running: Any, good: bytes
) -> None:
    slow = [hasty.connect() for _ in range(30)]
    for connection in slow:
        connection.sendall(running.head(content_length=1000) + b"------limit\r\n")
    assert hasty.post(("good.jpeg", good)).status == 200
    for connection in slow:
        with connection:
            assert running.read_reply(connection).status == 408


def test_client_that_does_not_take_its_answer_is_cut_off(
    hasty: Any, running: Any, good: bytes
) -> None:
    body = running.multipart(*[("a", good)] * 7)
    path = "/api/v1/predictions?include=overlay,picture"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(hasty.address)
        # The answers are larger than what the system's buffers take.
        for _ in range(4):
            connection.sendall(running.head(path, content_length=len(body)) + body)
        assert connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        end = time.monotonic() + 60
        while is_open(connection):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_slow_client_that_never_stalls_gets_all_of_its_answer(
    hasty: Any, running: Any, good: bytes
) -> None:
    body = running.multipart(*[("a", good)] * 7)
    path = "/api/v1/predictions?include=overlay,picture"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(30)
        connection.connect(hasty.address)
        connection.sendall(running.head(path, content_length=len(body), connection="close") + body)
        received = bytearray(connection.recv(65536))
        assert received.startswith(b"HTTP/1.1 200")
        length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        started = time.monotonic()
        while piece := connection.recv(65536):
            received += piece
            time.sleep(SLOW_S * 6 * len(piece) / length)  # a narrow line
        assert time.monotonic() - started > 5 * SLOW_S
    assert len(received.partition(b"\r\n\r\n")[2]) == length


def is_open(connection: socket.socket) -> bool:
    """Whether the peer has not reset the connection, without reading from it."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and bool(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) in (b"\x01", b"\x08")
    )


def test_connections_beyond_the_limit_are_503(hasty: Any, running: Any, good: bytes) -> None:
    held = [hasty.connect() for _ in range(40)]
    try:
        with hasty.connect() as connection:
            reply = running.read_reply(connection)
            check_reply(reply, 503, "TooManyConnectionsError")
            assert reply.headers["retry-after"] == "1"
    finally:
        for connection in held:
            connection.close()


def test_upgrade_is_answered_as_any_other_request(hasty: Any, good: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert read_head(connection) == 200


def test_client_that_waits_for_100_continue(hasty: Any, running: Any, good: bytes) -> None:
    body = running.multipart(("a", good))
    with hasty.connect() as connection:
        connection.sendall(running.head(expect="100-continue", content_length=len(body)))
        assert read_head(connection) == 100
        connection.sendall(body)
        assert read_head(connection) == 200
    with hasty.connect() as connection:  # told before it sends a byte
        connection.sendall(running.head(expect="100-continue", content_length=10**9))
        assert read_head(connection) == 413


def test_small_writes_are_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(H11Protocol, "connection_made", lambda protocol, transport: None)
    protocol = object.__new__(GuardedProtocol)
    protocol._settings, protocol.connections = WebSettings(), set()
    protocol.loop = SimpleNamespace(call_later=lambda seconds, call: None)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        protocol.connection_made(SimpleNamespace(get_extra_info={"socket": accepted}.get))
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
