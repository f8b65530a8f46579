"""The page, the way without a server, and the API's own documentation."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pneumoscope.web import app
from pneumoscope.web.pages import DOCS, make_page_routes
from pneumoscope.web.served_bundle import ServedBundle, load_served_bundle
from pneumoscope.web.settings import WebSettings

FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def bundle(web_bundle: Path) -> ServedBundle:
    return load_served_bundle(web_bundle)


@pytest.fixture
def make(tmp_path: Path, bundle: ServedBundle) -> Iterator[Callable[..., TestClient]]:
    """Write files as Vite and `make web` do, and serve them."""

    def serve(*, page: dict[str, str], device: dict[str, str] | None = None) -> TestClient:
        for folder, files in (("page", page), ("device", device or {})):
            for name, text in files.items():
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        routes = make_page_routes(bundle, page=tmp_path / "page", device=tmp_path / "device")
        return TestClient(Starlette(routes=routes))

    return serve


PAGE = {
    "index.html": "<!doctype html>",
    "sw.js": "// worker",
    "manifest.webmanifest": "{}",
    "assets/index-Bx3k9aZ_.js": "1",
    "assets/index-D4f5g6h7.css": "a{}",
    "examples/one.jpeg": "x",
}


@pytest.mark.parametrize(
    ("path", "kind", "cache"),
    [
        ("/", "text/html", "no-cache"),
        ("/index.html", "text/html", "no-cache"),
        ("/sw.js", "text/javascript", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json", "no-cache"),
        ("/assets/index-Bx3k9aZ_.js", "text/javascript", FOREVER),
        ("/assets/index-D4f5g6h7.css", "text/css", FOREVER),
        ("/examples/one.jpeg", "image/jpeg", "no-cache"),
        ("/device/ort-wasm-simd.wasm", "application/wasm", "no-cache"),
        ("/device/device.json", "application/json", "no-cache"),
    ],
)
def test_files_have_their_type_and_age(
    make: Callable[..., TestClient], path: str, kind: str, cache: str
) -> None:
    client = make(page=PAGE, device={"ort-wasm-simd.wasm": "w", "device.json": "{}"})
    reply = client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"].partition(";")[0] == kind
    assert reply.headers["cache-control"] == cache
    again = client.get(path, headers={"If-None-Match": reply.headers.get("etag", "none")})
    if path != "/device/device.json":
        assert again.status_code == 304


def test_bundle_is_the_open_one_byte_for_byte(
    make: Callable[..., TestClient], bundle: ServedBundle, web_bundle: Path
) -> None:
    client = make(page=PAGE, device={"bundle.onnx": "another", "bundle.onnx.sha256": "another"})
    reply = client.get("/device/bundle.onnx")
    assert reply.content == web_bundle.read_bytes()
    assert reply.headers["content-type"] == "application/octet-stream"
    line = client.get("/device/bundle.onnx.sha256").text
    assert line.split() == [hashlib.sha256(web_bundle.read_bytes()).hexdigest(), "bundle.onnx"]
    assert (
        client.get(
            "/device/bundle.onnx", headers={"If-None-Match": reply.headers["etag"]}
        ).status_code
        == 304
    )
    stale = client.get("/device/bundle.onnx", headers={"If-None-Match": '"0"'})
    assert stale.status_code == 200
    assert client.head("/device/bundle.onnx").headers["content-length"] == str(len(bundle.data))


def test_device_list_names_the_open_bundle(
    make: Callable[..., TestClient], bundle: ServedBundle
) -> None:
    listed = {"sha256": "0" * 64, "bytes": 1}
    built = {"files": {"a.wasm": listed, "bundle.onnx": listed}, "bundle": "bundle.onnx"}
    client = make(page=PAGE, device={"device.json": json.dumps(built)})
    found = client.get("/device/device.json").json()
    assert found["files"]["a.wasm"] == listed
    assert found["files"]["bundle.onnx"] == {
        "sha256": bundle.sha256,
        "bytes": len(bundle.data),
    }
    assert found["bundle"] == "bundle.onnx"


def test_without_device_files_there_is_no_device_list(make: Callable[..., TestClient]) -> None:
    client = make(page=PAGE)
    assert client.get("/device/device.json").status_code == 404
    assert client.get("/device/bundle.onnx").status_code == 200


def test_page_leaves_the_api_its_methods(
    tmp_path: Path, web_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    monkeypatch.setattr(app, "make_page_routes", partial(make_page_routes, page=tmp_path))
    client = TestClient(app.create_app(WebSettings(bundle=web_bundle)))
    wrong = client.get("/api/v1/predictions")
    assert (wrong.status_code, wrong.headers.get("allow")) == (405, "POST")
    missing = client.get("/api/v1/prediction")
    assert missing.status_code == 404
    for reply in (wrong, missing):
        assert "The API is described at /docs" in reply.json()["error"]["message"]
    assert client.get("/").text == "<!doctype html>"


def test_page_that_is_not_built_says_so(make: Callable[..., TestClient]) -> None:
    reply = make(page={}).get("/")
    assert reply.status_code == 404
    assert "make web" in reply.text


@pytest.mark.parametrize(
    "path", ["/../secret", "/..%2fsecret", "/assets/..%2f..%2fsecret", "/link", "/device/%2e%2e/x"]
)
def test_nothing_outside_the_folders_is_served(
    make: Callable[..., TestClient], tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    client = make(page=PAGE)
    (tmp_path / "page" / "link").symlink_to(tmp_path / "secret")
    assert client.get(path).status_code == 404


def test_documentation_has_its_own_assets_and_no_script_inside(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [name for name in named if not name.startswith("data:")]
    assert files == ["docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js"]
    for name in files:
        assert client.get(f"/{name}").status_code == 200
    assert re.findall(r"<script(?![^>]*\bsrc=)", page.text) == []
    assert "style=" not in page.text
    start = (DOCS / "start.js").read_text()
    assert "http" not in start
    assert (DOCS / "swagger-ui.LICENSE.txt").is_file()


def test_shipped_bundle_is_served_when_none_is_named(tiny: ModuleType) -> None:
    shipped = load_served_bundle(None)
    assert shipped.card.name == "pneumoscope-1"
    assert hashlib.sha256(shipped.data).hexdigest() == shipped.sha256


@pytest.mark.parametrize("path", ["/api/v1/predictions/", "/api/v1/bundle/", "/livez/"])
def test_a_slash_too_many_leads_nowhere(path: str, bundle: ServedBundle) -> None:
    """A redirect would name the client's Host without TLS, and lose the proxy's folder."""
    client = TestClient(app.create_app(WebSettings(), bundle=bundle), follow_redirects=False)
    assert client.get(path, headers={"Host": "elsewhere.example"}).status_code == 404


def test_the_apis_description_holds_in_a_folder_of_a_proxy(bundle: ServedBundle) -> None:
    client = TestClient(app.create_app(WebSettings(), bundle=bundle))
    assert client.get("/openapi.json").json()["servers"] == [{"url": "."}]
