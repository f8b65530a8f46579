"""Whether a run may begin in a folder, may go on there, or must leave it alone."""

from pathlib import Path

import pytest

from pneumoscope.core.errors import RunError
from pneumoscope.core.files import open_atomically
from pneumoscope.training.run_state import has_run


def left_by_a_kill(folder: Path, name: str) -> None:
    """Leave what `open_atomically` leaves that was killed before the rename."""
    with open_atomically(folder / name):
        (temporary,) = folder.glob(f".{name}.*")
    temporary.write_text("half")
    (folder / name).unlink()


@pytest.mark.parametrize(
    "names", [["recipe.yaml"], [], ["recipe.yaml", "run.json"]], ids=["recipe", "none", "both"]
)
def test_what_a_kill_leaves_at_the_beginning_does_not_hinder_the_run(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        left_by_a_kill(tmp_path, name)
    assert not has_run(tmp_path, resume=True)
    (tmp_path / "recipe.yaml").touch()
    assert not has_run(tmp_path, resume=True)
    with pytest.raises(RunError, match="holds other files"):
        has_run(tmp_path, resume=False)
    (tmp_path / "run.json").touch()
    assert has_run(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["thesis.txt", ".thesis.txt.1234.tmp", ".git", "run.json.tmp"])
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / name).touch()
    with pytest.raises(RunError, match="holds other files"):
        has_run(tmp_path, resume=True)
