"""Forms are read in memory, whatever pieces they come in."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pneumoscope.web.names import clean_name
from pneumoscope.web.refusals import Refusal
from pneumoscope.web.uploads import UploadedFile, read_boundary, read_upload

BOUNDARY = b"--limit"


def form(*files: tuple[bytes, bytes]) -> bytes:
    parts = [
        b"----limit\r\nContent-Disposition: form-data; name=\"files\"; filename=\"%s\"\r\n"
        b"Content-Type: image/png\r\n\r\n%s\r\n" % pair
        for pair in files
    ]  # fmt: skip
    return b"".join(parts) + b"----limit--\r\n"


def read(pieces: list[bytes], *, max_files: int = 100) -> list[UploadedFile]:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def run() -> list[UploadedFile]:
        return await read_upload(stream(), boundary=BOUNDARY, max_files=max_files)

    return asyncio.run(run())


@given(
    files=st.lists(st.tuples(st.sampled_from([b"a", b"bc", b"d.png"]), st.binary(max_size=300)),
                   min_size=1, max_size=5),
    size=st.integers(1, 400),
)  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=60, database=None)
def test_files_come_out_as_they_went_in(files: list[tuple[bytes, bytes]], size: int) -> None:
    files = [(name, data.replace(b"--limit", b"")) for name, data in files]
    body = form(*files)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert [(file.name.encode(), file.data) for file in read(pieces)] == files


def test_form_is_refused_at_its_first_file_too_many() -> None:
    body = form(*[(b"a", b"x")] * 5)
    assert len(read([body], max_files=5)) == 5
    cut = body[: body.rindex(b"filename")]  # the fifth has only begun
    with pytest.raises(Refusal, match="More than 4 files") as caught:
        read([cut], max_files=4)
    assert caught.value.status == 413


@pytest.mark.parametrize("cut", [1, 5, 20, 60, -9, -4])
def test_form_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(Refusal) as caught:
        read([form((b"a", b"xyz"))[:cut]])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"", 415),
        (b"application/json", 415),
        (b"multipart/mixed; boundary=a", 415),
        (b"multipart/form-data", 400),
        (b"multipart/form-data; boundary=", 400),
        (b"multipart/form-data; boundary*=a", 400),
    ],
)
def test_content_types(content_type: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        read_boundary(content_type)
    assert caught.value.status == status


def test_boundary_is_read_as_clients_write_it() -> None:
    assert read_boundary(b'Multipart/Form-Data; charset=x; boundary="a b"') == b"a b"
    with pytest.raises(Refusal):
        asyncio.run(read_upload(_nothing(), boundary=b"x" * 300, max_files=1))


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        (b"child.jpeg", "child.jpeg"),
        (b"C:\\fakepath\\child.jpeg", "child.jpeg"),
        (b"/home/x/child.jpeg", "child.jpeg"),
        (b"folder/", "folder"),
        (b"a\0b\r\nc\x7f", "abc"),
        ("\u202egpj.exe".encode(), "gpj.exe"),
        ("Zwölf Kinder.dcm".encode(), "Zwölf Kinder.dcm"),
        (b"\xff", "\ufffd"),
        (b"a" * 300, "a" * 255),
        (b"   ", "file"),
        (b"", "file"),
        (None, "file"),
    ],
)
def test_names_are_cleaned(name: bytes | None, cleaned: str) -> None:
    assert clean_name(name) == cleaned


_OPENED: list[tuple[str, Any]] = []
_IS_WATCHING = [False]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _IS_WATCHING[0]:
        return
    if event == "open" and isinstance(arguments[0], str | bytes):
        path, mode, flags = arguments
        is_written = flags & 3 or (isinstance(mode, str) and set(mode) & set("wax+"))
        if is_written and path != "/dev/null":
            _OPENED.append((event, path))
    elif event.startswith(("tempfile.", "os.mkdir", "os.rename", "os.link", "shutil.")):
        _OPENED.append((event, arguments))


def test_nothing_uploaded_is_written(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examples: list[Path]
) -> None:
    """Python itself reports every file that is opened; the workers may write none at all."""
    sys.addaudithook(_watch)
    monkeypatch.setattr(
        tempfile.SpooledTemporaryFile, "rollover", lambda self: _OPENED.append(("rollover", self))
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = bytes(30_000_000)  # starlette's own parser would spool all above 1 MB
    files = [("files", ("a.jpeg", examples[0].read_bytes())), ("files", ("b", large))]
    _IS_WATCHING[0] = True
    try:
        reply = client.post("/api/v1/predictions?include=overlay,picture", files=files)
    finally:
        _IS_WATCHING[0] = False
    assert reply.status_code == 200
    assert _OPENED == []
    assert list(tmp_path.iterdir()) == []
    _IS_WATCHING[0] = True
    (tmp_path / "seen").write_text("the hook does see what is written")
    _IS_WATCHING[0] = False
    assert _OPENED
