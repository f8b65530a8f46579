"""``pneumoscope serve``: the same answers over HTTP, and a page for people."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.core.optional import import_extra

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_LOOPBACK = ("127.", "localhost", "::1")


def serve(
    bundle: Annotated[
        Path | None, typer.Option(help="The .onnx file; without it, the shipped one.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 127.0.0.1 without it.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="8000 without it; 0 is any free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that decode and infer; one a core without it.")
    ] = None,
) -> None:
    """Serve the API and the page. Research use only.

    Every limit is a setting: PNEUMOSCOPE_WEB_MAX_BODY_BYTES and so on; docs/deploy.md has them all.
    """
    for module in _NEEDED:
        import_extra(module, extra="web", purpose="Serving")
    from pneumoscope.core.errors import BundleError, UsageError
    from pneumoscope.detector.card import RESEARCH_USE
    from pneumoscope.web.server import serve as run
    from pneumoscope.web.settings import WebSettings

    settings = WebSettings.from_environment(
        os.environ, bundle=bundle, host=host, port=port, n_workers=workers
    )

    def announce(address: str) -> None:
        typer.echo(f"Pneumoscope listens at {address} (Ctrl-C ends it).")
        typer.echo(RESEARCH_USE)
        if not settings.host.startswith(_LOOPBACK) and settings.token is None:
            typer.echo(
                "Anyone who reaches this address may use it, unencrypted. docs/deploy.md says "
                "how to put it behind a proxy, and PNEUMOSCOPE_WEB_TOKEN asks for a token.",
                err=True,
            )

    try:
        run(settings, announce=announce)
    except BundleError as error:  # at a shell that is the wrong word, as for `predict`
        raise UsageError(str(error)) from error
