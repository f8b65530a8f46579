"""Map a function over many items in threads, in order and with bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_workers: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, working at most 4 a worker ahead.

    However slowly the results are taken, no more than those ahead are held. Leaving the loop early
    drops what has not begun.

    Raises: whatever ``function`` raises, in its item's turn.
    """
    n_ahead = 4 * n_workers
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="pneumoscope") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container may be held to fewer than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
