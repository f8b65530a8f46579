"""The server against `predict`: latency, throughput, and many clients. A process a piece.

Run as ``python -m benchmarks.serve_side PIECE ...``.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

import pneumoscope as ps
from benchmarks.piece import report
from benchmarks.predict_side import check, describe_versions, files_of
from benchmarks.serve_load import Server, connect, count_faults, make_upload, post_all, serve

SIZE_PX = (1400, 1100)  # width and height of the picture whose latency is measured


def measure_latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time one picture at a time: by the server, and decoded and inferred here, in turn.

    Returns: Milliseconds a picture of each block, and each round's ratio of the two.
    """
    detector = ps.load(arguments.bundle)
    path = make_picture(files_of(arguments.folder)[0], arguments.folder.parent / "latency.jpeg")
    data, upload = path.read_bytes(), make_upload(path)
    n_requests: int = arguments.requests

    def alone() -> float:
        started_s = time.perf_counter()
        for _ in range(n_requests):
            detector.predict(data)
        return (time.perf_counter() - started_s) / n_requests

    async def measure(server: Server) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"server": [], "alone": []}
        async with connect(server.address, 1) as clients:
            await post_all(clients, [upload], 5)
            alone()
            for _ in range(arguments.rounds):
                seconds, replies = await post_all(clients, [upload], n_requests)
                found["server"].append(1000 * seconds / n_requests)
                found["alone"].append(1000 * alone())
                if any(reply is None or reply[0] != 200 for reply in replies):
                    raise SystemExit("the server refused the picture")
        return found

    with serve(arguments.bundle, n_workers=arguments.threads) as server:
        ms = asyncio.run(measure(server))
    ratios = [one / other for one, other in zip(ms["server"], ms["alone"], strict=True)]
    return {"ms": ms, "ratios": ratios, "bytes": len(data)}


def measure_throughput(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time many clients at once, and `predict_many` on the same files, in turn.

    Returns: Files/s of each block, and each round's ratio of the two.
    """
    detector = ps.load(arguments.bundle)
    files = files_of(arguments.folder)
    uploads = [make_upload(path) for path in files[: arguments.distinct]]

    def alone() -> float:
        started_s = time.perf_counter()
        for answer in detector.predict_many(files, n_workers=arguments.threads):
            check(answer)
        return len(files) / (time.perf_counter() - started_s)

    async def measure(server: Server) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"server": [], "predict": []}
        async with connect(server.address, arguments.clients) as clients:
            await post_all(clients, uploads, len(files))
            alone()
            for _ in range(arguments.rounds):
                seconds, replies = await post_all(clients, uploads, len(files))
                found["server"].append(len(files) / seconds)
                found["predict"].append(alone())
                if any(reply is None or reply[0] != 200 for reply in replies):
                    raise SystemExit("the server refused a file")
        return found

    with serve(arguments.bundle, n_workers=arguments.threads) as server:
        speed = asyncio.run(measure(server))
    pairs = zip(speed["server"], speed["predict"], strict=True)
    return {"files_per_s": speed, "ratios": [one / other for one, other in pairs]}


def measure_many(arguments: argparse.Namespace) -> dict[str, Any]:
    """Post many files from many clients; count what is not as `predict` says; watch the memory.

    Returns: Requests, faults, and MiB after a tenth of the requests and after all.
    """
    detector = ps.load(arguments.bundle)
    files = files_of(arguments.folder)[: arguments.distinct]
    uploads = [make_upload(path) for path in files]
    expected = [detector.predict(path).to_dict() for path in files]
    n_first = arguments.requests // 10

    async def measure(server: Server) -> dict[str, Any]:
        async with connect(server.address, arguments.clients) as clients:
            _, first = await post_all(clients, uploads, n_first)
            before_mib = server.memory_mib()
            seconds, rest = await post_all(clients, uploads, arguments.requests - n_first)
            after_mib = server.memory_mib()
        faults = [count_faults(replies, uploads, expected) for replies in (first, rest)]
        return {
            "n_faults": sum(faults),
            "n_requests": len(first) + len(rest),
            "before_mib": before_mib,
            "after_mib": after_mib,
            "files_per_s": len(rest) / seconds,
        }

    with serve(arguments.bundle, n_workers=arguments.threads) as server:
        return asyncio.run(measure(server))


def make_picture(source: Path, path: Path) -> Path:
    """Write a radiograph of the size whose latency is measured."""
    with Image.open(source) as picture:
        gray = picture.convert("L").resize(SIZE_PX, Image.Resampling.LANCZOS)
    gray.save(path, "JPEG", quality=90)
    return path


def main() -> None:
    """Run one piece and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    pieces = parser.add_subparsers(required=True)
    measured: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "latency": measure_latency,
        "throughput": measure_throughput,
        "many": measure_many,
    }
    for name, measure in measured.items():
        piece = pieces.add_parser(name)
        piece.set_defaults(measure=measure)
        piece.add_argument("--folder", type=Path, required=True)
        piece.add_argument("--bundle", type=Path)
        piece.add_argument("--threads", type=int, required=True)
        piece.add_argument("--rounds", type=int, default=1)
        piece.add_argument("--requests", type=int, default=1)
        piece.add_argument("--clients", type=int, default=1)
        piece.add_argument("--distinct", type=int, default=16)
    arguments = parser.parse_args()
    facts = arguments.measure(arguments)
    from pneumoscope.training.machine import describe_machine  # torch, when nothing is timed

    report(facts | {"versions": describe_versions(), "machine": describe_machine()})


if __name__ == "__main__":
    main()
