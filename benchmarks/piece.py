"""What both sides' measured processes share. Standard library only: Keras' environment has it."""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

_KIB_PER_MIB = 1024


class StepClock:
    """Notes when each step (or file) ends, and tells when enough of them have been seen.

    The warm-up (compiling, first memory) is not counted. A side that is very slow, such as one
    whose processor emulates bf16, is cut short after ``limit_s``: one counted step is enough then.

    Args:
        n_warm_up: Steps before the clock starts; fewer if they alone take ``limit_s``.
        n_steps: Steps to count.
        limit_s: Seconds of warm-up, and again of counted steps, after which to stop.
    """

    def __init__(self, *, n_warm_up: int, n_steps: int, limit_s: float) -> None:
        self._n_warm_up = n_warm_up
        self._n_steps = n_steps
        self._limit_s = limit_s
        self._created_s = time.perf_counter()
        self._n_seen = 0
        self._counted_from_s: float | None = None
        self.n_counted = 0
        self.seconds = 0.0
        self.cpu_s = 0.0  # of all threads: well below seconds times threads where others computed
        self._counted_from_cpu_s = 0.0

    def tick(self) -> bool:
        """Note that a step ended now; return True once no more are needed."""
        now = time.perf_counter()
        self._n_seen += 1
        if self._counted_from_s is None:
            if self._n_seen >= self._n_warm_up or now - self._created_s > self._limit_s:
                self._counted_from_s, self._counted_from_cpu_s = now, time.process_time()
            return False
        if not self.is_done:
            self.n_counted += 1
            self.seconds = now - self._counted_from_s
            self.cpu_s = time.process_time() - self._counted_from_cpu_s
        return self.is_done

    @property
    def is_done(self) -> bool:
        """Whether enough steps were counted, or too much time has gone by."""
        enough = self.n_counted >= self._n_steps
        return enough or (self.n_counted > 0 and self.seconds > self._limit_s)

    def figures(self, batch_size: int) -> dict[str, float]:
        """Return the speed over the counted steps, and how many they were.

        Raises: ValueError: no step was counted.
        """
        if self.n_counted == 0:
            raise ValueError("no step was counted: there were no more than the warm-up has")
        return {
            "images_per_s": self.n_counted * batch_size / self.seconds,
            "n_steps": self.n_counted,
            "seconds": self.seconds,
            "cpu_s": self.cpu_s,
        }


def add_clock_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a piece's command line say how long its `StepClock` runs."""
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--limit-s", type=float, required=True)


def clock_from(arguments: argparse.Namespace) -> StepClock:
    """Return the clock that `add_clock_arguments` were given for."""
    return StepClock(
        n_warm_up=arguments.warm_up, n_steps=arguments.steps, limit_s=arguments.limit_s
    )


def peak_memory_mib() -> float:
    """Return the most memory this process, or its largest child if that is larger, has held.

    Linux' own high-water mark comes first: ``ru_maxrss`` starts at what the parent process held
    when it started this one.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(_own_peak_kib(), children) / _KIB_PER_MIB


def report(facts: dict[str, Any]) -> None:
    """Print the piece's result as one JSON line, its last on stdout, with its peak memory."""
    line = json.dumps(facts | {"peak_memory_mib": round(peak_memory_mib(), 1)})
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()


def _own_peak_kib() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
