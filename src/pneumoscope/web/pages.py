"""The files of the page, of the way without a server, and of the API's own documentation."""

import json
import mimetypes
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pneumoscope.web.served_bundle import ServedBundle

Endpoint = Callable[[Request], Awaitable[Response]]

PAGE: Final = Path(__file__).parent / "page"
DEVICE: Final = Path(__file__).parent / "device"
DOCS: Final = Path(__file__).parent / "docs_page"
_HASHED: Final = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")  # as Vite names its assets
_FOREVER: Final = "public, max-age=31536000, immutable"
_NOT_BUILT: Final = (
    b"The page is not part of this installation. The API is described at docs; "
    b"to build the page: make web\n"
)
# What a browser refuses under nosniff when the system's own table says otherwise.
_TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
}


class _Files(StaticFiles):
    """Files that say how long a browser may keep them."""

    def file_response(
        self,
        full_path: "str | os.PathLike[str]",
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path)
        is_asset = path.parent.name == "assets" and _HASHED.search(path.name)
        response.headers["Cache-Control"] = _FOREVER if is_asset else "no-cache"
        return response


class _Page(Mount):
    """The page at every path but the API's: there the router knows which methods there are."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_api = scope["type"] == "http" and scope["path"].startswith("/api/")
        return (Match.NONE, {}) if is_api else super().matches(scope)


def make_page_routes(
    bundle: ServedBundle,
    *,
    offers_device: bool = True,
    page: Path = PAGE,
    device: Path = DEVICE,
    docs: Path = DOCS,
) -> list[BaseRoute]:
    """Return the routes of all that is not the API; the last takes every path but the API's.

    Args:
        bundle: What the server answers with.
        offers_device: Whether everyone may have it, to answer on the device.
        page: The page's files.
        device: What the page needs beside the bundle to answer on the device.
        docs: The API's own documentation.
    """
    for suffix, kind in _TYPES.items():
        mimetypes.add_type(kind, suffix)
    routes: list[BaseRoute] = []
    if offers_device:
        routes.append(Route("/device/bundle.onnx", _bundle_file(bundle)))
        routes.append(Route("/device/bundle.onnx.sha256", _bundle_hash(bundle)))
    if offers_device and device.is_dir():
        routes.append(Route("/device/device.json", _device_list(bundle, device / "device.json")))
        routes.append(Mount("/device", _Files(directory=device)))
    routes.append(Route("/docs", _docs_page(docs)))
    routes.append(Mount("/docs", _Files(directory=docs)))
    if (page / "index.html").is_file():
        routes.append(_Page("/", _Files(directory=page, html=True)))
    else:
        routes.append(Route("/", _not_built))
    return routes


async def _not_built(request: Request) -> Response:
    return Response(_NOT_BUILT, status_code=404, media_type="text/plain")


def _bundle_file(bundle: ServedBundle) -> Endpoint:
    tag = f'"{bundle.sha256}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}

    async def answer(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(bundle.data, headers=headers, media_type="application/octet-stream")

    return answer


def _bundle_hash(bundle: ServedBundle) -> Endpoint:
    line = f"{bundle.sha256}  bundle.onnx\n"

    async def answer(request: Request) -> Response:
        return Response(line, headers={"Cache-Control": "no-cache"}, media_type="text/plain")

    return answer


def _device_list(bundle: ServedBundle, path: Path) -> Endpoint:
    async def answer(request: Request) -> Response:
        """Return device.json; the bundle in it is the open one, whichever was built with it."""
        value = json.loads(path.read_text(encoding="utf-8"))
        if "bundle.onnx" in value.get("files", {}):
            value["files"]["bundle.onnx"] = {"sha256": bundle.sha256, "bytes": len(bundle.data)}
        return Response(
            json.dumps(value), headers={"Cache-Control": "no-cache"}, media_type="application/json"
        )

    return answer


def _docs_page(docs: Path) -> Endpoint:
    async def answer(request: Request) -> Response:
        return Response(
            (docs / "index.html").read_bytes(),
            headers={"Cache-Control": "no-cache"},
            media_type="text/html",
        )

    return answer
