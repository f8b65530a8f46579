"""The downloader against a server that misbehaves in every way that servers do."""

import email.utils
import errno
import hashlib
import http.server
import os
import shutil
import socket
import threading
from collections import namedtuple

import filelock
import pytest

from pneumoscope.core.errors import DownloadError, StorageError
from pneumoscope.data import download as download_module
from pneumoscope.data.download import download

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the server's ``body``, as its attributes say; notes every request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.statuses:
            status, headers = server.statuses.pop(0)
            self.answer(status, headers, b"")
            return
        body, start = server.body, 0
        validators = {"ETag": server.etag, "Last-Modified": server.last_modified}
        headers = {name: value for name, value in validators.items() if value}
        asked = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if asked and server.has_ranges and condition in (None, server.etag, server.last_modified):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.answer(206 if start else 200, headers, body[start:])

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.has_length:
            self.send_header("Content-Length", str(len(body) + self.server.lie))
        self.send_header("Connection", "close")
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts and status in (200, 206) else None
        self.wfile.write(body[:cut])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.body = BODY
    running.etag = '"one"'
    running.last_modified = None
    running.has_ranges = True
    running.has_length = True
    running.lie = 0  # added to Content-Length
    running.cuts = []  # after how many bytes to close the connection, an answer each
    running.statuses = []  # (status, headers) to answer with first
    running.requests = []
    running.url = f"http://127.0.0.1:{running.server_address[1]}/file.npz"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def get(server, tmp_path, waits):
    """Download the server's file to out/file.npz, without waiting."""

    def call(url=None, **options):
        target = tmp_path / "out" / "file.npz"
        return download(
            url or server.url, target, show_progress=False, sleep=waits.append, **options
        )

    return call


def names(tmp_path) -> list[str]:
    """What lies in the folder; lock files, which hold nothing, aside."""
    return sorted(
        path.name for path in (tmp_path / "out").iterdir() if not path.name.endswith(".lock")
    )


def ranges(server) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


def test_brings_the_file_and_nothing_else(get, server, tmp_path):
    path = get(sha256=SHA256, md5=MD5)
    assert path == tmp_path / "out" / "file.npz"
    assert path.read_bytes() == BODY
    assert names(tmp_path) == ["file.npz"]


@pytest.mark.parametrize("sums", [{"sha256": SHA256}, {"md5": MD5.upper()}])
def test_a_file_with_the_right_sum_is_not_asked_for(get, server, sums):
    get(**sums).read_bytes()
    get(**sums)
    assert len(server.requests) == 1


def test_a_file_with_a_wrong_sum_is_replaced(get, server):
    path = get()
    path.write_bytes(b"something else")
    assert get(sha256=SHA256).read_bytes() == BODY


def test_a_cut_connection_is_resumed(get, server, waits):
    server.cuts = [400_000, 100_000]
    assert get(sha256=SHA256).read_bytes() == BODY
    assert ranges(server) == [None, "bytes=400000-", "bytes=500000-"]
    assert [request.get("If-Range") for request in server.requests] == [None, '"one"', '"one"']
    assert waits == [1, 2]


def test_a_later_call_resumes(get, server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError, match=r"400,000 of 1,048,576 bytes.*file\.npz\.part"):
        get(n_attempts=1)
    assert names(tmp_path) == ["file.npz.part", "file.npz.part.json"]
    assert get().read_bytes() == BODY
    assert ranges(server) == [None, "bytes=400000-"]
    assert names(tmp_path) == ["file.npz"]


def test_another_address_does_not_resume(get, server):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(n_attempts=1)
    get(server.url + "?other")
    assert ranges(server) == [None, None]


def test_last_modified_serves_where_the_etag_is_weak(get, server):
    server.etag = 'W/"weak"'
    server.last_modified = email.utils.formatdate(1_700_000_000, usegmt=True)
    server.cuts = [400_000]
    assert get(sha256=SHA256).read_bytes() == BODY
    assert server.requests[1]["If-Range"] == server.last_modified


def test_a_file_that_changed_at_the_server_is_begun_anew(get, server):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(n_attempts=1)
    server.body, server.etag = BODY[::-1], '"two"'
    assert get().read_bytes() == BODY[::-1]
    assert ranges(server) == [None, "bytes=400000-"]


def test_a_server_without_validators_resumes_only_under_a_checksum(get, server):
    server.etag = None
    server.cuts = [400_000, 400_000]
    assert get().read_bytes() == BODY
    assert ranges(server) == [None, None, None]
    server.requests.clear()
    server.cuts = [400_000]
    get().unlink()
    server.requests.clear()
    server.cuts = [400_000]
    assert get(md5=MD5).read_bytes() == BODY
    assert ranges(server) == [None, "bytes=400000-"]


def test_a_length_that_changed_is_begun_anew(get, server):
    server.etag = None
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(md5=MD5, n_attempts=1)
    server.body = BODY[:-1]
    assert get(md5=hashlib.md5(BODY[:-1]).hexdigest()).read_bytes() == BODY[:-1]
    assert ranges(server) == [None, "bytes=400000-", None]


def test_a_server_without_ranges_starts_anew(get, server):
    server.has_ranges = False
    server.cuts = [400_000]
    assert get(sha256=SHA256).read_bytes() == BODY
    assert ranges(server) == [None, "bytes=400000-"]


def test_a_server_that_always_cuts_is_given_up(get, server, waits):
    server.has_ranges = False
    server.cuts = [400_000] * 20
    with pytest.raises(DownloadError, match="given up after 4 attempts"):
        get(sha256=SHA256, n_attempts=4)
    assert waits == [1, 2, 4]


def test_progress_starts_the_count_of_failures_anew(get, server, monkeypatch):
    monkeypatch.setattr(download_module, "_PROGRESS_BYTES", 100_000)
    server.cuts = [110_000] * 9
    assert get(sha256=SHA256, n_attempts=3).read_bytes() == BODY


def test_a_stop_between_the_last_byte_and_the_name_costs_no_request(get, server, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            os,
            "replace",
            lambda source, target: (
                stop()
                if "part" in str(source) and not str(target).endswith(".json")
                else shutil.move(source, target)
            ),
        )
        with pytest.raises(KeyboardInterrupt):
            get(sha256=SHA256)
    assert get(sha256=SHA256).read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_whole_part_without_a_sum_is_recognised(get, server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(n_attempts=1)
    (tmp_path / "out" / "file.npz.part").write_bytes(BODY)
    assert get().read_bytes() == BODY
    assert ranges(server) == [None, f"bytes={len(BODY)}-"]


def test_a_part_that_is_too_long_is_thrown_away(get, server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(n_attempts=1)
    (tmp_path / "out" / "file.npz.part").write_bytes(BODY + b"more")
    assert get().read_bytes() == BODY


def test_a_damaged_state_file_means_a_new_start(get, server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(n_attempts=1)
    (tmp_path / "out" / "file.npz.part.json").write_text("{")
    assert get().read_bytes() == BODY
    assert ranges(server) == [None, None]


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_wrong_checksum_names_both_and_leaves_nothing(get, server, tmp_path, name):
    wanted = hashlib.new(name, b"what was asked for").hexdigest()
    with pytest.raises(DownloadError) as caught:
        get(**{name: wanted})
    assert wanted in str(caught.value)
    assert hashlib.new(name, BODY).hexdigest() in str(caught.value)
    assert names(tmp_path) == []


def test_a_wrong_checksum_leaves_the_old_file(get, server, tmp_path):
    get().write_bytes(b"old")
    with pytest.raises(DownloadError):
        get(md5="0" * 32)
    assert (tmp_path / "out" / "file.npz").read_bytes() == b"old"


def test_without_a_length_the_end_is_the_end(get, server):
    server.has_length = False
    assert get(sha256=SHA256).read_bytes() == BODY


def test_a_server_that_promises_too_much_is_not_believed(get, server, tmp_path):
    server.lie = 10
    server.has_ranges = False
    with pytest.raises(DownloadError, match=r"1,048,576 of 1,048,586 bytes"):
        get(n_attempts=2)
    assert not (tmp_path / "out" / "file.npz").exists()


@pytest.mark.parametrize(
    ("status", "advice"), [(404, "no such file"), (403, "by hand"), (401, "login"), (451, "later")]
)
def test_a_final_answer_is_not_asked_for_twice(get, server, tmp_path, status, advice):
    server.statuses = [(status, {})]
    with pytest.raises(DownloadError, match=f"{status}.*{advice}"):
        get()
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_when_it_says(get, server, waits):
    server.statuses = [(503, {}), (429, {"Retry-After": "7"}), (500, {"Retry-After": "99999"})]
    assert get(sha256=SHA256).read_bytes() == BODY
    assert waits == [1, 7, 60]


def test_a_redirect_is_followed_within_http_only(get, server):
    server.statuses = [(302, {"Location": server.url + "?elsewhere"})]
    assert get(sha256=SHA256).read_bytes() == BODY
    server.statuses = [(302, {"Location": "ftp://127.0.0.1/file"})]
    with pytest.raises(DownloadError, match=r"redirects to ftp.*not followed"):
        get()


def test_a_refused_connection_says_what_to_do(get, tmp_path, waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match=r"can't be reached.*by hand"):
        get(f"http://127.0.0.1:{port}/file")
    assert waits == []


def test_an_unknown_host_says_what_to_do(get, monkeypatch, waits):
    def unknown(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"nowhere\.invalid can't be reached.*not known"):
        get("https://nowhere.invalid/file")
    assert waits == []


def test_a_silent_server_is_given_up(get, waits, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="silent for too long"):
            get(url, timeout_s=0.05, n_attempts=2)
    assert waits == [1]


@pytest.mark.parametrize("url", ["ftp://host/file", "file:///etc/passwd", "file.npz"])
def test_only_http_is_spoken(get, url):
    with pytest.raises(DownloadError, match="only http and https"):
        get(url)


def test_an_impossible_address_is_refused(get):
    with pytest.raises(DownloadError, match="not an address"):
        get("http://127.0.0.1:port/file")


def test_no_room_is_said_before_anything_is_written(get, server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil returns it
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(StorageError, match=r"file\.npz: no room.*1 MB are to come"):
        get()
    assert "file.npz" not in names(tmp_path)


def test_a_disk_that_runs_full_leaves_nothing(get, server, tmp_path, monkeypatch):
    original = os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size == len(BODY):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        get()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_said(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="not written"):
        download(server.url, tmp_path / "file" / "file.npz", show_progress=False)


def test_two_at_once_bring_it_once(get, server):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(get(sha256=SHA256))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == BODY for path in results] == [True] * 3
    assert len(server.requests) == 1


def test_who_stops_waiting_leaves_the_lock_of_who_works(server, tmp_path, monkeypatch):
    target = tmp_path / "out" / "file.npz"
    target.parent.mkdir()
    held = filelock.FileLock(f"{target}.part.lock")

    def stop(*args, **options):
        raise KeyboardInterrupt

    with held:
        monkeypatch.setattr("pneumoscope.data.download.filelock.FileLock.acquire", stop)
        with pytest.raises(KeyboardInterrupt):
            download(server.url, target, show_progress=False)
        monkeypatch.undo()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(f"{target}.part.lock").acquire(timeout=0)
