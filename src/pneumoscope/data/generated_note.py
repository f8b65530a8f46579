"""How a generator's pictures are known: the note in every PNG, and sample.json beside them."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from pneumoscope.data.manifest import Manifest

logger = logging.getLogger(__name__)

GENERATED_NOTE = "Synthetic picture drawn by a DCGAN. Not a radiograph of a person."
SAMPLE_FACTS = "sample.json"  # in which `gan sample` says what drew the pictures
_SUFFIX = ".png"
_BEGINNING = 256  # bytes: signature and header take 33, and the note is in the chunk after them


def is_noted_as_generated(path: Path) -> bool:
    """Return True for a PNG that begins with the note; a file that can't be read has none."""
    if path.suffix.lower() != _SUFFIX:
        return False
    try:
        if not path.is_file():  # opening a pipe could wait for ever
            return False
        with path.open("rb", buffering=0) as file:
            return GENERATED_NOTE.encode() in file.read(_BEGINNING)
    except (OSError, ValueError):
        return False  # decoding will say what is wrong with it


def mark_generated(manifest: Manifest) -> Manifest:
    """Return the manifest with ``origin`` generated wherever a PNG's own note says so.

    The note decides, whatever the table says: a sample that is called real, or of which nothing is
    said, would be tuned or measured on. Only the first bytes of PNGs are read, 20 µs a file.
    """
    table = manifest.table.with_row_index("row")
    pngs = table.filter(
        pl.col("origin") != "generated",
        pl.col("path").str.to_lowercase().str.ends_with(_SUFFIX),
    )
    noted = [
        row
        for row, path in pngs.select("row", "path").iter_rows()
        if is_noted_as_generated(manifest.root / path)
    ]
    if not noted:
        return manifest
    logger.warning(
        "%s: %d images count as generated: their PNGs say that `gan sample` drew them",
        manifest.name,
        len(noted),
    )
    origin = manifest.table["origin"].clone().scatter(noted, "generated")
    return replace(manifest, table=manifest.table.with_columns(origin))


def read_sample_facts(path: Path) -> dict[str, Any] | None:
    """Return what a sample.json says of the generator; None where it says nothing."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None
