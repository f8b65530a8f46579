"""Find the pictures that a user names: files, folders and glob patterns."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from pneumoscope.core.errors import UsageError
from pneumoscope.detector.prediction import Failure
from pneumoscope.imaging.first_bytes import is_dicom, read_first_bytes

SUFFIXES: Final = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".dcm", ".dicom")
OVERLAY_SUFFIX: Final = ".overlay.png"


def find_pictures(names: Iterable[str | Path]) -> list[Path | Failure]:
    """Return the files to read, in the order given.

    A file is taken as it is, whatever its name. A folder is searched through all its levels, sorted
    by path: files that end in ``SUFFIXES`` (in any case) and files of any other name that hold the
    DICOM mark at byte 128; hidden files, DICOMDIR and our own overlays are passed over, and links
    to folders are not followed. A name that does not exist and has ``*``, ``?`` or ``[`` is a
    pattern (``**`` for all levels); what it matches is sorted and treated likewise. A name that
    does not exist at all is returned, so that reading it says so.

    Returns: Paths, and a `Failure` in the place of each folder or pattern without any picture, and
        for each folder within one that can't be read.
    Raises: UsageError: there is nothing to read at all.
    """
    found: list[Path | Failure] = []
    for name in names:
        found.extend(_expand(Path(name)))
    if not any(isinstance(item, Path) for item in found):
        reasons = [item.message for item in found if isinstance(item, Failure)]
        raise UsageError(" ".join(reasons) or "Name a file, a folder or a pattern to read.")
    return found


def _expand(path: Path) -> list[Path | Failure]:
    kinds = f"{', '.join(SUFFIXES)} or DICOM files"
    if os.path.isdir(path):  # unlike Path.is_dir, False for what may not be looked at
        return _inside(path) or [_nothing(path, f"the folder has no {kinds}")]
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    # A dict, because `**` matches a folder as well as each file in it.
    files = dict.fromkeys(
        file for match in matches for file in (_inside(match) if os.path.isdir(match) else [match])
    )
    return [*files] or [_nothing(path, "the pattern matches no picture")]


def _inside(folder: Path) -> list[Path | Failure]:
    """Return the pictures of a folder, and behind them each folder in it that can't be read."""
    failures: list[Failure] = []

    def note(error: OSError) -> None:
        reason = f"the folder can't be read ({error.strerror or error})"
        failures.append(_nothing(Path(error.filename), reason, advice="Change its permissions."))

    return [*sorted(_walk(folder, on_error=note)), *failures]


def _walk(folder: Path, *, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and _is_picture(Path(parent, name)):
                yield Path(parent, name)


def _is_picture(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(OVERLAY_SUFFIX) or name == "dicomdir":
        return False
    return name.endswith(SUFFIXES) or is_dicom(read_first_bytes(path))


def _nothing(path: Path, reason: str, *, advice: str = "Check the path.") -> Failure:
    return Failure(path=str(path), type="NoPictureError", message=f"{path}: {reason}. {advice}")
