"""A real browser, and the real server with the built page."""

import base64
import functools
import hashlib
import http.server
import importlib.util
import io
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import pneumoscope.web
from pneumoscope.detector.bundle import SHIPPED_BUNDLE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` is not installed
WEB = Path(pneumoscope.web.__file__).parent
SCREENSHOTS = ROOT / "build" / "screenshots"  # git-ignored; kept for people to look at


@pytest.fixture(scope="package")
def running() -> ModuleType:
    """Return tests/web/running.py as a module; test folders are no packages."""
    spec = importlib.util.spec_from_file_location("running", ROOT / "tests" / "web" / "running.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Where the environment says so, as in CI, a missing browser or page fails these tests.
IS_REQUIRED = os.environ.get("PNEUMOSCOPE_BROWSER_TESTS") == "required"
CHROMIUM = shutil.which("chromium")


def do_without(reason: str) -> NoReturn:
    """End the test for want of what it needs: a failure where browser tests are required."""
    if IS_REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="package")
def built() -> None:
    """Check that the page and the files for the device are there."""
    for path in (WEB / "page" / "index.html", WEB / "device" / "device.json"):
        if not path.is_file():
            do_without(f"{path.relative_to(ROOT)} is missing; write it with: make web")


@pytest.fixture(scope="package")
def server(
    running: ModuleType, built: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Run one server that most tests share."""
    with running.RunningServer(tmp_path_factory.mktemp("server"), n_workers=1) as server:
        yield server


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium, without a window."""
    if CHROMIUM is None:
        do_without("no program `chromium` is installed, so the page can't be tried in a browser")
    with sync_playwright() as playwright:
        # Containers lack the rights that the sandbox needs.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open a page of its own, with nothing stored; whatever goes wrong in it fails the test."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        # A refusal of the content security policy comes as such a message.
        lambda message: errors.append(message.text) if "Policy" in message.text else None,
    )
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="package")
def radiographs() -> list[Path]:
    """Return the 16 radiographs at full resolution."""
    return sorted((ROOT / "examples" / "radiographs").glob("*/*.jpeg"))


@pytest.fixture(scope="package")
def screenshots() -> Path:
    """Return the folder where screenshots are kept."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


class Seen:
    """What a person finds on the page, by the words that stand there."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, url: str, *, way: str | None = None) -> None:
        """Open the page and wait until it can answer."""
        self.page.goto(url)
        if way is not None:
            self.page.get_by_role("radio", name=way).check(force=True)
        ready = "Pictures are sent to" if way == "Run on the server" else "Pictures stay on"
        self.page.get_by_text(ready).wait_for()

    def add(self, *files: Path) -> None:
        """Choose files."""
        self.page.locator("input[type=file]").set_input_files(files)

    def wait_for_answers(self, n: int) -> None:
        """Wait until so many files have been answered or have failed."""
        done = self.page.locator(".row[data-state=answered], .row[data-state=failed]")
        expect(done).to_have_count(n, timeout=60_000)

    def probability(self) -> float:
        """Return the probability of the radiograph in view."""
        text = self.page.locator(".verdict-probability").inner_text()
        return float(text.split()[-1])

    def screen(self) -> Image.Image:
        """Return what is seen of the page now."""
        return Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")

    def canvas(self) -> NDArray[np.uint8]:
        """Return the picture as it is drawn: (H, W, 3) in device pixels."""
        # Two frames: the page draws at most once in each.
        data = self.page.evaluate(
            """async () => {
              for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
              return document.querySelector(".stage-canvas").toDataURL();
            }"""
        )
        picture = Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))
        black = Image.new("RGBA", picture.size, "black")
        return np.asarray(Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB"))


@pytest.fixture
def seen(page: Page) -> Seen:
    """Return the page with words for what a person does on it."""
    return Seen(page)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def static_site(built: None, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Serve the page, the device's files and the bundle from a folder of a plain host."""
    root = tmp_path / "host"
    site = root / "some" / "folder"
    shutil.copytree(WEB / "page", site)
    shutil.copytree(WEB / "device", site / "device")
    shutil.copy(SHIPPED_BUNDLE, site / "device" / "bundle.onnx")
    sha256 = hashlib.sha256(SHIPPED_BUNDLE.read_bytes()).hexdigest()
    (site / "device" / "bundle.onnx.sha256").write_text(f"{sha256}  bundle.onnx\n")
    handler = functools.partial(_Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{host.server_port}/some/folder/"
        yield SimpleNamespace(url=url, folder=site)
        host.shutdown()
