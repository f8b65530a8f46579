"""Workers that are full, late, killed or short of memory; nothing may hang or get lost."""

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pneumoscope.detector.predict import load
from pneumoscope.web.child_process import Child
from pneumoscope.web.frames import pack_head

URL = "/api/v1/predictions"


def until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait for what another process does; there is no event to wait for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def narrow(start_client: Callable[..., TestClient]) -> TestClient:
    """One worker, and a queue of two."""
    return start_client(queue_files=2, max_files=2, decode_s=300, queue_s=300)


def pool_of(client: TestClient) -> Any:
    return client.app.context.pool


def test_full_queue_is_503_while_health_answers_and_nothing_is_lost(
    narrow: TestClient, examples: list[Path], web_bundle: Path
) -> None:
    pool = pool_of(narrow)
    (pid,) = pool.pids

    def post(path: Path) -> Any:
        return narrow.post(URL, files={"files": path.read_bytes()})

    os.kill(pid, signal.SIGSTOP)  # a worker that is busy for as long as we like
    try:
        with ThreadPoolExecutor(3) as threads:
            first = threads.submit(post, examples[0])
            until(lambda: pool.n_running == 1)
            others = [threads.submit(post, path) for path in examples[1:3]]
            until(lambda: pool.n_waiting == 2)
            refused = post(examples[3])
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["type"] == "QueueFullError"
            assert narrow.get("/livez").status_code == 200
            assert narrow.get("/readyz").status_code == 200
            assert "pneumoscope_queue_files 2.0" in narrow.get("/metrics").text
            os.kill(pid, signal.SIGCONT)
            answers = [future.result(60) for future in (first, *others)]
    finally:
        os.kill(pid, signal.SIGCONT)
    detector = load(web_bundle)
    for path, reply in zip(examples[:3], answers, strict=True):
        assert reply.status_code == 200
        assert reply.json()[0]["logit"] == detector.predict(path).logit
    assert post(examples[3]).status_code == 200


def test_overdue_picture_is_504_and_its_worker_replaced(
    start_client: Callable[..., TestClient], examples: list[Path]
) -> None:
    client = start_client(decode_s=3)
    pool = pool_of(client)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    reply = client.post(URL, files=[("files", ("slow.jpeg", examples[0].read_bytes()))])
    assert reply.status_code == 504
    assert reply.json()["error"]["type"] == "DecodeTimeout"
    (failed,) = reply.json()["results"]
    assert failed["error"]["message"].startswith("slow.jpeg: took longer than 3 s.")
    client.portal.call(pool.wait_until_warm)
    assert pool.pids != [pid]
    assert not is_alive(pid)
    assert client.post(URL, files={"files": examples[0].read_bytes()}).status_code == 200
    assert 'replaced_total{reason="it took too long"} 1.0' in client.get("/metrics").text


def test_file_that_a_stopping_server_gives_up_may_be_sent_again(
    start_client: Callable[..., TestClient], examples: list[Path]
) -> None:
    client = start_client(decode_s=300)
    pool = pool_of(client)
    os.kill(pool.pids[0], signal.SIGSTOP)
    data = {"files": examples[0].read_bytes()}
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: client.post(URL, files=data))
        until(lambda: pool.n_running == 1)
        client.portal.call(pool.stop)
        reply = waiting.result(60)
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "NotReadyError")
    assert reply.headers["retry-after"] == "1"


def test_worker_killed_while_idle_is_replaced_unasked(
    narrow: TestClient, examples: list[Path]
) -> None:
    pool = pool_of(narrow)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    until(lambda: pool.pids and pool.pids != [pid])
    assert narrow.post(URL, files={"files": examples[0].read_bytes()}).status_code == 200


def test_worker_killed_at_work_costs_that_file_alone(
    narrow: TestClient, examples: list[Path]
) -> None:
    pool = pool_of(narrow)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    two = [("files", (path.name, path.read_bytes())) for path in examples[:2]]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: narrow.post(URL, files=two))
        until(lambda: pool.n_running == 1)
        os.kill(pid, signal.SIGKILL)  # as the kernel does when memory is short
        reply = waiting.result(60)
    assert reply.status_code == 200
    failed, answered = reply.json()
    assert failed["error"]["type"] == "WorkerEndedError"
    assert answered["path"] == examples[1].name


def test_without_any_worker_it_is_not_ready_and_says_why(
    start_client: Callable[..., TestClient], tiny: Any, tmp_path: Path
) -> None:
    bundle = tiny.write_bundle(tmp_path / "gone.onnx")
    client = start_client(bundle=bundle)
    (pid,) = pool_of(client).pids
    bundle.unlink()
    os.kill(pid, signal.SIGKILL)
    until(lambda: "gone.onnx: does not exist" in client.get("/readyz").text)
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    assert client.post(URL, files={"files": b"x"}).status_code == 503
    tiny.write_bundle(bundle, version="4")
    until(lambda: "the bundle's file was changed" in client.get("/readyz").text)
    tiny.write_bundle(bundle)
    client.portal.call(pool_of(client).wait_until_warm)
    assert client.get("/readyz").status_code == 200


def test_file_that_waits_too_long_is_503(
    start_client: Callable[..., TestClient], examples: list[Path]
) -> None:
    client = start_client(queue_s=0.5, decode_s=300)
    pool = pool_of(client)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    data = {"files": examples[0].read_bytes()}
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lambda: client.post(URL, files=data))
        until(lambda: pool.n_running == 1)
        late = client.post(URL, files=data)
        assert late.status_code == 503
        assert late.json()["error"]["type"] == "QueueTimeout"
        assert late.headers["retry-after"] == "1"
        os.kill(pid, signal.SIGCONT)
        assert first.result(60).status_code == 200


def test_picture_that_needs_too_much_memory_fails_alone(
    client: TestClient, start_client: Callable[..., TestClient], hostile: Any
) -> None:
    see_through = np.zeros((3000, 3000, 4), np.uint8)
    data = {"files": hostile.png(see_through)}
    assert len(data["files"]) < 200_000
    assert client.post(URL, files=data).status_code == 200
    short = start_client(memory_mib=64)
    (pid,) = pool_of(short).pids
    reply = short.post(URL, files=data)
    assert reply.status_code == 413
    assert reply.json()["results"][0]["error"]["type"] == "MemoryError"
    small = {"files": hostile.png(np.zeros((300, 300), np.uint8))}
    assert short.post(URL, files=small).status_code == 200
    assert pool_of(short).pids == [pid]


def test_worker_can_write_no_file_and_leaves_no_core(client: TestClient) -> None:
    (pid,) = pool_of(client).pids
    limits = Path(f"/proc/{pid}/limits").read_text()
    for name in ("Max file size", "Max core file size"):
        assert re.search(rf"{name}\s+0\s+0\s", limits)
    for number in (1, 2):  # what a decoder's library says goes nowhere
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        assert target == os.devnull


def test_client_that_leaves_takes_its_files_out_of_the_queue(
    start_server: Callable[..., Any], running: Any, examples: list[Path]
) -> None:
    data = examples[0].read_bytes()
    with start_server(n_workers=1, decode_s=300) as server:
        (pid,) = server.children()
        os.kill(pid, signal.SIGSTOP)
        body = running.multipart(*[("a", data)] * 3)
        connections = [server.connect() for _ in range(2)]
        for connection in connections:
            connection.sendall(running.head(content_length=len(body)) + body)
        until(lambda: "queue_files 5.0" in server.get("/metrics").body.decode())
        for connection in connections:
            connection.close()
        until(lambda: server.log().count("outcome=gone") == 2)
        # At once, and their bytes with them: they are paid for no longer.
        until(lambda: "queue_files 0.0" in server.get("/metrics").body.decode())
        os.kill(pid, signal.SIGCONT)
        assert server.post(("b", data)).status == 200
        text = server.get("/metrics").body.decode()
        assert "queue_files 0.0" in text
        assert "held_bytes 0.0" in text
        # The file that the worker had already been given was answered for nobody.
        assert sum(map(float, re.findall(r"^pneumoscope_files_total.* ([\d.]+)$", text, re.M))) == 1
        assert "never retrieved" not in server.log()


@pytest.mark.parametrize("at_once", [True, False])
def test_child_is_ended_though_much_of_its_answer_lies_unread(at_once: bool) -> None:
    """Then asyncio stops reading the pipe, and would never see its end."""
    part = 1 << 23
    code = f"""
import sys, time
for data in ({pack_head({}, 1 << 30)!r} + bytes({part}), bytes({part})):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    time.sleep(1)
time.sleep(100)
"""

    async def end_in_mid_answer() -> int | None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        child = Child(process)
        asked = asyncio.create_task(child.ask({}))
        async with asyncio.timeout(20):
            while len(process.stdout._buffer) < part:
                await asyncio.sleep(0.01)
            asked.cancel()
            while not process.stdout._paused:
                await asyncio.sleep(0.01)
            await child.end(at_once=at_once)
        return process.returncode

    assert asyncio.run(end_in_mid_answer()) is not None


def test_sigterm_ends_everything_well(start_server: Callable[..., Any]) -> None:
    with start_server() as server:
        children = server.children()
        assert len(children) == 2
        assert server.stop() == 0
        assert not any(map(is_alive, children))
        assert "Traceback" not in server.log()


def test_sigterm_waits_for_what_was_begun(
    start_server: Callable[..., Any], examples: list[Path]
) -> None:
    with start_server(n_workers=1) as server:
        (pid,) = server.children()
        os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(lambda: server.post(("a", examples[0].read_bytes())))
            until(lambda: "held_bytes 2" in server.get("/metrics").body.decode())
            server.process.send_signal(signal.SIGTERM)
            os.kill(pid, signal.SIGTERM)  # a service manager's reaches the workers, too
            threading.Timer(0.5, os.kill, (pid, signal.SIGCONT)).start()
            assert waiting.result(60).status == 200
        assert server.process.wait(30) == 0


def test_killed_server_leaves_no_worker_behind(start_server: Callable[..., Any]) -> None:
    with start_server() as server:
        children = server.children()
        server.process.kill()
        server.process.wait()
        until(lambda: not any(map(is_alive, children)))
