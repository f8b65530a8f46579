"""A bounded pool of worker processes, one file at a time each; no threads, only the event loop."""

import asyncio
import contextlib
import hashlib
import json
import logging
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pneumoscope.detector.prediction import Failure
from pneumoscope.web.child_process import Child, ChildEndedError
from pneumoscope.web.frames import Facts
from pneumoscope.web.metrics import Metrics
from pneumoscope.web.refusals import try_later
from pneumoscope.web.served_bundle import ServedBundle
from pneumoscope.web.settings import WebSettings

_logger = logging.getLogger(__name__)
_MAX_PAUSE_S: Final = 30.0

Reply = tuple[Facts, bytes]  # what log and metrics want to know; the file's object as JSON


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One file that waits for its answer. Cancel ``reply`` when nobody wants it any more.

    ``charge`` is told the bytes of an answer before it is kept, and may cancel ``reply``.
    """

    name: str  # cleaned; see `names`
    data: bytes = field(repr=False)
    operating_point: str | None = None
    include: tuple[str, ...] = ()
    charge: Callable[[int], None] = field(default=lambda n_bytes: None)
    reply: "Future[Reply]" = field(init=False)
    expiry: asyncio.TimerHandle | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.reply = asyncio.get_running_loop().create_future()

    def finish(self, reply: Reply) -> None:
        """Give the answer, if it is still wanted and there is room for it."""
        if not self.reply.done():
            self.charge(len(reply[1]))
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, kind: str, message: str) -> None:
        """Answer with an error of our own."""
        if self.reply.done():
            return
        failure = Failure(path=self.name, type=kind, message=f"{self.name}: {message}")
        facts = {"outcome": kind, "sha256": hashlib.sha256(self.data).hexdigest()}
        self.finish((facts, json.dumps(failure.to_dict()).encode()))


class WorkerPool:
    """Answers files, a few at a time. A worker that dies or takes too long is replaced."""

    def __init__(self, bundle: ServedBundle, settings: WebSettings, metrics: Metrics) -> None:
        self._bundle = bundle
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[Job] = deque()
        self._idle: deque[Future[None]] = deque()  # of workers that wait for a job
        self._children: dict[int, Child] = {}
        self._n_running = 0
        self._runners: list[asyncio.Task[None]] = []
        self._trouble = "the workers are starting"
        self._all_warm = asyncio.Event()

    async def start(self) -> None:
        """Begin to start the workers; see `is_ready`."""
        self._runners = [
            asyncio.create_task(self._keep_worker(index), name=f"worker-{index}")
            for index in range(self._settings.n_workers)
        ]

    async def stop(self) -> None:
        """End every worker; what still waits is answered with an error."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners = []
        self._trouble = "the server is stopping"
        while self._waiting:
            self._waiting.popleft().fail("NotReadyError", "the server is stopping. Send it again.")

    async def wait_until_warm(self) -> None:
        """Return once every worker is warm."""
        await self._all_warm.wait()

    @property
    def is_ready(self) -> bool:
        """Whether some worker is warm."""
        return bool(self._children)

    @property
    def trouble(self) -> str:
        """Why it is not ready."""
        return self._trouble

    @property
    def n_waiting(self) -> int:
        """Files that wait for a worker."""
        return len(self._waiting)

    @property
    def n_running(self) -> int:
        """Files that a worker has."""
        return self._n_running

    @property
    def pids(self) -> list[int]:
        """Numbers of the warm workers' processes."""
        return [child.pid for child in self._children.values()]

    def check_room(self, n_files: int = 1) -> None:
        """Refuse what could not be taken now.

        Raises: Refusal: 503, no worker is ready or the queue has no room for so many files.
        """
        if not self.is_ready:
            raise try_later("NotReadyError", f"Not ready: {self._trouble}.", after_s=2)
        room = self._settings.queue_files + self._settings.n_workers
        if len(self._waiting) + self._n_running + n_files > room:
            raise try_later(
                "QueueFullError",
                f"{len(self._waiting)} files are waiting already. Send it again in a moment.",
            )

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue files, all or none. Raises: Refusal: as `check_room`."""
        self.check_room(len(jobs))
        loop = asyncio.get_running_loop()
        for job in jobs:
            job.expiry = loop.call_later(
                self._settings.queue_s, job.fail, "QueueTimeout", "no worker was free in time."
            )
            self._waiting.append(job)
            job.reply.add_done_callback(partial(self._forget, job))
        self._wake(len(jobs))
        self._count()

    def _forget(self, job: Job, _: "Future[Reply]") -> None:
        """Let go of a file that nobody waits for any more: its bytes are no longer paid for."""
        with contextlib.suppress(ValueError):  # a worker has it
            self._waiting.remove(job)
            self._count()
        if job.expiry is not None:
            job.expiry.cancel()

    def _wake(self, n_workers: int) -> None:
        while n_workers and self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                n_workers -= 1

    def _wake_all(self) -> None:
        self._wake(len(self._idle))

    def _note_workers(self) -> None:
        self._metrics.workers.set(len(self._children))
        if len(self._children) == self._settings.n_workers:
            self._all_warm.set()
        else:
            self._all_warm.clear()

    def _count(self) -> None:
        self._metrics.queue.set(len(self._waiting))

    async def _keep_worker(self, index: int) -> None:
        """Keep one worker alive until cancelled."""
        pause_s = 1.0
        while True:
            try:
                child = await Child.start(self._bundle, self._settings)
            except (ChildEndedError, OSError) as error:
                self._trouble = str(error)
                _logger.error("%s; the next try is in %g s", self._trouble, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
                continue
            pause_s = 1.0
            child.when_ended(self._wake_all)  # each looks whether it was its own
            self._children[index] = child
            self._note_workers()
            reason = ""
            try:
                reason = await self._work(child)
            finally:
                del self._children[index]
                self._note_workers()
                self._trouble = "a worker is being replaced"
                # Unless we are stopping it has ended, or hangs.
                await child.end(at_once=bool(reason))
            self._metrics.replaced.labels(reason).inc()
            _logger.warning("A worker was replaced: %s", reason)

    async def _work(self, child: Child) -> str:
        """Answer files until the child is of no use; return why."""
        while True:
            job = await self._next_job(child)
            if job is None:
                return "it ended"
            self._n_running += 1
            try:
                async with asyncio.timeout(self._settings.decode_s):
                    question = {
                        "name": job.name,
                        "operating_point": job.operating_point,
                        "include": job.include,
                    }
                    job.finish(await child.ask(question, job.data))
            except TimeoutError:
                job.fail(
                    "DecodeTimeout",
                    f"took longer than {self._settings.decode_s:g} s. Scale it down, or convert it "
                    "to an 8-bit gray PNG.",
                )
                return "it took too long"
            except ChildEndedError:
                job.fail(
                    "WorkerEndedError",
                    "the process that read it ended: too little memory, or a fault of a decoder. "
                    "Scale it down, or convert it to an 8-bit gray PNG.",
                )
                return "it ended"
            finally:
                self._n_running -= 1
                # Only where we are stopping is it without an answer.
                job.fail("NotReadyError", "the server is stopping. Send it again.")

    async def _next_job(self, child: Child) -> Job | None:
        """Return the next job that is still wanted; None where the child ended meanwhile."""
        while not child.has_ended:
            while self._waiting:
                job = self._waiting.popleft()
                self._count()
                if job.expiry is not None:
                    job.expiry.cancel()
                if not job.reply.done():
                    return job
            waiter: Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        self._wake_all()  # what woke this worker may have been meant for one that can work
        return None
