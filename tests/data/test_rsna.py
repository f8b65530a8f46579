import json
from pathlib import Path

import polars as pl
import pytest

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.rsna import list_rsna, split_of

LABELS = """patientId,x,y,width,height,Target
c3,264.0,152.0,213.0,379.0,1
c3,562.0,152.0,256.0,453.0,1
a1,,,,,0
b2,,,,,0
"""
CLASSES = """patientId,class
c3,Lung Opacity
c3,Lung Opacity
a1,No Lung Opacity / Not Normal
b2,Normal
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "stage_2_train_images").mkdir()
    (tmp_path / "stage_2_test_images").mkdir()
    for name in ("a1", "b2", "c3"):
        (tmp_path / "stage_2_train_images" / f"{name}.dcm").touch()
    (tmp_path / "stage_2_test_images" / "z9.dcm").touch()
    (tmp_path / "stage_2_train_labels.csv").write_text(LABELS)
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(CLASSES)
    return tmp_path


def test_one_row_a_patient_with_its_boxes_and_class(root: Path) -> None:
    table = list_rsna(root).table
    assert table.select("path", "target", "patient_id", "subtype", "origin").rows() == [
        ("stage_2_train_images/a1.dcm", 0, "a1", "not_normal", "real"),
        ("stage_2_train_images/b2.dcm", 0, "b2", "normal", "real"),
        ("stage_2_train_images/c3.dcm", 1, "c3", "opacity", "real"),
    ]
    assert table["boxes"][0] is None
    assert json.loads(table["boxes"][2]) == [
        {"x": 264, "y": 152, "width": 213, "height": 379},
        {"x": 562, "y": 152, "width": 256, "height": 453},
    ]


def test_about_15_percent_are_test_for_ever() -> None:
    ids = [f"{i:08x}-patient" for i in range(20_000)]
    share = sum(split_of(name) == "test" for name in ids) / len(ids)
    assert share == pytest.approx(0.15, abs=0.01)  # 4 standard errors
    # A published figure rests on who is in test. By sha256sum, "rsna:p5" begins with 003f697e and
    # "rsna:p6" with 04d99ea9, both below 0.15 * 2**32 = 0x26666666; p1 has 7f5c4c58, a1 ab34abf3.
    assert [split_of(name) for name in ("p5", "p6", "p1", "a1")] == ["test", "test"] + ["train"] * 2


@pytest.mark.parametrize(
    "name",
    ["stage_2_train_images", "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"],
)
def test_a_missing_part_is_named(root: Path, name: str) -> None:
    (root / name).rename(root / "elsewhere")
    with pytest.raises(DatasetError, match=f"{name}: .*missing.*unpack"):
        list_rsna(root)


def test_a_missing_image_is_named(root: Path) -> None:
    (root / "stage_2_train_images" / "b2.dcm").unlink()
    with pytest.raises(DatasetError, match=r"b2\.dcm: has a label but is missing \(0 more\)"):
        list_rsna(root)


@pytest.mark.parametrize(
    "row",
    [
        "a1,,,,,2",
        "a1,,,,,",
        ",,,,,0",
        "../a1,,,,,0",
        "a1,,,,,1",
        "a1,1,2,3,wide,1",
        "a1,1,2,3,inf,1",
        "a1,1,2,0,4,1",
        "a1,1,2,3,-4,1",
    ],
)
def test_a_wrong_label_row_is_refused(root: Path, row: str) -> None:
    path = root / "stage_2_train_labels.csv"
    path.write_text(LABELS.replace("a1,,,,,0", row))
    with pytest.raises(DatasetError, match=r"stage_2_train_labels\.csv, row 3: patientId"):
        list_rsna(root)


def test_two_targets_for_one_patient_are_refused(root: Path) -> None:
    (root / "stage_2_train_labels.csv").write_text(LABELS + "c3,,,,,0\n")
    with pytest.raises(DatasetError, match="c3 has rows with Target 0 and with Target 1"):
        list_rsna(root)


def test_an_unknown_class_is_refused(root: Path) -> None:
    path = root / "stage_2_detailed_class_info.csv"
    path.write_text(CLASSES.replace("b2,Normal", "b2,Fine"))
    with pytest.raises(DatasetError, match="b2 has the class 'Fine'"):
        list_rsna(root)


@pytest.mark.parametrize("content", ["", "patientId,Target\na1,0\n", LABELS.splitlines()[0] + "\n"])
def test_a_table_that_is_not_the_challenges_is_refused(root: Path, content: str) -> None:
    (root / "stage_2_train_labels.csv").write_text(content)
    with pytest.raises(DatasetError, match=r"stage_2_train_labels\.csv: "):
        list_rsna(root)


def test_a_patient_without_a_class_has_no_subtype(root: Path) -> None:
    path = root / "stage_2_detailed_class_info.csv"
    path.write_text(CLASSES.replace("b2,Normal\n", ""))
    assert list_rsna(root).table.filter(pl.col("subtype").is_null())["patient_id"].to_list() == [
        "b2"
    ]
