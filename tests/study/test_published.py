"""The figures of docs/results.md are those of the results that lie in studies/measured."""

import json
from pathlib import Path

import pytest

from pneumoscope.report.comparison_page import comparison_tables
from pneumoscope.report.epochs_page import epochs_tables
from pneumoscope.report.epochs_results import EpochsResult
from pneumoscope.report.table import table_markdown
from pneumoscope.study import compare
from pneumoscope.study.compare import compare_runs, load_measured, run_figures

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "studies/measured"
RUNS = sorted(path.parent for path in MEASURED.glob("*/metrics.json"))
N_SEEDS = 3


@pytest.fixture(scope="module")
def published() -> dict[str, set[str]]:
    """Return the lines of docs/results.md by the bold caption above them."""
    caption, lines = "", {}
    for line in (ROOT / "docs/results.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("**") and line.endswith("**"):
            caption = line.strip("*")
        lines.setdefault(caption, set()).add(line)
    return lines


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_the_results_of_a_run_hold_together(folder: Path) -> None:
    for name, (said, given) in run_figures(load_measured(folder)).items():
        assert said == pytest.approx(given, abs=1e-9, nan_ok=True), name
    facts = json.loads((folder / "run.json").read_text())
    assert folder.name == f"{facts['recipe']}-s{facts['seed']}"
    for file in folder.iterdir():
        assert "/work/" not in file.read_text(encoding="utf-8"), "a path of the machine"


def test_the_rows_of_the_table_are_those_of_the_results(
    published: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compare, "write_comparison", lambda *_, **__: None)
    compared = compare_runs(RUNS, tmp_path)
    whole = {each.recipe for each in compared.recipes if len(each.seeds) == N_SEEDS}
    assert "springboard-150" in whole
    n_rows = 0
    for table in comparison_tables(compared)[:4]:  # the others are of pairs
        assert table.caption in published
        for row, line in zip(table.rows, table_markdown(table).splitlines()[2:], strict=True):
            if row[0] in whole:
                assert line in published[table.caption]
                n_rows += 1
    assert n_rows >= 3 * len(whole)


def test_what_choosing_the_epoch_on_test_is_worth_is_published_as_measured() -> None:
    path = MEASURED / "epochs/springboard-150.json"
    result = EpochsResult.model_validate_json(path.read_text(encoding="utf-8"))
    published = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for row in epochs_tables(result)[0].rows:
        gap, kept = (cell.replace("-", "−") for cell in (row[3], row[5]))
        assert f"| {gap} |" in published.replace("-", "−")
        assert f"| {kept} |" in published.replace("-", "−")
