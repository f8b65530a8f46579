"""Read test after every stored epoch of finished runs, and say how far choosing by it flatters.

This is the one place where a test split is read many times on purpose: to measure what others who
did so have gained by it. Nothing is chosen from it for any result of this project, it happens only
after the run's own result stands, and every reading is written down with its purpose.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import RunError, UsageError
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import Predictions, make_predictions, read_predictions
from pneumoscope.data.progress import progress_bar
from pneumoscope.metrics.bootstrap import bootstrap_by_patient
from pneumoscope.report.epochs_page import write_epochs
from pneumoscope.report.epochs_results import (
    RULES,
    Epoch,
    EpochsOfRun,
    EpochsResult,
    Gap,
    GapOverSeeds,
    Rule,
)
from pneumoscope.report.results import METRICS_FILE, Evaluation, load_evaluation
from pneumoscope.study.seeds_and_patients import mean_over_seeds
from pneumoscope.study.study_contrasts import over_seeds_record
from pneumoscope.study.study_gap import (
    EpochAnswers,
    best_epoch,
    figure_by_epoch,
    gap,
    gap_kept,
    gaps,
)
from pneumoscope.study.test_reads import file_sha256, record_read
from pneumoscope.training.epoch_answers import answer_epochs
from pneumoscope.training.epoch_weights import epoch_path, stored_epochs
from pneumoscope.training.inference import sigmoid
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.run_data import roles_of
from pneumoscope.training.run_folder import RunFolder, open_run

_log = logging.getLogger(__name__)

PURPOSE = "after every epoch, to measure how far choosing the epoch on test flatters"
_SAME_LOGIT = 1e-3  # of an epoch's stored weights and of the run's own checkpoint
_METHOD = (
    "The gap is the figure on test of the epoch that test itself would have chosen, less that of "
    "the epoch that the run chose without it. Choosing by the very figure, it can't be negative.",
    "A run's interval: patients are resampled ({n_resamples:,} times) and test chooses anew in "
    "each resample, so it tends to lie high. Over seeds it knows of patients and of training, as "
    "radiology's studies of many readers do (Obuchowski and Rockette 1995; degrees of freedom of "
    "Hillis 2007), and ends at 0 where the gap can't be negative.",
    "Kept: the patients of test are halved at random, one half chooses the epoch and the other "
    "measures the gap, 400 times. It is what the better-looking epoch is worth on other patients; "
    "the rest of the gap is flattery. A half chooses a little worse than the whole would.",
    "Each reading is in the run's test-reads.jsonl with its purpose. No result of this project "
    "rests on an epoch that was chosen so.",
)


@dataclass(frozen=True)
class _Subject:
    """A run whose epochs are read, settled before anything is read."""

    run: RunFolder
    evaluation: Evaluation  # the run's own
    rows: NDArray[np.int64]  # (N,) of the manifest, those that the run's own result rests on
    cache: DecodedCache
    history: pl.DataFrame

    @property
    def name(self) -> str:
        return f"{self.run.recipe.name}-s{self.run.facts['seed']}"

    @property
    def recipe_sha256(self) -> str:
        return recipe_sha256(self.run.recipe)

    @property
    def chosen(self) -> int:
        """The epoch that the run keeps, from 1."""
        if self.run.recipe.training.keep.epoch == "last":
            return self.history.height
        return int(self.run.facts["best_epoch"])

    @property
    def n_epochs(self) -> int:
        return self.history.height


def read_epochs(
    runs: Sequence[Path], dataset: Dataset, out: Path, *, n_resamples: int = 1000
) -> EpochsResult:
    """Read test after every stored epoch, and write ``epochs.{json,md,html}`` and the answers.

    Answers are kept in ``answers/``, so that no epoch is read twice.

    Args:
        runs: Finished and evaluated runs that were trained with ``store_epochs``.
        dataset: Whose test split they were evaluated on.
        out: Folder for the results.
        n_resamples: Of patients, for the intervals.

    Raises:
        UsageError: no run is given, one twice, or two of one recipe and seed.
        RunError: a run is unfinished, not evaluated on this test split, or lacks an epoch; or an
            epoch's stored weights do not answer as the run did. Nothing is read before all runs
            have been checked.
        StorageError: a file can't be written.
    """
    folders = [run.resolve() for run in runs]
    if not folders or len(set(folders)) < len(folders):
        raise UsageError("Name one or more run folders, each once.")
    subjects = [_settle(open_run(folder), dataset) for folder in folders]
    _check_seeds(subjects)
    label = _labels(subjects)
    answers = [_read(subject, dataset, out) for subject in subjects]
    facts = answers[0][0]
    results = [
        _result(subject, each, label=label[subject.recipe_sha256], n_resamples=n_resamples)
        for subject, each in zip(subjects, answers, strict=True)
    ]
    result = EpochsResult(
        notice=subjects[0].evaluation.notice,
        read=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        data=subjects[0].evaluation.data,
        runs=results,
        over_seeds=_over_seeds(subjects, answers, facts, label=label, n_resamples=n_resamples),
        method=[line.format(n_resamples=n_resamples) for line in _METHOD],
    )
    write_epochs(result, out)
    return result


def _settle(run: RunFolder, dataset: Dataset) -> _Subject:
    """Check everything that can be checked before the split is read."""
    evaluation = load_evaluation(run.path / METRICS_FILE)
    cache = open_cache(dataset, size_px=run.recipe.input.size_px)
    test = roles_of(run.recipe, dataset).test
    if evaluation.data.split != "test" or evaluation.data.fingerprint != cache.fingerprint(test):
        raise RunError(
            f"{run.path}: its own result is not on the test split of {dataset.name}. Evaluate it "
            f"there first: pneumoscope evaluate {run.path} --data DATASET"
        )
    if evaluation.run.is_of_bundle:
        raise RunError(
            f"{run.path}: was measured through its bundle, whose probabilities are calibrated on "
            "one epoch alone. Evaluate the run itself, in another folder of its own."
        )
    history = pl.read_csv(run.history_path)
    missing = sorted(set(range(1, history.height + 1)) - set(stored_epochs(run.path)))
    if missing:
        raise RunError(
            f"{run.path}: the weights of epoch {missing[0]} are not stored"
            + (f", nor those of {len(missing) - 1} more" if len(missing) > 1 else "")
            + ". Train it with --store-epochs from the beginning."
        )
    left_out = set(evaluation.data.left_out)
    paths = dataset.manifest.table["path"]
    rows = np.array([row for row in test.tolist() if paths[row] not in left_out], dtype=np.int64)
    return _Subject(run, evaluation, rows, cache, history)


def _check_seeds(subjects: Sequence[_Subject]) -> None:
    """Refuse a recipe's seed that comes twice: it would count as two of its trainings."""
    first: dict[tuple[str, int], Path] = {}
    for subject in subjects:
        key = (subject.recipe_sha256, int(subject.run.facts["seed"]))
        if key in first:
            raise UsageError(
                f"{first[key]} and {subject.run.path}: both are {subject.name}, the same recipe "
                "and seed. Name one of them."
            )
        first[key] = subject.run.path


def _labels(subjects: Sequence[_Subject]) -> dict[str, str]:
    """Return what to call each recipe, by its hash: one of a name may have been changed (--set)."""
    names = {subject.recipe_sha256: subject.run.recipe.name for subject in subjects}
    shared = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {
        sha256: f"{name} ({sha256[:6]})" if name in shared else name
        for sha256, name in names.items()
    }


def _read(subject: _Subject, dataset: Dataset, out: Path) -> list[Predictions]:
    """Return the answers after every epoch, read now or in an earlier call."""
    run, epochs = subject.run, list(range(1, subject.n_epochs + 1))
    sha256 = {epoch: file_sha256(epoch_path(run.path, epoch)) for epoch in epochs}
    fingerprint = subject.evaluation.data.fingerprint
    files = {
        epoch: out / "answers" / subject.name
        / f"epoch-{epoch:03d}-{sha256[epoch][:12]}-{fingerprint[:12]}.csv"
        for epoch in epochs
    }  # fmt: skip
    left = [epoch for epoch in epochs if not files[epoch].is_file()]
    for epoch in left:  # all of them first: nothing is read that is not written down
        record_read(
            run.path,
            split="test",
            dataset=dataset.name,
            fingerprint=fingerprint,
            n=subject.rows.size,
            checkpoint_sha256=sha256[epoch],
            results=out,
            purpose=PURPOSE,
        )
    table = dataset.manifest.table[subject.rows.tolist()]
    for epoch, logit in _answers(subject, left):
        answers = make_predictions(table, logit=logit, probability=sigmoid(logit))
        if epoch == subject.chosen:
            _check_same(subject, answers)
        answers.write(files[epoch])
    return [read_predictions(files[epoch]) for epoch in epochs]


def _answers(subject: _Subject, left: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    if not left:
        return
    pixels = subject.cache.pixels[subject.rows]
    with progress_bar(f"Epochs of {subject.name}", len(left)) as advance:
        for epoch, logit in answer_epochs(subject.run, pixels, left):
            advance(1)
            yield epoch, logit


def _check_same(subject: _Subject, answers: Predictions) -> None:
    """Refuse stored weights that are not those of the run's own result."""
    own = read_predictions(subject.run.path / "predictions-test.csv").table.sort("path")
    ours = answers.table.sort("path")
    is_same = own["path"].equals(ours["path"])
    if not is_same or (own["logit"] - ours["logit"]).abs().max() > _SAME_LOGIT:  # type: ignore[operator]
        raise RunError(
            f"{epoch_path(subject.run.path, subject.chosen)}: does not answer as the run did when "
            "it was evaluated. Its weights are of another training; train the run again."
        )


def _result(
    subject: _Subject, answers: Sequence[Predictions], *, label: str, n_resamples: int
) -> EpochsOfRun:
    run, facts = subject.run, answers[0]
    target = facts.target
    of_run = _epoch_answers(subject, answers)
    figures = {
        name: figure_by_epoch(name, of_run.logit, target) for name in ("loss", "accuracy", "auroc")
    }
    keep = run.recipe.training.keep
    return EpochsOfRun(
        folder=str(run.path),
        metrics=str(run.path / METRICS_FILE),
        recipe=label,
        recipe_sha256=subject.recipe_sha256,
        seed=run.facts["seed"],
        chosen_epoch=subject.chosen,
        keeps="the last epoch" if keep.epoch == "last" else f"the best {keep.monitor}",
        epochs=[
            Epoch(
                epoch=place + 1,
                checkpoint_sha256=file_sha256(epoch_path(run.path, place + 1)),
                tuning_loss=subject.history["tuning_loss"][place],
                tuning_accuracy=subject.history["tuning_accuracy"][place],
                tuning_auroc=subject.history["tuning_auroc"][place],
                test_loss=figures["loss"][place],
                test_accuracy=figures["accuracy"][place],
                test_auroc=figures["auroc"][place],
            )
            for place in range(len(answers))
        ],
        gaps=[_gap(rule, of_run, facts, n_resamples=n_resamples) for rule in RULES],
    )


def _gap(rule: Rule, answers: EpochAnswers, facts: Predictions, *, n_resamples: int) -> Gap:
    target = facts.target
    best = best_epoch(rule, answers.logit, target)
    at = figure_by_epoch(rule.figure, answers.logit, target)

    def resampled(target: NDArray[np.bool_], logit: NDArray[np.float64]) -> float:
        return gap(rule, EpochAnswers(logit.T, answers.chosen), target)

    low, high = bootstrap_by_patient(
        resampled, facts.patient_id, target, answers.logit.T, n_resamples=n_resamples
    )
    return Gap(
        rule=rule,
        best_epoch=best + 1,
        at_best=at[best],
        at_chosen=at[answers.chosen],
        gap=gap(rule, answers, target),
        low=low,
        high=high,
        kept=gap_kept(rule, answers, target, facts.patient_id),
    )


def _over_seeds(
    subjects: Sequence[_Subject],
    answers: Sequence[Sequence[Predictions]],
    facts: Predictions,
    *,
    label: Mapping[str, str],
    n_resamples: int,
) -> list[GapOverSeeds]:
    """Return every rule's gap for every recipe, over its seeds."""
    recipes: dict[str, list[int]] = {}
    for place, subject in enumerate(subjects):
        recipes.setdefault(subject.recipe_sha256, []).append(place)
    results = []
    for sha256, places in recipes.items():
        runs = [_epoch_answers(subjects[place], answers[place]) for place in places]
        for rule in RULES:
            results.append(
                _gap_over_seeds(
                    rule,
                    runs,
                    facts,
                    recipe=label[sha256],
                    seeds=[subjects[place].run.facts["seed"] for place in places],
                    n_resamples=n_resamples,
                )
            )
    return results


def _gap_over_seeds(
    rule: Rule,
    runs: Sequence[EpochAnswers],
    facts: Predictions,
    *,
    recipe: str,
    seeds: list[int],
    n_resamples: int,
) -> GapOverSeeds:
    def by_seed(target: NDArray[np.bool_], *logits: NDArray[np.float64]) -> NDArray[np.float64]:
        resampled = [
            EpochAnswers(logit.T, run.chosen) for run, logit in zip(runs, logits, strict=True)
        ]
        return gaps(rule, resampled, target)

    found = mean_over_seeds(
        by_seed,
        facts.patient_id,
        facts.target,
        *(run.logit.T for run in runs),
        n_resamples=n_resamples,
    )
    kept = [gap_kept(rule, run, facts.target, facts.patient_id) for run in runs]
    return GapOverSeeds(
        recipe=recipe,
        rule=rule,
        seeds=seeds,
        gap=over_seeds_record(found, floor=0.0 if rule.by == rule.figure else -1.0),
        kept=float(np.mean(kept)),
    )


def _epoch_answers(subject: _Subject, answers: Sequence[Predictions]) -> EpochAnswers:
    return EpochAnswers(np.array([each.logit for each in answers]), chosen=subject.chosen - 1)
