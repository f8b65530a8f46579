"""One line a request: its id, what was asked, how it ended, hashes and milliseconds.

No file name, no tag's value and no path that a client made up ever stands in a line.
"""

import logging
import secrets
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Final

REQUESTS: Final = logging.getLogger("pneumoscope.web.requests")
RECORD_KEY: Final = "pneumoscope.record"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ROUTES: Final = frozenset(
    (
        "/",
        "/api/v1/predictions",
        "/api/v1/bundle",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
    )
)
_FOLDERS: Final = ("/docs/", "/device/", "/assets/", "/examples/")


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """What is known of a request while it is answered."""

    method: str
    route: str
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0  # 0 until a reply has begun
    outcome: str = ""
    content: list[str] = field(default_factory=list)  # SHA-256 of each file, in order

    @classmethod
    def of(cls, scope: Any) -> "RequestRecord":
        """Return the record of a request that has just come."""
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        return cls(method=method, route=name_route(scope["path"]))

    @property
    def seconds(self) -> float:
        """Time since the headers came."""
        return time.perf_counter() - self.started_s

    def write(self, bundle_sha256: str) -> None:
        """Write the line."""
        REQUESTS.info(
            "request=%s method=%s route=%s status=%d outcome=%s content=%s bundle=%s ms=%.1f",
            self.request_id,
            self.method,
            self.route,
            self.status,
            self.outcome or "ok",
            ",".join(self.content) or "-",
            bundle_sha256,
            1000 * self.seconds,
        )


def record_of(scope: Any) -> RequestRecord:
    """Return the record that the outermost layer made."""
    record = scope[RECORD_KEY]
    if not isinstance(record, RequestRecord):  # pragma: no cover - nothing else is put there
        raise TypeError(type(record))
    return record


def name_route(path: str) -> str:
    """Return which of our routes a path is, so that no made-up path is logged or counted."""
    if path in _ROUTES:
        return path
    return next((folder for folder in _FOLDERS if path.startswith(folder)), "other")


def describe_fault(error: BaseException) -> str:
    """Return an error's class and where it was raised, without its words: they could quote a file.

    It must have been raised, so that it has a traceback.
    """
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{type(error).__name__} at {frame.f_code.co_filename}:{line}"


def send_log_to_stderr() -> None:
    """Let the server's lines be seen whatever the level of the program's log is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("pneumoscope.web", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("pneumoscope.web").setLevel(logging.INFO)
    # It would repeat what our own lines say, with the client's address.
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
