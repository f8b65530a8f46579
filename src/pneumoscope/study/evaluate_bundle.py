"""Measure a bundle on a test split, through the file alone, as any user of it would meet it.

The probabilities are the calibrated ones, and the operating points those of the bundle's card:
nothing is chosen here. What only ranks goes by the logit, which the calibrated probability rises
with: in float32 that one rounds to 1 from log odds of about 17 on.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import DatasetError, RadiographError
from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import refuse_passed_over
from pneumoscope.data.predictions import Predictions, make_predictions
from pneumoscope.data.progress import progress_bar
from pneumoscope.data.splits import assign_roles, check_roles
from pneumoscope.detector.bundle import Bundle
from pneumoscope.detector.card import BundleCard, PointCard, TrainingDataCard
from pneumoscope.metrics.measure import measure_at, measure_scores
from pneumoscope.report.results import (
    Confusion,
    DataRecord,
    Evaluation,
    FigureRecord,
    PointResult,
    Reported,
    RunRecord,
)
from pneumoscope.study.bundle_origin import has_taught, run_of
from pneumoscope.study.evaluate import check_both_were_read, check_folder, write_results
from pneumoscope.study.localisation import has_boxes, measure_localisation
from pneumoscope.study.measurement import (
    BALANCED,
    HALF,
    classification_report,
    confusion_at,
    log_loss,
    measure_subgroups,
    measured,
)
from pneumoscope.study.records import data_record, notice, training_caveats
from pneumoscope.study.test_reads import record_read
from pneumoscope.training.maps import Maps
from pneumoscope.training.run_folder import RunFolder

_CALIBRATED = "Probabilities are the bundle's, calibrated on {fitted_on}."
_CHOSEN = "as the bundle's card has it, chosen on the tuning split"


def evaluate_bundle(
    bundle: Bundle,
    dataset: Dataset,
    *,
    out: Path,
    strict: bool = False,
    show_progress: bool = True,
) -> Evaluation:
    """Measure a bundle on a dataset's test split, and write predictions, figures and report.

    Args:
        bundle: An open bundle.
        dataset: Every radiograph is read from its own file, at its own resolution.
        out: Folder for the results. The reading is written down first: in the run's folder, where
            the bundle or its results lie in that, and else here.
        strict: An unreadable radiograph is an error, instead of being listed and left out.
        show_progress: Draw a progress bar on stderr.

    Returns: What ``metrics.json`` holds.

    Raises:
        SplitError: the test split is empty, has one class, or mixes origins.
        RunError: the folder holds results on other data, or only one class could be read.
        DatasetError: a radiograph can't be read and ``strict`` is set, or none can.
        BundleError: the graph fails.
        StorageError: a file can't be written.
    """
    card = bundle.card
    roles = assign_roles(dataset.manifest)
    check_roles(dataset.manifest, roles, needs=("test",))
    if strict:
        refuse_passed_over(dataset.manifest)
    cache = open_cache(dataset, size_px=card.size_px, show_progress=show_progress)
    fingerprint = cache.fingerprint(roles.test)
    own_run = run_of(bundle, out=out)
    check_folder(
        out,
        dataset=dataset.name,
        split="test",
        fingerprint=fingerprint,
        checkpoint_sha256=bundle.sha256,
        own=[bundle_results_folder(bundle.path), *([] if own_run is None else [own_run.path])],
    )
    is_same = has_taught(dataset, roles, cache, card=card, run=own_run)
    reading = record_read(
        out if own_run is None else own_run.path,
        split="test",
        dataset=dataset.name,
        fingerprint=fingerprint,
        n=roles.test.size,
        checkpoint_sha256=bundle.sha256,
        results=out,
    )
    rows, predictions, maps, n_atypical = _answer(
        bundle, dataset, roles.test, strict=strict, show_progress=show_progress
    )
    target = predictions.target
    check_both_were_read(predictions, dataset=dataset.name, split="test")
    data = data_record(dataset, predictions, split="test", rows=roles.test, fingerprint=fingerprint)
    run = _run_record(bundle)
    thresholds = {point.name: point.threshold for point in card.operating_points} | {HALF: 0.5}
    evaluation = Evaluation(
        notice=notice(data, run),
        caveats=[
            *_caveats(card, data, n_atypical=n_atypical, is_training_data_same=is_same),
            *_of_its_run(own_run, data, run),
        ],
        evaluated=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        reading=reading,
        counted_in="folder" if own_run is None else "run",
        data=data,
        run=run,
        scores=measured(
            measure_scores(
                predictions.logit,
                target,
                predictions.patient_id,
                probability=predictions.probability,
            )
        ),
        log_loss=log_loss(_calibrated(predictions, card)),
        operating_points=[
            *(
                _point(point, predictions, learnt_from=card.training_data)
                for point in card.operating_points
            ),
            _half(predictions),
        ],
        subgroups=measure_subgroups(predictions, thresholds),
        classification_report=classification_report(predictions, threshold=0.5),
        reported=Reported(how="A bundle does not carry its source's figures.", figures=[]),
        localisation=(
            measure_localisation(
                dataset,
                rows,
                predictions,
                maps,
                threshold=_shown_at(card).threshold,
                training_rows=roles.training,
                calibration=card.calibration,
            )
            if has_boxes(dataset, rows)
            else None
        ),
    )
    write_results(evaluation, predictions, dataset=dataset, out=out, history=None)
    return evaluation


def bundle_results_folder(bundle: Path) -> Path:
    """Return where a bundle's results go unless the caller says otherwise: beside it."""
    return bundle.with_name(f"{bundle.stem}-evaluation")


def _answer(
    bundle: Bundle, dataset: Dataset, rows: NDArray[np.int64], *, strict: bool, show_progress: bool
) -> tuple[NDArray[np.int64], Predictions, Maps, int]:
    """Return the rows that could be read, the bundle's answers, and how many it finds atypical."""
    kept, logits, probabilities, cams = [], [], [], []
    n_atypical = 0
    with progress_bar("Evaluating", len(rows), show=show_progress) as advance:
        for row in rows.tolist():
            advance(1)
            try:
                radiograph = dataset.read(row)
            except RadiographError as error:
                if strict:
                    raise DatasetError(f"{error} --strict refuses such a dataset.") from error
                continue
            answer = bundle.run(radiograph.pixels[None, None])
            kept.append(row)
            logits.append(float(answer.logit[0]))
            probabilities.append(float(answer.probability[0]))
            cams.append(answer.cam[0])
            n_atypical += bool(answer.atypicality[0] > bundle.card.atypicality.threshold)
    if not kept:
        raise DatasetError(
            f"{dataset.name}: none of the {len(rows):,} radiographs of its test split could be "
            "read. Run: pneumoscope data audit DATASET"
        )
    logit = np.array(logits, dtype=np.float64)
    predictions = make_predictions(
        dataset.manifest.table[kept], logit=logit, probability=np.array(probabilities)
    )
    return np.array(kept), predictions, Maps(logit=logit, cam=np.stack(cams)), n_atypical


def _shown_at(card: BundleCard) -> PointCard:
    """Return the point at which regions are measured: the balanced one, the first without it."""
    named = (point for point in card.operating_points if point.name == BALANCED)
    return next(named, card.operating_points[0])


def _point(
    point: PointCard, predictions: Predictions, *, learnt_from: TrainingDataCard
) -> PointResult:
    """Return what a point of the card achieves, beside what the card says of tuning."""
    n_pneumonia = learnt_from.n_tuning_pneumonia
    n_normal = None if n_pneumonia is None else learnt_from.n_tuning - n_pneumonia
    on_tuning = {}
    for name, value, interval, n in (
        ("sensitivity", point.sensitivity, point.sensitivity_interval, n_pneumonia),
        ("specificity", point.specificity, point.specificity_interval, n_normal),
    ):
        low, high = interval or (float("nan"), float("nan"))
        on_tuning[name] = FigureRecord(
            value=value, low=low, high=high, n=n, method="as the card states"
        )
    return _point_result(point.name, point.threshold, _CHOSEN, on_tuning, predictions)


def _half(predictions: Predictions) -> PointResult:
    unknown = FigureRecord(
        value=float("nan"), low=float("nan"), high=float("nan"), n=None, method="not in the card"
    )
    on_tuning = {"sensitivity": unknown, "specificity": unknown}
    return _point_result(HALF, 0.5, "fixed beforehand", on_tuning, predictions)


def _calibrated(predictions: Predictions, card: BundleCard) -> Predictions:
    """Return the predictions with the log odds of their calibrated probabilities as logits."""
    rule = card.calibration
    logit = (pl.col("logit") + rule.bias) / rule.temperature
    return Predictions(predictions.table.with_columns(logit.alias("logit")))


def _point_result(
    name: str,
    threshold: float,
    rule: str,
    on_tuning: dict[str, FigureRecord],
    predictions: Predictions,
) -> PointResult:
    figures = measure_at(
        predictions.probability, predictions.target, predictions.patient_id, threshold=threshold
    )
    return PointResult(
        name=name,
        threshold=threshold,
        rule=rule,
        on_tuning=on_tuning,
        confusion=Confusion.of(confusion_at(predictions, threshold)),
        figures=measured(figures),
    )


def _run_record(bundle: Bundle) -> RunRecord:
    """Return what the card tells of the training."""
    card = bundle.card
    data = card.training_data
    return RunRecord(
        folder=bundle.path.name,
        recipe=card.recipe,
        # A card has no recipe's hash: what learnt from the same radiographs is taken for alike.
        recipe_sha256=f"bundles of {card.recipe}, {card.precision}, taught {data.fingerprint}",
        title=card.title,
        source_title=card.title,
        seed=card.seed,
        checkpoint=bundle.path.name,
        checkpoint_sha256=bundle.sha256,
        precision=card.precision,
        trained_on=data.name,
        trained_on_origins=data.origins,
        training_fingerprint=data.fingerprint,
        n_training=data.n_training,
        n_tuning=data.n_tuning,
    )


def _caveats(
    card: BundleCard, data: DataRecord, *, n_atypical: int, is_training_data_same: bool
) -> list[str]:
    lines = [
        _CALIBRATED.format(fitted_on=card.calibration.fitted_on),
        f"{n_atypical:,} of {data.n:,} radiographs ({n_atypical / data.n:.1%}) are flagged as "
        f"atypical; of the tuning split it was {card.atypicality.share_flagged_on_tuning:.1%}.",
        *card.limits,
    ]
    if not is_training_data_same:
        lines.append(
            f"The training split of {data.name} can't be matched with what this bundle learnt from "
            f"({card.training_data.name}, as it was then): whether patients of this test split "
            "were trained on can't be told from here."
        )
    if data.left_out:
        lines.append(f"{len(data.left_out):,} images could not be read and are left out.")
    return lines


def _of_its_run(run: RunFolder | None, data: DataRecord, record: RunRecord) -> list[str]:
    """Return what only a run knows of the training: whom the generator of added images saw."""
    if run is None:
        return []  # the bundle lies elsewhere
    added = run.facts["data"].get("added")
    # Whether the training images are the dataset's is said already.
    return training_caveats(data, record, is_training_data_same=True, added=added)
