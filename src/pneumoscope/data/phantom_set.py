"""Make a dataset of synthetic chest phantoms, for tests, demos and localisation."""

import csv
import io
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pneumoscope.core.errors import UsageError
from pneumoscope.core.files import storage_error, sync_folder
from pneumoscope.core.types import Region
from pneumoscope.data.progress import progress_bar
from pneumoscope.imaging.phantom import MIN_SIZE_PX, draw_phantom

Target = Literal[0, 1]
Split = Literal["train", "val", "test"]

MIN_COUNT = 12  # fewer cannot give both classes to all three splits and leave some to train on
_MIN_PER_CLASS = 3
_DRAWING = 1  # raise it when the same seed draws other pixels
_CLASS_FOLDERS = ("NORMAL", "PNEUMONIA")
_COLUMNS = ("path", "target", "patient_id", "split", "boxes", "origin")

_README = """\
These images are SYNTHETIC PHANTOMS: schematic drawings of chests, made by a program.
They are not radiographs, and come from no patient. A detector trained or measured on them says
nothing about radiographs of people. They serve for tests, for demonstrations, and for checking
that a detector looks where it should: manifest.csv has the box of every opacity, in pixels.

Made by: pneumoscope data phantom
count: {count}
seed: {seed}
size_px: {size_px}
positive_fraction: {positive_fraction}
drawing: {drawing}
"""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one phantom of the set is to be."""

    index: int
    target: Target
    split: Split

    @property
    def path(self) -> str:
        return f"{self.split}/{_CLASS_FOLDERS[self.target]}/{self.patient_id}.png"

    @property
    def patient_id(self) -> str:
        return f"phantom{self.index:05d}"


def make_phantoms(
    folder: Path,
    *,
    count: int,
    seed: int,
    size_px: int = 256,
    positive_fraction: float = 0.5,
    show_progress: bool = False,
) -> Path:
    """Write ``{train,val,test}/{NORMAL,PNEUMONIA}/phantomNNNNN.png``, manifest.csv and README.txt.

    70 % are for training, 10 % val and 20 % test, each with both classes. The same arguments
    write the same bytes, on the same processor and library versions. A folder that already holds
    this very set is left as it is. The folder takes its name only once it is complete.

    Args:
        folder: Where to write; new, empty, or the same set.
        count: Images, at least 12. Each is a patient of its own.
        seed: Phantom i is drawn from ``numpy.random.default_rng([seed, i])``.
        size_px: Height and width.
        positive_fraction: Share with opacities.
        show_progress: Draw a progress bar where stderr is a terminal.

    Returns: ``folder``.

    Raises:
        UsageError: an argument is out of range, or the folder holds something else.
        StorageError: the disk is full or cannot be written.
    """
    _check_arguments(count, seed, size_px, positive_fraction)
    plans = _plan(count, positive_fraction)
    facts = {"count": count, "seed": seed, "size_px": size_px, "drawing": _DRAWING}
    readme = _README.format(**facts, positive_fraction=float(positive_fraction))
    try:
        if _is_made(folder, plans, readme):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, because a rename is atomic only within one file system.
        prefix = f".{folder.name}."
        temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=folder.parent))
        try:
            with progress_bar("Drawing phantoms", count, show=show_progress) as advance:
                rows = []
                for plan in plans:
                    rows.append(_write_phantom(temporary, plan, seed, size_px))
                    advance(1)
            (temporary / "manifest.csv").write_text(_to_csv(rows), encoding="utf-8", newline="")
            (temporary / "README.txt").write_text(readme, encoding="utf-8", newline="")
            _rename(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    return folder


def _check_arguments(count: int, seed: int, size_px: int, positive_fraction: float) -> None:
    if count < MIN_COUNT:
        raise UsageError(
            f"{count} phantoms are too few to fill both classes of train, val and test: "
            f"ask for {MIN_COUNT} or more."
        )
    if seed < 0:
        raise UsageError(f"The seed {seed} is negative: use 0 or more.")
    if size_px < MIN_SIZE_PX:
        raise UsageError(f"Phantoms of {size_px} px show nothing: use {MIN_SIZE_PX} or more.")
    # NaN fails this too, as it should.
    if not _MIN_PER_CLASS / count <= positive_fraction <= 1 - _MIN_PER_CLASS / count:
        raise UsageError(
            f"A positive fraction of {positive_fraction} of {count} phantoms leaves a class with "
            f"fewer than {_MIN_PER_CLASS}, one a split: choose one nearer to 0.5, or more phantoms."
        )


def _plan(count: int, positive_fraction: float) -> list[_Plan]:
    """Spread the positives evenly over the numbers, and share each class out to the splits."""
    n_positive = round(count * positive_fraction)
    targets: list[Target] = [
        1 if (i + 1) * n_positive // count > i * n_positive // count else 0 for i in range(count)
    ]
    splits: dict[int, Split] = {}
    for target in (0, 1):
        members = [i for i, of_image in enumerate(targets) if of_image == target]
        n_val, n_test = (max(1, round(share * len(members))) for share in (0.1, 0.2))
        n_train = len(members) - n_val - n_test
        for rank, i in enumerate(members):
            splits[i] = "train" if rank < n_train else "val" if rank < n_train + n_val else "test"
    return [_Plan(i, target, splits[i]) for i, target in enumerate(targets)]


def _is_made(folder: Path, plans: list[_Plan], readme: str) -> bool:
    """Return True if the folder holds this very set, False if it is still to be made.

    Raises: UsageError: the folder holds something else, or is a file.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file. Name a new folder for the phantoms.")
    if not any(folder.iterdir()):
        return False
    note = folder / "README.txt"
    if note.is_file() and note.read_bytes() == readme.encode():
        names = ["manifest.csv", *(plan.path for plan in plans)]
        if all((folder / name).is_file() for name in names):
            return True
        fault = "is a phantom set that lacks some of its files"
    elif note.is_file() and b"SYNTHETIC PHANTOMS" in note.read_bytes():
        fault = "holds phantoms of another count, seed, size or version"
    else:
        fault = "is not empty, and nothing in it is overwritten"
    raise UsageError(f"{folder}: {fault}. Name a new folder, or remove this one.")


def _rename(temporary: Path, folder: Path) -> None:
    temporary.chmod(0o755)  # mkdtemp's 0700 would lock colleagues out
    if folder.is_dir():  # empty, as checked; Windows renames onto no folder at all
        folder.rmdir()
    temporary.rename(folder)
    sync_folder(folder.parent)


def _write_phantom(folder: Path, plan: _Plan, seed: int, size_px: int) -> tuple[str, ...]:
    """Write one image, and return its row of the manifest."""
    rng = np.random.default_rng([seed, plan.index])
    phantom = draw_phantom(rng, target=plan.target, size_px=size_px)
    path = folder / plan.path
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(phantom.pixels).save(path, "PNG")
    boxes = json.dumps([_to_dict(box) for box in phantom.boxes], separators=(",", ":"))
    return (plan.path, str(plan.target), plan.patient_id, plan.split, boxes, "phantom")


def _to_dict(box: Region) -> dict[str, int]:
    return {name: int(getattr(box, name)) for name in ("x", "y", "width", "height")}


def _to_csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
