"""The audit as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pneumoscope.core.errors import RadiographError
from pneumoscope.core.files import write_text
from pneumoscope.data.audit_report import AuditReport, DuplicateGroup, Finding, ImageRef
from pneumoscope.data.dataset import Dataset
from pneumoscope.report.html import picture_uri, render
from pneumoscope.report.summary_figures import describe_origin

# The page stays small enough to mail; the JSON has every item.
MAX_GROUPS = 36  # of each kind
MAX_PICTURES_PER_GROUP = 6
MAX_PICTURES = 24  # of inverted, constant or colour images
MAX_LINES = 50  # of a table
_THUMBNAIL_PX = 144


@dataclass(frozen=True, slots=True)
class _Picture:
    """One thumbnail and the words under it."""

    uri: str  # "" where the image could not be read again
    path: str
    split: str
    label: str  # the target in words
    patient_id: str


@dataclass(frozen=True, slots=True)
class _Gallery:
    """Some pictures, and how many were left out."""

    pictures: tuple[_Picture, ...]
    n_more: int
    group: DuplicateGroup | None = None


@dataclass(frozen=True, slots=True)
class _Section:
    """One kind of finding with its pictures."""

    finding: Finding
    galleries: tuple[_Gallery, ...]
    n_more_groups: int


def write_audit_page(report: AuditReport, dataset: Dataset, path: Path) -> None:
    """Write one HTML file that shows what an audit found, with pictures.

    Args:
        report: Of this dataset.
        dataset: The pictures are read from it once more; only a few of each kind are shown.
        path: The file to write, atomically.

    Raises:
        MissingExtraError: jinja2 is not installed.
        StorageError: the file could not be written.
    """
    findings = {finding.key: finding for finding in report.findings}
    # Worst first: a group across splits must not be among those that are left out.
    exact = sorted(report.exact_duplicates, key=_weight)
    near = sorted(report.near_duplicates, key=lambda group: (*_weight(group), -group.correlation))
    sections = [
        _group_section(findings["exact_duplicates"], exact, dataset),
        _group_section(findings["near_duplicates"], near, dataset),
        _image_section(findings["inverted"], report.inverted, dataset),
        _image_section(findings["constant"], report.constant, dataset),
        _image_section(findings["colour"], report.colour, dataset),
    ]
    text = render(
        "audit.html.j2",
        report=report,
        synthetic=describe_origin(report.origins),
        splits=_count_splits(dataset),
        n_copies=sum(len(group.images) - 1 for group in report.exact_duplicates),
        sections=[section for section in sections if section.galleries],
        max_lines=MAX_LINES,
    )
    write_text(path, text)


def _weight(group: DuplicateGroup) -> tuple[bool, bool, bool]:
    """Return a sort key that puts the groups to be mended first."""
    return (not group.is_across_splits, not group.has_two_targets, not group.is_across_patients)


def _group_section(
    finding: Finding, groups: Sequence[DuplicateGroup], dataset: Dataset
) -> _Section:
    galleries = tuple(
        _gallery(group.images, dataset, n_shown=MAX_PICTURES_PER_GROUP, group=group)
        for group in groups[:MAX_GROUPS]
    )
    return _Section(finding, galleries, max(0, len(groups) - MAX_GROUPS))


def _image_section(finding: Finding, images: Sequence[ImageRef], dataset: Dataset) -> _Section:
    galleries = (_gallery(images, dataset, n_shown=MAX_PICTURES),) if images else ()
    return _Section(finding, galleries, 0)


def _gallery(
    images: Sequence[ImageRef],
    dataset: Dataset,
    *,
    n_shown: int,
    group: DuplicateGroup | None = None,
) -> _Gallery:
    pictures = tuple(_picture(image, dataset) for image in images[:n_shown])
    return _Gallery(pictures, len(images) - len(pictures), group)


def _picture(image: ImageRef, dataset: Dataset) -> _Picture:
    label = {0: "normal", 1: "pneumonia", None: "target unknown"}[image.target]
    try:
        uri = picture_uri(dataset.read(image.row).pixels, max_px=_THUMBNAIL_PX)
    except RadiographError:  # it was readable a moment ago; the page is still worth having
        uri = ""
    return _Picture(uri, image.path, image.split, label, image.patient_id)


def _count_splits(dataset: Dataset) -> list[tuple[str, int]]:
    """Return the splits in their order with their images."""
    counts = dataset.manifest.table.group_by("split").agg(pl.len()).sort("split")
    return [(str(split), int(n)) for split, n in counts.iter_rows()]
