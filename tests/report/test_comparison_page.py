import json
import math
import re

import numpy as np
import pytest

from pneumoscope.report.comparison_page import (
    comparison_markdown,
    comparison_tables,
    first_line,
    over_seeds,
    p_text,
    threshold_text,
    write_comparison,
)
from pneumoscope.report.comparison_results import (
    COMPARED_POINTS,
    AccuracyTest,
    AurocTest,
    Comparison,
    OverSeeds,
    PairedTests,
    RecipeResult,
    UntestedPair,
)
from pneumoscope.report.results import POINT_FIGURE_NAMES, SCORE_NAMES
from pneumoscope.report.table import Table, is_number_column


def figure(mean: float, *, sd: float = 0.012) -> OverSeeds:
    return OverSeeds(
        mean=mean,
        sd=sd,
        minimum=mean - 0.02,
        maximum=mean + 0.02,
        low=mean - 0.05,
        high=mean + 0.04,
        by_seed=[mean - 0.02, mean + 0.02],
    )


@pytest.fixture(scope="module")
def comparison(evaluation) -> Comparison:
    recipes = [
        RecipeResult(
            label=label,
            recipe=label,
            title=label,
            source_title="A | B",
            recipe_sha256="a",
            seeds=[0, 1],
            runs=[f"runs/{label}-0", f"runs/{label}-1"],
            readings=[1, 2],
            n_parameters=1246401,
            scores={name: figure(mean) for name in SCORE_NAMES},
            points={
                point: {name: figure(mean - 0.1) for name in POINT_FIGURE_NAMES}
                for point in COMPARED_POINTS
            },
            thresholds={"balanced": [0.4, 0.6], "0.5": [0.5, 0.5]},
            reported=evaluation.reported.model_copy(update={"figures": figures}),
        )
        for label, mean, figures in (
            ("one", 0.9, evaluation.reported.figures),
            ("other", 0.8, []),
        )
    ]
    test = PairedTests(
        a="one",
        b="other",
        seeds=[0, 1],
        auroc=AurocTest(
            auroc_a=0.91,
            auroc_b=0.81,
            difference=0.1,
            low=0.05,
            high=0.15,
            p_value=0.0002,
            p_holm=0.0004,
        ),
        accuracy=AccuracyTest(
            accuracy_a=0.8, accuracy_b=0.7, n_only_a=9, n_only_b=5, p_value=0.42, p_holm=0.84
        ),
    )
    return Comparison(
        notice=None,
        compared="2026-02-03T04:05:06+00:00",
        package_version="0.0",
        data=evaluation.data,
        recipes=recipes,
        tests=[test],
        method=["How it was done."],
    )


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_holds_each_figure_with_spread_and_interval(comparison) -> None:
    text = comparison_markdown(comparison)
    rows = markdown_rows(text)
    one = [row for row in rows if row[0] == "one"]
    assert one[0][1:3] == ["0, 1", "0.900 ± 0.012 (0.850 to 0.940)"]
    assert one[0][-1] == "0.880 to 0.920"
    assert one[1][1:3] == ["0.400 to 0.600", "0.800 ± 0.012 (0.750 to 0.840)"]
    assert one[2][1] == "0.500"
    assert one[3] == ["one", "best accuracy", "0.910", "0.770", "-0.140", "accuracy at 0.5",
                      "on 312 of the test images"]  # fmt: skip
    other = [row for row in rows if row[0] == "other"]
    assert other[3][1] == "none"
    pairs = [row for row in rows if row[0] == "one against other"]
    assert pairs[0][1:] == ["0.910", "0.810", "+0.100 (+0.050 to +0.150)", "< 0.001", "< 0.001"]
    assert pairs[1][1:] == ["0.800", "0.700", "9", "5", "0.420", "0.840"]
    assert text.rstrip().endswith("- How it was done.")


def test_a_pair_names_its_seeds_where_a_recipe_has_more_and_why_it_is_not_tested(
    comparison,
) -> None:
    one, other = comparison.recipes
    more = one.model_copy(update={"seeds": [0, 1, 2]})
    third = other.model_copy(update={"label": "third", "seeds": [7]})
    unlike = comparison.model_copy(
        update={
            "recipes": [more, other, third],
            "untested": [UntestedPair(a="one", b="third"), UntestedPair(a="other", b="third")],
        }
    )
    for table in comparison_tables(unlike)[-2:]:
        assert [row[0] for row in table.rows] == [
            "one against other, seeds 0 and 1 alone",
            "one against third: no test, for they have no seed in common",
            "other against third: no test, for they have no seed in common",
        ]
        assert {len(row) for row in table.rows} == {len(table.header)}
    untested_alone = unlike.model_copy(update={"tests": []})
    assert comparison_markdown(untested_alone).count("no seed in common") == 4


def test_every_table_of_the_markdown_is_rectangular(comparison) -> None:
    for table in comparison_tables(comparison):
        assert {len(row) for row in table.rows} == {len(table.header)}
    tables = re.findall(r"(?m)(?:^\|.*\n)+", comparison_markdown(comparison))
    assert len(tables) == len(comparison_tables(comparison))
    for text in tables:
        assert len({len(row) for row in markdown_rows(text)}) == 1


def test_a_bar_in_a_name_does_not_end_its_cell(comparison) -> None:
    recipe = comparison.recipes[0].model_copy(update={"label": "a|b"})
    text = comparison_markdown(comparison.model_copy(update={"recipes": [recipe]}))
    assert "| a\\|b |" in text


def test_first_line_counts_runs_and_says_what_was_measured(comparison) -> None:
    line = first_line(comparison)
    assert line.startswith("4 runs of 2 recipes on the test split of toy: 40 radiographs of 40")
    data = comparison.data.model_copy(update={"origin": "phantom"})
    assert "radiographs" not in first_line(comparison.model_copy(update={"data": data}))


def test_notice_comes_before_everything(comparison) -> None:
    text = comparison_markdown(comparison.model_copy(update={"notice": "Phantoms."}))
    assert text.startswith("**Phantoms.**\n")


def test_undefined_figures_say_so() -> None:
    nothing = figure(0.5).model_copy(update={"mean": math.nan, "sd": math.nan, "low": math.nan})
    assert over_seeds(nothing) == "undefined"
    assert over_seeds(figure(0.5, sd=math.nan)) == "0.500 (0.450 to 0.540)"
    assert p_text(math.nan) == "undefined"
    assert p_text(0.0499) == "0.050"
    assert threshold_text([0.5]) == "0.500"


def test_number_columns_are_told_from_text() -> None:
    table = Table("", ["", "a", "b", "c"], [["x", "0.5", "text", ""], ["y", "undefined", "1", ""]])
    assert [is_number_column(table, i) for i in (1, 2, 3)] == [True, False, False]


def test_written_files_hold_it_all_and_ask_for_nothing(comparison, tmp_path) -> None:
    target = np.arange(20) % 2 == 0
    curves = [("one", np.arange(20.0), target), ("other", np.arange(20.0)[::-1].copy(), target)]
    write_comparison(comparison, tmp_path, curves=curves)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"comparison.json", "comparison.md", "comparison.html", "figures/roc.png",
                       "figures/roc.svg"}  # fmt: skip
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert Comparison.model_validate(content).model_dump_json() == comparison.model_dump_json()
    page = (tmp_path / "comparison.html").read_text()
    for reference in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page):
        assert reference.startswith(("data:", "#")), reference
    assert not re.search(r"<(script|link)\b|@import", page)
    assert (tmp_path / "figures/roc.svg").read_text() in page
    words = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "0.900 ± 0.012 0.850 to 0.940" in words
    assert "runs/one-0 , runs/one-1 1, 2" in words
