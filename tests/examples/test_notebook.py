"""The example notebook runs from its first cell to its last, and shows what it says."""

import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "train_predict_show.ipynb"


@pytest.fixture
def kernel_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a kernel that is the interpreter of these tests, whatever else is installed."""
    folder = tmp_path / "jupyter" / "kernels" / "these-tests"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Tests", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(specification))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # without it jupyter_core warns
    return "these-tests"


def shown(cell: nbformat.NotebookNode) -> str:
    """Return all that a cell printed or displayed, as text."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [str(value) for value in output.get("data", {}).values()]
    return "".join(parts)


def test_notebook_runs_and_shows(tmp_path: Path, kernel_name: str) -> None:
    workplace = tmp_path / "examples"
    shutil.copytree(EXAMPLES / "radiographs", workplace / "radiographs")
    book = nbformat.read(NOTEBOOK, as_version=4)
    book.cells.insert(
        0, nbformat.v4.new_code_cell("import warnings; warnings.simplefilter('error')")
    )
    # Its own shutdown has a warning for ipykernel's developers.
    book.cells.append(nbformat.v4.new_code_cell("warnings.resetwarnings()"))
    client = NotebookClient(
        book,
        timeout=200,
        kernel_name=kernel_name,
        resources={"metadata": {"path": str(workplace)}},
    )
    client.execute()

    texts = {cell.source: shown(cell) for cell in book.cells if cell.cell_type == "code"}
    (evaluated,) = (text for source, text in texts.items() if "evaluate_run(" in source)
    assert "phantom" in evaluated.splitlines()[0]
    assert re.search(r"auroc +[01]\.\d{3}  \(", evaluated)
    predictions = [text for text in texts.values() if 'class="pneumoscope"' in text]
    assert len(predictions) >= 2
    assert all(text.count("data:image/jpeg;base64,") == 2 for text in predictions)
    assert all("Research use only" in text for text in predictions)
    answers = texts[book.cells[-2].source]
    assert len(re.findall(r"\.jpeg +(normal|pneumonia) +[01]\.\d{3}", answers)) == 16
    assert sorted(path.name for path in workplace.iterdir()) == ["radiographs"]


def test_notebook_is_committed_without_outputs() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_notebook_says_what_its_pictures_are_and_what_it_is_for() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    first = book.cells[0].source
    assert "They are not radiographs" in first
    assert "Research use only" in first
