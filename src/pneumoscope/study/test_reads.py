"""The log of who read a test split, when, and with what: a test split wears out by being read."""

import hashlib
import json
import logging
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

import pneumoscope
from pneumoscope.core.errors import RunError
from pneumoscope.core.files import append_line

__test__ = False  # pytest: "test" is a split here

READS_FILE = "test-reads.jsonl"
_GIT_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class TestRead(BaseModel):
    """One reading of a test split, as it is written down before the first prediction."""

    __test__ = False
    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str  # UTC, ISO 8601
    split: str
    dataset: str
    fingerprint: str  # of the radiographs read
    n: int
    checkpoint_sha256: str
    commit: str | None  # of this package's code; None where it is not a git checkout
    version: str  # of this package
    results: str  # the folder that the results were meant for
    purpose: str | None = None  # where it is another than to measure the run's own epoch


def record_read(
    run_folder: Path,
    *,
    split: str,
    dataset: str,
    fingerprint: str,
    n: int,
    checkpoint_sha256: str,
    results: Path,
    purpose: str | None = None,
) -> int:
    """Append one reading to the run's log, wait until it is on disk, and return its number.

    The number counts from 1 the readings of the same test split: those whose fingerprint or
    dataset name is the same, and lines too damaged to tell. A ``purpose`` is given where the
    reading is not the run's own evaluation, and then repeating it is no cause for a warning.

    Raises: StorageError: the log cannot be written; nothing may be read then.
    """
    path = run_folder / READS_FILE
    number = 1 + sum(
        read is None or read.fingerprint == fingerprint or read.dataset == dataset
        for read in _lines(path)
    )
    read = TestRead(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        split=split,
        dataset=dataset,
        fingerprint=fingerprint,
        n=n,
        checkpoint_sha256=checkpoint_sha256,
        commit=code_commit(),
        version=pneumoscope.__version__,
        results=str(results),
        purpose=purpose,
    )
    # A line that a kill cut off must not swallow this one.
    start = "" if _ends_with_newline(path) else "\n"
    append_line(path, start + read.model_dump_json(exclude_defaults=True))
    if number > 1 and purpose is None:
        _log.warning(
            "%s: reading %d of the test split of %s, or of one of the same name",
            path,
            number,
            dataset,
        )
    return number


def read_log(run_folder: Path) -> list[TestRead]:
    """Return the readings that a run folder tells of, oldest first; none without a log.

    Lines that were damaged by a kill are left out.

    Raises: RunError: the log is there and can't be read.
    """
    return [read for read in _lines(run_folder / READS_FILE) if read is not None]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises: RunError: the file is missing or can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror or error}). Train the run again, or restore "
            "the file."
        ) from error


def code_commit(folder: Path | None = None) -> str | None:
    """Return the git commit of this package's code, with ``-dirty`` where files were changed.

    Args:
        folder: Where the code lies; by default this package's folder.

    Returns: None where the code is not tracked by git, or git is not there. Never an error.
    """
    code = Path(pneumoscope.__file__).parent if folder is None else folder
    # An installed package may lie in a .venv inside somebody else's checkout: ask for the file.
    if _git(code, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(code, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _log.debug("git says nothing of the code: %s", error)
        return None
    return done.stdout.strip() or None


def _lines(path: Path) -> list[TestRead | None]:
    """Return one entry a line of the log; None for a line that is no reading."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return [_parse(line) for line in text.splitlines() if line.strip()]


def _parse(line: str) -> TestRead | None:
    try:
        return TestRead.model_validate(json.loads(line))
    except (ValueError, ValidationError):
        return None


def _ends_with_newline(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    return not content or content.endswith(b"\n")
