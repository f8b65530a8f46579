"""Threads that keep order and hold no more than a few results."""

import threading
import time
from collections.abc import Iterator

import pytest

from pneumoscope.detector.in_order import count_cores, map_in_order


def test_order_is_kept_though_later_items_are_done_first() -> None:
    def slow_at_first(n: int) -> int:
        time.sleep(0.03 if n % 4 == 0 else 0)
        return n * n

    assert list(map_in_order(slow_at_first, range(40), n_workers=4)) == [n * n for n in range(40)]


def test_items_are_read_only_a_little_ahead_of_the_results_taken() -> None:
    n_read = 0

    def items() -> Iterator[int]:
        nonlocal n_read
        for n in range(1000):
            n_read += 1
            yield n

    results = map_in_order(lambda n: n, items(), n_workers=2)
    for n in range(50):
        assert next(results) == n
        assert n_read <= n + 1 + 8
    results.close()  # type: ignore[attr-defined]
    assert n_read < 70


def test_all_workers_work_at_once() -> None:
    together = threading.Barrier(3, timeout=10)
    assert len(list(map_in_order(lambda _: together.wait(), range(6), n_workers=3))) == 6


def test_an_error_comes_in_its_items_turn() -> None:
    def invert(n: int) -> float:
        return 1 / n

    results = map_in_order(invert, [1, 2, 0, 4], n_workers=2)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_stays_behind_when_a_loop_is_left() -> None:
    for n in map_in_order(lambda n: n, range(1000), n_workers=2):
        if n == 3:
            break
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith("pneumoscope")}


def test_what_has_not_begun_is_dropped_when_a_loop_is_left() -> None:
    n_begun, go_on = 0, threading.Event()

    def wait(n: int) -> int:
        nonlocal n_begun
        n_begun += 1
        assert n == 0 or go_on.wait(10)
        return n

    results = map_in_order(wait, range(100), n_workers=1)
    assert next(results) == 0
    threading.Timer(0.2, go_on.set).start()
    results.close()  # type: ignore[attr-defined]
    assert n_begun <= 2


def test_there_is_a_core() -> None:
    assert count_cores() >= 1
