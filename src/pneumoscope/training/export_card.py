"""Fill in a bundle's card from what a run knows of itself."""

import math

from pneumoscope.core.types import Estimate
from pneumoscope.detector.card import (
    AtypicalityCard,
    BundleCard,
    CalibrationCard,
    FigureCard,
    PointCard,
    ResultCard,
    TrainingDataCard,
)
from pneumoscope.metrics.measure import measure_at, measure_scores
from pneumoscope.report.results import METRICS_FILE, load_evaluation
from pneumoscope.training.export_population import describe_population
from pneumoscope.training.export_tuning import TuningChoices
from pneumoscope.training.run_data import RunData
from pneumoscope.training.run_folder import RunFolder

_SCORES = ("auroc", "average_precision", "brier", "ece")
_AT_POINT = ("accuracy", "sensitivity", "specificity")
_NOT_REAL = (
    "Learned from pictures that are not radiographs of patients: its answers on radiographs mean "
    "nothing."
)
_SYNTHETIC = (
    "Beside radiographs, {count:,} generated pictures of target {target} taught it; they are in no "
    "count of training radiographs here."
)
_INT8 = (
    "Its weights were rounded to int8 after the run was evaluated, so no figure of the test split "
    "is given; on the tuning split its AUROC is within 0.002 of the fp32 bundle's."
)


def make_card(
    run: RunFolder,
    data: RunData,
    choices: TuningChoices,
    *,
    name: str | None,
    version: str | None,
    precision: str,
    is_pooled_linear: bool,
) -> BundleCard:
    """Return the card.

    Args:
        run: The finished run, evaluated or not.
        data: Its radiographs.
        choices: What the tuning split decided.
        name: Of the bundle; by default the recipe's.
        version: Of the bundle; by default "1".
        precision: fp32 or int8.
        is_pooled_linear: The head is one linear layer on pooled maps, so that the map is CAM.
    """
    recipe, facts = run.recipe, run.facts["data"]
    population = describe_population(recipe, data)
    limits = list(population.limits)
    if set(facts["origins"]) != {"real"}:
        limits.append(_NOT_REAL)
    added = facts.get("added")
    if added is not None and added["kind"] == "generated":
        limits.append(_SYNTHETIC.format(count=added["count"], target=added["target"]))
    if precision == "int8":
        limits.append(_INT8)
    return BundleCard(
        name=name or recipe.name,
        version=version or "1",
        title=recipe.title,
        recipe=recipe.name,
        seed=run.facts["seed"],
        precision="int8" if precision == "int8" else "fp32",
        size_px=recipe.input.size_px,
        map_kind="CAM" if is_pooled_linear else "Grad-CAM",
        operating_points=tuple(map(PointCard.of, choices.operating_points)),
        calibration=CalibrationCard(
            temperature=choices.calibration.temperature,
            bias=choices.calibration.bias,
            fitted_on=choices.fitted_on,
            n=choices.n,
        ),
        atypicality=AtypicalityCard(
            threshold=choices.atypicality_threshold,
            share_flagged_on_tuning=choices.share_flagged,
        ),
        training_data=TrainingDataCard(
            name=facts["name"],
            fingerprint=facts["fingerprint"],
            n_training=facts["n_training"],
            n_tuning=facts["n_tuning"],
            n_tuning_pneumonia=int((data.target[data.tuning] == 1).sum()),
            origins=facts["origins"],
        ),
        population=population.card,
        results=() if precision == "int8" else _results(run, choices),
        limits=tuple(limits),
        attribution=population.attribution,
    )


def _results(run: RunFolder, choices: TuningChoices) -> tuple[ResultCard, ...]:
    """Return what the run's evaluation measured, at the bundle's own calibration and thresholds.

    Worked out from the logits that the evaluation wrote down: no radiograph of test is read again.
    """
    path = run.path / METRICS_FILE
    if not path.exists():
        return ()
    evaluated = load_evaluation(path).data
    if evaluated.split != "test":
        return ()
    written = run.predictions("test")
    probability = choices.calibration.probability(written.logit)
    scores = measure_scores(
        written.logit, written.target, written.patient_id, probability=probability
    )
    figures = {name: _figure(scores[name]) for name in _SCORES}
    for point in choices.operating_points:
        found = measure_at(
            probability, written.target, written.patient_id, threshold=point.threshold
        )
        figures |= {f"{name}_at_{point.name}": _figure(found[name]) for name in _AT_POINT}
    return (
        ResultCard(
            dataset=evaluated.name,
            split=evaluated.split,
            n=evaluated.n,
            figures={name: figure for name, figure in figures.items() if figure is not None},
        ),
    )


def _figure(estimate: Estimate) -> FigureCard | None:
    """Return the figure; None where it, or its interval, is not defined: JSON has no NaN."""
    values = (estimate.value, estimate.low, estimate.high)
    if not all(map(math.isfinite, values)):
        return None
    return FigureCard(value=values[0], low=values[1], high=values[2])
