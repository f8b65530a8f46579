"""Our side of `predict`: the project's own detector, one measured piece a process. No torch.

Run as ``python -m benchmarks.predict_side PIECE ...``.
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pneumoscope as ps
from benchmarks.piece import add_clock_arguments, clock_from, report
from pneumoscope.cli.app import app
from pneumoscope.detector.in_order import map_in_order
from pneumoscope.detector.pictures import find_pictures
from pneumoscope.imaging.read import read_radiograph


def measure_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time `predict_many`, from file to answer."""
    detector = ps.load(arguments.bundle)
    clock = clock_from(arguments)
    answers = detector.predict_many(
        files_of(arguments.folder), fast_decode=arguments.fast_decode, n_workers=arguments.threads
    )
    for answer in answers:
        check(answer)
        if clock.tick():
            break
    return clock.figures(1)


def measure_pipeline(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time decoding alone, inference alone, and `predict_many`, in turn, on the same files.

    Returns: Files/s of each block, and each round's ratio of `predict_many` to 1 / (1/d + 1/i).
    """
    detector = ps.load(arguments.bundle)
    files = files_of(arguments.folder)
    n_workers = arguments.threads
    # One of each picture stays decoded; the files are its hard links in turn.
    pictures = [read_radiograph(path).pixels[None, None] for path in files[: arguments.distinct]]
    repeated = [pictures[index % len(pictures)] for index in range(len(files))]
    kinds: dict[str, Callable[[], Iterable[object]]] = {
        "decode": partial(map_in_order, read_radiograph, files, n_workers=n_workers),
        "inference": partial(map_in_order, detector.bundle.run, repeated, n_workers=n_workers),
        "both": partial(detector.predict_many, files, n_workers=n_workers),
    }
    speed: dict[str, list[float]] = {name: [] for name in kinds}
    for run in kinds.values():  # once, not counted
        _exhaust(run())
    for _ in range(arguments.rounds):
        for name, run in kinds.items():
            started_s = time.perf_counter()
            _exhaust(run())
            speed[name].append(len(files) / (time.perf_counter() - started_s))
    ratios = [
        both * (1 / decode + 1 / inference)
        for decode, inference, both in zip(*speed.values(), strict=True)
    ]
    return {"files_per_s": speed, "ratios": ratios}


def measure_answers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how far the probability moves by fast decoding, and by squeezing beforehand."""
    detector = ps.load(arguments.bundle)
    files = files_of(arguments.folder)
    size_px = detector.card.size_px
    whole = [detector.predict(path).probability for path in files]
    fast = [detector.predict(path, fast_decode=True).probability for path in files]
    squeezed = [
        detector.predict(squeeze(read_radiograph(path).pixels, size_px)).probability
        for path in files
    ]
    return {
        "bundle": detector.bundle.identity,
        "size_px": size_px,
        "probability": whole,
        "change_fast": np.abs(np.subtract(fast, whole)).tolist(),
        "change_squeezed": np.abs(np.subtract(squeezed, whole)).tolist(),
    }


def measure_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run `pneumoscope predict` within this process; its peak memory is what is asked for."""
    words = ["predict", str(arguments.folder), "--format", "jsonl"]
    words += ["--bundle", str(arguments.bundle)] if arguments.bundle else []
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        status = app(words, standalone_mode=False)
    if status:
        raise SystemExit(f"predict ended with status {status}")
    return {"n_files": len(files_of(arguments.folder))}


def squeeze(pixels: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Return the picture squeezed to a square by Pillow, as the training radiographs came."""
    return np.asarray(Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BILINEAR))


def files_of(folder: Path) -> list[Path]:
    """Return the pictures that `predict` finds in a folder."""
    return [item for item in find_pictures([folder]) if isinstance(item, Path)]


def check(answer: ps.Prediction | ps.Failure) -> None:
    """End the process where a file was not answered: failures are quick."""
    if isinstance(answer, ps.Failure):
        raise SystemExit(answer.message)


def describe_versions() -> dict[str, str]:
    """Return the versions of what the figures depend on."""
    versions = {"pneumoscope": ps.__version__, "python": platform.python_version()}
    return versions | {
        name: importlib.metadata.version(name) for name in ("onnxruntime", "numpy", "pillow")
    }


def _exhaust(answers: Iterable[object]) -> None:
    for answer in answers:
        if isinstance(answer, ps.Prediction | ps.Failure):
            check(answer)


def main() -> None:
    """Run one piece and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    pieces = parser.add_subparsers(required=True)
    files = pieces.add_parser("files")
    add_clock_arguments(files)
    files.add_argument("--fast-decode", action="store_true")
    files.set_defaults(measure=measure_files)
    pipeline = pieces.add_parser("pipeline")
    pipeline.add_argument("--rounds", type=int, required=True)
    pipeline.add_argument("--distinct", type=int, required=True)
    pipeline.set_defaults(measure=measure_pipeline)
    answers = pieces.add_parser("answers")
    answers.set_defaults(measure=measure_answers)
    memory = pieces.add_parser("memory")
    memory.set_defaults(measure=measure_memory)
    for piece in (files, pipeline, answers, memory):
        piece.add_argument("--folder", type=Path, required=True)
        piece.add_argument("--bundle", type=Path)
        piece.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    report(arguments.measure(arguments) | {"versions": describe_versions()})


if __name__ == "__main__":
    main()
