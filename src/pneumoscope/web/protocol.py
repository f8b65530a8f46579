"""HTTP/1.1 by uvicorn and h11, for clients that are slow, too many, or talk nonsense.

uvicorn limits how long an idle connection may stay; nothing limits how long a client may take to
send its headers or to take its answer, and its own refusals lack our headers.
"""

import asyncio
import socket
import sys
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pneumoscope.web.headers import CACHE_CONTROL, CLOSE, REQUEST_ID, standing_headers
from pneumoscope.web.log import RequestRecord
from pneumoscope.web.metrics import Metrics
from pneumoscope.web.refusals import Refusal, headers_too_large, try_later
from pneumoscope.web.settings import WebSettings

_PHRASES: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class GuardedProtocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        *args: Any,
        settings: WebSettings,
        bundle_sha256: str,
        metrics: Metrics,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._bundle_sha256 = bundle_sha256
        self._metrics = metrics
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._n_unsent = 0  # bytes, when that timer was set

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; refuse where too many are open."""
        super().connection_made(transport)
        # Headers and body are two writes, and together they would wait 40 ms for the client's
        # delayed acknowledgement. asyncio switches that off only for sockets that were made with
        # the protocol's number, which those of `socket.create_server` are not.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(try_later("TooManyConnectionsError", "Too many connections are open."))
            return
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the headers must be whole within the time for them."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            # A part of a request: an idle connection sends nothing.
            if self._head_timer is None and self.conn.trailing_data[0]:
                self._start_head_timer()
        else:
            self._stop_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_head_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer, but not for ever."""
        super().pause_writing()
        if self._send_timer is None:
            self._start_send_timer()

    def resume_writing(self) -> None:
        """Go on."""
        self._stop_send_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 could not read."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # in the middle of an answer there is no room for another
            return
        # uvicorn calls this where it has caught h11's error, and passes on only words of its own.
        # Headers that arrive in pieces are too much for h11 before they are whole for `Guard`.
        if getattr(sys.exception(), "error_status_hint", None) == 431:
            n_max, n_max_bytes = self._settings.max_headers, self._settings.max_header_bytes
            self._refuse(headers_too_large(n_max=n_max, n_max_bytes=n_max_bytes))
            return
        self._refuse(Refusal(400, "MalformedRequestError", "This is not a valid HTTP/1.1 request."))

    def _should_upgrade(self) -> bool:
        return False  # an upgrade is only an offer

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
            seconds = self._settings.header_s
            self._refuse(
                Refusal(408, "SlowHeadersError", f"The headers took longer than {seconds:g} s.")
            )

    def _refuse(self, refusal: Refusal) -> None:
        """Write a whole reply and close."""
        self._stop_head_timer()
        record = RequestRecord(method="OTHER", route="other")
        record.status, record.outcome = refusal.status, refusal.kind
        response = refusal.response()
        headers = [
            *response.raw_headers,
            *standing_headers(self._bundle_sha256),
            (REQUEST_ID, record.request_id.encode()),
            (CACHE_CONTROL, b"no-store"),
            CLOSE,
        ]
        parts: list[h11.Event] = [
            h11.Response(
                status_code=refusal.status, headers=headers, reason=_PHRASES[refusal.status]
            ),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ]
        for part in parts:
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()
        record.write(self._bundle_sha256)
        self._metrics.requests.labels(record.method, record.route, record.status).inc()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._settings.header_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_send_timer(self) -> None:
        self._n_unsent = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(self._settings.send_s, self._check_sending)

    def _check_sending(self) -> None:
        """Cut off a client that took nothing; a slow one may take as long as it needs."""
        self._send_timer = None
        if self.transport.get_write_buffer_size() < self._n_unsent:
            self._start_send_timer()
        else:
            self.transport.abort()

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
