"""The server's side of one worker process: start it, ask it, end it."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Self

from pneumoscope.web.frames import Facts, pack_head, receive_frame
from pneumoscope.web.served_bundle import ServedBundle
from pneumoscope.web.settings import WebSettings

_BUFFER_BYTES = 1 << 20


class ChildEndedError(Exception):
    """The process ended where it should have answered; the message has no word of a file."""


class Child:
    """A worker process that has opened the bundle and warmed up. One question at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ended = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, bundle: ServedBundle, settings: WebSettings) -> Self:
        """Start a process and wait until it is warm.

        Raises: ChildEndedError: it could not start, or has another bundle than the server.
        """
        # -P: a module of ours must never be taken from the folder that the server is started in.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "pneumoscope.web.child"),
            stdin=PIPE,
            stdout=PIPE,
            limit=_BUFFER_BYTES,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        child = cls(process)
        try:
            async with asyncio.timeout(settings.start_s):
                hello, _ = await child.ask(
                    {
                        "bundle": None if bundle.path is None else str(bundle.path),
                        "max_pixels": settings.max_pixels,
                        "memory_mib": settings.memory_mib,
                    }
                )
            if "error" in hello:
                raise ChildEndedError(f"a worker cannot start: {hello['error']}")
            if hello["sha256"] != bundle.sha256:
                raise ChildEndedError("the bundle's file was changed. Start the server again")
        except TimeoutError as error:
            await child.end(at_once=True)
            raise ChildEndedError(f"a worker was not ready in {settings.start_s:g} s") from error
        except BaseException:
            await child.end(at_once=True)
            raise
        return child

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._ended.done()

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Call back once the process is gone."""
        self._ended.add_done_callback(lambda _: callback())

    async def ask(self, facts: Facts, data: bytes = b"") -> tuple[Facts, bytes]:
        """Send a frame and return the next one that comes.

        Raises: ChildEndedError: the process ended, or answered nonsense.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # pragma: no cover - both are pipes
            raise ChildEndedError("no pipes")
        try:
            # In one write: the worker would wake up for the head alone.
            stdin.writelines((pack_head(facts, len(data)), data))
            await stdin.drain()
            return await receive_frame(stdout)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            await asyncio.wait([self._ended], timeout=1)
            raise ChildEndedError(f"status {self._process.returncode}") from error

    async def end(self, *, at_once: bool = False, within_s: float = 2) -> None:
        """End the process: ask it to, or kill it; return when it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A process counts as ended once its pipes are at their end, too, and asyncio stops reading
        # a pipe while much of it lies unread: what is left of an answer would keep us here.
        unread = asyncio.ensure_future(self._read_to_the_end())
        if not at_once:
            await asyncio.wait([self._ended], timeout=within_s)
        if not self._ended.done():
            self._process.kill()
        try:
            await self._ended
        finally:
            unread.cancel()

    async def _read_to_the_end(self) -> None:
        """Throw away what the process still says."""
        stdout = self._process.stdout
        with contextlib.suppress(ConnectionError):
            while stdout is not None and await stdout.read(_BUFFER_BYTES):
                pass
