"""What every row of a dataset holds, as SHA-256, without rereading files that did not change."""

import hashlib
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pneumoscope.core.errors import RadiographError

if TYPE_CHECKING:
    from pneumoscope.data.dataset import Dataset

_log = logging.getLogger(__name__)

# A file written this recently may be written again within one tick of its clock, and would keep
# its size and time: its hash is not remembered ("racy" entries, as git's index calls them).
_SETTLED_NS = 2_000_000_000
_ROWS_PER_TASK = 256
_BUSY_TIMEOUT_S = 30.0  # another process that writes its hashes is done in far less
_ROWS_PER_QUERY = 500  # SQLite's old limit is 999 parameters
_SCHEMA = """
CREATE TABLE IF NOT EXISTS file_hash (
    path BLOB PRIMARY KEY, sha256 TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER
) WITHOUT ROWID
"""

_SELECT = "SELECT path, sha256, size, mtime_ns, ctime_ns FROM file_hash"

_T = TypeVar("_T")
FileFacts = tuple[int, int, int]  # size in bytes, mtime and ctime in nanoseconds


@dataclass(frozen=True, slots=True)
class RowContent:
    """The hash of a row's encoded bytes, and how its file looked when they were read."""

    sha256: str  # "" where the bytes could not be read
    facts: FileFacts | None  # None where the row is not a file of its own, or is missing


def hash_rows(
    dataset: "Dataset",
    *,
    memo: Path,
    max_workers: int,
    advance: Callable[[int], None] = lambda n_rows: None,
) -> list[RowContent]:
    """Return the content of every row, in the manifest's order.

    Args:
        dataset: Rows whose path is a file are hashed as files, all others by ``read_bytes``.
        memo: SQLite file that remembers hashes by path, size and times. It is only a help: one
            that is damaged is thrown away, one that is locked or can't be written is left out.
        max_workers: Threads that read and hash.
        advance: Called with the number of rows done since the last call.
    """
    files = [dataset.manifest.root / path for path in dataset.manifest.table["path"].to_list()]
    keys = [os.fsencode(os.path.abspath(file)) for file in files]
    known = _recall(memo, keys)
    fresh: dict[bytes, RowContent] = {}

    def hash_block(rows: range) -> list[RowContent]:
        block = []
        for row in rows:
            remembered = known.get(keys[row])
            facts = None if remembered is None else file_facts(files[row])
            if remembered is not None and remembered.facts == facts:
                block.append(remembered)
            else:
                started_ns = time.time_ns()
                content = read_content(dataset, row)
                if _is_settled(content, at_ns=started_ns):
                    fresh[keys[row]] = content
                block.append(content)
        return block

    starts = range(0, len(files), _ROWS_PER_TASK)
    tasks = [range(start, min(start + _ROWS_PER_TASK, len(files))) for start in starts]
    contents: list[RowContent] = []
    executor = ThreadPoolExecutor(max_workers=max_workers)
    try:
        for block in executor.map(hash_block, tasks):
            contents += block
            advance(len(block))
    finally:
        executor.shutdown(cancel_futures=True)
    _remember(memo, fresh)
    return contents


def read_content(dataset: "Dataset", row: int) -> RowContent:
    """Read and hash one row now, whatever is remembered of it."""
    file = dataset.manifest.root / dataset.manifest.table["path"][row]
    facts = file_facts(file)
    try:
        if facts is None:
            return RowContent(hashlib.sha256(dataset.read_bytes(row)).hexdigest(), None)
        with file.open("rb") as stream:
            return RowContent(hashlib.file_digest(stream, "sha256").hexdigest(), facts)
    except (OSError, RadiographError):
        return RowContent("", facts)  # reading the image will say what is wrong with it


def file_facts(file: Path) -> FileFacts | None:
    """Return size and times of a regular file, or None where there is none."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    # ctime also tells of a file that was replaced with its old time put back (unzip, rsync -t).
    return (
        (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if stat.S_ISREG(status.st_mode)
        else None
    )


def _is_settled(content: RowContent, *, at_ns: int) -> bool:
    """Tell whether a file was so old when it was read that a later change shows in its times."""
    if not content.sha256 or content.facts is None:
        return False
    return at_ns - max(content.facts[1:]) > _SETTLED_NS


def _recall(memo: Path, keys: list[bytes]) -> dict[bytes, RowContent]:
    """Return what is remembered of these paths; nothing where the memo is of no use."""

    def select(connection: sqlite3.Connection) -> dict[bytes, RowContent]:
        known = {}
        for start in range(0, len(keys), _ROWS_PER_QUERY):
            wanted = keys[start : start + _ROWS_PER_QUERY]
            marks = ",".join("?" * len(wanted))
            query = _SELECT + f" WHERE path IN ({marks})"
            for path, sha256, *facts in connection.execute(query, wanted):
                known[path] = RowContent(sha256, (facts[0], facts[1], facts[2]))
        return known

    return _with_memo(memo, select) or {}


def _remember(memo: Path, fresh: dict[bytes, RowContent]) -> None:
    rows = [
        (key, content.sha256, *content.facts) for key, content in fresh.items() if content.facts
    ]
    if rows:
        insert = "INSERT OR REPLACE INTO file_hash VALUES (?, ?, ?, ?, ?)"
        _with_memo(memo, lambda connection: connection.executemany(insert, rows))


def _with_memo(memo: Path, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
    """Return what the work on the memo gives, or None where the memo can't be used."""
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(memo, timeout=_BUSY_TIMEOUT_S)) as connection, connection:
            connection.execute(_SCHEMA)
            return work(connection)
    except sqlite3.OperationalError as error:
        # Locked for long, read-only or a full disk: hashing anew is slower, and as right.
        _log.info("file hashes are not remembered: %s", error)
    except sqlite3.DatabaseError as error:
        _log.warning("%s is damaged (%s) and is begun anew", memo, error)
        _discard(memo)
    except OSError as error:
        _log.info("file hashes are not remembered: %s", error)
    return None


def _discard(memo: Path) -> None:
    for file in (memo, memo.with_name(memo.name + "-journal")):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            _log.info("%s can't be deleted: %s", file, error)
