"""The figures of docs/results.md are those of the results that lie in studies/measured."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from pneumoscope.data.open import open_dataset
from pneumoscope.report.comparison_page import comparison_tables
from pneumoscope.report.comparison_results import Comparison
from pneumoscope.report.epochs_page import epochs_tables
from pneumoscope.report.epochs_results import EpochsResult
from pneumoscope.report.evaluation_page import signed
from pneumoscope.report.study_page import study_tables
from pneumoscope.report.table import table_markdown
from pneumoscope.study import compare
from pneumoscope.study.compare import compare_runs, detector_of, run_figures
from pneumoscope.study.measured_run import load_measured
from pneumoscope.study.paired_tests import TEST_METHOD
from pneumoscope.study.study import StudyOptions, run_study
from pneumoscope.study.study_contrasts import correct_after_holm, paired_differences
from pneumoscope.study.study_plan import load_study

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "studies/measured"
RUNS = sorted(path.parent for path in MEASURED.glob("*/metrics.json"))
N_SEEDS = 3
IN_TABLE = (  # the recipes of the pairs, in the order of their rows
    "smartinternz-64",
    "browser-150",
    "gray-150",
    "springboard-150",
    "springboard-vgg16",
    "pneunet-lite0",
    "pneumoscope-1",
)
BALANCED = ("springboard-150", "springboard-vgg16")
ARMS = {  # of the balancing question, as its tables call them
    "": "no balancing",
    "-weighted": "class weights",
    "-repeated": "2,500 normals repeated",
    "-resampled": "2,500 normals resampled",
    "-gan": "2,500 synthetic normals",
}
ARM_COLUMNS = [  # after AUROC
    ("0.5", "specificity"),
    ("0.5", "accuracy"),
    ("balanced", "specificity"),
    ("balanced", "accuracy"),
]


def compared(recipes: Iterable[str], out: Path) -> Comparison:
    """Return what `pneumoscope compare` finds of the recipes' kept runs."""
    runs = [MEASURED / f"{recipe}-s{seed}" for recipe in recipes for seed in range(N_SEEDS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "write_comparison", lambda *_, **__: None)
        return compare_runs(runs, out)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs/results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_the_results_of_a_run_hold_together(folder: Path) -> None:
    for name, (said, given) in run_figures(load_measured(folder)).items():
        assert said == pytest.approx(given, abs=1e-9, nan_ok=True), name
    facts = json.loads((folder / "run.json").read_text())
    assert folder.name == f"{facts['recipe']}-s{facts['seed']}"
    for file in folder.iterdir():
        assert "/work/" not in file.read_text(encoding="utf-8"), "a path of the machine"


def test_the_tables_are_what_compare_prints_of_the_results(page: str, tmp_path: Path) -> None:
    tables = comparison_tables(compared(IN_TABLE, tmp_path))
    assert [len(table.rows) for table in tables][-2:] == [21, 21]
    for table in tables:
        assert f"**{table.caption}**\n\n{table_markdown(table)}\n" in page


def test_the_table_of_systems_is_what_study_prints_of_the_results(
    page: str, real_data: Path, tmp_path: Path
) -> None:
    found = run_study(
        load_study(ROOT / "studies/sources.yaml"),
        open_dataset(real_data),
        tmp_path,
        StudyOptions(runs=[MEASURED], works=False, show_progress=False),
    )
    assert all(len(each.measured) == N_SEEDS for each in found.systems if each.name != "pneunet")
    table = study_tables(found)[0]
    assert f"**{table.caption}**\n\n{table_markdown(table)}\n" in page


def test_what_the_paired_tests_know_of_stands_below_them(page: str) -> None:
    assert f"- {TEST_METHOD[1]}\n" in page


@pytest.mark.parametrize("base", BALANCED)
def test_the_arms_of_the_balancing_question_are_published_as_measured(
    base: str, page: str, tmp_path: Path
) -> None:
    lines = page.splitlines()
    (head,) = (n for n, line in enumerate(lines) if line.startswith(f"| `{base}` | AUROC"))
    found = compared([f"{base}{arm}" for arm in ARMS], tmp_path).recipes
    for words, recipe in zip(ARMS.values(), found, strict=True):
        figures = [
            recipe.scores["auroc"],
            *(recipe.points[point][name] for point, name in ARM_COLUMNS),
        ]
        cells = " | ".join(f"{each.mean:.3f} ± {each.sd:.3f}" for each in figures)
        assert f"| {words} | {cells} |" in lines[head : head + 2 + len(ARMS)]


@pytest.mark.parametrize("base", BALANCED)
def test_the_differences_of_the_balancing_question_are_published_as_measured(
    base: str, page: str
) -> None:
    lines, n_rows = page.splitlines(), 0
    (arms,) = (n for n, line in enumerate(lines) if line.startswith(f"| `{base}` | AUROC"))
    head = lines.index("", arms) + 1
    assert "| AUROC | by seed | p (Holm) |" in lines[head]
    measured = {
        arm: [load_measured(MEASURED / f"{base}{arm}-s{seed}") for seed in range(N_SEEDS)]
        for arm in ARMS
    }
    facts = measured["-gan"][0].predictions
    others = [arm for arm in measured if arm != "-gan"]
    found = correct_after_holm(
        [
            paired_differences(
                detector_of(base, measured["-gan"]),
                detector_of(f"{base}{arm}", measured[arm]),
                target=facts.target,
                patient_id=facts.patient_id,
                n_resamples=4000,  # as `study` takes them
            )
            for arm in others
        ]
    )
    for arm, differences in zip(others, found, strict=True):
        rows = lines[head + 2 : lines.index("", head)]
        (row,) = (line for line in rows if line.startswith(f"| {ARMS[arm]} |"))
        by_figure = {each.figure: each for each in differences}
        cells = []
        for figure in ("auroc", "specificity 0.5", "specificity balanced", "accuracy balanced"):
            each = by_figure[figure]
            of_mean = each.difference
            ends = f"{signed(of_mean.low)} to {signed(of_mean.high)}"
            cells.append(f"{signed(of_mean.mean)} ({ends})")
            if figure in ("auroc", "specificity 0.5"):
                cells.append(", ".join(map(signed, of_mean.by_seed)))
                cells.append(f"{each.p_value:.2g} ({each.p_holm:.2g})")
        assert row.replace("−", "-") == f"| {ARMS[arm]} | {' | '.join(cells)} |"
        n_rows += 1
    assert n_rows == len(others) == len(ARMS) - 1


def test_what_choosing_the_epoch_on_test_is_worth_is_published_as_measured() -> None:
    path = MEASURED / "epochs/springboard-150.json"
    result = EpochsResult.model_validate_json(path.read_text(encoding="utf-8"))
    published = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for row in epochs_tables(result)[0].rows:
        gap, kept = (cell.replace("-", "−") for cell in (row[3], row[5]))
        assert f"| {gap} |" in published.replace("-", "−")
        assert f"| {kept} |" in published.replace("-", "−")
