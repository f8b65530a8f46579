"""``pneumoscope predict``: an answer for each file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pneumoscope.detector.predict import Detector
    from pneumoscope.detector.prediction import Failure, Prediction

_MANY = 20  # files from which a progress bar is worth its flicker


class Format(StrEnum):
    """How the answers are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, folders (all levels), or patterns: JPEG, "
                       "PNG, BMP, WebP, DICOM."),
    ],
    bundle: Annotated[
        Path | None, typer.Option(help="The .onnx file; without it, the shipped one.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="jsonl and csv print each answer as it comes.")
    ] = Format.TABLE,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Folder for NAME.overlay.png; equal names get a number.",
                     file_okay=False),
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="Its name on the bundle's card; the first one without it.")
    ] = None,
    fast_decode: Annotated[
        bool,
        typer.Option("--fast-decode", help="Decode JPEGs at a smaller scale: quicker, and the "
                     "probability may move by 0.02."),
    ] = False,
) -> None:  # fmt: skip
    """Find pneumonia in radiographs. Research use only.

    Exit status: 0 every file answered, 1 some file failed (the rest answered), 2 wrong usage.
    """
    from pneumoscope.cli.bundle import open_or_refuse
    from pneumoscope.detector.pictures import find_pictures

    items = find_pictures(paths)
    opened = open_or_refuse(bundle)
    from pneumoscope.cli.answers import OverlayFolder, printer
    from pneumoscope.detector.card import RESEARCH_USE
    from pneumoscope.detector.predict import Detector
    from pneumoscope.detector.prediction import Failure, Prediction

    detector = Detector(opened)
    point = detector.operating_point(operating_point)  # wrong words are told before any work
    if output_format is not Format.TABLE:
        typer.echo(RESEARCH_USE, err=True)
    overlays = OverlayFolder(overlay) if overlay else None
    n_failed = 0
    # Kept now, because a progress bar sends what is printed later to its own stream.
    out = sys.stdout
    with (
        printer(output_format.value, out, card=detector.card, point=point) as show,
        _bar(len(items), is_streaming=output_format is not Format.TABLE) as advance,
    ):
        for answer in _answers(detector, items, point.name, fast_decode=fast_decode):
            if overlays and isinstance(answer, Prediction):
                answer = overlays.write(answer)
            n_failed += isinstance(answer, Failure)
            show(answer)
            advance(1)
    if overlays and overlays.n_written:
        typer.echo(f"{overlays.n_written:,} overlays in {overlay}", err=True)
    if n_failed:
        typer.echo(f"{n_failed:,} of {len(items):,} failed.", err=True)
        raise typer.Exit(1)


def _answers(
    detector: "Detector",
    items: "list[Path | Failure]",
    operating_point: str,
    *,
    fast_decode: bool,
) -> "Iterator[Prediction | Failure]":
    """Yield an answer for each item in order; what is a failure already stays one."""
    files = [item for item in items if isinstance(item, Path)]
    answers = detector.predict_many(files, operating_point=operating_point, fast_decode=fast_decode)
    for item in items:
        yield next(answers) if isinstance(item, Path) else item


@contextmanager
def _bar(n_files: int, *, is_streaming: bool) -> "Iterator[Callable[[int], None]]":
    """Yield what moves the progress bar; none where it is not seen, or in the way of answers."""
    is_busy = is_streaming and sys.stdout.isatty()
    if n_files < _MANY or is_busy or not sys.stderr.isatty():
        yield lambda n_steps: None
        return
    from pneumoscope.data.progress import progress_bar

    with progress_bar("Predicting", n_files) as advance:
        yield advance
