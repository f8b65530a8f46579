"""Whose radiographs a dataset's DICOM files are, by their headers."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pneumoscope.data.manifest import NOBODY_WORDS

if TYPE_CHECKING:
    from pneumoscope.imaging.read_dicom import DicomFacts

# What stands in PatientID (0010,0020) where the patient's own number was taken out.
# ANON0017 is another thing: so anonymisers number patients.
_NOBODY = re.compile(
    "|".join((*NOBODY_WORDS, "de-identified", "none|null|n/?a", "[0x*-]+")),
    re.IGNORECASE,
)


def read_headers(root: Path, paths: Sequence[str]) -> "dict[str, DicomFacts]":
    """Return what DICOM files state of their patients, by path; nothing of files that are none.

    Where all files (two or more) have one PatientID, nobody's images are told apart by it: it was
    put in place of the real ones, as words such as ANONYMOUS are, and counts as not stated.

    Args:
        root: The folder that the paths start from.
        paths: Files that are, or are called, DICOM. Reading takes about a millisecond each.
    """
    if not paths:
        return {}
    # Here, not above: a folder of pictures need not wait for the DICOM library.
    from pneumoscope.imaging.read_dicom import read_dicom_facts

    found = {path: facts for path in paths if (facts := read_dicom_facts(root / path)) is not None}
    ids = {facts.patient_id for facts in found.values()}
    is_one = len(ids) == 1 and len(found) > 1
    return {
        path: replace(facts, patient_id=None)
        if is_one or _NOBODY.fullmatch(facts.patient_id or "")
        else facts
        for path, facts in found.items()
    }
