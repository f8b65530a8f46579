"""Download one file: with a progress bar, resumed where it was cut, checked before it is named."""

import errno
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import filelock

from pneumoscope.core.errors import DownloadError, StorageError
from pneumoscope.core.files import storage_error, sync_folder, write_json
from pneumoscope.data.progress import progress_bar

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 2**18
_LONGEST_WAIT_S = 60.0
_PROGRESS_BYTES = 2**20  # an attempt that brought this much more starts the count of failures anew
_SPARE_BYTES = 16 * 2**20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    show_progress: bool = True,
    timeout_s: float = 30.0,
    n_attempts: int = 6,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a URL to a file, which takes its name only once it is whole and has the right sum.

    What has arrived lies in ``NAME.part``; a later call goes on from there if the server can and
    its file is still the same one. A file that is there with the right sum is not asked for.

    Args:
        url: http or https.
        destination: The file to write.
        sha256: Its SHA-256, in hexadecimal; checked where given.
        md5: Its MD5 (what some publishers list), likewise.
        show_progress: Draw a bar on stderr, if that is a terminal.
        timeout_s: Longest silence of the server.
        n_attempts: Failures in a row, without progress between them, before giving up.
        sleep: Waits so many seconds between attempts.

    Returns: ``destination``.

    Raises:
        DownloadError: the server can't be reached, has no such file, keeps cutting the
            connection, or what came has another sum.
        StorageError: the disk is full, or the folder can't be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: only http and https addresses are downloaded.")
    sums = {name: value.lower() for name, value in (("sha256", sha256), ("md5", md5)) if value}
    if _is_complete(destination, sums):
        return destination
    lock_file = Path(f"{destination}.part.lock")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock_file):  # two at once would write into one .part file
            if not _is_complete(destination, sums):
                transfer = _Transfer(url, destination, timeout_s=timeout_s, sleep=sleep)
                transfer.run(n_attempts=n_attempts, show_progress=show_progress, sums=sums)
    except OSError as error:
        raise storage_error(destination, error) from error
    # The lock file stays: who deletes it may delete one that another process holds.
    return destination


def _is_complete(file: Path, sums: dict[str, str]) -> bool:
    return bool(sums) and file.is_file() and _sums_of(file, sums) == sums


def _sums_of(file: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the file's checksums, by the algorithms' names."""
    found = {}
    for name in names:
        with file.open("rb") as stream:
            digest = hashlib.new(name, usedforsecurity=False)
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
            found[name] = digest.hexdigest()
    return found


class _CutError(Exception):
    """The connection failed in a way that may pass; its text says how."""

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s  # what the server asked for


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not away from http and https (urllib would go to ftp)."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise DownloadError(f"{req.full_url}: the server redirects to {newurl}; not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass
class _State:
    """What is known of the file that a .part file is the beginning of."""

    url: str = ""
    validator: str | None = None  # strong ETag or Last-Modified, for If-Range
    n_bytes: int | None = None  # of the whole file


class _Transfer:
    """One file on its way: attempts, the .part file, and what the server said of it."""

    def __init__(
        self, url: str, destination: Path, *, timeout_s: float, sleep: Callable[[float], None]
    ) -> None:
        self.url = url
        self.destination = destination
        self.part = destination.with_name(destination.name + ".part")
        self.state_file = destination.with_name(destination.name + ".part.json")
        self.state = self._load_state()
        self.timeout_s = timeout_s
        self.sleep = sleep
        self.opener = urllib.request.build_opener(_HttpOnly())
        self.has_received = False

    def run(self, *, n_attempts: int, show_progress: bool, sums: dict[str, str]) -> None:
        """Bring the whole file, check it, and give it its name."""
        n_failures = 0
        furthest = self._n_have()
        while not self._is_whole(sums):
            try:
                self._attempt(show_progress=show_progress, has_sums=bool(sums))
                break
            except _CutError as cut:
                n_failures += 1
                if self._n_have() >= furthest + _PROGRESS_BYTES:
                    furthest = self._n_have()
                    n_failures = 1
                if n_failures >= n_attempts:
                    raise DownloadError(
                        f"{self.url}: given up after {n_failures} attempts; the last one failed "
                        f"because {cut}. What has come lies in {self.part}: run again later to go "
                        "on from there."
                    ) from cut
                wait_s = cut.wait_s or 2.0 ** (n_failures - 1)
                _log.info("%s; trying again in %.0f s", cut, wait_s)
                self.sleep(min(wait_s, _LONGEST_WAIT_S))
        self._finish(sums)

    def _finish(self, sums: dict[str, str]) -> None:
        found = _sums_of(self.part, sums)
        for name, wanted in sums.items():
            if found[name] != wanted:
                self._delete_part()
                raise DownloadError(
                    f"{self.url}: what came is not what was asked for. Its {name} is "
                    f"{found[name]}, and it should be {wanted}. It was deleted. Run again; if it "
                    "is still so, the publisher has changed the file, or something between here "
                    "and there replaces it (a proxy's login page, say)."
                )
        os.replace(self.part, self.destination)
        self._delete_part()
        sync_folder(self.destination.parent)

    def _n_have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _is_whole(self, sums: dict[str, str]) -> bool:
        """Tell whether an earlier call was stopped between the last byte and the name."""
        n_have = self._n_have()
        return n_have > 0 and n_have == self.state.n_bytes and _is_complete(self.part, sums)

    def _load_state(self) -> _State:
        try:
            state = _State(**json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _State()
        return state if state.url == self.url else _State()

    def _delete_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)
        self.state = _State()

    def _attempt(self, *, show_progress: bool, has_sums: bool) -> None:
        """Ask once, for what is missing.

        Raises: _CutError: it failed in a way that may pass.
        """
        # Without a validator the file may have changed since; only a checksum would tell.
        is_sure = self.state.validator is not None or (has_sums and self.state.n_bytes is not None)
        n_have = self._n_have() if is_sure else 0
        headers = {"User-Agent": "pneumoscope", "Accept-Encoding": "identity"}
        if n_have:
            headers["Range"] = f"bytes={n_have}-"
            if self.state.validator:
                headers["If-Range"] = self.state.validator
        try:
            response = self.opener.open(
                urllib.request.Request(self.url, headers=headers), timeout=self.timeout_s
            )
        except urllib.error.HTTPError as error:
            with error:
                self._explain_status(error, n_have=n_have)
            return
        except urllib.error.URLError as error:
            raise self._explain_unreachable(error.reason) from error
        except (http.client.InvalidURL, UnicodeError) as error:
            raise DownloadError(f"{self.url}: not an address ({error}).") from error
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(_describe(error)) from error
        with response:
            self._receive(response, n_have=n_have, show_progress=show_progress)

    def _explain_status(self, error: urllib.error.HTTPError, *, n_have: int) -> None:
        """Return if the answer means that nothing is missing; raise what else it means."""
        code = error.code
        if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and n_have:
            if error.headers.get("Content-Range") == f"bytes */{n_have}":
                return
            self._delete_part()
            raise _CutError("the server's file has changed")
        if code in _TRANSIENT:
            wait = error.headers.get("Retry-After", "")
            wait_s = float(wait) if re.fullmatch(r"\d{1,6}", wait) else None
            raise _CutError(f"the server answers {code} ({error.reason})", wait_s=wait_s)
        advice = {
            401: "It wants a login: download the file by hand.",
            403: "It refuses: download the file by hand, or ask its publisher.",
            404: "There is no such file: the publisher may have moved it. Check the address.",
            410: "The file was taken away. Ask its publisher.",
        }.get(code, "Check the address, or try again later.")
        raise DownloadError(f"{self.url}: the server answers {code} ({error.reason}). {advice}")

    def _explain_unreachable(self, reason: str | BaseException) -> Exception:
        """Return the error for a server that could not be spoken to."""
        host = urlsplit(self.url).hostname
        if isinstance(reason, ssl.SSLCertVerificationError):
            return DownloadError(
                f"{self.url}: {host} can't prove who it is ({reason.verify_message}). Check this "
                "machine's clock and certificates; a proxy may stand between."
            )
        is_away = isinstance(reason, socket.gaierror | ConnectionRefusedError) or (
            isinstance(reason, OSError) and reason.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        )
        if is_away and not self.has_received:  # else it was there a moment ago, and may come back
            return DownloadError(
                f"{self.url}: {host} can't be reached ({reason}). Check the network "
                "and the proxy settings (HTTPS_PROXY), or download the file by hand elsewhere."
            )
        return _CutError(_describe(reason))

    def _receive(
        self, response: http.client.HTTPResponse, *, n_have: int, show_progress: bool
    ) -> None:
        """Write the body behind what is there, or in place of it if the server starts anew."""
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            n_bytes = self._check_range(response.headers.get("Content-Range", ""), n_have=n_have)
        else:
            n_have = 0
            length = response.headers.get("Content-Length", "")
            n_bytes = int(length) if re.fullmatch(r"\d+", length) else None
            self._start_anew(response, n_bytes)
        if n_bytes is not None:
            self._check_room(n_bytes - n_have)
        try:
            n_have += self._write_body(response, n_have, n_bytes, show_progress=show_progress)
        except OSError as error:  # of the disk: those of the network are _CutError by now
            self._delete_part()
            raise storage_error(self.destination, error) from error
        if n_bytes is not None and n_have != n_bytes:
            raise _CutError(f"the connection ended after {n_have:,} of {n_bytes:,} bytes")

    def _write_body(
        self,
        response: http.client.HTTPResponse,
        n_have: int,
        n_bytes: int | None,
        *,
        show_progress: bool,
    ) -> int:
        """Append the body to the .part file; return its size in bytes."""
        n_written = 0
        title = self.destination.name
        with (
            progress_bar(title, n_bytes, show=show_progress, in_bytes=True) as advance,
            self.part.open("ab") as file,
        ):
            advance(n_have)
            while chunk := _read(response):
                file.write(chunk)
                self.has_received = True
                n_written += len(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        return n_written

    def _check_range(self, content_range: str, *, n_have: int) -> int | None:
        """Return the size of the whole file, if the part that comes fits what is there."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        n_bytes = int(found[2]) if found and found[2] != "*" else self.state.n_bytes
        if not found or int(found[1]) != n_have or self.state.n_bytes not in (None, n_bytes):
            self._delete_part()
            raise _CutError("the server's file has changed")
        return n_bytes

    def _start_anew(self, response: http.client.HTTPResponse, n_bytes: int | None) -> None:
        self._delete_part()
        etag = response.headers.get("ETag", "")
        # A weak ETag promises the same meaning, not the same bytes (RFC 9110, 13.1.5).
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        self.state = _State(self.url, validator, n_bytes)
        write_json(self.state_file, asdict(self.state))

    def _check_room(self, n_bytes: int) -> None:
        free = shutil.disk_usage(self.destination.parent).free
        if free < n_bytes + _SPARE_BYTES:
            raise StorageError(
                f"{self.destination}: no room for it. {n_bytes / 1e6:,.0f} MB are to come, "
                f"{free / 1e6:,.0f} MB are free. Free some space, or choose another place, and "
                "run again."
            )


def _read(response: http.client.HTTPResponse) -> bytes:
    """Return what has come, b"" at the end; unlike ``read``, nothing is lost when it is cut."""
    try:
        return response.read1(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(_describe(error)) from error


def _describe(error: str | BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the server was silent for too long"
    return f"the connection failed ({getattr(error, 'strerror', None) or error!r})"
