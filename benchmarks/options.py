"""The benchmark's command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Part = Literal["step", "run", "pipeline"]
PARTS: tuple[Part, ...] = get_args(Part)
KERAS_PYTHON = Path(".venv-keras/bin/python")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, on what, and how long."""

    data: Path
    out: Path
    only: tuple[Part, ...]
    n_images: int  # training radiographs of the whole run; the same for both sides
    n_epochs: int  # of the whole run
    n_threads: int  # of either side
    n_repeats: int  # of each training-step measurement
    n_warm_up: int  # steps before its clock starts
    n_steps: int  # steps that it counts
    limit_s: float  # after which a slow one is cut short
    n_pairs: int  # blocks of steps, through the pipeline and from memory
    block_images: int  # images in each of them
    keras_python: Path = KERAS_PYTHON


def parse_arguments(words: Sequence[str] | None = None) -> Options:
    """Return the options; argparse ends the process with status 2 where a word is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--data",
        type=_parse_folder,
        required=True,
        help="Folder with train/NORMAL, train/PNEUMONIA, ...",
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
        "--repeats", type=_parse_count, help="Of each training-step measurement; default 3."
    )
    found = parser.parse_args(words)
    is_quick: bool = found.quick
    return Options(
        data=found.data,
        out=found.out,
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


def _parse_count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # a container may have fewer than the machine
    return os.cpu_count() or 1
