"""Which measured runs stand in one row of a comparison, and which may not stand together."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pneumoscope.core.errors import RunError
from pneumoscope.study.measured_run import MeasuredRun


@dataclass(frozen=True)
class RecipeRuns:
    """The runs of one recipe, by seed."""

    label: str
    runs: list[MeasuredRun]


def check_same_radiographs(runs: Sequence[MeasuredRun]) -> None:
    """Refuse runs on different test splits. Raises: RunError: two of them were evaluated so."""
    facts = ["path", "target", "patient_id"]
    first = runs[0]
    expected = first.predictions.table.select(facts)
    for run in runs[1:]:
        is_same_content = run.evaluation.data.fingerprint == first.evaluation.data.fingerprint
        table = run.predictions.table.select(facts)
        if table.equals(expected) and is_same_content:
            continue
        n_shared = len(set(run.predictions.path) & set(first.predictions.path))
        raise RunError(
            f"{first.folder} and {run.folder} were evaluated on different radiographs: "
            f"{len(first.predictions):,} of {first.evaluation.data.name} and "
            f"{len(run.predictions):,} of {run.evaluation.data.name}, {n_shared:,} of the same "
            f"name{'' if is_same_content else ', whose content or targets differ'}. "
            "Evaluate both on one dataset, then compare."
        )


def group_by_recipe(runs: Sequence[MeasuredRun], labels: Mapping[str, str]) -> list[RecipeRuns]:
    """Return the runs by recipe, in the order in which the recipes came, seeds ascending.

    Args:
        runs: In any order.
        labels: What to call a recipe, by its hash; the others go by their names.

    Raises: RunError: two are of one recipe and seed, or of one recipe and not of one kind.
    """
    by_recipe: dict[tuple[str, str], list[MeasuredRun]] = {}
    for run in runs:
        record = run.evaluation.run
        by_recipe.setdefault((record.recipe, record.recipe_sha256), []).append(run)
    names = [name for name, _ in by_recipe]
    groups = []
    for (name, sha256), members in by_recipe.items():
        members.sort(key=lambda run: run.evaluation.run.seed)
        for one, other in itertools.pairwise(members):
            if one.evaluation.run.seed == other.evaluation.run.seed:
                raise RunError(
                    f"{one.folder} and {other.folder} are both {name}, seed "
                    f"{one.evaluation.run.seed}: a mean over seeds counts each once. "
                    "Leave one of them out."
                )
        _refuse_unlike(name, members)
        label = name if names.count(name) == 1 else f"{name} ({_difference(members[0])})"
        groups.append(RecipeRuns(labels.get(sha256, label), members))
    return _apart(groups)


def _difference(run: MeasuredRun) -> str:
    """Return what tells a recipe from another of its name: one was changed, as with --set."""
    record = run.evaluation.run
    if record.is_of_bundle and run.recipe is None:
        return f"bundle, {record.precision}"
    return record.recipe_sha256[:6]


def _apart(groups: Sequence[RecipeRuns]) -> list[RecipeRuns]:
    """Return the groups with labels that differ, by the weights of each one's first seed."""
    labels = [group.label for group in groups]
    return [
        group
        if labels.count(group.label) == 1
        else RecipeRuns(
            f"{group.label}, {group.runs[0].evaluation.run.checkpoint_sha256[:6]}", group.runs
        )
        for group in groups
    ]


def _refuse_unlike(name: str, runs: Sequence[MeasuredRun]) -> None:
    """Refuse a mean over runs that a study, too, would not pool."""
    for one, other in itertools.combinations(runs, 2):
        for this, that in zip(_kind(one), _kind(other), strict=True):
            if this is not None and that is not None and this != that:
                raise RunError(
                    f"{one.folder} and {other.folder} are both {name}, but the one was {this} and "
                    f"the other {that}: a mean over seeds would mix the two. Compare them apart."
                )


def _kind(run: MeasuredRun) -> tuple[str | None, ...]:
    """Return in words what averaged runs must agree in; None where a run's folder doesn't tell."""
    way, samples, calibration = "measured as trained", None, None
    if run.evaluation.run.is_of_bundle:
        way = "measured through its bundle, whose probabilities are calibrated,"
        if run.recipe is not None:
            calibration = f"calibrated as its recipe says: {run.recipe.calibration}"
    if run.samples:
        samples = f"trained with the generated images of fingerprint {run.samples[:12]}"
    return way, samples, calibration
