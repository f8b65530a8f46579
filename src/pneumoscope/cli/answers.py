"""Print predictions as a table, JSON, JSON lines or CSV, and write their overlays."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TextIO

import typer

from pneumoscope.cli.csv_text import csv_line
from pneumoscope.core.errors import RadiographError
from pneumoscope.core.files import write_bytes
from pneumoscope.core.types import OperatingPoint
from pneumoscope.detector.card import RESEARCH_USE, BundleCard
from pneumoscope.detector.pictures import OVERLAY_SUFFIX, SUFFIXES
from pneumoscope.detector.prediction import Failure, Prediction
from pneumoscope.detector.warnings_of_input import code_of

_MAX_STEM_BYTES: Final = 180

Answer = Prediction | Failure
Show = Callable[[Answer], None]

CSV_COLUMNS: Final = (
    "path",
    "sha256",
    "probability",
    "logit",
    "label",
    "operating_point",
    "threshold",
    "regions",
    "warnings",
    "bundle_name",
    "bundle_version",
    "bundle_sha256",
    "error_type",
    "error_message",
)
_MAX_WARNINGS = 10  # different sentences below a table


@contextmanager
def printer(
    output_format: Literal["table", "json", "jsonl", "csv"],
    out: TextIO,
    *,
    card: BundleCard,
    point: OperatingPoint,
) -> Iterator[Show]:
    """Yield what prints one answer; a table comes when the last one is in."""
    if output_format == "table":
        with _table(out, card, point) as show:
            yield show
    elif output_format == "json":
        with _json_array(out) as show:
            yield show
    elif output_format == "jsonl":
        yield lambda answer: _echo(json.dumps(answer.to_dict()), out)
    else:
        _echo(csv_line(CSV_COLUMNS), out)
        yield lambda answer: _echo(csv_line(_csv_cells(answer)), out)


class OverlayFolder:
    """Where overlays are written, each under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_written = 0
        self._taken: set[str] = set()

    def write(self, prediction: Prediction) -> Answer:
        """Write ``NAME.overlay.png``, NAME being the file's name without its suffix.

        A second ``NAME`` becomes ``NAME-2``. Overlays of an earlier run are replaced.

        Returns: The prediction, or a failure where the file has changed since it was answered
            or memory ran out.
        Raises: StorageError: the folder cannot be written.
        """
        try:
            picture = prediction.overlay()
        except RadiographError as error:
            return Failure(path=prediction.path, type=type(error).__name__, message=str(error))
        except MemoryError:
            advice = "needs more memory for its overlay than is free. Scale it down"
            message = f"{prediction.path}: {advice}."
            return Failure(path=prediction.path, type="MemoryError", message=message)
        name = Path(prediction.path).name
        # Only a known suffix: a DICOM file may be named by its UID, which is full of dots.
        suffix = next((each for each in SUFFIXES if name.lower().endswith(each)), "")
        stem = _shortened(name[: len(name) - len(suffix)])
        free, n = stem, 1
        while free.lower() in self._taken:  # lower, as some file systems cannot tell a from A
            n += 1
            free = f"{stem}-{n}"
        self._taken.add(free.lower())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=3)
        write_bytes(self.folder / f"{free}{OVERLAY_SUFFIX}", buffer.getvalue())
        self.n_written += 1
        return prediction


def _shortened(stem: str) -> str:
    """Return a stem that leaves room for the names that are made of it: 255 bytes hold a name."""
    encoded = os.fsencode(stem)
    if len(encoded) <= _MAX_STEM_BYTES:
        return stem
    return encoded[:_MAX_STEM_BYTES].decode("utf-8", errors="ignore")


@contextmanager
def _json_array(out: TextIO) -> Iterator[Show]:
    """Print one array, an object a line, without ever holding it whole."""
    before = "["

    def show(answer: Answer) -> None:
        nonlocal before
        _echo(f"{before}\n{json.dumps(answer.to_dict())}", out, newline=False)
        before = ","

    yield show
    _echo("\n]" if before == "," else "[]", out)


@contextmanager
def _table(out: TextIO, card: BundleCard, point: OperatingPoint) -> Iterator[Show]:
    rows: list[tuple[str, str, str, str]] = []
    sentences: Counter[str] = Counter()
    failures: list[str] = []

    def show(answer: Answer) -> None:
        if isinstance(answer, Failure):
            failures.append(f"{answer.type}: {answer.message}")
            rows.append((answer.path, "failed", "", ""))
            return
        sentences.update(answer.warnings)
        codes = ", ".join(map(code_of, answer.warnings))
        rows.append((answer.path, answer.label, f"{answer.probability:.3f}", codes))

    yield show
    width = max(len(row[0]) for row in [("path",), *rows])
    for row in [("path", "label", "probability", "warnings"), *rows]:
        _echo(f"{row[0]:{width}}  {row[1]:9}  {row[2]:>11}  {row[3]}".rstrip(), out)
    _echo("", out)
    for failure in failures:
        _echo(failure, out)
    for sentence, n in sentences.most_common(_MAX_WARNINGS):
        _echo(f"{n:,} x {sentence}", out)
    if len(sentences) > _MAX_WARNINGS:
        _echo(f"and {len(sentences) - _MAX_WARNINGS:,} more (--format json has all)", out)
    _echo(
        f"{card.name} {card.version}, operating point {point.name}: "
        f"pneumonia at {point.threshold:.3f} or above.",
        out,
    )
    _echo(RESEARCH_USE, out)


def _csv_cells(answer: Answer) -> list[object]:
    value = answer.to_dict()
    if isinstance(answer, Failure):
        empty = [""] * (len(CSV_COLUMNS) - 3)
        return [answer.path, *empty, answer.type, answer.message]
    return [
        *(value[name] for name in ("path", "sha256", "probability", "logit", "label")),
        *value["operating_point"].values(),
        json.dumps(value["regions"]),
        " ".join(answer.warnings),
        *value["bundle"].values(),
        "",
        "",
    ]


def _echo(text: str, out: TextIO, *, newline: bool = True) -> None:
    """Print, whatever bytes a file's name is made of and whatever the terminal can show."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    typer.echo(shown, file=out, nl=newline)
