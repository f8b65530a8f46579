"""The load generator: raw HTTP on one event loop, as little work a request as can be.

It shares the cores with the server that it measures; what it costs counts against the server.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOUNDARY = "----radiograph"
_READY_S = 120
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A request for one file, ready to be sent."""

    data: bytes
    sha256: str  # of the file: the answer must name it


def make_upload(path: Path) -> Upload:
    """Return the whole request that posts a file, headers and all."""
    file = path.read_bytes()
    body = (
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; "
        f'name="files"; filename="{path.name}"\r\n\r\n'
    ).encode() + file
    body += f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        "POST /api/v1/predictions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    return Upload(head + body, hashlib.sha256(file).hexdigest())


class Client:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, upload: Upload) -> tuple[int, bytes]:
        """Send a request and return the reply's status and body."""
        self._writer.write(upload.data)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if found is None:
            raise SystemExit(f"a reply without a length: {head[:200]!r}")
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(int(found[1]))

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def connect(address: tuple[str, int], n_clients: int) -> AsyncIterator[list[Client]]:
    """Open so many connections."""
    clients = [
        Client(*await asyncio.open_connection(*address, limit=_BUFFER_BYTES))
        for _ in range(n_clients)
    ]
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


async def post_all(
    clients: Sequence[Client], uploads: Sequence[Upload], n_requests: int
) -> tuple[float, list[tuple[int, bytes] | None]]:
    """Post the uploads in turn, each client one after the other, as fast as they are answered.

    Returns: Seconds, and the reply to each request in the order of their numbers.
    """
    replies: list[tuple[int, bytes] | None] = [None] * n_requests
    numbers = iter(range(n_requests))

    async def work(client: Client) -> None:
        for number in numbers:
            replies[number] = await client.post(uploads[number % len(uploads)])

    started_s = time.perf_counter()
    await asyncio.gather(*map(work, clients))
    return time.perf_counter() - started_s, replies


def count_faults(
    replies: Sequence[tuple[int, bytes] | None],
    uploads: Sequence[Upload],
    expected: Sequence[dict[str, Any]],
) -> int:
    """Return how many replies are missing, refused, another file's, or not what predict says.

    Args:
        replies: As `post_all` returns them.
        uploads: What was sent, in turn.
        expected: What `Prediction.to_dict` says of each of them.
    """
    n_faults = 0
    for number, reply in enumerate(replies):
        place = number % len(uploads)
        if reply is None or reply[0] != 200:
            n_faults += 1
            continue
        (value,) = json.loads(reply[1])
        wanted = expected[place] | {"path": value["path"], "sha256": uploads[place].sha256}
        n_faults += any(value.get(key) != wanted[key] for key in wanted)
    return n_faults


@dataclass(frozen=True)
class Server:
    """A server in processes of its own."""

    pid: int
    address: tuple[str, int]

    def memory_mib(self) -> float:
        """Return the resident memory of the server and its workers."""
        folder = Path(f"/proc/{self.pid}")
        children = (folder / "task" / str(self.pid) / "children").read_text().split()
        total_kib = 0
        for pid in (self.pid, *children):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            total_kib += int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
        return total_kib / 1024


@contextmanager
def serve(bundle: Path | None, *, n_workers: int) -> Iterator[Server]:
    """Start `pneumoscope serve`, wait until it is ready, and end it."""
    command = [str(Path(sys.executable).with_name("pneumoscope")), "serve", "--port", "0"]
    command += ["--workers", str(n_workers)]
    command += ["--bundle", str(bundle)] if bundle else []
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PNEUMOSCOPE_WEB_")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://([\d.]+):(\d+)/", line)
            if found is None:
                raise SystemExit(f"{' '.join(command)}: no address: {line!r}")
            address = (found[1], int(found[2]))
            _wait_until_ready(address, n_workers=n_workers)
            yield Server(process.pid, address)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_until_ready(address: tuple[str, int], *, n_workers: int) -> None:
    url = f"http://{address[0]}:{address[1]}/metrics"
    until_s = time.monotonic() + _READY_S
    while time.monotonic() < until_s:
        with urllib.request.urlopen(url, timeout=10) as reply:
            if f"pneumoscope_workers_ready {n_workers}.0" in reply.read().decode():
                return
        time.sleep(0.1)
    raise SystemExit(f"{url}: not ready within {_READY_S} s")
