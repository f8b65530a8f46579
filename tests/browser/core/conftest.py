"""The core of the page by itself, in a real browser under the page's own security policy."""

import base64
import http.server
import importlib.util
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

import pneumoscope.web
from pneumoscope.detector.bundle import SHIPPED_BUNDLE

ROOT = Path(__file__).parents[3]
BROWSER = ROOT / "browser"
DEVICE = Path(pneumoscope.web.__file__).parent / "device"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
    "": "application/octet-stream",
}
# As docs/deploy.md has it: what the core needs beyond this would not run on the real page either.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "img-src 'self' blob: data:; style-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = TYPES

    def __init__(self, *args: Any, headers: dict[str, str], requests: list[str], **options: Any):
        self._more_headers, self._requests = headers, requests
        super().__init__(*args, **options)

    def end_headers(self) -> None:
        for name, value in self._more_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *words: Any) -> None:  # noqa: A002
        self._requests.append(self.requestline)


class Site:
    """A folder as a static host serves it."""

    def __init__(self, folder: Path, *, is_isolated: bool) -> None:
        self.folder = folder
        self.requests: list[str] = []
        headers = {"Content-Security-Policy": POLICY, **(ISOLATED if is_isolated else {})}
        handler = partial(_Handler, directory=str(folder), headers=headers, requests=self.requests)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Core:
    """The core's functions, as a page calls them."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, bundle: bytes | None = None) -> dict[str, Any]:
        """Open a detector on the device and keep it; an error comes as its type and words."""
        return self._call(
            """async (bundle) => {
              globalThis.detector?.close();
              const options = { base: new URL(document.baseURI) };
              if (bundle) options.bundleBytes = bytesOf(bundle).buffer;
              globalThis.detector = await core.DeviceDetector.open(options);
              const { card, identity, threads } = globalThis.detector;
              return { card, identity, threads, isolated: crossOriginIsolated };
            }""",
            None if bundle is None else self.encode(bundle),
        )

    def open_server(self, base: str) -> dict[str, Any]:
        """Open a detector that asks a server, and return its bundle's identity."""
        return self._call(
            """async (base) => {
              globalThis.detector = await core.ServerDetector.open(new URL(base));
              return globalThis.detector.identity;
            }""",
            base,
        )

    def predict(self, data: bytes, name: str = "image", point: str | None = None) -> dict[str, Any]:
        """Answer for one file with the detector that was opened."""
        return self._call(
            """async ([data, name, point]) => {
              const bytes = bytesOf(data);
              const answer = await globalThis.detector.predict(bytes, name, point ?? undefined);
              globalThis.answer = answer;
              const { prediction } = answer;
              return {
                json: core.toJson(prediction),
                cam: Array.from(prediction.map.values),
                shape: [prediction.map.height, prediction.map.width],
                thresholdLogit: prediction.map.thresholdLogit,
                atypicality: prediction.atypicality,
                image: prediction.image,
                picture: [answer.radiograph.height, answer.radiograph.width],
                milliseconds: prediction.milliseconds,
                isLeftWhole: bytes.length > 0,
              };
            }""",
            [self.encode(data), name, point],
        )

    def read(self, data: bytes, name: str = "image") -> dict[str, Any]:
        """Read one file; the pixels come as bytes."""
        read = self._call(
            """async ([data, name]) => {
              const { pixels, ...facts } = await core.readRadiograph(bytesOf(data), name);
              let text = "";
              for (let at = 0; at < pixels.length; at += 32768)
                text += String.fromCharCode(...pixels.subarray(at, at + 32768));
              return { ...facts, pixels: btoa(text) };
            }""",
            [self.encode(data), name],
        )
        if "pixels" in read:
            read["pixels"] = base64.b64decode(read["pixels"])
        return read

    @staticmethod
    def encode(data: bytes) -> str:
        return base64.b64encode(data).decode()

    def _call(self, script: str, words: object) -> dict[str, Any]:
        answer: dict[str, Any] = self.page.evaluate(
            f"""async (words) => {{
              const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
              try {{
                return await ({script})(words);
              }} catch (error) {{
                return {{ error: {{ type: error.type ?? error.name, message: error.message }} }};
              }}
            }}""",
            words,
        )
        return answer


@pytest.fixture(scope="package")
def built_core(built: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the core with nothing of the page around it, beside the files for the device."""
    folder = tmp_path_factory.mktemp("core")
    subprocess.run(
        ["npx", "vite", "build", "--config", "tests/harness/vite.config.ts", "--outDir", folder],
        cwd=BROWSER,
        check=True,
        capture_output=True,
        timeout=240,
    )
    shutil.copytree(DEVICE, folder / "device", dirs_exist_ok=True)
    shutil.copy(SHIPPED_BUNDLE, folder / "device" / "bundle.onnx")
    shutil.copy(f"{SHIPPED_BUNDLE}.sha256", folder / "device" / "bundle.onnx.sha256")
    return folder


OpenCore = Callable[..., Core]


@pytest.fixture(scope="package")
def open_core(chromium: Browser) -> Iterator[OpenCore]:
    """Return a function that opens the core's page on a site."""
    contexts = []
    refusals: list[str] = []

    def open_core(site: Any, **options: Any) -> Core:
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: refusals.append(message.text) if "Policy" in message.text else None,
        )
        if not isinstance(site, Site):
            page.route(f"{site.url}**", lambda route: _fulfil(route, site.folder))
        page.goto(site.url, wait_until="load")
        return Core(page)

    yield open_core
    for context in contexts:
        context.close()
    assert refusals == []


def _fulfil(route: Route, folder: Path) -> None:
    """Answer from a folder what lies behind ``/core/``, but for the parts for the device."""
    name = route.request.url.split("/core/", maxsplit=1)[1] or "index.html"
    path = folder / name
    if name.startswith("device/") or not path.is_file():
        route.fulfill(status=404)
        return
    headers = {"Content-Security-Policy": POLICY, **ISOLATED, "Content-Type": TYPES[path.suffix]}
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    route.fulfill(status=200, headers=headers, body=path.read_bytes())


@pytest.fixture(scope="package")
def serve() -> Iterator[Callable[..., Site]]:
    """Return a function that serves a folder as a static host does."""
    sites = []

    def serve(folder: Path, *, is_isolated: bool = True) -> Site:
        sites.append(Site(folder, is_isolated=is_isolated))
        return sites[-1]

    yield serve
    for site in sites:
        site.close()


@pytest.fixture(scope="package")
def site(built_core: Path, serve: Callable[..., Site]) -> Site:
    return serve(built_core)


@pytest.fixture(scope="package")
def site_without_isolation(built_core: Path, serve: Callable[..., Site]) -> Site:
    return serve(built_core, is_isolated=False)


@pytest.fixture(scope="package")
def core(site: Site, open_core: OpenCore) -> Core:
    """Return the core on a cross-origin isolated page, shared by the tests that only read."""
    return open_core(site)


@pytest.fixture(scope="package")
def load_test_module() -> Callable[[str], ModuleType]:
    """Return a function that loads a test file for its helpers; test folders are no packages."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "tests" / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
