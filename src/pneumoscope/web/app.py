"""The application: routes, pages and workers, in one layer that guards them all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from pneumoscope import __version__
from pneumoscope.detector.card import RESEARCH_USE
from pneumoscope.web.held import HeldBytes
from pneumoscope.web.limits import Guard
from pneumoscope.web.log import record_of
from pneumoscope.web.metrics import Metrics
from pneumoscope.web.pages import make_page_routes
from pneumoscope.web.refusals import Refusal, bad_request
from pneumoscope.web.routes import ClientGoneError, Context, make_router
from pneumoscope.web.served_bundle import ServedBundle, load_served_bundle
from pneumoscope.web.settings import WebSettings
from pneumoscope.web.workers import WorkerPool

CLIENT_GONE = 499  # nobody reads it; the log's word for a client that left
_KINDS = {404: "NotFoundError", 405: "MethodNotAllowedError"}


class WebApp(FastAPI):
    """FastAPI, with the guard outside even of its own handling of errors."""

    def __init__(self, context: Context, **words: Any) -> None:
        super().__init__(**words)
        self.context = context

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole application as one ASGI callable."""
        return Guard(
            super().build_middleware_stack(),
            settings=self.context.settings,
            bundle_sha256=self.context.bundle.sha256,
            metrics=self.context.metrics,
        )


def create_app(settings: WebSettings, *, bundle: ServedBundle | None = None) -> WebApp:
    """Return the application. Its workers start with its lifespan; see ``/readyz``.

    Args:
        settings: The limits, and which bundle.
        bundle: The bundle where it is open already.

    Raises: BundleError: the bundle cannot be used.
    """
    bundle = bundle or load_served_bundle(settings.bundle)
    metrics = Metrics(bundle)
    pool = WorkerPool(bundle, settings, metrics)
    held = HeldBytes(settings.max_held_bytes, metrics)
    context = Context(settings=settings, bundle=bundle, pool=pool, metrics=metrics, held=held)

    @asynccontextmanager
    async def keep_workers(app: FastAPI) -> AsyncIterator[None]:
        await pool.start()
        try:
            yield
        finally:
            await pool.stop()

    app = WebApp(
        context,
        title="Pneumoscope",
        version=__version__,
        description=f"Finds pneumonia in chest radiographs. {RESEARCH_USE}",
        lifespan=keep_workers,
        docs_url=None,  # ours come with their own assets
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # A path with a slash too many is no path: a redirect would be to what the client calls the
        # host, without TLS, and would leave the folder that a proxy has put us in.
        redirect_slashes=False,
        servers=[{"url": "."}],  # beside openapi.json, in whatever folder a proxy has put that
    )
    app.include_router(make_router(context))
    # The page asks for the device's files without a token; a bundle of one's own behind a token
    # is not for everyone, so the page then has the server's way alone.
    offers_device = settings.token is None or bundle.path is None
    app.router.routes.extend(make_page_routes(bundle, offers_device=offers_device))
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(ClientGoneError, _note_gone)
    return app


async def _answer_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):  # pragma: no cover - Starlette's types are wider
        raise error
    record_of(request.scope).outcome = error.kind
    return error.response()


async def _answer_http(request: Request, error: Exception) -> Response:
    """Answer for a path or method that there is not."""
    if not isinstance(error, HTTPException):  # pragma: no cover
        raise error
    kind = _KINDS.get(error.status_code, "HttpError")
    message = error.detail
    if request.url.path.startswith("/api/"):
        message = f"{message}. The API is described at /docs."
    refusal = Refusal(error.status_code, kind, message, headers=error.headers)
    return await _answer_refusal(request, refusal)


async def _answer_validation(request: Request, error: Exception) -> Response:
    return await _answer_refusal(
        request, bad_request("UsageError", "A query parameter is wrong; see docs.")
    )


async def _note_gone(request: Request, error: Exception) -> Response:
    record_of(request.scope).outcome = "gone"
    return Response(status_code=CLIENT_GONE)
