"""A folder of many radiographs out of the few that there are."""

import os
import shutil
from pathlib import Path

from benchmarks.processes import PieceError

EXAMPLES = Path(__file__).parents[1] / "examples" / "radiographs"


def repeat_pictures(pictures: Path, folder: Path, *, n_files: int) -> Path:
    """Fill a new folder with ``n_files`` names for the JPEGs of another, each in its turn.

    Every picture is copied once; its further names are hard links. All of them are read from the
    page cache then, on every side alike: it is the processor's work that is compared.

    Returns: ``folder``.
    Raises: PieceError: ``pictures`` has no JPEG.
    """
    files = sorted(path for path in pictures.rglob("*") if path.suffix in (".jpeg", ".jpg"))
    if not files:
        raise PieceError(f"{pictures}: there is no JPEG. Name a folder that has some: --pictures")
    folder.mkdir(parents=True)
    for index in range(n_files):
        name = folder / f"{index:06d}.jpeg"
        if index < len(files):
            shutil.copyfile(files[index], name)
        else:
            os.link(folder / f"{index % len(files):06d}.jpeg", name)
    return folder
