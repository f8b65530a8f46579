"""On this device and on the server: what leaves the machine, and what happens when one is amiss."""

import base64
import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

import pneumoscope as ps
from pneumoscope.detector.bundle import SHIPPED_BUNDLE


def test_no_request_with_a_body_leaves_in_device_mode(
    running: ModuleType, built: None, tmp_path: Path, seen: Any, radiographs: list[Path]
) -> None:
    with running.RunningServer(tmp_path, n_workers=1) as server:
        seen.open(server.url, way="Run on this device")
        seen.add(*radiographs[6:10])
        seen.page.get_by_role("button", name="Add files").wait_for()
        seen.wait_for_answers(4)
        seen.page.get_by_role("radio", name="sensitive").check()
        seen.page.locator(".row-name").nth(2).click()
        assert "method=GET" in server.log()
        assert "method=POST" not in server.log()
        # The log does see what is posted.
        seen.page.get_by_role("radio", name="Run on the server").check(force=True)
        seen.page.get_by_text("Pictures are sent to").wait_for()
        seen.add(radiographs[0])
        seen.wait_for_answers(5)
        assert server.log().count("method=POST") == 1


def test_the_way_is_remembered(server: Any, seen: Any) -> None:
    seen.open(server.url, way="Run on the server")
    seen.page.reload()
    seen.page.get_by_text("Pictures are sent to").wait_for()
    expect(seen.page.get_by_role("radio", name="Run on the server")).to_be_checked()


def test_a_page_on_any_host_answers_on_the_device(
    static_site: Any, seen: Any, radiographs: list[Path]
) -> None:
    """In a folder of a plain host, without the headers for threads, and without a server."""
    page: Page = seen.page
    page.goto(static_site.url)
    page.get_by_text("Pictures stay on").wait_for()
    assert page.evaluate("crossOriginIsolated") is False
    expect(page.get_by_role("radio", name="Run on the server")).to_be_disabled()
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    oracle = ps.load().predict(radiographs[8])
    assert seen.probability() == pytest.approx(oracle.probability, abs=1.1e-3)


def test_a_server_without_the_files_for_a_device_is_used(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.page.context.route("**/device/**", lambda route: route.fulfill(status=404))
    seen.page.goto(server.url)
    seen.page.get_by_text("Pictures are sent to").wait_for()
    expect(seen.page.get_by_role("radio", name="Run on this device")).to_be_disabled()
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    expect(seen.page.locator(".verdict-label")).to_have_text("Pneumonia")


def test_a_page_with_neither_way_says_what_to_do(server: Any, seen: Any) -> None:
    for pattern in ("**/device/**", "**/api/**"):
        seen.page.context.route(pattern, lambda route: route.fulfill(status=404))
    seen.page.goto(server.url)
    seen.page.get_by_text("pneumoscope serve").wait_for()


def test_a_token_is_asked_for_and_used(server: Any, seen: Any, radiographs: list[Path]) -> None:
    """The server's own check of tokens has its own tests; here one stands before the API."""
    sent: list[str | None] = []

    def guard(route: Route) -> None:
        authorization = route.request.headers.get("authorization")
        sent.append(authorization)
        if authorization == "Bearer right-token":
            route.continue_()
        else:
            route.fulfill(
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
                json={"error": {"type": "Unauthorized", "message": "A token is needed."}},
            )

    page: Page = seen.page
    page.context.route("**/api/**", guard)
    page.goto(server.url)
    page.get_by_role("radio", name="Run on the server").check(force=True)
    field = page.get_by_label("Access token")
    field.fill("wrong-token")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("The server refused this token.").wait_for()
    field.fill("right-token")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("Pictures are sent to").wait_for()
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    expect(page.locator(".verdict-label")).to_have_text("Pneumonia")
    assert sent == [None, "Bearer wrong-token", "Bearer right-token", "Bearer right-token"]


def test_a_token_that_cannot_be_sent_and_a_cut_connection_can_be_mended(
    server: Any, seen: Any
) -> None:
    is_cut = False

    def guard(route: Route) -> None:
        if is_cut:
            route.abort()
        elif route.request.headers.get("authorization") == "Bearer right-token":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"type": "Unauthorized", "message": "No."}})

    page: Page = seen.page
    page.context.route("**/api/**", guard)
    page.goto(server.url)
    page.get_by_role("radio", name="Run on the server").check(force=True)
    field = page.get_by_label("Access token")
    field.fill("right\u2013token")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("characters that cannot be sent").wait_for()
    is_cut = True
    field.fill("right-token")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("The server cannot be reached.").wait_for()
    is_cut = False
    page.get_by_role("button", name="Try again").click()
    field.fill("right-token")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("Pictures are sent to").wait_for()


def test_files_wait_when_the_worker_crashes_and_are_answered_by_the_next(
    server: Any, seen: Any, radiographs: list[Path], tiny: ModuleType, tmp_path: Path
) -> None:
    page: Page = seen.page
    page.add_init_script(CRASH_AT_FIRST_FILE)
    own = tiny.write_bundle(tmp_path / "own.onnx")
    seen.open(server.url)
    drop(page, "own.onnx", own.read_bytes())
    page.get_by_text("Your bundle: own.onnx").wait_for()
    seen.add(*radiographs[6:9])
    page.get_by_text("out of memory").first.wait_for()
    expect(page.locator(".row[data-state=failed]")).to_have_count(1)
    expect(page.locator(".row[data-state=waiting]")).to_have_count(2)
    page.get_by_role("button", name="Try again", exact=True).click()
    expect(page.locator(".row[data-state=answered]")).to_have_count(2, timeout=60_000)
    page.locator(".row-name").nth(2).click()
    expect(page.locator(".facts")).to_contain_text(
        hashlib.sha256(own.read_bytes()).hexdigest()[:12]
    )


# Stands for a worker that runs out of memory at the first radiograph of the page.
CRASH_AT_FIRST_FILE = """
  let isFirst = true;
  window.Worker = class extends Worker {
    postMessage(request, ...rest) {
      if (request.call === "predict" && isFirst) {
        isFirst = false;
        this.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
      } else super.postMessage(request, ...rest);
    }
  };
"""


def test_a_busy_server_is_asked_again_when_it_says(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    n_asked = 0

    def refuse_twice(route: Route) -> None:
        nonlocal n_asked
        n_asked += 1
        if n_asked > 2:
            route.continue_()
        else:
            route.fulfill(
                status=503,
                headers={"Retry-After": "1"},
                json={"error": {"type": "QueueFull", "message": "Busy."}},
            )

    seen.page.context.route("**/api/v1/predictions*", refuse_twice)
    seen.open(server.url, way="Run on the server")
    seen.add(radiographs[8])
    seen.page.get_by_text("The server is busy. Trying again in 1 second.").wait_for()
    seen.wait_for_answers(1)
    expect(seen.page.locator(".verdict-label")).to_have_text("Pneumonia")
    expect(seen.page.get_by_text("The server is busy.")).to_be_hidden()
    assert n_asked == 3


def test_a_bundle_of_ones_own_is_dropped_and_answers(
    server: Any, seen: Any, radiographs: list[Path], tiny: ModuleType, tmp_path: Path
) -> None:
    page: Page = seen.page
    own = tiny.write_bundle(tmp_path / "own.onnx")
    seen.open(server.url, way="Run on the server")
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    before = page.locator(".facts").inner_text()
    drop(page, "own.onnx", own.read_bytes())
    page.get_by_text("Your bundle: own.onnx").wait_for()
    expect(page.get_by_role("radio", name="Run on this device")).to_be_checked()
    # The answer in view is still the other bundle's, and says so.
    assert page.locator(".facts").inner_text() == before
    page.get_by_role("button", name="Answer all again").click()
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    expect(page.locator(".facts")).to_contain_text(sha256[:12])
    oracle = ps.load(own).predict(radiographs[8])
    assert seen.probability() == pytest.approx(oracle.probability, abs=1.1e-3)

    page.get_by_role("button", name="Back to the page").click()
    page.get_by_role("button", name="Answer all again").click()
    shipped = hashlib.sha256(SHIPPED_BUNDLE.read_bytes()).hexdigest()
    expect(page.locator(".facts")).to_contain_text(shipped[:12])


def test_a_bundle_that_is_none_is_refused_and_the_old_one_goes_on(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.open(server.url)
    drop(seen.page, "bad.onnx", b"not a bundle")
    expect(seen.page.get_by_role("alert")).to_contain_text("bad.onnx")
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    expect(seen.page.locator(".verdict-label")).to_have_text("Pneumonia")


def test_pictures_are_dropped_and_pasted(server: Any, seen: Any, radiographs: list[Path]) -> None:
    seen.open(server.url)
    drop(seen.page, "dropped.jpeg", radiographs[8].read_bytes())
    seen.wait_for_answers(1)
    seen.page.evaluate(
        """(encoded) => {
          const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "image.jpeg", { type: "image/jpeg" }));
          const event = new ClipboardEvent("paste", { clipboardData, bubbles: true });
          document.body.dispatchEvent(event);
        }""",
        base64.b64encode(radiographs[9].read_bytes()).decode(),
    )
    seen.wait_for_answers(2)
    assert seen.page.locator(".row-file").all_inner_texts() == ["dropped.jpeg", "pasted-1.jpeg"]


def drop(page: Page, name: str, data: bytes) -> None:
    """Drop a file on the page."""
    transfer = page.evaluate_handle(
        """([name, encoded]) => {
          const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    expect(page.locator(".drop-veil")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator(".drop-veil")).to_be_hidden()
