"""Datasets as folders: ``{train,val,test}/{NORMAL,PNEUMONIA}/*``, the Kermany set's layout."""

import logging
import os
import re
from pathlib import Path

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.manifest import SPLITS, Manifest, make_manifest

logger = logging.getLogger(__name__)

CLASSES = {"NORMAL": 0, "PNEUMONIA": 1}
# Also kinds that the reader refuses: it says so of each, rather than their vanishing in silence.
IMAGE_SUFFIXES = frozenset(
    (".jpeg", ".jpg", ".png", ".bmp", ".dcm", ".dicom", ".tif", ".tiff", ".gif", ".webp", ".pgm")
)

# The Kermany set's names: person23_bacteria_77, person1_virus_6_1 (one file has a last part more);
# IM-0115-0001, IM-0501-0001-0002, NORMAL2-IM-1427-0001. What counts the images of one patient
# stands after the part that names the patient.
_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+(?:_\d+)*")
_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d+)-\d+(?:-\d+)*")
_SUBTYPES = {"bacteria": "bacterial", "virus": "viral"}


def has_split_folders(root: Path) -> bool:
    """Return True where a folder of that kind (train, val or test) lies directly in ``root``."""
    return bool(_named_folders(root, SPLITS))


def list_folders(root: Path) -> Manifest:
    """List a dataset of split folders; no image is decoded.

    Folder names may be in either case, any of the splits may be missing, hidden files and
    ``__MACOSX`` are passed over. Patients and subtypes are read from names as the Kermany set has
    them, and are scoped by split, as its numbering is: ``train/person1`` and ``test/person1`` are
    two children. Under any other naming each image counts as a patient of its own, which cannot
    keep two images of one patient together: give a manifest where the patients are known.

    Raises: DatasetError: there is no split folder, or one lacks a class or has no image in it.
    """
    splits = _named_folders(root, SPLITS)
    if not splits:
        raise DatasetError(f"{root}: has no folder train, val or test.")
    columns: dict[str, list[object]] = {
        key: [] for key in ("path", "target", "patient_id", "split", "subtype")
    }
    for split, split_folder in splits.items():
        classes = _named_folders(root / split_folder, tuple(CLASSES))
        for label, target in CLASSES.items():
            folder = f"{split_folder}/{classes.get(label, label)}"
            if label not in classes:
                raise DatasetError(
                    f"{root / folder}: this folder is missing. Each of train, val and test that "
                    f"is there needs both, {' and '.join(CLASSES)}: add it, or remove the split."
                )
            for name in _image_names(root / folder):
                patient, subtype = parse_name(name, split=split, label=label)
                columns["path"].append(f"{folder}/{name}")
                columns["target"].append(target)
                columns["patient_id"].append(patient)
                columns["split"].append(split)
                columns["subtype"].append(subtype)
    return make_manifest(columns, root=root, name=root.resolve().name)


def parse_name(name: str, *, split: str, label: str) -> tuple[str, str | None]:
    """Return the patient and the subtype (or None) that a file's name tells.

    Args:
        name: The file's name, such as ``person1_bacteria_1.jpeg``.
        split: "train", "val" or "test": it scopes the patient.
        label: "NORMAL" or "PNEUMONIA": only pneumonia has a subtype.
    """
    stem = name.rpartition(".")[0]
    if match := _PERSON.fullmatch(stem):
        return f"{split}/{match[1]}", _SUBTYPES[match[2]] if CLASSES[label] else None
    if match := _NORMAL.fullmatch(stem):
        return f"{split}/{match[1]}", None
    # The class and the suffix too: both classes of many sets are numbered 0001.png, 0002.png, ...
    return f"{split}/{label}/{name}", None


def _named_folders(root: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return wanted name -> name on disk, in the order of ``names``, ignoring case."""
    found: dict[str, str] = {}
    wanted = {name.lower(): name for name in names}
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = wanted.get(entry.name.lower())
            if name is None or not entry.is_dir():
                continue
            if name in found:
                raise DatasetError(
                    f"{root}: has both {found[name]} and {entry.name}. Merge them into one folder."
                )
            found[name] = entry.name
    return {name: found[name] for name in names if name in found}


def _image_names(folder: Path) -> list[str]:
    """Return the folder's images, sorted. Judged by name alone: no stat call a file."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    images = sorted(name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)
    n_others = len(names) - len(images)
    if n_others:
        logger.warning("%s: %d entries are not named as images; passed over", folder, n_others)
    if not images:
        raise DatasetError(
            f"{folder}: has no images"
            + (f" ({n_others} entries are not named as images)" if n_others else "")
            + f". Put files in it that end in {', '.join(sorted(IMAGE_SUFFIXES))}, "
            "or remove the split."
        )
    try:
        "\n".join(images).encode()
    except UnicodeEncodeError as error:
        bad = next(name for name in images if not _is_unicode(name))
        raise DatasetError(
            f"{folder}: the file name {ascii(bad)} is not UTF-8. Rename it."
        ) from error
    return images


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
