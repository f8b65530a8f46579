"""Run one measured piece in a process of its own."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_N_LINES_SHOWN = 15


class PieceError(Exception):
    """A piece failed; the message has the end of what it wrote."""


def run_piece(python: str | Path, module: str, words: Sequence[object]) -> dict[str, Any]:
    """Run ``python -m module words`` and return what its last line says.

    ``wall_s`` is added: the whole process, from its start to its end, imports included.

    Raises: PieceError: it ended with an error, or its last line is no result.
    """
    command = [str(python), "-m", module, *map(str, words)]
    # Both sides on the processor alone, also where there is an accelerator that only one could use.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    started_s = time.perf_counter()
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    wall_s = time.perf_counter() - started_s
    if ended.returncode != 0:
        raise PieceError(f"{' '.join(command)}: status {ended.returncode}\n{_end(ended.stderr)}")
    facts = read_result(ended.stdout, command=command)
    return facts | {"wall_s": round(wall_s, 2), "command": command}


def time_command(command: Sequence[str]) -> float:
    """Return the seconds that a command takes, from the start of its process to its end.

    Raises: PieceError: it ended with an error.
    """
    started_s = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started_s
    if ended.returncode != 0:
        raise PieceError(f"{' '.join(command)}: status {ended.returncode}\n{_end(ended.stderr)}")
    return seconds


def read_result(output: str, *, command: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object on the last line, whatever libraries wrote before it.

    Raises: PieceError: there is none.
    """
    last = output.strip().rpartition("\n")[2]
    try:
        facts = json.loads(last)
    except ValueError as error:
        raise PieceError(f"{' '.join(command)}: no result:\n{_end(output)}") from error
    if not isinstance(facts, dict):
        raise PieceError(f"{' '.join(command)}: no result:\n{_end(output)}")
    return facts


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_N_LINES_SHOWN:])
