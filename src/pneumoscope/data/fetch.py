"""Fetch the public datasets: the Kermany set, and PneumoniaMNIST, which was made from it."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pneumoscope.core.errors import DownloadError, MissingExtraError, StorageError, UsageError
from pneumoscope.core.files import open_atomically, storage_error, sync_folder, write_text
from pneumoscope.core.optional import import_extra
from pneumoscope.data.archive import unpack_safely
from pneumoscope.data.download import download
from pneumoscope.data.folders import IMAGE_SUFFIXES

_log = logging.getLogger(__name__)

Name = Literal[
    "kermany",
    "pneumoniamnist",
    "pneumoniamnist-64",
    "pneumoniamnist-128",
    "pneumoniamnist-224",
]

# Addresses and sums as the medmnist package lists them (3.0.2, medmnist/info.py).
_ZENODO = "https://zenodo.org/records/10519652/files"
_MEDMNIST = {
    "pneumoniamnist": ("pneumoniamnist.npz", "28209eda62fecd6e6a2d98b1501bb15f"),
    "pneumoniamnist-64": ("pneumoniamnist_64.npz", "8f4eceb4ccffa70c672198ea285246c6"),
    "pneumoniamnist-128": ("pneumoniamnist_128.npz", "05b46931834c231683c68f40c47b2971"),
    "pneumoniamnist-224": ("pneumoniamnist_224.npz", "d6a3c71de1b945ea11211b03746c1fe1"),
}

_KAGGLE = "paultimothymooney/chest-xray-pneumonia"
_KAGGLE_PAGE = f"https://www.kaggle.com/datasets/{_KAGGLE}"
_COUNTS = {
    "train/NORMAL": 1341,
    "train/PNEUMONIA": 3875,
    "val/NORMAL": 8,
    "val/PNEUMONIA": 8,
    "test/NORMAL": 234,
    "test/PNEUMONIA": 390,
}
# Kaggle's zip holds everything two or three times: 2.4 GB and some 24,000 members.
_MAX_BYTES = 10 * 10**9
_MAX_FILES = 100_000
_SEARCH_DEPTH = 3  # archive.zip holds chest_xray/, which holds chest_xray/ again

_KERMANY_CREDIT = """\
Chest radiographs of children of one to five years, Guangzhou Women and Children's Medical Center.

Kermany, Daniel; Zhang, Kang; Goldbaum, Michael (2018):
Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification.
Mendeley Data, V2, doi 10.17632/rscbjbr9sj.2
Licence: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/
"""
_ARRANGED_CREDIT = f"""
Arranged in train, val and test by Kaggle's dataset {_KAGGLE}
({_KAGGLE_PAGE}). The images are unchanged.
"""
_MEDMNIST_CREDIT = """
PneumoniaMNIST: cropped and resized from these by MedMNIST v2.
Yang, Shi, Wei, et al. (2023): MedMNIST v2, a large-scale lightweight benchmark for 2D and 3D
biomedical image classification. Scientific Data 10, 41, doi 10.1038/s41597-022-01721-8
Licence: CC BY 4.0
"""


def fetch(
    name: Name, folder: Path, *, archive: Path | None = None, base_url: str | None = None
) -> Path:
    """Fetch a public dataset, or arrange it from a file that was downloaded by hand.

    The Kermany set becomes ``folder/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/``, and
    PneumoniaMNIST one ``.npz`` file in ``folder``; a file with licence and attribution is written
    beside. A dataset that is there already, whole, isn't fetched again.

    Args:
        name: Which one; the numbers are PneumoniaMNIST's sizes in pixels (28 without one).
        folder: Where to.
        archive: Kaggle's zip of the Kermany set, or MedMNIST's ``.npz``, instead of a download.
        base_url: A mirror of MedMNIST's files, instead of Zenodo.

    Returns: The path to open as the dataset.

    Raises:
        DownloadError: it can't be had, or what came isn't this dataset.
        MissingExtraError: the Kermany set is downloaded with kagglehub, which isn't installed.
        StorageError: the disk is full, or something else lies where the dataset should be.
        UsageError: there is no such dataset, or it has no mirror.
    """
    if name not in get_args(Name):
        raise UsageError(f"{name!r}: no such dataset. There are {', '.join(get_args(Name))}.")
    if name != "kermany":
        return _fetch_medmnist(name, folder, archive=archive, base_url=base_url)
    if base_url is not None:
        raise UsageError("kermany: has no mirror. Give the zip that you downloaded as the archive.")
    return _fetch_kermany(folder, archive=archive)


def _fetch_medmnist(name: str, folder: Path, *, archive: Path | None, base_url: str | None) -> Path:
    file_name, md5 = _MEDMNIST[name]
    destination = folder / file_name
    if archive is not None:
        _copy_checked(archive, destination, md5=md5)
    else:
        address = f"{(base_url or _ZENODO).rstrip('/')}/{file_name}?download=1"
        download(address, destination, md5=md5)
    _write_credit(destination, _KERMANY_CREDIT + _MEDMNIST_CREDIT)
    return destination


def _copy_checked(source: Path, destination: Path, *, md5: str) -> None:
    try:
        with source.open("rb") as stream:
            found = hashlib.file_digest(
                stream, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise DownloadError(
            f"{source}: can't be read ({error.strerror}). Check the path."
        ) from error
    if found != md5:
        raise DownloadError(
            f"{source}: its MD5 is {found}, and MedMNIST's {destination.name} has {md5}. "
            "Download it again."
        )
    with source.open("rb") as stream, open_atomically(destination) as file:
        shutil.copyfileobj(stream, file)


def _fetch_kermany(folder: Path, *, archive: Path | None) -> Path:
    target = folder / "chest_xray"
    if target.exists():
        if wrong := _wrong_counts(target):
            raise StorageError(
                f"{target}: is there already, and is not the whole Kermany set ({wrong}). Move it "
                "away, or choose another folder."
            )
        _log.info("%s is there already, and whole", target)
    elif archive is not None:
        with _temporary_beside(target) as temporary:
            tree = unpack_safely(
                archive, temporary / "archive", max_bytes=_MAX_BYTES, max_files=_MAX_FILES
            )
            _arrange(tree, target, said_to_be=archive)
    else:
        tree = _download_from_kaggle()
        _arrange(tree, target, said_to_be=tree)
    _write_credit(target, _KERMANY_CREDIT + _ARRANGED_CREDIT)
    return target


def _download_from_kaggle() -> Path:
    by_hand = (
        f"Or download the zip by hand from {_KAGGLE_PAGE} and give it as the archive "
        "(`pneumoscope data fetch kermany --archive FILE`)."
    )
    try:
        kagglehub = import_extra("kagglehub", extra="train", purpose="Downloading from Kaggle")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error}\n{by_hand}") from error
    try:
        return Path(kagglehub.dataset_download(_KAGGLE))
    except Exception as error:  # its own errors, those of requests, and more: it lists none
        reason = str(error).strip() or type(error).__name__
        raise DownloadError(
            f"{_KAGGLE_PAGE}: kagglehub could not download it ({reason}). Check the network, and "
            f"run again. {by_hand}"
        ) from error


def _arrange(tree: Path, target: Path, *, said_to_be: Path) -> None:
    """Make the six class folders of what an archive held, and nothing else of it."""
    root = _find_root(tree)
    wrong = "it has no train, val and test with NORMAL and PNEUMONIA" if root is None else ""
    if root is None or (wrong := _wrong_counts(root)):
        raise DownloadError(
            f"{said_to_be}: is not the Kermany set as Kaggle has it: {wrong}. Get it from "
            f"{_KAGGLE_PAGE}, and delete what is incomplete."
        )
    with _temporary_beside(target) as temporary:
        whole = temporary / target.name
        for name in _COUNTS:
            (whole / name).mkdir(parents=True)
            for image in _images(root / name):
                _link_or_copy(image, whole / name / image.name)
            sync_folder(whole / name)
        os.replace(whole, target)
        sync_folder(target.parent)


def _find_root(tree: Path) -> Path | None:
    """Return the uppermost folder that has all six class folders."""
    level = [tree]
    for _ in range(_SEARCH_DEPTH):
        for folder in level:
            if all((folder / name).is_dir() for name in _COUNTS):
                return folder
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if child.is_dir() and child.name != "__MACOSX"
        ]
    return None


def _wrong_counts(root: Path) -> str:
    """Return what is wrong with the numbers of images, or ""."""
    found = {name: len(_images(root / name)) for name in _COUNTS}
    return ", ".join(
        f"{name} has {found[name]:,} images of {wanted:,}"
        for name, wanted in _COUNTS.items()
        if found[name] != wanted
    )


def _images(folder: Path) -> list[Path]:
    """Return the images directly in a folder; a Mac's hidden ``._*`` files are none."""
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # 1.2 GB that need not lie on the disk twice
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _write_credit(dataset: Path, credit: str) -> None:
    write_text(dataset.with_name(f"{dataset.stem}-ATTRIBUTION.txt"), credit)


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a folder on the target's file system that is gone afterwards, whatever happens."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise storage_error(target, error) from error
    try:
        yield temporary
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
