"""Datasets as folders: ``{train,val,test}/{NORMAL,PNEUMONIA}/*``, the Kermany set's layout."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.dicom_headers import read_headers
from pneumoscope.data.kermany_names import parse_kermany_name
from pneumoscope.data.manifest import SPLITS, Manifest, make_manifest
from pneumoscope.imaging.first_bytes import is_dicom, is_picture, read_first_bytes

logger = logging.getLogger(__name__)

CLASSES = {"NORMAL": 0, "PNEUMONIA": 1}
# Also kinds that the reader refuses: it says so of each, rather than their vanishing in silence.
IMAGE_SUFFIXES = frozenset(
    (".jpeg", ".jpg", ".png", ".bmp", ".dcm", ".dicom", ".tif", ".tiff", ".gif", ".webp", ".pgm")
)

_DICOM_SUFFIXES = (".dcm", ".dicom")
_FOLDER = "a folder within a class folder, which is not looked into"
_NO_CLASS = "beside the class folders NORMAL and PNEUMONIA, so in neither class"
_NO_SPLIT = "a folder with classes that is called neither train, val nor test"
_NO_IMAGE = "no image: its first bytes are not those of one"
_NO_LOSS = ("thumbs.db", "desktop.ini", "dicomdir")  # beside images; in lower case
_COLUMNS = (
    *("path", "target", "patient_id", "split", "subtype"),
    *("view_position", "age_years", "sex"),
)


@dataclass(frozen=True, slots=True)
class _Image:
    """One image file of a class folder."""

    name: str
    split: str
    label: str
    path: str  # from the root, with /
    is_dicom: bool  # by its suffix, or else by its first bytes


def has_split_folders(root: Path) -> bool:
    """Return True where a folder of that kind (train, val or test) lies directly in ``root``."""
    return bool(_named_folders(root, SPLITS))


def list_folders(root: Path) -> Manifest:
    """List a dataset of split folders; no image is decoded.

    Folder names may be in either case, any of the splits may be missing, hidden files and
    ``__MACOSX`` are passed over. A file whose suffix is not that of an image is one where its first
    bytes say so. Whatever else lies in a class folder is passed over too, folders among it, and
    named in the manifest's ``passed_over``; so are images and folders beside the class folders, and
    folders with classes in them that are called like no split.

    A DICOM file's header tells its patient, view, age and sex. Otherwise patient and subtype are
    read from names as the Kermany set has them (``IM-0001-0001`` counts for normals of a set that
    has its other names, too, for viewers export under it), and are scoped by split where its
    numbering is: ``train/person1`` and ``test/person1`` are two children. Where neither tells the
    patient, the image counts as a patient of its own, which cannot keep two images of one patient
    together: a warning says of how many that is so. Give a manifest where the patients are known.

    Raises: DatasetError: there is no split folder, or one lacks a class or has no image in it.
    """
    splits = _named_folders(root, SPLITS)
    if not splits:
        raise DatasetError(f"{root}: has no folder train, val or test.")
    images: list[_Image] = []
    passed_over = _list_other_splits(root)
    for split, split_folder in splits.items():
        classes = _named_folders(root / split_folder, tuple(CLASSES))
        passed_over |= _list_beside_classes(root, split_folder)
        for label in CLASSES:
            folder = f"{split_folder}/{classes.get(label, label)}"
            if label not in classes:
                raise DatasetError(
                    f"{root / folder}: this folder is missing. Each of train, val and test that "
                    f"is there needs both, {' and '.join(CLASSES)}: add it, or remove the split."
                )
            names, others = _list_class(root / folder)
            images += [
                _Image(name, split, label, f"{folder}/{name}", has_header)
                for name, has_header in names.items()
            ]
            passed_over |= {f"{folder}/{name}": reason for name, reason in others.items()}
    return _make_manifest(root, images, passed_over)


def parse_name(name: str, *, split: str, label: str) -> tuple[str | None, str | None]:
    """Return the patient and the subtype that a file's name tells; None for what it doesn't.

    Args:
        name: The file's name, such as ``person1_bacteria_1.jpeg``.
        split: "train", "val" or "test": it scopes the patient.
        label: "NORMAL" or "PNEUMONIA": only pneumonia has a subtype.
    """
    found = parse_kermany_name(name)
    if found is None:
        return None, None
    patient = f"{split}/{found.patient}" if found.is_of_split else found.patient
    return patient, found.subtype if CLASSES[label] else None


def _is_sure(name: str) -> bool:
    found = parse_kermany_name(name)
    return found is not None and found.is_sure


def _make_manifest(root: Path, images: list[_Image], passed_over: dict[str, str]) -> Manifest:
    """Return the manifest; tell of unknown patients."""
    name = root.resolve().name
    headers = read_headers(root, [image.path for image in images if image.is_dicom])
    columns: dict[str, list[object]] = {key: [] for key in _COLUMNS}
    n_unknown = 0
    is_sure = [_is_sure(image.name) for image in images]
    is_kermany = any(is_sure)
    for image, tells_patient in zip(images, is_sure, strict=True):
        patient, subtype = parse_name(image.name, split=image.split, label=image.label)
        # Viewers call whatever they export IM-0001-0001, too: then it tells nothing.
        if not tells_patient and not (is_kermany and image.label == "NORMAL"):
            patient = None
        facts = headers.get(image.path)
        if facts is not None and facts.patient_id is not None:
            patient = facts.patient_id  # the hospital's own: of one patient in whatever split
        if patient is None:
            n_unknown += 1
            # The class and the suffix too: both classes of many sets are numbered 0001.png, ...
            patient = f"{image.split}/{image.label}/{image.name}"
        stated = (None,) * 3 if facts is None else (facts.view_position, facts.age_years, facts.sex)
        row = (image.path, CLASSES[image.label], patient, image.split, subtype, *stated)
        for key, value in zip(_COLUMNS, row, strict=True):
            columns[key].append(value)
    if n_unknown:
        logger.warning(
            "%s: the patients of %d of %d images are unknown. Each of these counts as a patient of "
            "its own, so two radiographs of one patient can be on both sides of a split. Give a "
            "manifest with the column patient_id where patients are known",
            name,
            n_unknown,
            len(images),
        )
    return make_manifest(
        columns, root=root, name=name, passed_over=passed_over, n_unknown_patients=n_unknown
    )


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


def _list_class(folder: Path) -> tuple[dict[str, bool], dict[str, str]]:
    """Return the folder's images, sorted, with whether each is DICOM; and why others are none.

    A known suffix decides without a stat call: a hundred thousand files are listed in a second.
    """
    images: dict[str, bool] = {}
    others: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = entry.name
            if _is_hidden(name) or name.lower() in _NO_LOSS:
                continue
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_SUFFIXES:
                images[name] = suffix in _DICOM_SUFFIXES
            elif entry.is_dir():
                others[name] = _FOLDER
            else:
                first = read_first_bytes(folder / name)
                if is_dicom(first) or is_picture(first):
                    images[name] = is_dicom(first)
                else:
                    others[name] = _NO_IMAGE
    if not images:
        raise DatasetError(
            f"{folder}: has no images"
            + (f" (passed over: {_count(others)})" if others else "")
            + ". Put JPEG, PNG, BMP, WebP or DICOM files directly in it, give a manifest "
            "(path,target,patient_id,split), or remove the split."
        )
    if others:
        logger.warning(
            "%s: passed over: %s. `pneumoscope data audit` names them", folder, _count(others)
        )
    bad = next((name for name in images if not _is_unicode(name)), None)
    if bad is not None:
        raise DatasetError(f"{folder}: the file name {ascii(bad)} is not UTF-8. Rename it.")
    return images, _printable(others)


def _list_other_splits(root: Path) -> dict[str, str]:
    """Return the folders that look like splits and are called otherwise, and tell of them."""
    others = {
        name: _NO_SPLIT
        for name in _visible(root)
        if name.lower() not in SPLITS and _has_classes(root / name)
    }
    if others:
        logger.warning(
            "%s: %d folder%s with classes %s called neither train, val nor test, and not read. "
            "Rename what is to count; `pneumoscope data audit` names them",
            root,
            len(others),
            "s" * (len(others) > 1),
            "are" if len(others) > 1 else "is",
        )
    return _printable(others)


def _list_beside_classes(root: Path, split_folder: str) -> dict[str, str]:
    """Return the images and folders of a split that are in neither class, and tell of them."""
    folder = root / split_folder
    others = {
        f"{split_folder}/{name}": _NO_CLASS
        for name in _visible(folder)
        if name.upper() not in CLASSES
        and (os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES or (folder / name).is_dir())
    }
    if others:
        s = "s" * (len(others) > 1)
        logger.warning(
            "%s: passed over beside its class folders: %d file%s or folder%s. "
            "`pneumoscope data audit` names them",
            folder,
            len(others),
            s,
            s,
        )
    return _printable(others)


def _has_classes(folder: Path) -> bool:
    """Return True for a folder with a class folder in it; False where it can't be looked into."""
    try:
        names = [name for name in os.listdir(folder) if name.upper() in CLASSES]
        return any((folder / name).is_dir() for name in names)
    except OSError:  # a file, or another's folder, such as a disk's lost+found
        return False


def _visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _printable(others: dict[str, str]) -> dict[str, str]:
    """Return the same with names that JSON can hold."""
    return {name if _is_unicode(name) else ascii(name): why for name, why in others.items()}


def _count(others: dict[str, str]) -> str:
    """Count what is passed over, without names: they may be those of patients."""
    n_folders = sum(reason == _FOLDER for reason in others.values())
    counts = {"other file": len(others) - n_folders, "folder": n_folders}
    return " and ".join(f"{n:,} {what}{'s' * (n > 1)}" for what, n in counts.items() if n)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
