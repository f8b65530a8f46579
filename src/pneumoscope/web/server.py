"""Run the application until a signal ends it."""

import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import uvicorn

from pneumoscope.core.errors import UsageError
from pneumoscope.web.app import create_app
from pneumoscope.web.log import send_log_to_stderr
from pneumoscope.web.protocol import GuardedProtocol
from pneumoscope.web.served_bundle import load_served_bundle
from pneumoscope.web.settings import WebSettings

_BACKLOG: Final = 512
_KEEP_ALIVE_S: Final = 15
_LAST_S: Final = 5  # beyond one picture's time, for what is being answered when a signal comes


def serve(settings: WebSettings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun.

    Args:
        settings: The limits, and which bundle.
        announce: Called once with the address, as soon as it takes connections.

    Raises:
        UsageError: the address cannot be listened on.
        BundleError: the bundle cannot be used.
    """
    bundle = load_served_bundle(settings.bundle)
    listener = listen(settings.host, settings.port)
    send_log_to_stderr()
    app = create_app(settings, bundle=bundle)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=partial(  # type: ignore[arg-type]
            GuardedProtocol,
            settings=settings,
            bundle_sha256=bundle.sha256,
            metrics=app.context.metrics,
        ),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no client's address is used for anything
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.decode_s + _LAST_S),
        h11_max_incomplete_event_size=settings.max_header_bytes,
        backlog=_BACKLOG,
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    # Before uvicorn's own handlers are there, and after: it raises the signal again once it has
    # ended well, and that must not look like a crash.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    announce(address_of(listener))
    with listener:
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises: UsageError: the address is in use, not ours, or not allowed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        number = error.errno or 0  # below 0 it is the resolver's
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise UsageError(
            f"{host}:{port} cannot be listened on ({reason}). "
            "Choose another with --host and --port; --port 0 takes any that is free."
        ) from error


def address_of(listener: socket.socket) -> str:
    """Return the address that a browser takes."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
