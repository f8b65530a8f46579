"""What an evaluation states about the run and the data beside its figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import Predictions
from pneumoscope.report.results import Confusion, DataRecord, EvaluatedSplit, Reported, RunRecord
from pneumoscope.study.measurement import beside_reported
from pneumoscope.training.recipe_hash import recipe_sha256

if TYPE_CHECKING:
    from pneumoscope.training.recipe import Recipe
    from pneumoscope.training.run_folder import RunFolder

PHANTOM_NOTICE = (
    "Synthetic phantoms, not radiographs: these figures say nothing about how pneumonia is found "
    "in patients."
)
# How a note on a run's training begins; a comparison repeats these, and not those of every run.
_OF_GENERATOR = "The generator of its added images learnt from"
_OF_TRAINING = "The training split of"
UNCALIBRATED = (
    "Probabilities are the sigmoid of the network's logit, not recalibrated: Brier score, "
    "calibration error and the reliability diagram show them as they are."
)


def run_record(run: "RunFolder", *, checkpoint_sha256: str) -> RunRecord:
    """Return what is known of a run; facts that its ``run.json`` lacks are None."""
    facts, recipe = run.facts, run.recipe
    data = facts["data"]
    known = (
        "best_epoch",
        "epochs_run",
        "selected_checkpoint",
        "n_parameters",
        "n_trainable",
        "precision",
        "channels_last",
        "started",
        "seconds",
        "images_per_s",
    )
    return RunRecord(
        folder=run.path.name,
        recipe=recipe.name,
        recipe_sha256=recipe_sha256(recipe),
        title=recipe.title,
        source_title=recipe.source.title,
        unsaid=list(recipe.source.unsaid),
        seed=facts["seed"],
        checkpoint=run.checkpoint_path.name,
        checkpoint_sha256=checkpoint_sha256,
        machine=facts.get("machine", {}),
        versions=facts.get("versions", {}),
        trained_on=data["name"],
        trained_on_origins=_origins(data),
        training_fingerprint=data.get("fingerprint"),
        n_training=data.get("n_training"),
        n_tuning=data.get("n_tuning"),
        **{name: facts.get(name) for name in known},
    )


def _origins(data: dict[str, Any]) -> dict[str, int]:
    """Return how many images of each origin trained and tuned; a control's are real ones again."""
    origins, added = data.get("origins", {}), data.get("added") or {}
    if added.get("kind") != "generated":
        return dict(origins)
    return dict(origins) | {"generated": origins.get("generated", 0) + added["count"]}


def samples_of(facts: dict[str, Any]) -> str:
    """Return the fingerprint of a run's generated images; a control's differ by seed on purpose.

    Args:
        facts: What run.json holds.

    Returns: "" where no generated image trained.
    """
    added = facts.get("data", {}).get("added") or {}
    return str(added.get("fingerprint")) if added.get("kind") == "generated" else ""


def data_record(
    dataset: Dataset,
    predictions: Predictions,
    *,
    split: EvaluatedSplit,
    rows: NDArray[np.int64],
    fingerprint: str,
) -> DataRecord:
    """Return what the figures rest on.

    Args:
        dataset: That was read.
        predictions: For those of the rows that could be read.
        split: The rows' role.
        rows: (N,) of the manifest, asked for.
        fingerprint: Of the rows.
    """
    table = dataset.manifest.table[rows]
    answered = set(predictions.path)
    target = predictions.target
    n_pneumonia = int(np.count_nonzero(target))
    return DataRecord(
        name=dataset.name,
        split=split,
        origin=" + ".join(sorted(table["origin"].unique().to_list())),
        fingerprint=fingerprint,
        n=target.size,
        n_pneumonia=n_pneumonia,
        n_normal=target.size - n_pneumonia,
        n_patients=int(np.unique(predictions.patient_id).size),
        prevalence=n_pneumonia / target.size,
        left_out=[path for path in table["path"].to_list() if path not in answered],
    )


def reported_record(recipe: "Recipe", predictions: Predictions) -> Reported:
    """Return what the recipe's source reported, each figure beside ours."""
    reported = recipe.reported
    if reported is None:
        return Reported(how="Its source reported nothing.", figures=[])
    return Reported(
        how=reported.how,
        figures=beside_reported(reported.figures, runs=[predictions]),
        confusion=Confusion(**reported.confusion) if len(reported.confusion) == 4 else None,
    )


def notice(data: DataRecord, run: RunRecord) -> str | None:
    """Return what must be known before any figure; None where nothing is unusual."""
    parts = []
    if "phantom" in data.origin:
        parts.append(PHANTOM_NOTICE)
    trained_on = set(run.trained_on_origins) - {"generated"}
    if trained_on and trained_on != set(data.origin.split(" + ")) - {"generated"}:
        parts.append(
            f"Trained on {' and '.join(sorted(trained_on))} images, measured on {data.origin} ones."
        )
    if data.split == "tuning":
        parts.append(
            "Tuning split: epoch and thresholds were chosen on these images, so the figures are "
            "better than on new ones."
        )
    elif data.split == "training":
        parts.append(
            "Training split: the network has learnt these images, so the figures say nothing "
            "about new ones."
        )
    return " ".join(parts) or None


def caveats(
    data: DataRecord,
    run: RunRecord,
    *,
    is_training_data_same: bool,
    added: dict[str, Any] | None = None,
) -> list[str]:
    """Return what a reader should know besides.

    Args:
        data: What was measured on.
        run: That was measured.
        is_training_data_same: The dataset's training and tuning images are the run's.
        added: What run.json says of images added to training; None where none were.
    """
    lines = [
        UNCALIBRATED,
        *training_caveats(data, run, is_training_data_same=is_training_data_same, added=added),
    ]
    if data.left_out:
        lines.append(
            f"{len(data.left_out):,} of {data.n + len(data.left_out):,} images could not be read "
            "and are left out."
        )
    return lines


def training_caveats(
    data: DataRecord,
    run: RunRecord,
    *,
    is_training_data_same: bool,
    added: dict[str, Any] | None,
) -> list[str]:
    """Return the caveats of what a run learnt from; see `caveats`."""
    lines = []
    if added and added.get("kind") == "generated":
        is_same = added.get("is_generator_on_same_training")
        if not is_same:
            lines.append(
                f"{_OF_GENERATOR} "
                + ("other radiographs than" if is_same is False else "what may be others than")
                + " the run's training split: whether patients that tune or test were among them "
                "can't be told from here."
            )
    if not is_training_data_same:
        lines.append(
            f"{_OF_TRAINING} {data.name} is not the one that this run learnt from "
            f"({run.trained_on}, as it was then): whether patients of this {data.split} split "
            "were trained on can't be told from here."
        )
    return lines


def of_training(lines: Sequence[str]) -> list[str]:
    """Return those of an evaluation's caveats that `training_caveats` made."""
    return [line for line in lines if line.startswith((_OF_GENERATOR, _OF_TRAINING))]
