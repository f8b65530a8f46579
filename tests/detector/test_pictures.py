"""Which files the words of a user mean."""

import os
from pathlib import Path

import pytest

from pneumoscope.core.errors import UsageError
from pneumoscope.detector.pictures import find_pictures
from pneumoscope.detector.prediction import Failure


def make(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names(items: list[Path | Failure], folder: Path) -> list[str]:
    return [Path(getattr(item, "path", item)).relative_to(folder).as_posix() for item in items]


def test_a_folder_gives_its_pictures_at_all_levels_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b/2.PNG", "a/z.jpeg", "b/1.dcm", "c.jpg", "d/e/f.webp", "g.bmp", "h.DICOM")
    make(tmp_path, "notes.txt", "table.csv", ".hidden.png", ".git/x.png", "a/z.overlay.png")
    make(tmp_path, "IM0001", "1.2.840.7", "DICOMDIR", data=b"\0" * 128 + b"DICM...")
    expected = ["1.2.840.7", "IM0001", "a/z.jpeg", "b/1.dcm", "b/2.PNG", "c.jpg", "d/e/f.webp"]
    assert names(find_pictures([tmp_path]), tmp_path) == [*expected, "g.bmp", "h.DICOM"]


def test_names_keep_the_order_given_and_files_are_taken_as_they_are(tmp_path: Path) -> None:
    make(tmp_path, "z.jpeg", "folder/b.png", "folder/a.png", "odd.txt", "x.overlay.png")
    words = [tmp_path / name for name in ("z.jpeg", "missing.png", "folder", "odd.txt", "z.jpeg")]
    assert names(find_pictures(words), tmp_path) == [
        "z.jpeg",
        "missing.png",
        "folder/a.png",
        "folder/b.png",
        "odd.txt",
        "z.jpeg",
    ]
    assert names(find_pictures([str(tmp_path / "x.overlay.png")]), tmp_path) == ["x.overlay.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["1.png", "2.png"]),
        ("**/*.png", ["1.png", "2.png", "in/3.png"]),
        ("**", ["1.png", "2.png", "in/3.png"]),
        ("[12].png", ["1.png", "2.png"]),
        ("i?", ["in/3.png"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    make(tmp_path, "2.png", "1.png", "in/3.png")
    found = names(find_pictures([tmp_path / pattern]), tmp_path)
    assert sorted(found) == expected
    assert len(set(found)) == len(found)


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    make(tmp_path, "chest[1].png", "chest1.png")
    assert names(find_pictures([tmp_path / "chest[1].png"]), tmp_path) == ["chest[1].png"]


def test_nothing_to_read_is_wrong_usage(tmp_path: Path) -> None:
    make(tmp_path, "empty/notes.txt")
    with pytest.raises(UsageError, match="empty: the folder has no .jpeg"):
        find_pictures([tmp_path / "empty"])
    with pytest.raises(UsageError, match=r"\*.png: the pattern matches no picture"):
        find_pictures([tmp_path / "*.png"])


def test_an_empty_folder_among_others_is_one_failure(tmp_path: Path) -> None:
    make(tmp_path, "empty/notes.txt", "1.png")
    found = find_pictures([tmp_path / "empty", tmp_path / "1.png"])
    assert isinstance(found[0], Failure)
    assert found[0].path == str(tmp_path / "empty")
    assert found[1] == tmp_path / "1.png"


def test_a_link_in_a_circle_and_a_pipe_do_not_hold_it_up(tmp_path: Path) -> None:
    make(tmp_path, "1.png")
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert names(find_pictures([tmp_path]), tmp_path) == ["1.png"]


def test_a_name_that_cannot_be_looked_up_costs_only_itself(tmp_path: Path) -> None:
    make(tmp_path, "ok.jpeg")
    long = tmp_path / f"{'x' * 300}.jpeg"
    assert find_pictures([tmp_path / "ok.jpeg", long]) == [tmp_path / "ok.jpeg", long]


def test_a_folder_within_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "open/a.png", "secret/b.png")
    scan = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == "secret":
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    picture, failure = find_pictures([tmp_path])
    assert picture == tmp_path / "open" / "a.png"
    assert isinstance(failure, Failure)
    assert failure.path == str(tmp_path / "secret")
    assert "can't be read (Permission denied). Change its permissions." in failure.message
    (only,) = [*find_pictures([tmp_path / "open", tmp_path / "secret"])[1:]]
    assert "can't be read" in only.message
