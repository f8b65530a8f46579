"""The outermost layer: every request is measured here before and while it is read.

Order of the checks: headers, token, stated length, then the body piece by piece. A reply to a body
that was not read whole closes the connection, after what still arrives has been thrown away for
a moment: a client that is still sending would otherwise lose the reply.
"""

import asyncio
import hmac
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumoscope.web.headers import CACHE_CONTROL, CLOSE, REQUEST_ID, standing_headers
from pneumoscope.web.log import RECORD_KEY, RequestRecord, describe_fault
from pneumoscope.web.metrics import Metrics
from pneumoscope.web.refusals import Refusal, bad_request, headers_too_large, too_large
from pneumoscope.web.settings import WebSettings

_logger = logging.getLogger(__name__)
_LINGER_S: Final = 2.0
_GUARDED: Final = ("/api/", "/metrics")


class Guard:
    """ASGI middleware round the whole application."""

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, bundle_sha256: str, metrics: Metrics
    ) -> None:
        self.app = app
        self._settings = settings
        self._bundle_sha256 = bundle_sha256
        self._metrics = metrics
        self._headers = standing_headers(bundle_sha256)
        token = settings.token.get_secret_value() if settings.token else None
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = scope[RECORD_KEY] = RequestRecord.of(scope)
        body = _Body(receive, self._settings)
        reply = _Reply(send, body, record, self._headers)
        try:
            try:
                self._check(scope, body)
            except Refusal as refusal:
                record.outcome = refusal.kind
                await refusal.response()(scope, body.receive, reply.send)
            else:
                await self.app(scope, body.receive, reply.send)
        except Exception as error:
            await self._answer_fault(error, scope, record, reply)
        finally:
            record.write(self._bundle_sha256)
            self._metrics.requests.labels(record.method, record.route, record.status).inc()
            self._metrics.request_seconds.labels(record.route).observe(record.seconds)

    def _check(self, scope: Scope, body: "_Body") -> None:
        """Refuse by the headers alone. Raises: Refusal: 400, 401, 413 or 431."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        n_bytes = sum(len(name) + len(value) for name, value in headers)
        n_max, n_max_bytes = self._settings.max_headers, self._settings.max_header_bytes
        if len(headers) > n_max or n_bytes > n_max_bytes:
            raise headers_too_large(n_max=n_max, n_max_bytes=n_max_bytes)
        given: dict[bytes, bytes] = dict(headers)
        is_guarded = self._token is not None and scope["path"].startswith(_GUARDED)
        if is_guarded and not self._is_token(given.get(b"authorization", b"")):
            raise Refusal(
                401,
                "UnauthorizedError",
                "Send the server's token as: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        stated = given.get(b"content-length", b"")
        if stated and not stated.isdigit():
            raise bad_request("MalformedRequestError", "Content-Length is no number.")
        body.is_expected = b"transfer-encoding" in given or bool(stated and int(stated))
        if stated and int(stated) > self._settings.max_body_bytes:
            raise too_large(f"The body has {int(stated):,} bytes", f"{body.n_max:,}")

    def _is_token(self, authorization: bytes) -> bool:
        scheme, _, given = authorization.partition(b" ")
        # Compared in constant time, so that the time taken says nothing about the token.
        is_same = hmac.compare_digest(given.strip(), self._token or b"")
        return is_same and scheme.lower() == b"bearer"

    async def _answer_fault(
        self, error: Exception, scope: Scope, record: RequestRecord, reply: "_Reply"
    ) -> None:
        """Answer 500, and log where it happened without the words: they could quote a file."""
        _logger.error("request=%s failed: %s", record.request_id, describe_fault(error))
        record.outcome = type(error).__name__
        if record.status:
            return  # it had begun; the server closes the connection, and that tells the client
        fault = Refusal(500, "InternalError", "The server failed. The fault is in its log.")
        await fault.response()(scope, reply.body.receive, reply.send)


class _Body:
    """Counts and times what a client sends."""

    def __init__(self, receive: Receive, settings: WebSettings) -> None:
        self._receive = receive
        self._body_s = settings.body_s
        self._deadline_s: float | None = None
        self.n_max = settings.max_body_bytes
        self._n_bytes = 0
        self.is_expected = False
        self.is_complete = False

    async def receive(self) -> Message:
        """Return the next piece.

        Raises: Refusal: 413, it is too much; 408, it takes too long.
        """
        if self.is_complete:  # all that can come is that the client leaves
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._deadline_s is None:
            self._deadline_s = loop.time() + self._body_s
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408, "SlowBodyError", f"The body took longer than {self._body_s:g} s."
            ) from None
        self._note(message)
        if self._n_bytes > self.n_max:
            raise too_large(f"The body has more than {self.n_max:,} bytes", f"{self.n_max:,}")
        return message

    async def throw_away(self) -> None:
        """Read on for a moment, without keeping anything."""
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self.is_complete:
                    self._note(await self._receive())
        except TimeoutError:
            pass

    def _note(self, message: Message) -> None:
        self._n_bytes += len(message.get("body", b""))
        is_last = message["type"] == "http.disconnect" or not message.get("more_body", False)
        self.is_complete = is_last


class _Reply:
    """Adds the headers of every reply, and ends one whose request was not read whole."""

    def __init__(
        self, send: Send, body: _Body, record: RequestRecord, standing: list[tuple[bytes, bytes]]
    ) -> None:
        self._send = send
        self.body = body
        self._record = record
        self._standing = standing
        self._is_early = False

    async def send(self, message: Message) -> None:
        """Send on a message of the application."""
        if message["type"] == "http.response.start":
            self._record.status = message["status"]
            self._is_early = self.body.is_expected and not self.body.is_complete
            own = message.get("headers", [])
            headers = [*own, *self._standing, (REQUEST_ID, self._record.request_id.encode())]
            if not any(name == CACHE_CONTROL for name, _ in own):
                headers.append((CACHE_CONTROL, b"no-store"))
            if self._is_early:
                headers.append(CLOSE)
            message = {**message, "headers": headers}
        elif self._is_early and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self.body.throw_away()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)
