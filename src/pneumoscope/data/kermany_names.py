"""What a file's name tells in the Kermany set: the child and the subtype."""

import re
from dataclasses import dataclass

# What counts the images of one patient stands after the part that names the patient.
# Kaggle's copy (Mendeley V2): person23_bacteria_77, person1_virus_6_1 (one file has a last part
# more); IM-0115-0001, IM-0501-0001-0002, NORMAL2-IM-1427-0001.
_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+(?:_\d+)*", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d+)-\d+(?:-\d+)*", re.IGNORECASE)
# Mendeley V3: BACTERIA-1008087-0001 is (disease)-(randomised patient)-(image of this patient).
_NUMBERED = re.compile(r"(NORMAL|BACTERIA|VIRUS)-(\d+)-\d+", re.IGNORECASE)
_COPY = re.compile(r"(?: ?\(\d+\)| - copy(?: \(\d+\))?| copy(?: \d+)?)$", re.IGNORECASE)
_SUBTYPES = {"bacteria": "bacterial", "virus": "viral"}
_MEDMNIST = re.compile(r"(?:.*/)?pneumoniamnist\w*\.npz#.*", re.IGNORECASE)  # made of the set


@dataclass(frozen=True, slots=True, kw_only=True)
class KermanyName:
    """What a name tells."""

    patient: str  # in the set's own case
    is_of_split: bool  # V2 numbers train's and test's children apart: equal names are two children
    subtype: str | None  # bacterial or viral; None where the name has neither word
    is_sure: bool  # IM-0001-0001 is also what viewers call the files that they export


def parse_kermany_name(name: str) -> KermanyName | None:
    """Return what a file's name tells; None where it is none of the Kermany set's names.

    Args:
        name: Such as ``person1_bacteria_1.jpeg``, in any case, also as file managers call a copy:
            ``person1_bacteria_1 (1).jpeg``.
    """
    stem = _COPY.sub("", name.rpartition(".")[0] or name)
    if match := _PERSON.fullmatch(stem):
        patient, word, is_of_split = match[1].lower(), match[2], True
    elif match := _NORMAL.fullmatch(stem):
        patient, word, is_of_split = match[1].upper(), "", True
    elif match := _NUMBERED.fullmatch(stem):
        patient, word, is_of_split = match[2], match[1], False
    else:
        return None
    return KermanyName(
        patient=patient,
        is_of_split=is_of_split,
        subtype=_SUBTYPES.get(word.lower()),
        is_sure=bool(word),
    )


def is_of_kermany(path: str, target: int | None) -> bool:
    """Return True for a radiograph of the set, or of PneumoniaMNIST, by its name and class.

    Args:
        path: As a manifest has it.
        target: 0 normal, 1 pneumonia. ``IM-0001-0001`` alone says little, so it counts for normals
            only: a set whose pneumonia is called otherwise is another one.
    """
    if _MEDMNIST.fullmatch(path):
        return True
    found = parse_kermany_name(path.rpartition("/")[2])
    return found is not None and (found.is_sure or target == 0)
