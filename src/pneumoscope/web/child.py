"""A worker's process: opens the bundle, then decodes and answers one file after the other.

Started as ``python -m pneumoscope.web.child`` by `workers`; talks in frames over its stdin and
stdout, and ends when its stdin does, so that no worker outlives its server. Whatever a hostile file
does to it stays in here: the memory it may take, the files it may write (none) and the time it may
take are limited from the inside or by the server.
"""

import contextlib
import ctypes
import gc
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pneumoscope.core.errors import BundleError, PneumoscopeError
from pneumoscope.detector.predict import Detector, load
from pneumoscope.detector.prediction import Failure
from pneumoscope.detector.warnings_of_input import code_of
from pneumoscope.web.describe import describe_prediction
from pneumoscope.web.frames import Facts, read_frame, write_frame
from pneumoscope.web.log import describe_fault

_WARM_UP_PX: Final = 1024
INTERNAL_ERROR: Final = "InternalError"
_LARGE_BYTES: Final = 8_000_000  # of a file or an answer, behind which memory is given back


def main() -> None:
    """Answer frames until stdin ends."""
    # Ctrl-C and a service manager's SIGTERM reach the whole group: the server decides when we end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    first = read_frame(requests)
    if first is None:
        return
    orders = first[0]
    try:
        detector = _get_ready(orders)
    except PneumoscopeError as error:
        write_frame(answers, {"error": str(error)})
        return
    write_frame(answers, {"sha256": detector.bundle.sha256})
    _shut_in(memory_mib=orders["memory_mib"])
    _serve(detector, requests, answers, max_pixels=orders["max_pixels"])


def _get_ready(orders: Facts) -> Detector:
    """Open the bundle and answer once, so that the first request finds everything loaded."""
    detector = load(orders["bundle"])
    blank = np.zeros((_WARM_UP_PX, _WARM_UP_PX), np.uint8)
    detector.predict(blank)
    import pneumoscope.imaging.overlay
    import pneumoscope.imaging.read_dicom
    import pneumoscope.imaging.read_raster  # noqa: F401 - each waits for a library

    return detector


def _serve(detector: Detector, requests: BinaryIO, answers: BinaryIO, *, max_pixels: int) -> None:
    while (frame := read_frame(requests)) is not None:
        facts, body = answer_file(detector, *frame, max_pixels=max_pixels)
        write_frame(answers, facts, body)
        is_large = len(frame[1]) + len(body) > _LARGE_BYTES or facts.get("is_large")
        frame = body = None  # type: ignore[assignment]
        if is_large:
            _give_memory_back()


def answer_file(
    detector: Detector, job: Facts, data: bytes, *, max_pixels: int
) -> tuple[Facts, bytes]:
    """Answer one file.

    Args:
        detector: Whose answer it is.
        job: ``name``, ``operating_point`` (or None) and ``include``.
        data: The file's bytes.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns: What log and metrics want to know, and the file's object of the reply as JSON.
    """
    name = job["name"]
    try:
        return _predict(detector, job, data, max_pixels=max_pixels)
    except Exception as error:  # a fault of ours in one file is no reason to end the process
        failure = _describe_failure(error, name)
        fault = describe_fault(error)
    facts: Facts = {
        "outcome": failure.type,
        "sha256": hashlib.sha256(data).hexdigest(),
        "is_large": failure.type == "MemoryError",
    }
    if failure.type == INTERNAL_ERROR:
        facts["fault"] = fault
    return facts, json.dumps(failure.to_dict()).encode()


def _describe_failure(error: Exception, name: str) -> Failure:
    """Return what the client is told; a path of the server's own is no part of it."""
    kind, message = type(error).__name__, str(error)
    # A reader's "damaged" may only mean that a decoder got no memory.
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        kind = "MemoryError"
        message = f"{name}: needs more memory than a picture may take here. Scale it down first."
    elif isinstance(error, BundleError):
        message = f"{name}: the bundle's graph failed on it. Scale it down first."
    elif not isinstance(error, PneumoscopeError):
        # The readers turn whatever damaged bytes raise into a RadiographError: this one is ours.
        kind = INTERNAL_ERROR
        message = f"{name}: the server failed on it. The fault is in its log."
    return Failure(path=name, type=kind, message=message)


def _predict(
    detector: Detector, job: Facts, data: bytes, *, max_pixels: int
) -> tuple[Facts, bytes]:
    started_s = time.perf_counter()
    prediction = detector.predict(
        data, name=job["name"], operating_point=job["operating_point"], max_pixels=max_pixels
    )
    seconds = time.perf_counter() - started_s
    value = describe_prediction(prediction, include=job["include"], seconds=seconds)
    facts: dict[str, Any] = {
        "outcome": prediction.label,
        "sha256": prediction.sha256,
        "probability": prediction.probability,
        "seconds": seconds,
        "warnings": [code_of(warning) for warning in prediction.warnings],
        "is_large": prediction.height_px * prediction.width_px > _LARGE_BYTES,
    }
    return facts, json.dumps(value, allow_nan=False).encode()


def _shut_in(*, memory_mib: int) -> None:
    """Leave this process no way to write a file, and no more memory than one picture needs."""
    # What a decoder's library writes could quote the file; the reasons that people need are frames.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
    if (data_bytes := _data_bytes()) is not None:
        limits.append((resource.RLIMIT_DATA, data_bytes + memory_mib * (1 << 20)))
    for kind, most in limits:
        with contextlib.suppress(ValueError, OSError):  # a lower limit is already set
            resource.setrlimit(kind, (most, most))


def _data_bytes() -> int | None:
    """Return what counts against RLIMIT_DATA now; None where only Linux could say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return None


def _give_memory_back() -> None:
    """Return freed memory to the system: the C library keeps it, and a worker lives for months."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
