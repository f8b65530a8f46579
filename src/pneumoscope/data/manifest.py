"""The manifest: one typed table with a row an image, behind every kind of dataset."""

import json
import logging
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import polars as pl

from pneumoscope.core.errors import DatasetError, ManifestError
from pneumoscope.core.files import open_atomically
from pneumoscope.core.types import Origin

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
ORIGINS: tuple[str, ...] = get_args(Origin)
COLUMNS: dict[str, pl.DataType] = {
    "path": pl.String(),
    "target": pl.Int8(),
    "patient_id": pl.String(),
    "split": pl.Enum(SPLITS),
    "subtype": pl.String(),
    "view_position": pl.String(),
    "age_years": pl.Float32(),
    "sex": pl.String(),
    "boxes": pl.String(),
    "origin": pl.Enum(ORIGINS),
}
REQUIRED = ("path", "target", "patient_id", "split")

_SPLIT_SYNONYMS = {"training": "train", "tuning": "val", "validation": "val"}
_UNKNOWN = ("", "nan", "na", "n/a", "null", "none")  # how tables spell "not known", in lower case
# And what stands there for everybody whose number was taken out, which makes one patient of all.
NOBODY_WORDS = (
    "unknown",
    "anon",
    "anonymous",
    "anonymised",
    "anonymized",
    "deidentified",
    "removed",
)
_OLDEST_YEARS = 130
_LARGEST_PX = 1e7  # no radiograph is as wide
# Boxes as this package, pandas and most others write them. They need no JSON parser, which would
# take most of the time on a million rows.
_PX = r"-?(?:0|[1-9][0-9]{0,6})(?:\.[0-9]{1,20})?"
_SIDE_PX = r"[1-9][0-9]{0,6}(?:\.[0-9]{1,20})?"
_BOX = rf'\{{"x": ?{_PX}, ?"y": ?{_PX}, ?"width": ?{_SIDE_PX}, ?"height": ?{_SIDE_PX}\}}'
_PLAIN_BOXES = rf"^\[{_BOX}(?:, ?{_BOX})*\]$"
_ROW = "row"  # the row's number while the table is checked; no column of a manifest


@dataclass(frozen=True)
class Manifest:
    """A dataset's table.

    ``table`` always has every column of `COLUMNS`, in that order and with those types: ``path``
    (relative to ``root``, with ``/``), ``target`` (0, 1, or null where unknown), ``patient_id``
    (unique in the whole dataset), ``split`` (the dataset's own official one), ``boxes`` (JSON list
    of x, y, width and height in the file's own pixels), ``origin``, and what else is known.
    """

    table: pl.DataFrame
    root: Path  # the folder that the paths start from
    name: str  # what people call the dataset
    # What lies among the images and is in no row: path from ``root`` -> why.
    passed_over: Mapping[str, str] = field(default_factory=dict)
    n_unknown_patients: int = 0  # rows that count as a patient of their own, as nothing tells whose

    def __len__(self) -> int:
        """Return the number of images."""
        return self.table.height

    @property
    def n_images(self) -> int:
        """Rows of the table."""
        return self.table.height

    @property
    def n_patients(self) -> int:
        """Different patients in the table."""
        return self.table["patient_id"].n_unique()


def make_manifest(
    columns: Mapping[str, Sequence[Any]],
    *,
    root: Path,
    name: str,
    passed_over: Mapping[str, str] | None = None,
    n_unknown_patients: int = 0,
) -> Manifest:
    """Build a manifest from columns that are known to be right.

    Args:
        columns: N values for each of ``path``, ``target``, ``patient_id``, ``split`` and any other
            column of `COLUMNS`. Missing ones become null, a missing ``origin`` becomes "real".
        root: The folder that the paths start from.
        name: What people call the dataset.
        passed_over: See `Manifest`.
        n_unknown_patients: See `Manifest`.
    """
    table = pl.DataFrame({key: pl.Series(values) for key, values in columns.items()})
    return Manifest(_complete(table), root, name, passed_over or {}, n_unknown_patients)


def refuse_passed_over(manifest: Manifest) -> None:
    """Refuse a dataset among whose images lies what is in no row, as --strict asks for.

    Raises: DatasetError: there is some; names the first ten.
    """
    others = manifest.passed_over
    if others:
        listed = "".join(f"\n  {path}: {why}" for path, why in list(others.items())[:10])
        more = f"\n  and {len(others) - 10:,} more" if len(others) > 10 else ""
        raise DatasetError(
            f"{manifest.name}: {len(others):,} files or folders among its images are passed over; "
            f"--strict refuses them. Move them away, or give a manifest:{listed}{more}"
        )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from CSV or Parquet; its folder becomes the root.

    The columns ``path``, ``target`` (0, 1, or empty where unknown), ``patient_id`` and ``split``
    are required, the others of `COLUMNS` optional, and unknown ones are ignored. ``origin`` is real
    where it is missing or empty. No file that a row names is looked at, so a million rows load in
    seconds: that a PNG says it was generated is found when the dataset is made of them.

    Raises: ManifestError: the file cannot be read, has no rows, lacks a column, or a value in it
        is wrong: the message names the first such row (the header not counted).
    """
    raw = _load(path)
    if raw.is_empty():
        raise ManifestError(f"{path}: has no rows. Write one row an image, under the header.")
    table = raw.with_row_index(_ROW, offset=1)
    table = _check_paths(table, path)
    table = _check_target(table, path)
    table = _check_patient(table, path)
    table = _check_choice(table, path, column="split", choices=SPLITS, synonyms=_SPLIT_SYNONYMS)
    if "origin" in table.columns:
        table = table.with_columns(_text("origin").fill_null("real"))
        table = _check_choice(table, path, column="origin", choices=ORIGINS)
    if "age_years" in table.columns:
        table = _check_age(table, path)
    if "boxes" in table.columns:
        table = _check_boxes(table, path)
    plain = [name for name in ("subtype", "view_position", "sex") if name in table.columns]
    table = table.with_columns(_text(name) for name in plain)
    # As DICOM has them: a bundle compares the view of a picture with those that it learnt from.
    table = table.with_columns(
        pl.col(name).str.to_uppercase() for name in plain if name != "subtype"
    )
    name = path.resolve().parent.name if path.stem == "manifest" else path.stem
    return Manifest(_complete(table), path.parent, name)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as CSV, atomically, into its root (the paths in it start from there).

    Raises:
        ManifestError: ``path`` is not directly in the manifest's root.
        StorageError: the file could not be written.
    """
    if path.parent.resolve() != manifest.root.resolve():
        raise ManifestError(
            f"{path}: a manifest's paths start from its own folder, and these start from "
            f"{manifest.root}. Write it there."
        )
    with open_atomically(path) as file:
        manifest.table.write_csv(file)


def _load(path: Path) -> pl.DataFrame:
    """Return the known columns of the file; a CSV's values all as text."""
    try:
        if path.suffix.lower() == ".parquet":
            schema = pl.read_parquet_schema(path)
            _check_columns(list(schema), path)
            known = [name for name in COLUMNS if name in schema]
            odd = [name for name in known if schema[name].is_nested() or schema[name] == pl.Binary]
            if odd:
                raise ManifestError(
                    f"{path}: {odd[0]} holds lists, structs or raw bytes. Write text, with JSON "
                    "for boxes."
                )
            return pl.read_parquet(path, columns=known)
        found = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        _check_columns(found, path)
        known = [name for name in COLUMNS if name in found]
        return pl.read_csv(path, columns=known, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise ManifestError(
            f"{path}: not a table that can be read ({reason}). A manifest is a CSV (UTF-8, commas, "
            f"a header) or a Parquet file with the columns {', '.join(REQUIRED)}."
        ) from error


def _check_columns(found: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a required column; tell which ones are ignored."""
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise ManifestError(
            f"{path}: the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing; found {', '.join(found)}. "
            f"A manifest needs {', '.join(REQUIRED)}."
        )
    extra = [name for name in found if name not in COLUMNS]
    if extra:
        logger.info("%s: ignoring the columns %s", path.name, ", ".join(extra))


def _check_paths(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Return the table with clean relative paths, each once."""
    given = table["path"]
    table = table.with_columns(_text("path").str.replace_all("\\", "/", literal=True))
    column = pl.col("path")
    _refuse(
        table.filter(column.is_null() | column.str.contains(r"^/|^[A-Za-z]:|[\x00-\x1f]")),
        given,
        source,
        column="path",
        advice="Give each image's path relative to the manifest's folder.",
    )
    # Only a path with an empty, "." or ".." part needs the slow way.
    odd = table.select(column.str.contains(r"(^|/)\.{0,2}(/|$)").arg_true()).to_series()
    if len(odd):
        clean = [posixpath.normpath(text) for text in table["path"].gather(odd)]
        table = table.with_columns(table["path"].clone().scatter(odd, clean))
    _refuse(
        table.filter(column.str.contains(r"^\.\.?(/|$)")),
        given,
        source,
        column="path",
        advice="It leads out of the manifest's folder: move the image, or the manifest.",
    )
    _refuse(
        table.filter(~column.is_first_distinct()),
        given,
        source,
        column="path",
        advice="An earlier row has the same path: keep one of them.",
    )
    return table


def _check_target(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Return the table with ``target`` 0, 1 or null."""
    given = table["target"]
    if given.dtype.is_float():
        table = table.with_columns(pl.col("target").fill_nan(None))
    elif not (given.dtype.is_integer() or given.dtype == pl.Boolean):
        table = table.with_columns(_text("target"))
    number = pl.col("target").cast(pl.Float64, strict=False)
    _refuse(
        table.filter(pl.col("target").is_not_null() & ~number.is_in([0.0, 1.0]).fill_null(False)),
        given,
        source,
        column="target",
        advice="It must be 0 (normal), 1 (pneumonia), or empty where unknown.",
    )
    return table.with_columns(number.cast(pl.Int8))


def _check_patient(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Return the table with a patient on every row."""
    given = table["patient_id"]
    table = table.with_columns(_text("patient_id"))
    _refuse(
        table.filter(
            pl.col("patient_id").is_null()
            | pl.col("patient_id").str.to_lowercase().str.replace_all("-", "").is_in(NOBODY_WORDS)
        ),
        given,
        source,
        column="patient_id",
        advice="Without it one patient could be on both sides of a split. Where patients are "
        "unknown, give each image an id of its own.",
    )
    return table


def _check_choice(
    table: pl.DataFrame,
    source: Path,
    *,
    column: str,
    choices: Sequence[str],
    synonyms: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Return the table with a column that holds nothing but the choices."""
    given = table[column]
    value = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
    if synonyms:
        value = value.replace(synonyms)
    table = table.with_columns(value)
    _refuse(
        table.filter(~pl.col(column).is_in(choices).fill_null(False)),
        given,
        source,
        column=column,
        advice=f"It must be {', '.join(choices[:-1])} or {choices[-1]}.",
    )
    return table


def _check_age(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Return the table with ages in years, or null."""
    given = table["age_years"]
    if given.dtype == pl.String:
        table = table.with_columns(_text("age_years"))
    age = pl.col("age_years").cast(pl.Float32, strict=False).fill_nan(None)
    is_given = table["age_years"].is_not_null()
    if given.dtype.is_float():
        is_given &= given.is_not_nan()
    is_right = age.is_between(0, _OLDEST_YEARS).fill_null(False)
    _refuse(
        table.filter(is_given & table.select(~is_right).to_series()),
        given,
        source,
        column="age_years",
        advice=f"It must be a number of years from 0 to {_OLDEST_YEARS}, or empty.",
    )
    return table.with_columns(age)


def _check_boxes(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Return the table with boxes that are JSON, or null."""
    given = table["boxes"]
    table = table.with_columns(_text("boxes"))
    some = table.select(_ROW, "boxes").filter(~pl.col("boxes").str.contains(_PLAIN_BOXES))
    is_right = [_is_boxes(text) for text in some["boxes"]]
    _refuse(
        some.filter(~pl.Series(is_right, dtype=pl.Boolean)),
        given,
        source,
        column="boxes",
        advice='It must be JSON, [{"x": 10, "y": 20, "width": 30, "height": 40}, ...], in the '
        "file's own pixels, or empty.",
    )
    return table


def _is_boxes(text: str) -> bool:
    """Return True for a JSON list of objects with numbers as x, y, width and height."""
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(boxes, list) and all(
        isinstance(box, dict)
        and all(_is_number(box.get(key)) for key in ("x", "y", "width", "height"))
        and box["width"] > 0
        and box["height"] > 0
        for box in boxes
    )


def _is_number(value: object) -> bool:
    # Neither a bool, nor NaN or infinity, which Python's JSON lets through.
    return type(value) in (int, float) and abs(value) < _LARGEST_PX  # type: ignore[arg-type]


def _text(column: str) -> pl.Expr:
    """Return the column as trimmed text, null where it says that it is not known."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(text.str.to_lowercase().is_in(_UNKNOWN)).then(None).otherwise(text).alias(column)


def _refuse(
    wrong: pl.DataFrame, given: pl.Series, source: Path, *, column: str, advice: str
) -> None:
    """Raise for the first wrong row, if there is one, showing the value as it was given."""
    if wrong.is_empty():
        return
    row = wrong[_ROW][0]
    others = f" ({wrong.height - 1:,} more rows like it)" if wrong.height > 1 else ""
    value = given[row - 1]
    shown = "empty" if value is None else repr(value)
    shown = shown if len(shown) <= 120 else shown[:117] + "..."
    raise ManifestError(f"{source}, row {row}: {column} is {shown}{others}. {advice}")


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with every column of `COLUMNS`, in order and typed."""
    if "origin" not in table.columns:
        table = table.with_columns(pl.lit("real").alias("origin"))
    return table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in COLUMNS.items()
    )
