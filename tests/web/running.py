"""A real server in a process of its own, and raw connections to it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BOUNDARY = b"----limit"


def multipart(*files: tuple[str | bytes, bytes], field: str = "files") -> bytes:
    """Return the body of a form, byte for byte as given."""
    parts = []
    for name, data in files:
        raw = name.encode() if isinstance(name, str) else name
        head = b'Content-Disposition: form-data; name="%s"; filename="%s"' % (field.encode(), raw)
        parts.append(b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"


class Reply:
    """Status, headers in lower case, and body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class RunningServer:
    """`pneumoscope serve` on a free port, with settings as words: ``max_files=2``."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._log = folder / "server.log"
        self._settings = {"port": 0, "n_workers": 2} | settings

    def __enter__(self) -> Self:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PNEUMOSCOPE_WEB")}
        for name, value in self._settings.items():
            environment[f"PNEUMOSCOPE_WEB_{name.upper()}"] = str(value)
        program = Path(sys.executable).with_name("pneumoscope")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        assert self.process.stdout is not None
        self.words = [self.process.stdout.readline()]
        found = re.search(r"http://([\d.]+):(\d+)/", self.words[0])
        assert found, self.words[0] + self.log()
        self.words.append(self.process.stdout.readline())
        self.address = (found[1], int(found[2]))
        self.url = f"http://{found[1]}:{found[2]}"
        self.wait_until_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """End it as a service manager does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)  # nothing where it has ended already
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()

    def wait_until_ready(self, *, n_workers: int | None = None) -> None:
        wanted = n_workers or int(str(self._settings["n_workers"]))
        until = time.monotonic() + 90
        while time.monotonic() < until:
            text = self.get("/metrics").body.decode()
            found = re.search(r"^pneumoscope_workers_ready (\d+)", text, re.M)
            if found and int(found[1]) >= wanted:
                return
            time.sleep(0.05)  # a process of its own has no event to wait for
        raise AssertionError(f"not ready: {self.log()}")

    def get(self, path: str) -> Reply:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, *files: tuple[str | bytes, bytes], query: str = "", **headers: str) -> Reply:
        return self._ask(
            urllib.request.Request(
                f"{self.url}/api/v1/predictions{query}",
                data=multipart(*files),
                headers={"Content-Type": CONTENT_TYPE, **headers},
            )
        )

    def _ask(self, request: urllib.request.Request) -> Reply:
        token = self._settings.get("token")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                reply = found
                body = found.read()
        except urllib.error.HTTPError as error:
            with error:
                reply, body = error, error.read()
        return Reply(
            reply.status, {name.lower(): value for name, value in reply.headers.items()}, body
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def memory_mib(self, key: str = "VmRSS") -> float:
        """Return what server and workers hold; VmHWM is the most that each has held."""
        total = 0
        for pid in (self.process.pid, *self.children()):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(int(n) for n in re.findall(rf"^{key}:\s+(\d+)", text, re.M))
        return total / 1024


def read_reply(connection: socket.socket) -> Reply:
    """Read what comes until the server closes; return the first reply in it."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines[1:])
    headers = {name.lower(): value for name, _, value in pairs}
    return Reply(int(lines[0].split()[1]), headers, body[: int(headers["content-length"])])


def head(path: str = "/api/v1/predictions", **headers: object) -> bytes:
    """Return a POST's request line and headers; ``content_length`` becomes Content-Length."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {CONTENT_TYPE}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
