"""Count what a dataset holds, without decoding its images."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.errors import RadiographError
from pneumoscope.core.files import json_ready
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import SPLITS, Manifest
from pneumoscope.imaging.quiet import quiet_warnings

_ROWS_PER_TASK = 256
# Files without a header that Pillow reads (DICOM) are decoded to be measured, which takes some ten
# milliseconds each: this many, evenly spread, show the spread of sizes.
_MAX_DECODED = 500
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """What one official split holds."""

    split: str
    n_images: int
    n_patients: int
    n_normal: int  # target 0
    n_pneumonia: int  # target 1
    n_unknown: int  # no target
    prevalence: float  # pneumonia among known targets, in [0, 1]; NaN without one
    n_by_subtype: dict[str, int]  # such as bacterial and viral; rows without one are left out
    n_by_origin: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSummary:
    """The spread of the images' sizes in pixels, each side on its own."""

    n_measured: int  # images whose size was read
    n_failed: int  # images that were looked at in vain
    width_px: tuple[int, int, int]  # smallest, median, largest
    height_px: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a dataset holds."""

    name: str
    n_images: int
    n_patients: int
    n_unknown: int
    n_by_origin: dict[str, int]
    splits: tuple[SplitSummary, ...]  # those that are there, in the order train, val, test
    sizes: SizeSummary | None  # None where sizes were not asked for, or none could be read

    def to_dict(self) -> dict[str, Any]:
        """Return the summary for JSON; a prevalence that is undefined becomes None."""
        ready: dict[str, Any] = json_ready(asdict(self))
        return ready


def summarise(
    dataset: Dataset, *, read_sizes: bool = True, max_workers: int | None = None
) -> Summary:
    """Count images, patients, targets, subtypes and origins, and measure the images.

    Args:
        dataset: N images.
        read_sizes: Open every file for the size that its header states. Of files that Pillow does
            not know (DICOM), 500 are decoded instead.
        max_workers: Threads that read headers; None for one a processor core.
    """
    table = dataset.manifest.table
    return Summary(
        name=dataset.name,
        n_images=len(dataset),
        n_patients=dataset.manifest.n_patients,
        n_unknown=table["target"].null_count(),
        n_by_origin=_count(table, "origin"),
        splits=_summarise_splits(dataset.manifest),
        sizes=_measure(dataset, max_workers=max_workers) if read_sizes else None,
    )


def _summarise_splits(manifest: Manifest) -> tuple[SplitSummary, ...]:
    summaries = []
    for split in SPLITS:
        table = manifest.table.filter(pl.col("split") == split)
        if table.is_empty():
            continue
        n_normal = int((table["target"] == 0).sum())
        n_pneumonia = int((table["target"] == 1).sum())
        n_known = n_normal + n_pneumonia
        summaries.append(
            SplitSummary(
                split=split,
                n_images=table.height,
                n_patients=table["patient_id"].n_unique(),
                n_normal=n_normal,
                n_pneumonia=n_pneumonia,
                n_unknown=table.height - n_known,
                prevalence=n_pneumonia / n_known if n_known else float("nan"),
                n_by_subtype=_count(table, "subtype"),
                n_by_origin=_count(table, "origin"),
            )
        )
    return tuple(summaries)


def _count(table: pl.DataFrame, column: str) -> dict[str, int]:
    """Return how often each value stands in a column, nulls left out, sorted by value."""
    counts = table[column].drop_nulls().cast(pl.String).value_counts().sort(column)
    return dict(counts.iter_rows())


def _measure(dataset: Dataset, *, max_workers: int | None) -> SizeSummary | None:
    sizes = _header_sizes(dataset, max_workers=max_workers)
    without_header = np.flatnonzero(sizes[:, 0] == 0)
    # Evenly spread over the rows, so that every split and site has its share.
    chosen = np.linspace(0, len(without_header), _MAX_DECODED, endpoint=False).astype(np.int64)
    decoded = without_header[np.unique(chosen)] if len(without_header) else without_header
    n_failed = 0
    for row in decoded.tolist():
        try:
            radiograph = dataset.read(row)
        except (RadiographError, MemoryError):
            n_failed += 1
        else:
            sizes[row] = radiograph.width_px, radiograph.height_px
    known = sizes[sizes[:, 0] > 0]
    if not len(known):
        return None
    # The lower median, so that it is the size of a real image also where N is even.
    low, middle, high = np.sort(known, axis=0)[[0, (len(known) - 1) // 2, -1]].tolist()
    return SizeSummary(
        n_measured=len(known),
        n_failed=n_failed,
        width_px=(low[0], middle[0], high[0]),
        height_px=(low[1], middle[1], high[1]),
    )


def _header_sizes(dataset: Dataset, *, max_workers: int | None) -> NDArray[np.int64]:
    """Return (N, 2), width and height in px; 0, 0 where the header cannot say."""
    sizes = np.zeros((len(dataset), 2), dtype=np.int64)

    def measure_some(rows: range) -> Iterator[tuple[int, int]]:
        return iter([_header_size(dataset, row) for row in rows])

    starts = range(0, len(dataset), _ROWS_PER_TASK)
    tasks = [range(i, min(i + _ROWS_PER_TASK, len(dataset))) for i in starts]
    with ThreadPoolExecutor(max_workers=max_workers or os.cpu_count()) as executor:
        for rows, found in zip(tasks, executor.map(measure_some, tasks), strict=True):
            sizes[rows.start : rows.stop] = list(found)
    return sizes


def _header_size(dataset: Dataset, row: int) -> tuple[int, int]:
    if not isinstance(dataset, FileDataset):
        try:
            radiograph = dataset.read(row)  # an array in memory: nothing is decoded
        except RadiographError:
            return 0, 0
        return radiograph.width_px, radiograph.height_px
    if not dataset.path(row).is_file():  # opening a pipe could wait for ever
        return 0, 0
    try:
        with quiet_warnings(), Image.open(dataset.path(row)) as image:
            width, height = image.size
            is_sideways = image.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
    except Exception:  # Pillow's parsers raise nearly anything on damaged headers
        return 0, 0
    return (height, width) if is_sideways else (width, height)
