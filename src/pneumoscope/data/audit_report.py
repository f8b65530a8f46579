"""What an audit found: typed, countable, and ready for JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["problem", "note"]
FindingKey = Literal[
    "unreadable",
    "duplicates_across_splits",
    "duplicates_with_two_targets",
    "straddling_patients",
    "mixed_origins",
    "exact_duplicates",
    "near_duplicates",
    "duplicates_across_patients",
    "constant",
    "inverted",
    "colour",
    "unknown_targets",
    "unknown_patients",
    "passed_over",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """One row of the manifest, with what a reader needs to find and judge it."""

    row: int
    path: str  # as the manifest has it
    patient_id: str
    split: str
    target: int | None  # 0, 1, or None where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An image that could not be decoded."""

    image: ImageRef
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """What lies among the images and is no row of the dataset."""

    path: str  # from the dataset's root
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Images that show one and the same picture."""

    kind: Literal["file", "pixels", "near"]  # same bytes; same decoded pixels; near-identical
    images: tuple[ImageRef, ...]  # two or more, in the manifest's order
    correlation: float  # of the least alike pair that links the group; 1 where exact

    @property
    def is_across_splits(self) -> bool:
        """True where the official splits share the picture."""
        return len({image.split for image in self.images}) > 1

    @property
    def has_two_targets(self) -> bool:
        """True where the picture is called both normal and pneumonia."""
        return len({image.target for image in self.images} - {None}) > 1

    @property
    def is_across_patients(self) -> bool:
        """True where the picture is filed under more than one patient."""
        return len({image.patient_id for image in self.images}) > 1

    def to_dict(self) -> dict[str, Any]:
        """Return the group for JSON, with what it implies."""
        return asdict(self) | {
            "is_across_splits": self.is_across_splits,
            "has_two_targets": self.has_two_targets,
            "is_across_patients": self.is_across_patients,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StraddlingPatient:
    """A patient with images in more than one official split."""

    patient_id: str
    splits: tuple[str, ...]
    n_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedOrigin:
    """A split whose images are not all of one origin, or a generated one outside train."""

    split: str
    n_by_origin: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of an audit: what was looked for, and how often it is there."""

    key: FindingKey
    severity: Severity
    title: str
    n: int  # 0: looked for, and not there
    unit: str  # what ``n`` counts
    meaning: str  # why it matters, and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """Everything that an audit found in a dataset."""

    name: str
    n_images: int
    n_patients: int
    origins: tuple[str, ...]  # that the dataset has, such as ("real",)
    seconds: float
    unreadable: tuple[Unreadable, ...]
    exact_duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: tuple[DuplicateGroup, ...]  # exact copies are not repeated here
    is_near_search_complete: bool
    straddling_patients: tuple[StraddlingPatient, ...]
    mixed_origins: tuple[MixedOrigin, ...]
    constant: tuple[ImageRef, ...]
    inverted: tuple[ImageRef, ...]
    colour: tuple[ImageRef, ...]
    n_unknown_targets: int
    n_unknown_patients: int
    passed_over: tuple[PassedOver, ...]

    @property
    def duplicates(self) -> tuple[DuplicateGroup, ...]:
        """Exact and near duplicates together."""
        return self.exact_duplicates + self.near_duplicates

    @property
    def duplicates_across_splits(self) -> tuple[DuplicateGroup, ...]:
        """Groups that the official splits share."""
        return tuple(group for group in self.duplicates if group.is_across_splits)

    @property
    def duplicates_with_two_targets(self) -> tuple[DuplicateGroup, ...]:
        """Groups whose images disagree about the target."""
        return tuple(group for group in self.duplicates if group.has_two_targets)

    @property
    def duplicates_across_patients(self) -> tuple[DuplicateGroup, ...]:
        """Groups whose images are filed under different patients."""
        return tuple(group for group in self.duplicates if group.is_across_patients)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every check, in order of weight, also those that found nothing."""
        counts: dict[FindingKey, int] = {
            "unreadable": len(self.unreadable),
            "duplicates_across_splits": len(self.duplicates_across_splits),
            "duplicates_with_two_targets": len(self.duplicates_with_two_targets),
            "straddling_patients": len(self.straddling_patients),
            "mixed_origins": len(self.mixed_origins),
            "exact_duplicates": len(self.exact_duplicates),
            "near_duplicates": len(self.near_duplicates),
            "duplicates_across_patients": len(self.duplicates_across_patients),
            "constant": len(self.constant),
            "inverted": len(self.inverted),
            "colour": len(self.colour),
            "unknown_targets": self.n_unknown_targets,
            "unknown_patients": self.n_unknown_patients,
            "passed_over": len(self.passed_over),
        }
        return tuple(
            Finding(
                key=key, severity=severity, title=title, n=counts[key], unit=unit, meaning=meaning
            )
            for key, severity, title, unit, meaning in _CHECKS
        )

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is there and must be mended before results on the dataset mean anything."""
        return tuple(f for f in self.findings if f.severity == "problem" and f.n)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is there and is worth a look."""
        return tuple(f for f in self.findings if f.severity == "note" and f.n)

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON: each finding with its count, and each list in full."""
        return {
            "name": self.name,
            "n_images": self.n_images,
            "n_patients": self.n_patients,
            "origins": list(self.origins),
            "seconds": self.seconds,
            "has_problems": bool(self.problems),
            "findings": [asdict(finding) for finding in self.findings],
            "unreadable": [asdict(item) for item in self.unreadable],
            "exact_duplicates": [group.to_dict() for group in self.exact_duplicates],
            "near_duplicates": [group.to_dict() for group in self.near_duplicates],
            "is_near_search_complete": self.is_near_search_complete,
            "straddling_patients": [asdict(item) for item in self.straddling_patients],
            "mixed_origins": [asdict(item) for item in self.mixed_origins],
            "constant": [asdict(image) for image in self.constant],
            "inverted": [asdict(image) for image in self.inverted],
            "colour": [asdict(image) for image in self.colour],
            "n_unknown_targets": self.n_unknown_targets,
            "n_unknown_patients": self.n_unknown_patients,
            "passed_over": [asdict(item) for item in self.passed_over],
        }


_CHECKS: tuple[tuple[FindingKey, Severity, str, str, str], ...] = (
    (
        "unreadable",
        "problem",
        "Unreadable images",
        "images",
        "They cannot be decoded and are left out of training and evaluation. Restore or remove "
        "them.",
    ),
    (
        "duplicates_across_splits",
        "problem",
        "Duplicates across splits",
        "groups",
        "A detector is tested on pictures that it was trained on. Keep each picture in one split.",
    ),
    (
        "duplicates_with_two_targets",
        "problem",
        "Duplicates with two targets",
        "groups",
        "The same picture is called normal and pneumonia. Find out which is right.",
    ),
    (
        "straddling_patients",
        "problem",
        "Patients in more than one split",
        "patients",
        "A detector can recognise the patient. Keep all of a patient's radiographs in one split.",
    ),
    (
        "mixed_origins",
        "problem",
        "Splits that mix origins",
        "splits",
        "A figure on mixed radiographs, phantoms and generated images means nothing. Give each "
        "its own dataset; generated images belong to train only.",
    ),
    (
        "exact_duplicates",
        "note",
        "Exact copies",
        "groups",
        "The same file, or the same decoded pixels, more than once. They count twice in every "
        "figure.",
    ),
    (
        "near_duplicates",
        "note",
        "Near duplicates",
        "groups",
        "The same picture re-encoded, resized or otherwise changed a little.",
    ),
    (
        "duplicates_across_patients",
        "note",
        "Duplicates under different patients",
        "groups",
        "A split by patient can put one copy on each side. Check whose radiograph it is.",
    ),
    (
        "constant",
        "note",
        "Constant images",
        "images",
        "Nearly one gray level: there is nothing to see.",
    ),
    (
        "inverted",
        "note",
        "Probably inverted images",
        "images",
        "Bone looks dark and air bright, as in a MONOCHROME1 image taken as it is. Invert them.",
    ),
    (
        "colour",
        "note",
        "Colour pictures",
        "images",
        "Their channels differ, so they are hardly plain radiographs: a screenshot or an overlay.",
    ),
    (
        "unknown_targets",
        "note",
        "Unknown targets",
        "images",
        "They are neither trained on nor evaluated.",
    ),
    (
        "unknown_patients",
        "note",
        "Unknown patients",
        "images",
        "Nothing tells whose they are, so each counts as a patient of its own: two radiographs of "
        "one patient can be on both sides of a split, and intervals come out too narrow. Give a "
        "manifest with patient_id.",
    ),
    (
        "passed_over",
        "note",
        "Passed over",
        "items",
        "Files among the images that are none, and folders that are not looked into. Move them "
        "away, or list the radiographs in a manifest.",
    ),
)
