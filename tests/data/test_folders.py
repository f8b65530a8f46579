import logging
import os
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from pneumoscope.core.errors import DatasetError
from pneumoscope.data.folders import list_folders, parse_name
from pneumoscope.data.manifest import refuse_passed_over


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("person1_bacteria_1.jpeg", "person1", "bacterial"),
        ("person1_bacteria_2.jpeg", "person1", "bacterial"),
        ("person1018_virus_1706.jpeg", "person1018", "viral"),
        ("person1372_virus_2365_1.jpeg", "person1372", "viral"),
        ("IM-0115-0001.jpeg", "IM-0115", None),
        ("IM-0115-0001-0002.jpeg", "IM-0115", None),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427", None),
        ("NORMAL2-IM-0501-0001-0002.jpeg", "NORMAL2-IM-0501", None),
        # Other cases, and copies as file managers call them.
        ("Person1_Virus_6.JPEG", "person1", "viral"),
        ("person1_virus_6", "person1", "viral"),
        ("person1_virus_6 (1).jpeg", "person1", "viral"),
        ("person1_virus_6(2).jpeg", "person1", "viral"),
        ("im-0115-0001 - Copy.jpeg", "IM-0115", None),
        ("IM-0115-0001 copy 2.jpeg", "IM-0115", None),
    ],
)
def test_names_tell_patient_and_subtype(name: str, patient: str, subtype: str | None) -> None:
    assert parse_name(name, split="test", label="PNEUMONIA") == (f"test/{patient}", subtype)


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("BACTERIA-1008087-0001.jpeg", "1008087", "bacterial"),
        ("VIRUS-1008087-0002.jpeg", "1008087", "viral"),
        ("NORMAL-1003233-0001.jpeg", "1003233", None),
        ("bacteria-1008087-0003 (1).jpg", "1008087", "bacterial"),
        # Not the set's naming.
        ("person1.jpeg", None, None),
        ("0001.png", None, None),
        ("chest (1).png", None, None),
        ("my_person1_bacteria_1.jpeg", None, None),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_numbers_of_mendeleys_third_version_are_one_childs_in_every_split(
    split: str, name: str, patient: str | None, subtype: str | None
) -> None:
    assert parse_name(name, split=split, label="PNEUMONIA") == (patient, subtype)


def test_only_pneumonia_has_a_subtype() -> None:
    assert parse_name("person1_virus_1.png", split="val", label="NORMAL") == ("val/person1", None)


def test_patients_are_scoped_by_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/IM-0001-0001.jpeg", "train/PNEUMONIA/person1_bacteria_1.jpeg")
    touch(tmp_path, "test/NORMAL/IM-0001-0001.jpeg", "test/PNEUMONIA/person1_virus_1.jpeg")
    manifest = list_folders(tmp_path)
    assert manifest.table.select("path", "target", "patient_id", "split", "subtype").rows() == [
        ("train/NORMAL/IM-0001-0001.jpeg", 0, "train/IM-0001", "train", None),
        ("train/PNEUMONIA/person1_bacteria_1.jpeg", 1, "train/person1", "train", "bacterial"),
        ("test/NORMAL/IM-0001-0001.jpeg", 0, "test/IM-0001", "test", None),
        ("test/PNEUMONIA/person1_virus_1.jpeg", 1, "test/person1", "test", "viral"),
    ]
    assert manifest.table["origin"].unique().to_list() == ["real"]
    assert (manifest.root, manifest.name) == (tmp_path, tmp_path.name)


def test_case_hidden_files_and_suffixes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    touch(tmp_path, "Train/Normal/b.PNG", "Train/Normal/a.dcm", "Train/pneumonia/c.bmp")
    touch(tmp_path, "Train/Normal/.DS_Store", "Train/Normal/._b.png", "__MACOSX/train/x.png")
    touch(tmp_path, "Train/Normal/__MACOSX/b.png", "Train/Normal/notes.txt", ".git/config")
    touch(tmp_path, "Train/Normal/Thumbs.db", "Train/pneumonia/Doe^Jane/c.png")
    manifest = list_folders(tmp_path)
    assert manifest.table["path"].to_list() == [
        "Train/Normal/a.dcm",
        "Train/Normal/b.PNG",
        "Train/pneumonia/c.bmp",
    ]
    assert list(manifest.passed_over) == ["Train/Normal/notes.txt", "Train/pneumonia/Doe^Jane"]
    assert "Train/Normal: passed over: 1 other file." in caplog.text
    assert "Train/pneumonia: passed over: 1 folder." in caplog.text
    assert "Jane" not in caplog.text
    with pytest.raises(DatasetError, match=r"--strict.*(\n.*){2}Jane: a folder"):
        refuse_passed_over(manifest)


PREAMBLE = b"\0" * 128 + b"DICM"


@pytest.mark.parametrize(
    ("name", "content", "is_image"),
    [
        ("IM00001", PREAMBLE, True),
        ("1.2.840.10008.7", PREAMBLE, True),
        ("DICOMDIR", PREAMBLE, False),
        ("a.jfif", b"\xff\xd8\xff\xe0", True),
        ("a", b"\x89PNG\r\n\x1a\n", True),
        ("a.dib", b"BM\x36\0\0\0\0\0\0\0", True),
        ("a.txt", b"BMI of each patient", False),
        ("a.csv", b"path,target", False),
    ],
)
def test_a_file_of_another_suffix_is_an_image_by_its_first_bytes(
    tmp_path: Path, name: str, content: bytes, is_image: bool
) -> None:
    touch(tmp_path, "train/NORMAL/b.png", "train/PNEUMONIA/c.png")
    (tmp_path / "train" / "NORMAL" / name).write_bytes(content)
    assert (f"train/NORMAL/{name}" in list_folders(tmp_path).table["path"].to_list()) is is_image


def write_dicom(path: Path, patient_id: str | None, **tags: str) -> None:
    """Write a file with a header and pixels that nobody should have to read."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.PatientID = patient_id
    for keyword, value in tags.items():
        setattr(file, keyword, value)
    file.PixelData = bytes(16)
    file["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def test_a_dicom_header_tells_patient_view_age_and_sex(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tags = {"ViewPosition": "PA", "PatientAge": "055Y", "PatientSex": "F"}
    write_dicom(tmp_path / "train" / "NORMAL" / "1.dcm", "A 7", **tags)
    write_dicom(tmp_path / "train" / "PNEUMONIA" / "IM1", "A 8")
    write_dicom(tmp_path / "train" / "PNEUMONIA" / "person1_virus_1.dcm", "")
    write_dicom(tmp_path / "train" / "PNEUMONIA" / "x.dcm", "Anonymous")
    write_dicom(tmp_path / "test" / "NORMAL" / "1.dcm", "A 7")
    touch(tmp_path, "test/PNEUMONIA/empty.dcm")
    manifest = list_folders(tmp_path)
    names = ("path", "patient_id", "view_position", "age_years", "sex")
    assert manifest.table.select(names).rows() == [
        ("train/NORMAL/1.dcm", "A 7", "PA", 55, "F"),
        ("train/PNEUMONIA/IM1", "A 8", None, None, None),
        ("train/PNEUMONIA/person1_virus_1.dcm", "train/person1", None, None, None),
        ("train/PNEUMONIA/x.dcm", "train/PNEUMONIA/x.dcm", None, None, None),
        ("test/NORMAL/1.dcm", "A 7", None, None, None),  # the same patient, in another split
        ("test/PNEUMONIA/empty.dcm", "test/PNEUMONIA/empty.dcm", None, None, None),
    ]
    assert manifest.n_unknown_patients == 2
    assert "the patients of 2 of 6 images are unknown" in caplog.text


def test_one_patient_id_in_all_files_tells_nobody_apart(tmp_path: Path) -> None:
    for name in ("train/NORMAL/a.dcm", "train/PNEUMONIA/b.dcm"):
        write_dicom(tmp_path / name, "STUDY12")
    manifest = list_folders(tmp_path)
    assert (manifest.n_patients, manifest.n_unknown_patients) == (2, 2)


def test_equal_names_in_two_classes_are_two_patients(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/0001.png", "train/PNEUMONIA/0001.png", "train/NORMAL/0001.jpg")
    assert list_folders(tmp_path).n_patients == 3


def test_a_missing_class_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "test/NORMAL/a.png")
    with pytest.raises(DatasetError, match=r"test/PNEUMONIA: this folder is missing.*add it"):
        list_folders(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/notes.txt", "train/PNEUMONIA/.b.png")
    with pytest.raises(
        DatasetError, match=r"train/PNEUMONIA: has no images \(.*1 other file\).*Put .* in it"
    ):
        list_folders(tmp_path)


def test_a_class_that_is_a_file_counts_as_missing(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA")
    with pytest.raises(DatasetError, match="train/PNEUMONIA: this folder is missing"):
        list_folders(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that differ in case alone")
def test_one_class_under_two_spellings_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/Normal/b.png", "train/PNEUMONIA/c.png")
    with pytest.raises(DatasetError, match="has both NORMAL and Normal"):
        list_folders(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png")
    (tmp_path / "train/NORMAL" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(DatasetError, match="is not UTF-8"):
        list_folders(tmp_path)


def test_no_stat_call_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"train/{label}/{i}.png" for label in ("NORMAL", "PNEUMONIA") for i in "abc"))
    calls: list[str] = []
    for name in ("stat", "lstat"):
        real = getattr(os, name)

        def spy(path: object, *args: object, _real=real, **kwargs: object) -> object:
            calls.append(str(path))
            return _real(path, *args, **kwargs)

        monkeypatch.setattr(os, name, spy)
    assert len(list_folders(tmp_path)) == 6
    assert not [path for path in calls if path.endswith(".png")]


def test_the_kermany_set_has_the_published_counts(real_data: Path) -> None:
    manifest = list_folders(real_data)
    table = manifest.table
    assert Counter(table.select("split", "target").rows()) == {
        ("train", 0): 1341,
        ("train", 1): 3875,
        ("val", 0): 8,
        ("val", 1): 8,
        ("test", 0): 234,
        ("test", 1): 390,
    }
    assert Counter(table.filter(target=1).select("split", "subtype").rows()) == {
        ("train", "bacterial"): 2530,
        ("train", "viral"): 1345,
        ("val", "bacterial"): 8,
        ("test", "bacterial"): 242,
        ("test", "viral"): 148,
    }
    assert table.filter(target=0)["subtype"].null_count() == 1341 + 8 + 234
    patients = table.group_by("split").agg(pl.col("patient_id").n_unique())
    assert dict(patients.iter_rows()) == {"train": 2846, "val": 15, "test": 427}
    assert table["patient_id"].n_unique() == 2846 + 15 + 427
    assert (manifest.n_unknown_patients, manifest.passed_over) == (0, {})


def test_what_lies_beside_classes_and_splits_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "train/TUBERCULOSIS/c.png")
    touch(tmp_path, "train/d.png", "train/readme.txt", "validation/Normal/e.png", "notes/f.txt")
    manifest = list_folders(tmp_path)
    assert manifest.table["path"].to_list() == ["train/NORMAL/a.png", "train/PNEUMONIA/b.png"]
    assert sorted(manifest.passed_over) == ["train/TUBERCULOSIS", "train/d.png", "validation"]
    assert "1 folder with classes is called neither train, val nor test" in caplog.text
    assert "passed over beside its class folders: 2 files or folders" in caplog.text
    assert "TUBERCULOSIS" not in caplog.text
    with pytest.raises(DatasetError, match="--strict"):
        refuse_passed_over(manifest)


def test_what_cannot_be_looked_into_beside_the_splits_is_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as lost+found, where the dataset is a disk of its own."""
    touch(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "lost+found/c")
    for name in ("listdir", "scandir"):
        real = getattr(os, name)

        def refuse(path: Path, _real=real) -> object:
            if Path(path).name == "lost+found":
                raise PermissionError(13, "Permission denied")
            return _real(path)

        monkeypatch.setattr(os, name, refuse)
    manifest = list_folders(tmp_path)
    assert (len(manifest), manifest.passed_over) == (2, {})


def test_names_of_a_viewers_export_tell_no_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"IM-0001-0001 ({number}).jpg" for number in range(1, 5)]
    touch(tmp_path, *(f"train/{label}/{n}" for label in ("NORMAL", "PNEUMONIA") for n in names))
    manifest = list_folders(tmp_path)
    assert (manifest.n_patients, manifest.n_unknown_patients) == (8, 8)
    assert "the patients of 8 of 8 images are unknown" in caplog.text
    # In a set whose pneumonia is called as Kermany's is, its normals are named so, too.
    touch(tmp_path, "train/PNEUMONIA/person1_bacteria_1.jpeg")
    manifest = list_folders(tmp_path)
    assert (manifest.n_patients, manifest.n_unknown_patients) == (1 + 4 + 1, 4)
