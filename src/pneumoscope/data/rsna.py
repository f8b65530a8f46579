"""The RSNA Pneumonia Detection Challenge (2018): DICOM files and CSV tables with boxes."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.manifest import Manifest, make_manifest

IMAGES = "stage_2_train_images"
LABELS = "stage_2_train_labels.csv"
CLASS_INFO = "stage_2_detailed_class_info.csv"
TEST_SHARE = 0.15

_UNPACK = (
    f"An RSNA folder holds {IMAGES}/, {LABELS} and {CLASS_INFO}: "
    "unpack the challenge's archives there."
)
_BOX = ("x", "y", "width", "height")
_SUBTYPES = {
    "normal": "normal",
    "no lung opacity / not normal": "not_normal",
    "lung opacity": "opacity",
}


def is_rsna_folder(root: Path) -> bool:
    """Return True where any of the challenge's own names is there."""
    return any((root / name).exists() for name in (LABELS, IMAGES, CLASS_INFO))


def list_rsna(root: Path) -> Manifest:
    """List the challenge's labelled images; no DICOM file is opened.

    Target 1 is a lung opacity suspicious for pneumonia, with its boxes; the subtype is the detailed
    class ("normal", "not_normal" or "opacity"). The challenge's test images have no public labels,
    so they are passed over, and a hash of the patient's id puts 15 % of the labelled patients into
    test and the others into train: the same ones every time. View, age and sex stand in the files.

    Raises: DatasetError: a table or the image folder is missing or damaged, a value is wrong, or a
        labelled image is missing.

    Source: Shih et al. (2019), Radiology: Artificial Intelligence 1(1), e180041.
    """
    if not (root / IMAGES).is_dir():
        raise DatasetError(f"{root / IMAGES}: this folder is missing. {_UNPACK}")
    labels = _read_table(root / LABELS, columns=("patientId", *_BOX, "Target"))
    classes = _read_table(root / CLASS_INFO, columns=("patientId", "class"))
    patients = _merge_labels(labels, root / LABELS)
    patients = _add_subtypes(patients, classes, root / CLASS_INFO)
    _check_files(patients, root)
    ids = patients["patientId"].to_list()
    columns = {
        "path": [f"{IMAGES}/{patient}.dcm" for patient in ids],
        "target": patients["Target"].to_list(),
        "patient_id": ids,
        "split": [split_of(patient) for patient in ids],
        "subtype": patients["subtype"].to_list(),
        "boxes": patients["boxes"].to_list(),
    }
    return make_manifest(columns, root=root, name=root.resolve().name)


def split_of(patient_id: str) -> str:
    """Return "train" or, for about 15 % of patients, "test"; it depends on the id alone."""
    digest = hashlib.sha256(f"rsna:{patient_id}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64 else "train"


def _read_table(path: Path, *, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return the columns of a CSV as text."""
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = "missing" if not path.exists() else "not a CSV table"
        raise DatasetError(f"{path}: {reason}. {_UNPACK}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DatasetError(f"{path}: lacks the columns {', '.join(missing)}. {_UNPACK}")
    if table.is_empty():
        raise DatasetError(f"{path}: has no rows. {_UNPACK}")
    return table.select(columns)


def _merge_labels(labels: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return one row a patient, in order of id: ``patientId``, ``Target`` and ``boxes``."""
    # A path is made of the id, so it must not have a slash, nor dots that lead elsewhere.
    bad_id = ~pl.col("patientId").str.contains(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
    box = [pl.col(name).cast(pl.Float64, strict=False) for name in _BOX]
    has_box = pl.all_horizontal(
        *(number.is_finite().fill_null(False) for number in box),
        *((side > 0).fill_null(False) for side in box[2:]),
    )
    wrong = labels.with_row_index("row", offset=1).filter(
        bad_id.fill_null(True)
        | ~pl.col("Target").is_in(["0", "1"]).fill_null(False)
        | ((pl.col("Target") == "1") & ~has_box)
    )
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise DatasetError(
            f"{path}, row {row['row']}: patientId {row['patientId']!r} with Target "
            f"{row['Target']!r} and box {[row[name] for name in _BOX]} ({wrong.height - 1:,} more "
            "rows like it). Each row needs an id, a Target of 0 or 1, and a box where it is 1."
        )
    merged = (
        labels.with_columns(*box, pl.col("Target").cast(pl.Int8))
        .group_by("patientId", maintain_order=True)
        .agg(pl.col("Target").n_unique().alias("n_targets"), pl.col("Target").max(), *_BOX)
        .sort("patientId")
    )
    torn = merged.filter(pl.col("n_targets") > 1)
    if not torn.is_empty():
        raise DatasetError(
            f"{path}: {torn['patientId'][0]} has rows with Target 0 and with Target 1 "
            f"({torn.height - 1:,} more patients like it). Keep the right ones."
        )
    boxes = [
        _boxes_json(zip(*(row[name] for name in _BOX), strict=True)) if row["Target"] else None
        for row in merged.iter_rows(named=True)
    ]
    return merged.select("patientId", "Target").with_columns(pl.Series("boxes", boxes, pl.String))


def _boxes_json(boxes: Iterable[tuple[float, ...]]) -> str:
    return json.dumps([dict(zip(_BOX, box, strict=True)) for box in boxes])


def _add_subtypes(patients: pl.DataFrame, classes: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return the patients with their ``subtype``."""
    token = pl.col("class").str.strip_chars().str.to_lowercase()
    classes = classes.unique("patientId", keep="first", maintain_order=True)
    classes = classes.with_columns(token.replace_strict(_SUBTYPES, default=None).alias("subtype"))
    unknown = classes.filter(pl.col("subtype").is_null())
    if not unknown.is_empty():
        raise DatasetError(
            f"{path}: {unknown['patientId'][0]} has the class {unknown['class'][0]!r} "
            f"({unknown.height - 1:,} more like it); known are {', '.join(_SUBTYPES)}."
        )
    return patients.join(classes, on="patientId", how="left", maintain_order="left")


def _check_files(patients: pl.DataFrame, root: Path) -> None:
    """Refuse a set that lacks a labelled image. One listing, no stat call a file."""
    with os.scandir(root / IMAGES) as entries:
        found = {entry.name for entry in entries}
    missing = [name for name in patients["patientId"] if f"{name}.dcm" not in found]
    if missing:
        raise DatasetError(
            f"{root / IMAGES / missing[0]}.dcm: has a label but is missing "
            f"({len(missing) - 1:,} more). {_UNPACK}"
        )
