"""The benchmark's command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Part = Literal["step", "run", "pipeline", "predict", "serve", "page"]
PARTS: tuple[Part, ...] = get_args(Part)
MIN_FILES = 96  # three batches of torch's side, of which the first is not counted
WITHOUT_DATA: frozenset[Part] = frozenset(("predict", "serve", "page"))
KERAS_PYTHON = Path(".venv-keras/bin/python")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, on what, and how long."""

    data: Path | None  # None where only `predict`, `serve` and `page` are measured
    out: Path
    into: Path | None  # page with markers, in which the section that was measured is replaced
    only: tuple[Part, ...]
    n_images: int  # training radiographs of the whole run; the same for both sides
    n_epochs: int  # of the whole run
    n_threads: int  # of either side
    n_repeats: int  # of each training-step and each files-to-answers measurement
    n_warm_up: int  # steps before its clock starts
    n_steps: int  # steps that it counts
    limit_s: float  # after which a slow one is cut short
    n_pairs: int  # blocks of steps, through the pipeline and from memory
    block_images: int  # images in each of them
    pictures: Path | None  # JPEGs for `predict`; None is the examples
    bundle: Path | None  # None is the shipped one
    int8_bundle: Path | None
    n_files: int  # to be answered
    files_limit_s: float  # after which another side than ours stops
    n_block_files: int  # of each block that is decoded, inferred, or both
    n_rounds: int  # of those blocks
    n_cold_starts: int
    n_few_files: int  # of the smaller memory measurement
    n_memory_files: int  # of the larger one
    n_latency_requests: int  # of each block of single requests to the server
    n_serve_requests: int  # from many clients at once
    n_page_loads: int
    keras_python: Path = KERAS_PYTHON


def parse_arguments(words: Sequence[str] | None = None) -> Options:
    """Return the options; argparse ends the process with status 2 where a word is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--data",
        type=_parse_folder,
        help="Folder with train/NORMAL, train/PNEUMONIA, ...; needed for training's parts.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="See that all of it works; the figures mean nothing."
    )
    parser.add_argument(
        "--only", type=_parse_parts, default=PARTS, help=f"Some of {','.join(PARTS)}."
    )
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="Folder for results.")
    parser.add_argument(
        "--images", type=_parse_count, help="Training radiographs of the whole run; default 600."
    )
    parser.add_argument(
        "--threads", type=_parse_count, default=_n_cores(), help="Of each side; default all cores."
    )
    parser.add_argument(
        "--repeats", type=_parse_count, help="Of each measurement of a speed; default 3."
    )
    parser.add_argument(
        "--into", type=Path, help="Page whose section between markers is replaced as well."
    )
    _add_predict_arguments(parser)
    found = parser.parse_args(words)
    if found.data is None and not WITHOUT_DATA.issuperset(found.only):
        parser.error("--data is missing; only --only predict,serve,page does without")
    if found.n_files is not None and found.n_files < MIN_FILES:
        parser.error(f"--n-files: {found.n_files} are too few; give {MIN_FILES} or more")
    is_quick: bool = found.quick
    return Options(
        data=found.data,
        out=found.out,
        into=found.into,
        only=found.only,
        n_images=found.images or (64 if is_quick else 600),
        n_epochs=1 if is_quick else 5,
        n_threads=found.threads,
        n_repeats=found.repeats or (1 if is_quick else 3),
        n_warm_up=1 if is_quick else 2,
        n_steps=2 if is_quick else 8,
        limit_s=5 if is_quick else 10,
        n_pairs=1 if is_quick else 5,
        block_images=128 if is_quick else 256,
        pictures=found.pictures,
        bundle=found.bundle,
        int8_bundle=found.int8_bundle,
        n_files=found.n_files or (MIN_FILES if is_quick else 1000),
        files_limit_s=2 if is_quick else 8,
        n_block_files=16 if is_quick else 160,
        n_rounds=1 if is_quick else 5,
        n_cold_starts=1 if is_quick else 7,
        n_few_files=20 if is_quick else 100,
        n_memory_files=found.n_memory_files or (40 if is_quick else 10_000),
        n_latency_requests=5 if is_quick else 60,
        n_serve_requests=200 if is_quick else 2000,
        n_page_loads=1 if is_quick else 5,
    )


def _add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=_parse_file, help="For predict; default the shipped one.")
    parser.add_argument("--int8-bundle", type=_parse_file, help="An int8 one, measured beside it.")
    parser.add_argument(
        "--pictures", type=_parse_folder, help="JPEGs for predict; default examples/radiographs."
    )
    parser.add_argument(
        "--n-files",
        type=_parse_count,
        help="Names that predict answers; default 1000.",
    )
    parser.add_argument(
        "--n-memory-files", type=_parse_count, help="Of predict's memory; default 10000."
    )


def _parse_parts(text: str) -> tuple[Part, ...]:
    words = [word.strip() for word in text.split(",")]
    unknown = [word for word in words if word not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in words)  # always in the same order


def _parse_folder(text: str) -> Path:
    if not text or not Path(text).is_dir():  # an unset variable arrives as ""
        raise argparse.ArgumentTypeError(
            f"{text!r}: there is no such folder. Set PNEUMOSCOPE_DATA, or give a folder of "
            "radiographs: make bench DATA=folder"
        )
    return Path(text)


def _parse_file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such file")
    return Path(text)


def _parse_count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # a container may have fewer than the machine
    return os.cpu_count() or 1
