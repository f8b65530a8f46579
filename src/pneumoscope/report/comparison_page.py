"""A comparison of runs on paper: a Markdown table for the docs, and one HTML file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.files import write_bytes, write_text
from pneumoscope.report.comparison_results import (
    COMPARED_POINTS,
    Comparison,
    OverSeeds,
    PairedTests,
    RecipeResult,
    UntestedPair,
)
from pneumoscope.report.evaluation_figures import compare_roc_figure, figure_png, show
from pneumoscope.report.evaluation_page import FIGURE_LABELS, moment, signed
from pneumoscope.report.html import figure_svg, render
from pneumoscope.report.results import FIGURES_FOLDER, POINT_FIGURE_NAMES, SCORE_NAMES
from pneumoscope.report.table import Table, is_number_column, tables_markdown

COMPARISON_FILE = "comparison.json"
MARKDOWN_FILE = "comparison.md"
PAGE_FILE = "comparison.html"

# What fits a terminal.
HEADLINE = ("AUROC", "Accuracy at 0.5", "Accuracy, balanced", "Specificity, balanced")

Curve = tuple[str, NDArray[np.float64], NDArray[np.bool_]]  # label, (N,) scores, (N,) targets


def write_comparison(comparison: Comparison, out: Path, *, curves: Sequence[Curve]) -> None:
    """Write ``comparison.{json,md,html}`` and ``figures/roc.{png,svg}``.

    Args:
        comparison: What was found.
        out: The folder.
        curves: For the ROC figure, a recipe each.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        StorageError: a file can't be written.
    """
    figure = compare_roc_figure([(label, score, target) for label, score, target in curves])
    svg = figure_svg(figure, label="ROC curves of all recipes on the same radiographs")
    write_bytes(out / FIGURES_FOLDER / "roc.png", figure_png(figure))
    write_text(out / FIGURES_FOLDER / "roc.svg", svg)
    write_text(out / MARKDOWN_FILE, comparison_markdown(comparison))
    page = render(
        "comparison.html.j2",
        comparison=comparison,
        first_line=first_line(comparison),
        tables=comparison_tables(comparison),
        roc=svg,
        is_number_column=is_number_column,
        moment=moment,
    )
    write_text(out / PAGE_FILE, page)
    comparison.write(out / COMPARISON_FILE)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    return tables_markdown(
        comparison_tables(comparison),
        notice=comparison.notice,
        method=comparison.method,
        first=first_line(comparison),
    )


def first_line(comparison: Comparison) -> str:
    """Return what was compared on what."""
    data = comparison.data
    n_runs = sum(len(recipe.seeds) for recipe in comparison.recipes)
    what = "radiographs" if data.origin == "real" else f"images of origin “{data.origin}”"
    return (
        f"{n_runs} {'run' if n_runs == 1 else 'runs'} of {len(comparison.recipes)} "
        f"{'recipe' if len(comparison.recipes) == 1 else 'recipes'} on the test split of "
        f"{data.name}: {data.n:,} {what} of {data.n_patients:,} patients, "
        f"{data.n_pneumonia:,} pneumonia and {data.n_normal:,} normal "
        f"(prevalence {show(data.prevalence)})."
    )


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return every table of a comparison, as text."""
    tables = [_score_table(comparison)]
    tables += [_point_table(comparison, point) for point in COMPARED_POINTS]
    tables.append(_reported_table(comparison))
    if comparison.tests or comparison.untested:
        tables += [_auroc_table(comparison), _accuracy_table(comparison)]
    return [table for table in tables if table.rows]


def headline_cells(found: RecipeResult | None) -> list[str]:
    """Return the cells of ``HEADLINE`` for one recipe; empty ones while it is not measured."""
    if found is None:
        return [""] * len(HEADLINE)
    return [
        over_seeds(found.scores["auroc"]),
        over_seeds(found.points["0.5"]["accuracy"]),
        over_seeds(found.points["balanced"]["accuracy"]),
        over_seeds(found.points["balanced"]["specificity"]),
    ]


def over_seeds(figure: OverSeeds) -> str:
    """Return a figure over seeds as text: mean ± SD (95 % interval)."""
    text = show(figure.mean)
    if not math.isnan(figure.sd):
        text += f" ± {figure.sd:.3f}"
    if not (math.isnan(figure.low) or math.isnan(figure.high)):
        text += f" ({figure.low:.3f} to {figure.high:.3f})"
    return text


def p_text(value: float) -> str:
    """Return a p-value as text."""
    if math.isnan(value):
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def threshold_text(thresholds: Sequence[float]) -> str:
    """Return the thresholds of a recipe's seeds as text: one, or the range."""
    low, high = f"{min(thresholds):.3f}", f"{max(thresholds):.3f}"
    return low if low == high else f"{low} to {high}"


def pair_name(pair: PairedTests, comparison: Comparison) -> str:
    """Return a pair's recipes, and the seeds that were tested where one of them has others too."""
    name = f"{pair.a} against {pair.b}"
    recipes = (each for each in comparison.recipes if each.label in (pair.a, pair.b))
    if all(len(each.seeds) == len(pair.seeds) for each in recipes):
        return name
    return f"{name}, {'seed' if len(pair.seeds) == 1 else 'seeds'} {_listed(pair.seeds)} alone"


def untested_name(pair: UntestedPair) -> str:
    """Return a pair's recipes, and why they were not tested."""
    return f"{pair.a} against {pair.b}: no test, for they have no seed in common"


def _listed(seeds: Sequence[int]) -> str:
    *most, last = map(str, seeds)
    return f"{', '.join(most)} and {last}" if most else last


def _score_table(comparison: Comparison) -> Table:
    return Table(
        caption="Figures that need no threshold: mean over seeds ± SD (95 % interval)",
        header=["Recipe", "Seeds", *(FIGURE_LABELS[name] for name in SCORE_NAMES), "AUROC, range"],
        rows=[
            [
                recipe.label,
                ", ".join(map(str, recipe.seeds)),
                *(over_seeds(recipe.scores[name]) for name in SCORE_NAMES),
                f"{show(recipe.scores['auroc'].minimum)} to {show(recipe.scores['auroc'].maximum)}",
            ]
            for recipe in comparison.recipes
        ],
    )


def _point_table(comparison: Comparison, point: str) -> Table:
    where = "Threshold 0.5" if point == "0.5" else f"Operating point {point}"
    return Table(
        caption=f"{where}: mean over seeds ± SD (95 % interval)",
        header=["Recipe", "Threshold", *(FIGURE_LABELS[name] for name in POINT_FIGURE_NAMES)],
        rows=[
            [
                recipe.label,
                threshold_text(recipe.thresholds[point]),
                *(over_seeds(recipe.points[point][name]) for name in POINT_FIGURE_NAMES),
            ]
            for recipe in comparison.recipes
        ],
    )


def _reported_table(comparison: Comparison) -> Table:
    rows = []
    for recipe in comparison.recipes:
        if not recipe.reported.figures:
            rows.append([recipe.label, "none", "", "", "", "", recipe.reported.how])
        for index, figure in enumerate(recipe.reported.figures):
            rows.append(
                [
                    recipe.label,
                    figure.name.replace("_", " "),
                    show(figure.reported),
                    show(figure.ours),
                    signed(figure.difference),
                    figure.ours_is,
                    recipe.reported.how if index == 0 else "as above",
                ]
            )
    return Table(
        caption="What each source reported, beside ours (mean over seeds)",
        header=["Recipe", "Figure", "Reported", "Ours", "Difference", "Ours is", "How it measured"],
        rows=rows,
    )


def _auroc_table(comparison: Comparison) -> Table:
    return _pair_table(
        comparison,
        caption="AUROC, pair by pair: DeLong's test on the same radiographs, seeds averaged",
        header=["Pair", "AUROC", "AUROC of the other", "Difference (95 % interval)", "p",
                "p (Holm)"],
        tested=[
            [
                pair_name(pair, comparison),
                show(pair.auroc.auroc_a),
                show(pair.auroc.auroc_b),
                f"{signed(pair.auroc.difference)} "
                f"({signed(pair.auroc.low)} to {signed(pair.auroc.high)})",
                p_text(pair.auroc.p_value),
                p_text(pair.auroc.p_holm),
            ]
            for pair in comparison.tests
        ],
    )  # fmt: skip


def _accuracy_table(comparison: Comparison) -> Table:
    return _pair_table(
        comparison,
        caption="Accuracy at the balanced point, pair by pair: McNemar's test on the same "
        "radiographs, seeds averaged",
        header=["Pair", "Accuracy", "Accuracy of the other", "Only the first right",
                "Only the other right", "p", "p (Holm)"],
        tested=[
            [
                pair_name(pair, comparison),
                show(pair.accuracy.accuracy_a),
                show(pair.accuracy.accuracy_b),
                f"{pair.accuracy.n_only_a:,}",
                f"{pair.accuracy.n_only_b:,}",
                p_text(pair.accuracy.p_value),
                p_text(pair.accuracy.p_holm),
            ]
            for pair in comparison.tests
        ],
    )  # fmt: skip


def _pair_table(
    comparison: Comparison, *, caption: str, header: list[str], tested: list[list[str]]
) -> Table:
    """Return a table of pairs, those that could not be tested last."""
    empty = [""] * (len(header) - 1)
    untested = [[untested_name(pair), *empty] for pair in comparison.untested]
    return Table(caption=caption, header=header, rows=[*tested, *untested])
