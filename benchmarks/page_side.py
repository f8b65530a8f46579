"""The page in a cold browser, answering on the device: from the address to the first answers.

Run as ``python -m benchmarks.page_side PIECE ...``. Playwright drives the installed Chromium.
"""

import argparse
import importlib.metadata
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

import pneumoscope.web
from benchmarks.piece import report
from benchmarks.predict_side import describe_versions, files_of
from benchmarks.serve_load import serve

_READY = "Pictures stay on"
_ANSWERED = ".row[data-state=answered]"
_LIMIT_MS = 60_000


def measure_page(arguments: argparse.Namespace) -> dict[str, Any]:
    """Open the page anew in a browser without a cache, then give it radiographs one by one.

    Returns: Of each load: ``load_s`` from the address until the bundle is ready, ``first_s`` from
        choosing the first file to its answer, ``later_s`` of each further file, and ``threads``.
    """
    device = Path(pneumoscope.web.__file__).parent / "device" / "device.json"
    program = shutil.which("chromium")
    if program is None or not device.is_file():
        raise SystemExit("this needs Chromium, and the page's parts: run `make web`")
    found: dict[str, Any] = {"load_s": [], "first_s": [], "later_s": [], "is_isolated": []}
    files = files_of(arguments.folder)[: arguments.distinct]
    with serve(arguments.bundle, n_workers=1) as server, sync_playwright() as playwright:
        url = f"http://{server.address[0]}:{server.address[1]}/"
        for _ in range(arguments.rounds):
            # A new browser each time: neither compiled WASM nor files are left from the last.
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page()
            started_s = time.perf_counter()
            page.goto(url)
            page.get_by_text(_READY).wait_for(timeout=_LIMIT_MS)
            found["load_s"].append(time.perf_counter() - started_s)
            found["is_isolated"].append(page.evaluate("crossOriginIsolated"))
            seconds = [_answer(page, path, n) for n, path in enumerate(files, start=1)]
            found["first_s"].append(seconds[0])
            found["later_s"] += seconds[1:]
            version = browser.version
            browser.close()
    versions = describe_versions() | {
        "chromium": version,
        "playwright": importlib.metadata.version("playwright"),
    }
    return found | {"versions": versions}


def _answer(page: Page, path: Path, n: int) -> float:
    """Return the seconds from choosing the ``n``-th file until its answer stands in the list."""
    started_s = time.perf_counter()
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(_ANSWERED)).to_have_count(n, timeout=_LIMIT_MS)
    return time.perf_counter() - started_s


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("piece", choices=["page"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--distinct", type=int, default=16)
    facts = measure_page(parser.parse_args())
    from pneumoscope.training.machine import describe_machine  # torch, when nothing is timed

    report(facts | {"machine": describe_machine()})


if __name__ == "__main__":
    main()
