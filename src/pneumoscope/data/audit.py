"""Look through a dataset for what makes a detector's figures wrong before it is trained."""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.core.errors import RadiographError
from pneumoscope.data.audit_report import (
    AuditReport,
    DuplicateGroup,
    ImageRef,
    MixedOrigin,
    PassedOver,
    StraddlingPatient,
    Unreadable,
)
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.near_duplicates import (
    THUMBNAIL_PX,
    find_near_pairs,
    group_pairs,
    make_thumbnail,
)
from pneumoscope.data.progress import progress_bar

# Standard deviation over the 32 x 32 thumbnail, in gray levels of 256: below it there is nothing to
# see. The flattest of the Kermany radiographs has 18.
CONSTANT_BELOW = 2.0
# See `midline_score`. The lowest of the 5,856 Kermany radiographs is +0.19 (+0.15 at 28 px): none
# of them is called inverted, and every one of them is once its gray levels are reversed.
INVERTED_BELOW = -0.1

_NO_MEMORY = "needs more memory to be decoded than is free: it may be whole"

_ROWS_PER_TASK = 64
_MIDLINE_WIDTH = 0.35  # of half the picture's width: spine, heart and the vessels beside them


@dataclass(frozen=True, slots=True)
class _Look:
    """What one decoding of an image leaves behind: about 1 KiB."""

    content: bytes  # SHA-256 of the stored bytes
    picture: bytes  # SHA-256 of the decoded pixels and their shape; empty where unreadable
    thumbnail: NDArray[np.uint8] | None  # (32, 32)
    is_colour: bool
    failure: str


def audit(
    dataset: Dataset, *, max_workers: int | None = None, show_progress: bool = True
) -> AuditReport:
    """Decode every image once and report what is wrong or odd.

    Args:
        dataset: N images. Memory grows by about 1 KiB an image, whatever the images' size.
        max_workers: Threads that decode; None for one a processor core.
        show_progress: Draw a bar on stderr, where that is a terminal.
    """
    started = time.monotonic()
    looks = list(_look_at_all(dataset, max_workers=max_workers, show_progress=show_progress))
    refs = _Refs(dataset.manifest)
    exact = _group_exact(looks)
    seen = _pick_distinct(looks)
    thumbnails = _stack(looks, seen)
    is_constant = thumbnails.std(axis=(1, 2)) < CONSTANT_BELOW
    is_inverted = (midline_score(thumbnails) < INVERTED_BELOW) & ~is_constant
    near, is_complete = _group_near(thumbnails[~is_constant], seen[~is_constant], refs)
    # A copy of an odd picture is as odd: the verdict on the picture holds for all its rows.
    constant = {looks[row].picture for row in seen[is_constant]}
    inverted = {looks[row].picture for row in seen[is_inverted]}
    table = dataset.manifest.table
    return AuditReport(
        name=dataset.name,
        n_images=len(dataset),
        n_patients=dataset.manifest.n_patients,
        origins=tuple(sorted(table["origin"].cast(pl.String).unique().to_list())),
        seconds=time.monotonic() - started,
        unreadable=tuple(
            Unreadable(image=refs[row], reason=look.failure)
            for row, look in enumerate(looks)
            if look.thumbnail is None
        ),
        exact_duplicates=tuple(
            DuplicateGroup(
                kind="file" if len({looks[row].content for row in rows}) == 1 else "pixels",
                images=refs.many(rows),
                correlation=1.0,
            )
            for rows in exact
        ),
        near_duplicates=near,
        is_near_search_complete=is_complete,
        straddling_patients=_find_straddling_patients(dataset.manifest),
        mixed_origins=_find_mixed_origins(dataset.manifest),
        constant=refs.many(r for r, look in enumerate(looks) if look.picture in constant),
        inverted=refs.many(r for r, look in enumerate(looks) if look.picture in inverted),
        colour=refs.many(r for r, look in enumerate(looks) if look.is_colour),
        n_unknown_targets=table["target"].null_count(),
        n_unknown_patients=dataset.manifest.n_unknown_patients,
        passed_over=tuple(
            PassedOver(path=path, reason=reason)
            for path, reason in dataset.manifest.passed_over.items()
        ),
    )


def midline_score(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how much brighter the middle of each picture is than its flanks.

    Spine, heart and vessels stop more X-rays than lungs and the air beside the body, so that a
    frontal chest radiograph shown the right way round (MONOCHROME2) has a bright midline. The score
    is the correlation with a bright upright band; reversed gray levels change its sign only.

    Args:
        thumbnails: (N, h, w) display values; a constant one scores 0.

    Returns: (N,) in [-1, 1].
    """
    columns = thumbnails.astype(np.float64).mean(axis=1)
    columns -= columns.mean(axis=1, keepdims=True)
    # Over the whole picture's contrast, not the columns' alone: a picture without any upright
    # structure must score near 0, not by chance.
    contrast = thumbnails.std(axis=(1, 2), dtype=np.float64)
    across = np.linspace(-1.0, 1.0, thumbnails.shape[2])
    band = np.exp(-((across / _MIDLINE_WIDTH) ** 2))
    band = (band - band.mean()) / band.std()
    score = (columns * band).mean(axis=1) / np.maximum(contrast, 1e-9)
    return np.asarray(score, dtype=np.float64)


class _Refs:
    """Rows of a manifest as `ImageRef`, made when asked for: a million need not all exist."""

    def __init__(self, manifest: Manifest) -> None:
        self._table = manifest.table.select("path", "patient_id", "split", "target")

    def __getitem__(self, row: int) -> ImageRef:
        path, patient_id, split, target = self._table.row(int(row))
        return ImageRef(row=int(row), path=path, patient_id=patient_id, split=split, target=target)

    def many(self, rows: Iterable[int]) -> tuple[ImageRef, ...]:
        """Return the rows in the order given."""
        return tuple(self[row] for row in rows)


def _look_at_all(
    dataset: Dataset, *, max_workers: int | None, show_progress: bool
) -> Iterator[_Look]:
    """Yield a look at every row, in order."""

    def look_at_some(rows: range) -> list[_Look]:
        return [_look_at(dataset, row) for row in rows]

    n = len(dataset)
    tasks = [range(i, min(i + _ROWS_PER_TASK, n)) for i in range(0, n, _ROWS_PER_TASK)]
    executor = ThreadPoolExecutor(max_workers=max_workers or os.cpu_count())
    try:
        with progress_bar("Looking at images", n, show=show_progress) as advance:
            for looks in executor.map(look_at_some, tasks):
                yield from looks
                advance(len(looks))
    finally:
        executor.shutdown(cancel_futures=True)


def _look_at(dataset: Dataset, row: int) -> _Look:
    try:
        content = hashlib.sha256(dataset.read_bytes(row)).digest()
        radiograph = dataset.read(row)
    except RadiographError as error:
        # The path stands beside the reason already.
        reason = str(error).removeprefix(f"{dataset.describe_row(row)}: ")
        return _Look(b"", b"", None, False, reason)
    except MemoryError:
        return _Look(b"", b"", None, False, _NO_MEMORY)
    picture = hashlib.sha256(repr(radiograph.pixels.shape).encode())
    picture.update(np.ascontiguousarray(radiograph.pixels).data)
    thumbnail = make_thumbnail(radiograph.pixels)
    return _Look(content, picture.digest(), thumbnail, radiograph.is_colour, "")


def _group_exact(looks: list[_Look]) -> list[list[int]]:
    """Return the rows of each picture that is there more than once."""
    # Equal bytes decode to equal pixels, so grouping by pixels finds both kinds.
    rows_of: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, look in enumerate(looks):
        if look.thumbnail is not None:
            rows_of[look.picture].append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def _pick_distinct(looks: list[_Look]) -> NDArray[np.int64]:
    """Return the first row of every different picture, ascending."""
    first_of: dict[bytes, int] = {}
    for row, look in enumerate(looks):
        if look.thumbnail is not None:
            first_of.setdefault(look.picture, row)
    return np.fromiter(first_of.values(), dtype=np.int64, count=len(first_of))


def _stack(looks: list[_Look], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return (len(rows), 32, 32)."""
    thumbnails = np.empty((len(rows), THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8)
    for index, row in enumerate(rows):
        thumbnails[index] = looks[row].thumbnail
    return thumbnails


def _group_near(
    thumbnails: NDArray[np.uint8], rows: NDArray[np.int64], refs: _Refs
) -> tuple[tuple[DuplicateGroup, ...], bool]:
    """Return the groups among different pictures, and whether all were found."""
    pairs = find_near_pairs(thumbnails)
    lowest: dict[int, float] = {}
    groups = group_pairs(pairs)
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    for first, correlation in zip(pairs.first.tolist(), pairs.correlation.tolist(), strict=True):
        number = group_of[first]
        lowest[number] = min(lowest.get(number, 1.0), correlation)
    found = tuple(
        DuplicateGroup(
            kind="near", images=refs.many(rows[list(group)]), correlation=round(lowest[number], 5)
        )
        for number, group in enumerate(groups)
    )
    return found, pairs.is_complete


def _find_straddling_patients(manifest: Manifest) -> tuple[StraddlingPatient, ...]:
    grouped = (
        manifest.table.group_by("patient_id")
        .agg(pl.col("split").unique().sort(), pl.len().alias("n_images"))
        .filter(pl.col("split").list.len() > 1)
        .sort("patient_id")
    )
    return tuple(
        StraddlingPatient(patient_id=patient, splits=tuple(splits), n_images=n)
        for patient, splits, n in grouped.iter_rows()
    )


def _find_mixed_origins(manifest: Manifest) -> tuple[MixedOrigin, ...]:
    """Return the val or test splits with more than one origin, or with generated images."""
    # In train, generated images beside real ones are a way to train; nothing is measured there.
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    grouped = manifest.table.group_by("split", "origin").agg(pl.len()).sort("split", "origin")
    for split, origin, n in grouped.iter_rows():
        counts[split][origin] = n
    return tuple(
        MixedOrigin(split=split, n_by_origin=n_by_origin)
        for split, n_by_origin in counts.items()
        if split != "train" and (len(n_by_origin) > 1 or "generated" in n_by_origin)
    )
