"""What every kind of run folder has: a lock, ``run.json``, and rules for going on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import InUseError, RunError, UsageError
from pneumoscope.core.files import is_temporary, make_folder

RECIPE_FILE = "recipe.yaml"
FACTS_FILE = "run.json"
_LOCK = ".lock"
# Keys of run.json's `data` that say what was learnt from, and how a run differs that has another.
_LEARNT = {
    "fingerprint": "on other radiographs",  # training and tuning ones together
    "tuning_fingerprint": "with another tuning split",
    "subtype_fingerprint": "with other subtypes",
}
# Of an unfinished run: by it the order of an epoch and every change are drawn.
ROWS_KEY = "rows_fingerprint"
_WAIT_S = 1.0  # who only asks whether a folder is in use holds it for an instant


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Hold the run folder, so that two processes never write the same run.

    Raises:
        InUseError: another process holds it.
        UsageError: there is a file of that name.
        StorageError: the folder can't be made.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, and a run needs a folder. Choose another --out.")
    make_folder(out)
    lock = filelock.FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=_WAIT_S)
    except filelock.Timeout as error:
        raise InUseError(
            f"{out}: another process is training here. Wait for it, or choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def has_run(out: Path, *, resume: bool) -> bool:
    """Tell whether ``out`` holds a run to go on with; False where one may begin there.

    Args:
        out: The folder; it need not exist.
        resume: Whether a run may be gone on with; one that was killed while it wrote its first
            files then begins anew.

    Raises: RunError: the folder holds something else, or a run though ``resume`` is not set.
    """
    names = {path.name for path in out.iterdir()} - {_LOCK} if out.exists() else set()
    if not names:
        return False
    if FACTS_FILE not in names:
        if resume and all(map(_is_of_a_beginning, names)):
            return False
        raise RunError(f"{out}: holds other files than a run. Choose a new or empty folder.")
    if not resume:
        raise RunError(
            f"{out}: holds a run already. Continue it with --resume, or choose another --out."
        )
    return True


def _is_of_a_beginning(name: str) -> bool:
    """Tell whether a file is what a run leaves that was killed before its ``run.json`` stood."""
    return name == RECIPE_FILE or any(
        is_temporary(name, of=each) for each in (RECIPE_FILE, FACTS_FILE)
    )


def other_experiment(out: Path, name: str) -> RunError:
    """Return the error for a folder whose run, of that name, is another experiment."""
    return RunError(
        f"{out}: holds another experiment ({name}, or other settings), so this one "
        f"can't resume it. Compare recipe.yaml there, or choose another --out."
    )


def difference_in_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in what the radiographs, or what is known of them, differ from those of a run.

    Args:
        before: The ``data`` part of its run.json; of an older version it may lack all fingerprints
            but the first, and is then judged by that one alone.
        now: What would be that part now; a fingerprint that is missing or None is not compared.

    Returns: Words that go on from "was trained"; None where nothing differs.
    """
    for key, how in _LEARNT.items():
        then, here = before.get(key), now.get(key)
        is_told = key == "fingerprint" or (then is not None and here is not None)
        if is_told and then != here:
            return f"{how} (fingerprint {str(then)[:12]}, now {str(here)[:12]})"
    return None


def check_same_radiographs(out: Path, *, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other radiographs, roles or subtypes than a run was begun with.

    Args:
        out: The run folder.
        before: The ``data`` part of its run.json.
        now: What would be that part now.

    Raises: RunError: the fingerprints differ.
    """
    difference = difference_in_data(before, now)
    if difference is not None:
        raise RunError(
            f"{out}: was trained {difference}, so it can't be resumed. Restore the dataset as "
            "it was, or choose another --out."
        )


def rows_fingerprint(
    paths: Sequence[str], rows: Sequence[Sequence[int] | NDArray[np.int64]]
) -> str:
    """Return the SHA-256 of which rows of a dataset's table do what.

    Args:
        paths: Of all rows, in the table's order.
        rows: Row numbers, such as those that train and those that tune.
    """
    named = [[[int(row), paths[int(row)]] for row in part] for part in rows]
    return hashlib.sha256(json.dumps([len(paths), named]).encode()).hexdigest()


def check_same_rows(out: Path, *, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose radiographs have other numbers in the table by now.

    Order and changes of each epoch are drawn by a row's number, so the weights would be others than
    those of a run that was never stopped.

    Args:
        out: The run folder.
        before: The ``data`` part of its run.json; of an older version it may tell nothing.
        now: What would be that part now.

    Raises: RunError: they have.
    """
    then = before.get(ROWS_KEY)
    if then is not None and then != now.get(ROWS_KEY):
        raise RunError(
            f"{out}: was begun on the same radiographs in another order, or among other rows (of "
            "test, say). Resumed, it would end in other weights than if it had not been stopped. "
            "Restore the dataset's table as it was, or choose another --out."
        )


def read_facts(path: Path, *, command: str) -> Any:
    """Return what a folder's run.json holds.

    Args:
        path: The run folder.
        command: What writes such a folder, for the message: "pneumoscope train".

    Raises: RunError: there is none, or it is damaged.
    """
    facts_path = path / FACTS_FILE
    try:
        return json.loads(facts_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: no run.json here, so this is not a run folder. "
            f"Give the folder that `{command} ... --out` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{facts_path}: can't be read ({error}). Train the run again.") from error


def check_has_finished(path: Path, facts: Mapping[str, Any], *, command: str) -> None:
    """Refuse a run that has not finished. Raises: RunError: it has not."""
    if facts.get("state") != "finished":
        raise RunError(
            f"{path}: this run has not finished (state: {facts.get('state')}). "
            f"Continue it with `{command} ... --out {path} --resume`."
        )
