import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pneumoscope.core.errors import ManifestError, StorageError
from pneumoscope.data.manifest import COLUMNS, make_manifest, read_manifest, write_manifest

HEADER = "path,target,patient_id,split"
GOOD = "a.png,0,p1,train"


def write_csv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_minimal_csv_gets_every_column_typed(tmp_path: Path) -> None:
    manifest = read_manifest(write_csv(tmp_path, GOOD, "b/c.png,1,p2,test"))
    assert dict(manifest.table.schema) == COLUMNS
    assert list(manifest.table.columns) == list(COLUMNS)
    assert manifest.table["path"].to_list() == ["a.png", "b/c.png"]
    assert manifest.table["target"].to_list() == [0, 1]
    assert manifest.table["origin"].to_list() == ["real", "real"]
    assert manifest.table["boxes"].to_list() == [None, None]
    assert (manifest.root, manifest.name) == (tmp_path, tmp_path.name)
    assert len(manifest) == manifest.n_images == manifest.n_patients == 2


def test_optional_columns_are_kept_and_empty_ones_are_null(tmp_path: Path) -> None:
    boxes = '[{"x": 1, "y": 2.5, "width": 3, "height": 4, "score": 0.5}]'
    quoted = '"' + boxes.replace('"', '""') + '"'
    path = write_csv(
        tmp_path,
        f"a.png,1,p1,train,bacterial,AP,2.5,F,{quoted},phantom",
        "b.png,0,p2,train,,,,,,",
        header=HEADER + ",subtype,view_position,age_years,sex,boxes,origin",
    )
    first, second = read_manifest(path).table.iter_rows(named=True)
    assert first["boxes"] == boxes
    assert (first["subtype"], first["view_position"], first["sex"]) == ("bacterial", "AP", "F")
    assert (first["age_years"], first["origin"]) == (2.5, "phantom")
    assert [second[name] for name in ("subtype", "view_position", "age_years", "sex", "boxes")] == [
        None
    ] * 5
    assert second["origin"] == "real"


@pytest.mark.parametrize(
    ("given", "expected"), [("0", 0), ("1", 1), ("1.0", 1), ("", None), ("NaN", None)]
)
def test_target_as_tables_write_it(tmp_path: Path, given: str, expected: int | None) -> None:
    manifest = read_manifest(write_csv(tmp_path, f"a.png,{given},p1,train"))
    assert manifest.table["target"].to_list() == [expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("training", "train"), ("Tuning", "val"), ("validation", "val"), ("VAL", "val")],
)
def test_split_synonyms(tmp_path: Path, given: str, expected: str) -> None:
    manifest = read_manifest(write_csv(tmp_path, f"a.png,0,p1,{given}"))
    assert manifest.table["split"].to_list() == [expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (r"train\a.png", "train/a.png"),
        ("./a.png", "a.png"),
        ("b//a.png", "b/a.png"),
        ("b/../a.png", "a.png"),
        ("..a.png", "..a.png"),
        ("a..b/c...png", "a..b/c...png"),
    ],
)
def test_paths_are_made_plain(tmp_path: Path, given: str, expected: str) -> None:
    manifest = read_manifest(write_csv(tmp_path, "first.png,0,p0,train", f"{given},0,p1,train"))
    assert manifest.table["path"].to_list() == ["first.png", expected]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("/etc/a.png,0,p1,train", "path"),
        (r"C:\a.png,0,p1,train", "path"),
        (r"\\server\share\a.png,0,p1,train", "path"),
        ("../a.png,0,p1,train", "path"),
        (r"b\..\..\a.png,0,p1,train", "path"),
        ("..,0,p1,train", "path"),
        ("b/..,0,p1,train", "path"),
        ("a\0.png,0,p1,train", "path"),
        (",0,p1,train", "path"),
        ("x/../first.png,0,p1,train", "path"),
        ("b.png,2,p1,train", "target"),
        ("b.png,0.5,p1,train", "target"),
        ("b.png,pneumonia,p1,train", "target"),
        ("b.png,-1,p1,train", "target"),
        ("b.png,inf,p1,train", "target"),
        ("b.png,0,,train", "patient_id"),
        ("b.png,0,nan,train", "patient_id"),
        ("b.png,0,N/A,train", "patient_id"),
        ("b.png,0,Anonymous,train", "patient_id"),
        ("b.png,0,de-identified,train", "patient_id"),
        ("b.png,0,p1,holdout", "split"),
        ("b.png,0,p1,", "split"),
    ],
)
def test_a_wrong_value_is_refused_with_its_row(tmp_path: Path, row: str, column: str) -> None:
    path = write_csv(tmp_path, "first.png,0,p0,train", row)
    with pytest.raises(ManifestError, match=rf"manifest\.csv, row 2: {column} is "):
        read_manifest(path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("origin", "fake"),
        ("age_years", "old"),
        ("age_years", "-1"),
        ("age_years", "131"),
        ("age_years", "inf"),
        ("boxes", "1 2 3 4"),
        ("boxes", "{}"),
        ("boxes", "[1]"),
        ("boxes", '"[{""x"": 1, ""y"": 2, ""width"": 3}]"'),
        ("boxes", '"[{""x"": 1, ""y"": 2, ""width"": 3, ""height"": 0}]"'),
        ("boxes", '"[{""x"": 1, ""y"": 2, ""width"": 0, ""height"": 4}]"'),
        ("boxes", '"[{""x"": true, ""y"": 2, ""width"": 3, ""height"": 4}]"'),
        ("boxes", '"[{""x"": NaN, ""y"": 2, ""width"": 3, ""height"": 4}]"'),
        ("boxes", f'"[{{""x"": {"9" * 400}, ""y"": 2, ""width"": 3, ""height"": 4}}]"'),
        ("boxes", "[" * 2000),
    ],
)
def test_a_wrong_optional_value_is_refused_with_its_row(
    tmp_path: Path, column: str, value: str
) -> None:
    path = write_csv(tmp_path, GOOD + ",", f"b.png,1,p2,train,{value}", header=f"{HEADER},{column}")
    with pytest.raises(ManifestError, match=f"row 2: {column} is .{{1,130}}[.] It must be"):
        read_manifest(path)


def test_boxes_in_any_json_spelling_are_accepted(tmp_path: Path) -> None:
    box = {"x": -1.5, "y": 0, "width": 1e2, "height": 0.25}
    spellings = [
        json.dumps([box]),
        json.dumps([box], separators=(",", ":")),
        json.dumps([dict(reversed(box.items()))], indent=1),
        json.dumps([box, box]),
        "[]",
    ]
    n = len(spellings)
    columns = {
        "path": [f"{i}.png" for i in range(n)],
        "target": [1] * n,
        "patient_id": [str(i) for i in range(n)],
        "split": ["train"] * n,
        "boxes": spellings,
    }
    pl.DataFrame(columns).write_csv(tmp_path / "set.csv")
    assert read_manifest(tmp_path / "set.csv").table["boxes"].to_list() == spellings


def test_the_message_shows_the_value_as_given_and_counts_the_others(tmp_path: Path) -> None:
    rows = [GOOD] + [f"{i}.png,Maybe,p{i},train" for i in range(5)]
    message = "row 2: target is 'Maybe' (4 more rows like it). It must be 0 (normal)"
    with pytest.raises(ManifestError, match=re.escape(message)):
        read_manifest(write_csv(tmp_path, *rows))


def test_a_duplicate_path_is_refused_however_it_is_spelt(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "d/a.png,0,p1,train", r"d\a.png,0,p1,train", "./d/a.png,1,p1,test")
    with pytest.raises(ManifestError, match=r"row 2: path is .*1 more rows.*An earlier row"):
        read_manifest(path)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "a.png,0", header="path,label")
    with pytest.raises(
        ManifestError, match="columns target, patient_id, split are missing; found path, label"
    ):
        read_manifest(path)
    pl.DataFrame({"path": ["a.png"]}).write_parquet(tmp_path / "set.parquet")
    with pytest.raises(ManifestError, match="are missing"):
        read_manifest(tmp_path / "set.parquet")


def test_unknown_columns_are_ignored_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = write_csv(tmp_path, GOOD + ",x,y", header=HEADER + ",hospital,note")
    assert read_manifest(path).table.columns == list(COLUMNS)
    assert "ignoring the columns hospital, note" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00binary\x00,", b"just words\n"])
@pytest.mark.parametrize("name", ["set.csv", "set.parquet"])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=name):
        read_manifest(tmp_path / name)


def test_invalid_utf8_a_ragged_row_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(f"{HEADER}\n".encode() + b"\xff\xfe.png,0,p1,train\n")
    with pytest.raises(ManifestError, match="not a table"):
        read_manifest(path)
    path.write_text(f"{HEADER}\n{GOOD},surplus,more\n")
    with pytest.raises(ManifestError, match="not a table"):
        read_manifest(path)
    with pytest.raises(ManifestError, match="absent"):
        read_manifest(tmp_path / "absent.csv")


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no rows"):
        read_manifest(write_csv(tmp_path))


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8-sig")
    assert len(read_manifest(path)) == 1


@pytest.mark.parametrize("target", [[0, 1], [0.0, 1.0], [False, True], ["0", "1"]])
def test_parquet_with_native_types(tmp_path: Path, target: list[object]) -> None:
    table = pl.DataFrame(
        {
            "path": ["a.png", "b.png"],
            "target": target,
            "patient_id": [7, 8],
            "split": pl.Series(["train", "test"], dtype=pl.Categorical),
            "age_years": [1.5, float("nan")],
        }
    )
    table.write_parquet(tmp_path / "set.parquet")
    manifest = read_manifest(tmp_path / "set.parquet")
    assert dict(manifest.table.schema) == COLUMNS
    assert manifest.table["target"].to_list() == [0, 1]
    assert manifest.table["patient_id"].to_list() == ["7", "8"]
    assert manifest.table["age_years"].to_list() == [1.5, None]
    assert manifest.name == "set"


def test_parquet_floats_with_nan_are_unknown_targets(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"path": ["a", "b"], "target": [1.0, float("nan")], "patient_id": ["p", "q"]}
    ).with_columns(split=pl.lit("train"))
    table.write_parquet(tmp_path / "set.parquet")
    assert read_manifest(tmp_path / "set.parquet").table["target"].to_list() == [1, None]


def test_nested_parquet_columns_are_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a"], "target": [1], "patient_id": ["p"], "split": ["train"]})
    table = table.with_columns(boxes=pl.Series([[{"x": 1}]]))
    table.write_parquet(tmp_path / "set.parquet")
    with pytest.raises(ManifestError, match="boxes holds lists"):
        read_manifest(tmp_path / "set.parquet")


@pytest.mark.parametrize("column", ["path", "age_years"])
def test_raw_bytes_in_parquet_are_refused(tmp_path: Path, column: str) -> None:
    table = pl.DataFrame({"path": ["a"], "target": [1], "patient_id": ["p"], "split": ["train"]})
    table = table.with_columns(pl.Series(column, [b"\xff\xfe"]))
    table.write_parquet(tmp_path / "set.parquet")
    with pytest.raises(ManifestError, match=f"{column} holds lists, structs or raw bytes"):
        read_manifest(tmp_path / "set.parquet")


def test_write_then_read_is_the_same(tmp_path: Path) -> None:
    manifest = make_manifest(
        {
            "path": ['a "quoted", name.png', "b/ü.png"],
            "target": [0, None],
            "patient_id": ["p1", "p2"],
            "split": ["train", "val"],
            "age_years": [0.1, None],
            "boxes": ['[{"x": 1, "y": 2, "width": 3, "height": 4}]', None],
            "origin": ["phantom", "generated"],
        },
        root=tmp_path,
        name=tmp_path.name,
    )
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv").table.equals(manifest.table)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["manifest.csv"]


def test_a_manifest_is_written_into_its_root_only(tmp_path: Path) -> None:
    manifest = read_manifest(write_csv(tmp_path, GOOD))
    with pytest.raises(ManifestError, match="Write it there"):
        write_manifest(manifest, tmp_path / "other" / "manifest.csv")
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(StorageError):
        write_manifest(manifest, tmp_path / "taken.csv")


MEASURE = """
import resource, sys, time
from pathlib import Path
from pneumoscope.data.manifest import read_manifest
start = time.process_time()
n = len(read_manifest(Path(sys.argv[1])))
seconds = time.process_time() - start
status = Path("/proc/self/status")
if status.exists():
    # Not ru_maxrss: on Linux a new process begins with the peak of the one that started it.
    (peak,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    peak_bytes = int(peak.split()[1]) * 1024
else:
    unit = 1 if sys.platform == "darwin" else 1024
    peak_bytes = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(n, seconds, peak_bytes)
"""


@pytest.fixture(scope="module")
def million_rows() -> pl.DataFrame:
    """One million rows with every column filled, as a large chest set would have them."""
    number = pl.int_range(1_000_000, eager=True).alias("n").to_frame()
    i = pl.col("n")
    box = pl.concat_str(
        pl.lit('[{"x": '), i % 900, pl.lit(', "y": 20.5, "width": 300, "height": 250}]')
    )
    return number.select(
        path=pl.format("images/{}/radiograph_{}.png", i % 1000, i),
        target=i % 2,
        patient_id=pl.format("patient{}", i // 3),
        split=pl.when(i % 10 == 0).then(pl.lit("test")).otherwise(pl.lit("training")),
        subtype=pl.when(i % 2 == 1).then(pl.lit("bacterial")),
        view_position=pl.lit("AP"),
        age_years=i % 90 / 2,
        sex=pl.lit("F"),
        boxes=pl.when(i % 2 == 1).then(box),
        origin=pl.lit("real"),
        hospital=pl.lit("somewhere"),
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_million_rows_load_in_10_s_and_1_gib(
    tmp_path: Path, million_rows: pl.DataFrame, kind: str
) -> None:
    pytest.importorskip("resource", reason="peak memory is read with a Unix module")
    path = tmp_path / f"set.{kind}"
    getattr(million_rows, f"write_{kind}")(path)
    # In a process of its own: the peak of this one would count every other test's memory. The time
    # is that of all its threads, which on an idle machine is more than what the clock on the wall
    # shows, and does not hang on what else this machine is doing.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    n, seconds, peak_bytes = (float(word) for word in done.stdout.split())
    assert n == 1_000_000
    assert seconds < 10
    assert peak_bytes < 2**30


def test_views_and_sexes_are_written_as_dicom_has_them(tmp_path: Path) -> None:
    header = f"{HEADER},view_position,sex,subtype"
    path = write_csv(
        tmp_path, "a.png,0,p1,train,pa,f,Viral", "b.png,0,0,train,N/A,,", header=header
    )
    table = read_manifest(path).table
    assert table["view_position"].to_list() == ["PA", None]
    assert table["sex"].to_list() == ["F", None]
    assert table["subtype"].to_list() == ["Viral", None]
    assert table["patient_id"].to_list() == ["p1", "0"]
