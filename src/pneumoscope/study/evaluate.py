"""Measure a run on a split it did not learn from, once, and write down that it was read.

Order matters here. The operating points are chosen on the tuning split before the test split is
touched, and the reading is on disk before the first prediction is made, so that a reading that
fails half-way, or whose result nobody liked, has been written down all the same.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import RunError
from pneumoscope.core.files import write_bytes, write_text
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.manifest import refuse_passed_over
from pneumoscope.data.predictions import Predictions
from pneumoscope.data.splits import Roles, check_roles, refuse_generated
from pneumoscope.metrics.measure import measure_scores
from pneumoscope.report.evaluation_figures import draw_figures, figure_png
from pneumoscope.report.evaluation_page import evaluation_page, figure_label, make_galleries
from pneumoscope.report.html import figure_svg
from pneumoscope.report.results import (
    FIGURES_FOLDER,
    METRICS_FILE,
    REPORT_FILE,
    EvaluatedSplit,
    Evaluation,
    load_evaluation,
)
from pneumoscope.study.localisation import has_boxes, measure_localisation
from pneumoscope.study.map_sanity import check_maps
from pneumoscope.study.measurement import (
    BALANCED,
    HALF,
    classification_report,
    log_loss,
    measure_point,
    measure_subgroups,
    measured,
    thresholds_from_tuning,
)
from pneumoscope.study.records import (
    caveats,
    data_record,
    notice,
    reported_record,
    run_record,
)
from pneumoscope.study.test_reads import file_sha256, record_read
from pneumoscope.training.inference import predict_rows
from pneumoscope.training.maps import map_rows
from pneumoscope.training.run_data import roles_of
from pneumoscope.training.run_folder import RunFolder
from pneumoscope.training.run_state import FACTS_FILE, difference_in_data

_log = logging.getLogger(__name__)

Predictor = Callable[[RunFolder, Dataset, NDArray[np.int64], bool], Predictions]


@dataclass(frozen=True)
class _Subject:
    """What is evaluated on what, settled before anything is read."""

    run: RunFolder
    dataset: Dataset
    split: EvaluatedSplit
    rows: NDArray[np.int64]  # (N,) of the manifest
    fingerprint: str  # of those rows
    is_training_data_same: bool  # the dataset's training and tuning images are the run's
    checkpoint_sha256: str
    out: Path


def evaluate_run(
    run: RunFolder,
    dataset: Dataset,
    *,
    split: EvaluatedSplit = "test",
    out: Path | None = None,
    strict: bool = False,
    predict: Predictor | None = None,
) -> Evaluation:
    """Measure a run on one split of a dataset, and write predictions, figures and report.

    Args:
        run: A finished run.
        dataset: With the roles that the run's recipe gives its radiographs.
        split: Which role to measure on.
        out: Folder for the results; by default the run's own for test, and a folder
            ``evaluation-SPLIT`` in it for any other split.
        strict: An unreadable radiograph is an error, instead of being listed and left out.
        predict: The detector, ``(run, dataset, rows, strict) -> Predictions``; by default the
            run's chosen checkpoint.

    Returns: What ``metrics.json`` holds.

    Raises:
        SplitError: the split is empty, has one class, mixes origins, or has generated images.
        RunError: the run is unfinished or damaged, or the folder holds results on other data.
        DatasetError: a radiograph can't be read and ``strict`` is set, or none can.
        StorageError: a file can't be written.
    """
    if strict:
        refuse_passed_over(dataset.manifest)  # before a reading of test is written down
    subject = _settle(run, dataset, split=split, out=out)
    tuning = run.predictions("tuning")
    thresholds = thresholds_from_tuning(tuning)
    reading = None
    if split == "test":
        reading = record_read(
            run.path,
            split=split,
            dataset=dataset.name,
            fingerprint=subject.fingerprint,
            n=subject.rows.size,
            checkpoint_sha256=subject.checkpoint_sha256,
            results=subject.out,
        )
    predictions = (predict or _predict_with_run)(run, dataset, subject.rows, strict)
    evaluation = _measure(subject, tuning, thresholds, predictions, reading=reading)
    if predict is None:  # what else it may be has no network to take maps from
        evaluation = _add_maps(subject, evaluation, predictions)
    write_results(
        evaluation,
        predictions,
        dataset=dataset,
        out=subject.out,
        history=_history(run.history_path),
    )
    return evaluation


def results_folder(run: RunFolder, split: EvaluatedSplit) -> Path:
    """Return where results go unless the caller says otherwise: test's to the run folder itself."""
    return run.path if split == "test" else run.path / f"evaluation-{split}"


def predictions_file(split: EvaluatedSplit) -> str:
    """Return the name of the file with a split's predictions."""
    return f"predictions-{split}.csv"


def _predict_with_run(
    run: RunFolder, dataset: Dataset, rows: NDArray[np.int64], strict: bool
) -> Predictions:
    return predict_rows(run, dataset, rows, strict=strict)


def _settle(
    run: RunFolder, dataset: Dataset, *, split: EvaluatedSplit, out: Path | None
) -> _Subject:
    """Check everything that can be checked before the split is read."""
    state = run.facts.get("state")
    if state != "finished":
        # Thresholds come from its answers on the tuning split, which the end of training writes.
        raise RunError(
            f"{run.path}: its training is {state or 'unknown'}, not finished. Finish it with "
            "`pneumoscope train ... --resume`; its figures on the tuning split so far are in "
            "history.csv."
        )
    roles = roles_of(run.recipe, dataset)
    check_roles(dataset.manifest, roles, needs=(split,))
    rows = getattr(roles, split)
    refuse_generated(dataset.manifest, rows, what=f"the {split} split")
    cache = open_cache(dataset, size_px=run.recipe.input.size_px)
    subject = _Subject(
        run=run,
        dataset=dataset,
        split=split,
        rows=rows,
        fingerprint=cache.fingerprint(rows),
        is_training_data_same=is_training_data_same(run, dataset, roles, cache),
        checkpoint_sha256=file_sha256(run.checkpoint_path),
        out=out or results_folder(run, split),
    )
    check_folder(
        subject.out,
        dataset=dataset.name,
        split=split,
        fingerprint=subject.fingerprint,
        checkpoint_sha256=subject.checkpoint_sha256,
        own=(run.path, results_folder(run, split)),
    )
    return subject


def is_training_data_same(
    run: RunFolder, dataset: Dataset, roles: Roles, cache: DecodedCache
) -> bool:
    """Return True where this dataset's training and tuning images are those of the run."""
    facts = run.facts["data"]
    left_out = {item["path"] for item in facts["left_out"]}
    paths = dataset.manifest.table["path"]
    training, tuning = (
        [row for row in rows.tolist() if paths[row] not in left_out]
        for rows in (roles.training, roles.tuning)
    )
    now = {
        "fingerprint": cache.fingerprint(training + tuning),
        "tuning_fingerprint": cache.fingerprint(tuning),
    }
    return difference_in_data(facts, now) is None


def check_folder(
    out: Path,
    *,
    dataset: str,
    split: EvaluatedSplit,
    fingerprint: str,
    checkpoint_sha256: str,
    own: Sequence[Path],
) -> None:
    """Refuse a folder with results of another run or on other radiographs: they would be lost.

    Args:
        out: The folder.
        dataset: Name of the dataset that is to be measured on.
        split: And the split.
        fingerprint: Of its radiographs.
        checkpoint_sha256: Of the weights or the bundle to be measured.
        own: Folders that are the run's or the bundle's own: what lies there is of it, whatever
            weights it had before.

    Raises: RunError: it does, or is the folder of another run; or its ``metrics.json`` is damaged.
    """
    path = out / METRICS_FILE
    is_own = out.resolve() in [folder.resolve() for folder in own]
    if not is_own and (out / FACTS_FILE).is_file():
        raise RunError(
            f"{out}: is the folder of another run, whose results would stand beside weights that "
            "they are not of. Give another folder with --out."
        )
    if not path.exists():
        return
    evaluation = load_evaluation(path)
    data, of = evaluation.data, evaluation.run
    if not is_own and of.checkpoint_sha256 != checkpoint_sha256:
        raise RunError(
            f"{path}: holds results of {of.folder} (weights {of.checkpoint_sha256[:12]}), which "
            f"those of other weights ({checkpoint_sha256[:12]}) would replace. Give another folder "
            "with --out."
        )
    # A name is no proof: many datasets lie in folders of the same name.
    if data.split != split or data.fingerprint != fingerprint:
        raise RunError(
            f"{path}: holds results on the {data.split} split of {data.name} (fingerprint "
            f"{data.fingerprint[:12]}), which those on the {split} split of {dataset} "
            f"({fingerprint[:12]}) would replace. Give another folder with --out."
        )


def _measure(
    subject: _Subject,
    tuning: Predictions,
    thresholds: dict[str, float],
    predictions: Predictions,
    *,
    reading: int | None,
) -> Evaluation:
    """Work every figure out."""
    if len(predictions) == 0:
        raise RunError(
            f"{subject.dataset.name}: none of the {subject.rows.size:,} radiographs of its "
            f"{subject.split} split could be read. Run: pneumoscope data audit DATASET"
        )
    target = predictions.target
    check_both_were_read(predictions, dataset=subject.dataset.name, split=subject.split)
    data = data_record(
        subject.dataset,
        predictions,
        split=subject.split,
        rows=subject.rows,
        fingerprint=subject.fingerprint,
    )
    run = run_record(subject.run, checkpoint_sha256=subject.checkpoint_sha256)
    scores = measure_scores(
        predictions.logit,
        target,
        predictions.patient_id,
        probability=predictions.probability,
    )
    return Evaluation(
        notice=notice(data, run),
        caveats=caveats(
            data,
            run,
            is_training_data_same=subject.is_training_data_same,
            added=subject.run.facts["data"].get("added"),
        ),
        evaluated=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        reading=reading,
        data=data,
        run=run,
        scores=measured(scores),
        log_loss=log_loss(predictions),
        operating_points=[
            measure_point(name, threshold, tuning=tuning, evaluated=predictions)
            for name, threshold in thresholds.items()
        ],
        subgroups=measure_subgroups(predictions, thresholds),
        classification_report=classification_report(predictions, threshold=thresholds[HALF]),
        reported=reported_record(subject.run.recipe, predictions),
    )


def _add_maps(subject: _Subject, evaluation: Evaluation, predictions: Predictions) -> Evaluation:
    """Return the evaluation with what was found about the run's maps."""
    run, dataset = subject.run, subject.dataset
    row_of = {path: row for row, path in enumerate(dataset.manifest.table["path"].to_list())}
    rows = np.array([row_of[path] for path in predictions.path], dtype=np.int64)
    localisation = None
    if has_boxes(dataset, rows):
        localisation = measure_localisation(
            dataset,
            rows,
            predictions,
            map_rows(run, dataset, rows),
            threshold=evaluation.point(BALANCED).threshold,
            training_rows=roles_of(run.recipe, dataset).training,
        )
    return evaluation.model_copy(
        update={"localisation": localisation, "map_sanity": check_maps(run, dataset, rows)}
    )


def check_both_were_read(predictions: Predictions, *, dataset: str, split: EvaluatedSplit) -> None:
    """Refuse predictions on one class. Raises: RunError: that is all that could be read."""
    target = predictions.target
    if target.all() or not target.any():
        raise RunError(
            f"{dataset}: of its {split} split only one class could be read. "
            "Run: pneumoscope data audit DATASET"
        )


def write_results(
    evaluation: Evaluation,
    predictions: Predictions,
    *,
    dataset: Dataset,
    out: Path,
    history: pl.DataFrame | None,
) -> None:
    """Write every result; ``metrics.json`` comes last, because it says that there are results.

    Args:
        evaluation: What was found.
        predictions: What it was found from.
        dataset: Where the radiographs of the galleries are.
        out: The folder.
        history: Of the training, one row an epoch; None where it is not known.

    Raises: StorageError: a file can't be written.
    """
    predictions.write(out / predictions_file(evaluation.data.split))
    figures = draw_figures(evaluation, predictions, history)
    drawings = {
        name: figure_svg(figure, label=figure_label(name, evaluation))
        for name, figure in figures.items()
    }
    for name, figure in figures.items():
        write_bytes(out / FIGURES_FOLDER / f"{name}.png", figure_png(figure))
        write_text(out / FIGURES_FOLDER / f"{name}.svg", drawings[name])
    threshold = evaluation.point(BALANCED).threshold
    galleries = make_galleries(predictions, dataset, threshold=threshold)
    page = evaluation_page(evaluation, drawings=drawings, galleries=galleries)
    write_text(out / REPORT_FILE, page)
    evaluation.write(out / METRICS_FILE)


def _history(path: Path) -> pl.DataFrame | None:
    """Return the run's history, one row an epoch; None where there is none to draw."""
    try:
        return pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        _log.warning("no learning curves: history.csv can't be read (%s)", error)
        return None
