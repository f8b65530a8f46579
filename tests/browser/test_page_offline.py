"""The page without a network, and how a newer version takes its place."""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

import pneumoscope as ps
from pneumoscope.web.headers import SECURITY_HEADERS

NEW_WORKER = "A newer version of this page is ready."


@pytest.fixture
def own_server(running: Any, built: None, tmp_path: Path) -> Iterator[Any]:
    """Run a server that a test may kill."""
    with running.RunningServer(tmp_path, n_workers=1) as server:
        yield server


def wait_until_kept(page: Page) -> None:
    page.get_by_text("Works without a network.").first.wait_for()


def test_it_goes_on_after_the_server_is_killed_and_the_page_reloaded(
    own_server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.open(own_server.url)
    wait_until_kept(seen.page)
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    before = seen.probability()
    own_server.process.kill()
    own_server.process.wait()

    seen.add(radiographs[0])
    seen.wait_for_answers(2)
    seen.page.reload()
    seen.page.get_by_text("Pictures stay on").wait_for()
    expect(seen.page.get_by_role("radio", name="Run on the server")).to_be_disabled()
    seen.page.get_by_role("button", name="Example 1").click()
    seen.wait_for_answers(1)
    seen.add(radiographs[8])
    seen.wait_for_answers(2)
    seen.page.locator(".row-name").nth(1).click()
    assert seen.probability() == before


def test_it_starts_without_a_network(server: Any, seen: Any, radiographs: list[Path]) -> None:
    seen.open(server.url)
    wait_until_kept(seen.page)
    seen.page.context.set_offline(True)
    second = seen.page.context.new_page()
    second.goto(server.url)
    second.get_by_text("Pictures stay on").wait_for()
    second.locator("input[type=file]").set_input_files(radiographs[8])
    expect(second.locator(".verdict-label")).to_have_text("Pneumonia")


def test_only_the_page_and_the_files_of_the_device_are_kept(
    server: Any, seen: Any, radiographs: list[Path]
) -> None:
    seen.open(server.url)
    wait_until_kept(seen.page)
    seen.page.get_by_role("radio", name="Run on the server").check(force=True)
    seen.page.get_by_text("Pictures are sent to").wait_for()
    seen.add(radiographs[9])
    seen.wait_for_answers(1)
    kept = seen.page.evaluate(
        """async () => {
          const urls = [];
          for (const name of await caches.keys()) {
            const cache = await caches.open(name);
            for (const request of await cache.keys()) urls.push([request.method, request.url]);
          }
          return urls;
        }"""
    )
    assert kept
    assert {method for method, _ in kept} == {"GET"}
    assert not [url for _, url in kept if "/api/" in url or radiographs[9].name in url]
    bundle = server.get("/device/bundle.onnx.sha256").body.decode().split()[0]
    assert f"{server.url}/device/bundle.onnx?sha256={bundle}" in [url for _, url in kept]


def test_a_newer_page_waits_until_it_is_asked_for_and_then_replaces_all_of_the_old(
    static_site: Any, seen: Any
) -> None:
    page: Page = seen.page
    seen.open(static_site.url)
    wait_until_kept(page)
    old = page.evaluate("async () => caches.keys()")
    version = next(name for name in old if "page" in name).rsplit("-", 1)[1]
    worker = static_site.folder / "sw.js"
    assert version in worker.read_text()
    worker.write_text(worker.read_text().replace(version, "0123456789abcdef"))
    icon = static_site.folder / "icons" / "icon.svg"
    icon.write_text(icon.read_text() + "<!-- newer -->")
    read_icon = "async () => (await fetch('icons/icon.svg')).text()"
    page.reload()
    page.get_by_text(NEW_WORKER).wait_for()
    assert "newer" not in page.evaluate(read_icon)  # the old page keeps its own files
    with page.expect_navigation():
        page.get_by_role("button", name="Reload").click()
    page.get_by_text("Pictures stay on").wait_for()
    assert "newer" in page.evaluate(read_icon)
    now = page.evaluate("async () => caches.keys()")
    assert sorted(now) == ["pneumoscope-device", "pneumoscope-page-0123456789abcdef"]
    expect(page.get_by_text(NEW_WORKER)).to_be_hidden()


def test_a_kept_page_that_the_host_has_outgrown_is_offered_the_newer_one(
    static_site: Any, seen: Any
) -> None:
    """The host's parts are of a runtime that the kept page does not know."""
    page: Page = seen.page
    seen.open(static_site.url)
    wait_until_kept(page)
    parts = static_site.folder / "device" / "device.json"
    as_built = parts.read_text()
    parts.write_text(as_built.replace('"version": "', '"version": "99.'))
    worker = static_site.folder / "sw.js"
    worker.write_text(worker.read_text() + "\n// newer\n")
    page.reload()
    page.get_by_text("device/ holds onnxruntime 99.").wait_for()
    page.get_by_text(NEW_WORKER).wait_for()
    parts.write_text(as_built)  # now it stands for the parts of the newer page
    with page.expect_navigation():
        page.get_by_role("button", name="Reload").click()
    page.get_by_text("Pictures stay on").wait_for()


def test_a_proxy_without_its_server_and_a_login_page_do_not_stop_the_kept_page(
    static_site: Any, seen: Any, radiographs: list[Path]
) -> None:
    page: Page = seen.page
    seen.open(static_site.url)
    wait_until_kept(page)
    for reply in (
        {"status": 502, "body": "Bad gateway"},
        {"status": 200, "content_type": "text/html", "body": "<title>Sign in</title>"},
    ):
        page.context.unroute_all()
        page.context.route("**/*", functools.partial(answer_with, reply))
        page.reload()
        page.get_by_text("Pictures stay on").wait_for()
        seen.add(radiographs[8])
        seen.wait_for_answers(1)
        expect(page.locator(".verdict-label")).to_have_text("Pneumonia")


def answer_with(reply: dict[str, Any], route: Route) -> None:
    route.fulfill(**reply)


def test_from_the_second_visit_on_a_plain_host_has_the_headers_and_threads_of_the_server(
    static_site: Any, seen: Any, radiographs: list[Path]
) -> None:
    """In a folder, and each of the page's workers with its threads starts under those headers."""
    page: Page = seen.page
    seen.open(static_site.url)
    wait_until_kept(page)
    reply = page.reload()
    assert reply is not None
    assert reply.from_service_worker
    for name in (
        "Content-Security-Policy",
        "Cross-Origin-Opener-Policy",
        "Cross-Origin-Embedder-Policy",
    ):
        assert reply.header_value(name) == SECURITY_HEADERS[name]
    page.get_by_text("Pictures stay on").wait_for()
    assert page.evaluate("crossOriginIsolated") is True
    page.get_by_role("button", name="Example 1").click()
    seen.wait_for_answers(1)
    seen.add(radiographs[8])
    seen.wait_for_answers(2)
    page.locator(".row-name").nth(1).click()
    oracle = ps.load().predict(radiographs[8])
    assert seen.probability() == pytest.approx(oracle.probability, abs=1.1e-3)


def test_another_bundle_on_the_host_is_taken_and_the_old_one_let_go(
    static_site: Any, seen: Any, tiny: ModuleType, radiographs: list[Path]
) -> None:
    """A kept bundle answers only while the host's hash is its own."""
    page: Page = seen.page
    seen.open(static_site.url)
    wait_until_kept(page)
    device = static_site.folder / "device"
    tiny.write_bundle(device / "bundle.onnx")
    sha256 = hashlib.sha256((device / "bundle.onnx").read_bytes()).hexdigest()
    (device / "bundle.onnx.sha256").write_text(f"{sha256}  bundle.onnx\n")
    page.reload()
    seen.add(radiographs[8])
    seen.wait_for_answers(1)
    expect(page.locator(".facts")).to_contain_text(sha256[:12])
    wait_until_kept(page)
    kept = page.evaluate(
        "async () => (await (await caches.open('pneumoscope-device')).keys()).map(({url}) => url)"
    )
    assert [url for url in kept if "bundle.onnx?" in url] == [
        f"{static_site.url}device/bundle.onnx?sha256={sha256}"
    ]


def test_it_can_be_installed(server: Any, seen: Any) -> None:
    seen.open(server.url)
    # Otherwise it is fetched without the password that a proxy may want.
    link = seen.page.locator("link[rel=manifest]")
    assert link.evaluate("(link) => link.crossOrigin") == "use-credentials"
    manifest = seen.page.evaluate(
        "async () => (await fetch(document.querySelector('link[rel=manifest]').href)).json()"
    )
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        reply = server.get("/" + icon["src"])
        assert reply.status == 200
        assert reply.headers["content-type"] == icon["type"]
    client = seen.page.context.new_cdp_session(seen.page)
    errors = client.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A private window is never offered to be installed; nothing else is amiss.
    assert [each["errorId"] for each in errors] in ([], ["in-incognito"])
