"""What the server refuses: an HTTP status, a type that programs can compare, and the reason."""

import json
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

STATUS_OF_FAILURE: Final = {  # where every file of a request failed in the same way
    "ImageTooLargeError": 413,
    "MemoryError": 413,
    "DecodeTimeout": 504,
    "QueueTimeout": 503,
    "NotReadyError": 503,
    "InternalError": 500,
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request that is answered with an error. ``str(refusal)`` is for people.

    Args:
        status: Of the reply.
        kind: The error's type in the reply's body.
        message: What is wrong, and what to do.
        headers: More headers for the reply.
    """

    def __init__(
        self, status: int, kind: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the reply."""
        return Response(
            error_body(self.kind, str(self)),
            status_code=self.status,
            headers=self.headers,
            media_type="application/json",
        )


def error_body(kind: str, message: str) -> bytes:
    """Return {"error": {"type", "message"}} as JSON."""
    return json.dumps({"error": {"type": kind, "message": message}}).encode()


def bad_request(kind: str, message: str) -> Refusal:
    """Return the refusal of a request that makes no sense."""
    return Refusal(400, kind, message)


def too_large(what: str, limit: str) -> Refusal:
    """Return the refusal of a request that is too much."""
    return Refusal(413, "BodyTooLargeError", f"{what}; at most {limit} are taken. Send less.")


def headers_too_large(*, n_max: int, n_max_bytes: int) -> Refusal:
    """Return the refusal of a request whose headers are too many or too long."""
    return Refusal(
        431,
        "HeadersTooLargeError",
        f"Send at most {n_max} headers, of at most {n_max_bytes:,} bytes together.",
    )


def try_later(kind: str, message: str, *, after_s: int = 1) -> Refusal:
    """Return the refusal of a request that may be sent again."""
    return Refusal(503, kind, message, headers={"Retry-After": str(after_s)})
