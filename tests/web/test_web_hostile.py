"""Bad input to a real server: a 4xx with the reason, little memory, and the next one as ever."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pneumoscope.detector.predict import load

GOLDEN = Path(__file__).parents[1] / "golden" / "reading"
MOST_MIB = 512


@pytest.fixture
def good(server: Any, examples: list[Path], web_bundle: Path) -> Iterator[bytes]:
    """Yield a good file; afterwards look at the memory and at the next good answer."""
    data = examples[0].read_bytes()
    server.post(("good.jpeg", data))
    before = server.memory_mib("VmHWM")
    workers = server.children()
    yield data
    # The most that each process ever held: nothing grew in between, either.
    assert server.memory_mib("VmHWM") - before < MOST_MIB
    assert server.children() == workers, "a worker had to be replaced"
    reply = server.post(("good.jpeg", data))
    assert reply.status == 200
    (value,) = reply.json()
    expected = load(web_bundle).predict(data, name="good.jpeg").to_dict()
    assert {key: value[key] for key in expected} == expected


def test_bad_files_are_refused_with_the_reason(server: Any, hostile: Any, good: bytes) -> None:
    golden = {p.name: p.read_bytes() for p in sorted(GOLDEN.iterdir()) if p.suffix != ".json"}
    wrong = []
    n_files = 0
    for what, data, status in hostile.bad_files(good, golden):
        n_files += 1
        reply = server.post((f"{what}.bin", data))
        (result,) = reply.json()["results"]
        message = result["error"]["message"]
        is_told = message.startswith(f"{what}.bin: ") and message.endswith(".")
        if reply.status != status or not is_told or len(message) > 400:
            wrong.append((what, reply.status, message))
    assert wrong == []
    assert n_files > 40


def test_bombs_are_small(hostile: Any) -> None:
    assert len(hostile.png_bomb()) < 11_000
    assert len(hostile.jpeg_bomb()) < 11_000
    assert len(hostile.dicom_rle_bomb()) < 11_000
    assert len(hostile.dicom_deflated_bomb()) < 300_000


def test_200_hostile_names_are_cleaned_and_never_logged(
    server: Any, hostile: Any, good: bytes
) -> None:
    names = hostile.hostile_names()
    assert len(set(names)) == 200
    statuses = {400: 0, 200: 0}
    # A file that fails at once repeats its name twice: as path and in the message.
    for name in names:
        reply = server.post((name, b"no picture"), ("plain", good))
        statuses[reply.status] += 1
        if reply.status == 400:
            assert b"\r" in name
            continue
        failed, answered = reply.json()
        assert answered["path"] == "plain"
        path = failed["path"]
        assert 1 <= len(path) <= 255
        assert not {unicodedata.category(letter)[0] for letter in path} & {"C"}
        assert not set("/\\\r\n\0") & set(path)
        assert failed["error"]["message"].startswith(f"{path}: its first bytes")
    assert statuses == {400: 5, 200: 195}
    log = server.log()
    for word in ("passwd", "Jane", "DROP", "script", "reboot", "jndi", "quoted", "\x1b", "a" * 16):
        assert word not in log


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "MalformedUploadError"),
        (b"no form at all", "MalformedUploadError"),
        (b"----", "MalformedUploadError"),
        (b"------limit--\r\n", "NoFileError"),
        (b"------limit\r\n\r\nx\r\n------limit--\r\n", "MalformedUploadError"),
        (b"------limit\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n------limit--\r\n",
         "MalformedUploadError"),
        (b"------limit\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\nx",
         "MalformedUploadError"),
        (b"------limit\r\n" + b"A: b\r\n" * 100 + b"\r\n", "MalformedUploadError"),
        (b"------limit\r\nA: " + b"b" * 10_000 + b"\r\n\r\n", "MalformedUploadError"),
    ],
)  # fmt: skip
def test_malformed_forms_are_400(
    server: Any, running: Any, good: bytes, body: bytes, kind: str
) -> None:
    with server.connect() as connection:
        head = running.head(content_length=len(body), connection="close")
        connection.sendall(head + body)
        reply = running.read_reply(connection)
    assert (reply.status, reply.json()["error"]["type"]) == (400, kind)


def test_many_bad_requests_leave_no_memory_behind(server: Any, hostile: Any, good: bytes) -> None:
    noise = bytes(5_000_000)
    # What the allocators of the server and of every worker keep levels off in some 100 requests.
    for _ in range(120):
        server.post(("a", noise))
    before = server.memory_mib()
    for _ in range(30):
        assert server.post(("a", noise)).status == 422
    assert server.memory_mib() - before < 60
