"""Who trains, who tunes, who tests: patient by patient, and the same again tomorrow."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.core.errors import SplitError, UsageError
from pneumoscope.data.manifest import Manifest

logger = logging.getLogger(__name__)

Role = Literal["training", "tuning", "test"]
_ROW = "row"
_KIND = ("target", "subtype")
_STRATUM = (*_KIND, "is_mixed")
_MIN_DRAWN = 2  # patients: a stratum that would give fewer is drawn with others like it
_ONLY_TRAIN = (
    "Every image in it is generated: such images may only train, beside radiographs "
    "(pneumoscope train RECIPE --data RADIOGRAPHS --added THIS), and nothing is measured on them."
)


@dataclass(frozen=True)
class Roles:
    """Row numbers of a manifest, ascending; every row is in exactly one of the four."""

    training: NDArray[np.int64]
    tuning: NDArray[np.int64]  # chooses epoch, temperature and operating point
    test: NDArray[np.int64]  # read once, by evaluation
    unused: NDArray[np.int64]  # unknown target, official val, or a patient of a later split


def assign_roles(
    manifest: Manifest,
    *,
    tuning_fraction: float = 0.1,
    tuning_from: Literal["train", "val"] = "train",
    salt: str = "0",
) -> Roles:
    """Give every image its role; all images of a patient that are used have the same one.

    Test is the official test. Tuning is a share of the official train, and the official val is
    left unused; or, with ``tuning_from="val"``, tuning is the official val. Where the dataset
    itself has a patient in two splits, the patient's images in the earlier role are left out.

    The share is drawn within each stratum (a patient's commonest target and subtype, and whether
    its images are mixed): patients are ordered by a hash of their id, and taken until the tuning
    images come nearest to ``tuning_fraction`` of the stratum's. Strata of one target of which the
    share would be less than two patients are drawn as one. So nothing depends on the order of the
    rows, and new patients move hardly any old one. Generated images of the official train only
    train, and the draw is the same without them.

    Args:
        manifest: The dataset.
        tuning_fraction: Share of the official train's images that tunes, between 0 and 1.
        tuning_from: The official split that the tuning images come from.
        salt: Another salt, another draw.

    Raises: UsageError: ``tuning_fraction`` is not between 0 and 1.
    """
    if not 0 < tuning_fraction < 1:
        raise UsageError(f"tuning_fraction is {tuning_fraction}; it must be between 0 and 1.")
    table = (
        manifest.table.select("patient_id", "split", "origin", *_KIND)
        .with_row_index(_ROW)
        .filter(pl.col("target").is_not_null())
    )
    train, val, test = (table.filter(split=split) for split in ("train", "val", "test"))
    if tuning_from == "val":
        tuning = _without_patients_of(val, test, what="tuning")
        training = _without_patients_of(train, pl.concat([tuning, test]), what="training")
    else:
        train = _without_patients_of(train, test, what="training")
        is_generated = train["origin"] == "generated"
        chosen = _draw_patients(train.filter(~is_generated), fraction=tuning_fraction, salt=salt)
        is_tuning = train["patient_id"].is_in(chosen)
        tuning, training = train.filter(is_tuning & ~is_generated), train.filter(~is_tuning)
    rows = [part[_ROW].to_numpy().astype(np.int64) for part in (training, tuning, test)]
    unused = np.setdiff1d(np.arange(len(manifest), dtype=np.int64), np.concatenate(rows))
    return Roles(training=rows[0], tuning=rows[1], test=rows[2], unused=unused)


def check_roles(manifest: Manifest, roles: Roles, *, needs: Iterable[Role]) -> None:
    """Refuse a split that nothing can be learnt from, or measured on.

    Args:
        manifest: The dataset.
        roles: What `assign_roles` made of it.
        needs: The roles that the caller is about to use.

    Raises: SplitError: a needed role is empty or has one class; its tuning or test images are of
        several origins; or there are generated images in tuning or test.
    """
    for role in needs:
        rows = manifest.table[getattr(roles, role)]
        n_normal = rows.filter(target=0).height
        n_pneumonia = rows.filter(target=1).height
        where = f"{manifest.name}: the {role} split"
        counts = f"{n_normal:,} normal and {n_pneumonia:,} pneumonia radiographs"
        if n_normal == 0 or n_pneumonia == 0:
            is_generated = (manifest.table["origin"] == "generated").all()
            advice = _ONLY_TRAIN if is_generated else _advice(role, manifest, roles)
            raise SplitError(f"{where} has {counts}; both are needed. {advice}")
        if role == "training":
            continue
        generated = rows.filter(origin="generated")
        if generated.height:
            raise SplitError(
                f"{where} ({counts}) has generated images ({_shares(rows)}): they may only train. "
                f"Move them to train, or take them out. {_name_first(generated)}"
            )
        refuse_mixed_origins(manifest, getattr(roles, role), what=f"the {role} split ({counts})")


def refuse_generated(manifest: Manifest, rows: NDArray[np.int64], *, what: str) -> None:
    """Refuse rows with generated images. Raises: SplitError: there are some.

    Args:
        manifest: The dataset.
        rows: (N,) that something is to be measured on.
        what: What the rows are called, such as "the training split".
    """
    generated = manifest.table[rows].filter(origin="generated")
    if generated.height:
        raise SplitError(
            f"{manifest.name}: {generated.height:,} of {len(rows):,} images of {what} are "
            "generated, so no figure measured on it would mean anything. Evaluate on a dataset "
            f"without them. {_name_first(generated)}"
        )


def refuse_mixed_origins(manifest: Manifest, rows: NDArray[np.int64], *, what: str) -> None:
    """Refuse rows of more than one origin. Raises: SplitError: there are several.

    Args:
        manifest: The dataset.
        rows: (N,) that something is to be measured on.
        what: What the rows are called, such as "the tuning split".
    """
    chosen = manifest.table[rows]
    if chosen["origin"].n_unique() > 1:
        raise SplitError(
            f"{manifest.name}: {what} mixes origins ({_shares(chosen)}), so no figure measured on "
            "it would mean anything. Keep one origin in it."
        )


def _name_first(generated: pl.DataFrame) -> str:
    """Say which generated image comes first, and how it is known: the table may call it real."""
    return (
        f"The first is {generated['path'][0]}: the dataset's table says so, or the note that "
        "`gan sample` wrote into the PNG."
    )


def _shares(rows: pl.DataFrame) -> str:
    """Return how many of the rows are of each origin, in words."""
    origins = rows.group_by("origin").len().sort("origin")
    return ", ".join(f"{n:,} {origin}" for origin, n in origins.iter_rows())


def _advice(role: Role, manifest: Manifest, roles: Roles) -> str:
    if role == "test":
        return "Add labelled images of both to test."
    unused = manifest.table[roles.unused].filter(pl.col("target").is_not_null())
    later = manifest.table[np.concatenate([roles.tuning, roles.test])].select("patient_id")
    taken = unused.filter(split="train").join(later, on="patient_id", how="semi")
    if taken.height:
        patient = taken["patient_id"].value_counts(sort=True)["patient_id"][0]
        return (
            f"{taken.height:,} images of train are left out because their patients are in a later "
            f"split too, {patient!r} most often. Check that patient_id tells patients apart."
        )
    if role == "tuning":
        return (
            "Add patients to train, raise tuning_fraction, or tune on the official val "
            "(split.tuning_from: val)."
        )
    return "Add labelled images of both to train."


def _without_patients_of(table: pl.DataFrame, later: pl.DataFrame, *, what: str) -> pl.DataFrame:
    """Return the rows whose patients are not in ``later``, and tell how many are left out."""
    kept = table.join(later, on="patient_id", how="anti", maintain_order="left")
    n_left_out = table.height - kept.height
    if n_left_out:
        logger.warning(
            "%d images are left out of %s: their patients are in a later split too",
            n_left_out,
            what,
        )
    return kept


def _draw_patients(table: pl.DataFrame, *, fraction: float, salt: str) -> list[str]:
    """Return the patients whose images tune."""
    patients = _strata_of_patients(table)
    # Hash the patient, not the image or the row: two images of one chest on two sides would let
    # the network recognise the child; and unlike a shuffle a hash leaves earlier patients in place
    # when new ones arrive.
    keys = pl.Series(
        [
            hashlib.sha256(f"{salt}:{patient}".encode()).digest()
            for patient in patients["patient_id"]
        ],
        dtype=pl.Binary,
    )
    # Of forty rare organisms with five patients each none would tune: each rounds to nobody.
    is_small = fraction * pl.len().over(_STRATUM) < _MIN_DRAWN
    patients = (
        patients.with_columns(keys.alias("key"), is_small.alias("is_small"))
        .with_columns(pl.when(~pl.col("is_small")).then(name).alias(name) for name in _STRATUM[1:])
        .sort("key")
    )
    chosen: list[str] = []
    for _, stratum in patients.group_by("is_small", *_STRATUM, maintain_order=True):
        n_taken = np.concatenate([[0], stratum["n_images"].to_numpy().cumsum()])
        n_patients = int(np.abs(n_taken - fraction * n_taken[-1]).argmin())
        chosen += stratum["patient_id"][:n_patients].to_list()
    return chosen


def _strata_of_patients(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row a patient: its commonest target and subtype (ties by name), its images.

    ``is_mixed`` tells whether those are under three quarters of its images. Two thirds of the
    Kermany set's pneumonia images are of patients with bacterial and viral ones; were these not
    drawn apart, tuning could have 3 percentage points more bacterial images than training has.
    """
    return (
        table.group_by("patient_id", *_KIND)
        .len()
        .sort(
            ["patient_id", "len", *_KIND],
            descending=[False, True, False, False],
            nulls_last=True,
        )
        .group_by("patient_id", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _KIND),
            (pl.col("len").first() < 0.75 * pl.col("len").sum()).alias("is_mixed"),
            pl.col("len").sum().alias("n_images"),
        )
    )
