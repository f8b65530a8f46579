"""The note in every PNG that a generator drew: it is known by it where its manifest is lost."""

from pathlib import Path

GENERATED_NOTE = "Synthetic picture drawn by a DCGAN. Not a radiograph of a person."
_BEGINNING = 256  # bytes: signature and header take 33, and the note is in the chunk after them


def is_noted_as_generated(path: Path) -> bool:
    """Return True for a PNG that begins with the note; a file that can't be read has none."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb", buffering=0) as file:
            return GENERATED_NOTE.encode() in file.read(_BEGINNING)
    except OSError:
        return False  # decoding will say what is wrong with it
