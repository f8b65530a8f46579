"""Generated images may train, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pneumoscope.core.errors import SplitError
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest, make_manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.data.splits import (
    assign_roles,
    check_roles,
    refuse_generated,
    refuse_mixed_origins,
)

N_REAL = 60
NOTE = "Synthetic picture drawn by a DCGAN. Not a radiograph of a person. gan-s0"


def save_picture(path: Path, *, comment: str | None = None) -> None:
    note = PngInfo()
    if comment:
        note.add_text("Comment", comment)
    Image.new("L", (8, 8)).save(path, pnginfo=note)


def build_manifest(n_generated: int, *, split: str = "train", patient: str = "g{}") -> Manifest:
    """Real radiographs of 60 patients, two thirds of them in train, and generated images."""
    splits = ["train", "train", "test"] * (N_REAL // 3) + [split] * n_generated
    n = N_REAL + n_generated
    return make_manifest(
        {
            "path": [f"{i}.png" for i in range(n)],
            "target": [i % 2 for i in range(n)],
            "patient_id": [f"p{i}" for i in range(N_REAL)]
            + [patient.format(i) for i in range(n_generated)],
            "split": splits,
            "origin": ["real"] * N_REAL + ["generated"] * n_generated,
        },
        root=Path(),
        name="mixed",
    )


def test_generated_images_of_train_only_train_and_move_nobody() -> None:
    alone = assign_roles(build_manifest(0), tuning_fraction=0.3)
    mixed = assign_roles(build_manifest(40), tuning_fraction=0.3)
    assert np.array_equal(mixed.tuning, alone.tuning)
    assert np.array_equal(mixed.test, alone.test)
    assert np.array_equal(mixed.training[mixed.training < N_REAL], alone.training)
    assert mixed.training[mixed.training >= N_REAL].tolist() == list(range(N_REAL, N_REAL + 40))
    check_roles(build_manifest(40), mixed, needs=("training", "tuning", "test"))


def test_a_generated_image_under_a_tuning_patients_name_is_not_used() -> None:
    manifest = build_manifest(40, patient="p{}")
    roles = assign_roles(manifest, tuning_fraction=0.3)
    patients = manifest.table["patient_id"]
    kept_back = set(patients[roles.tuning.tolist()]) | set(patients[roles.test.tolist()])
    assert not kept_back & set(patients[roles.training.tolist()])
    assert (roles.tuning < N_REAL).all()
    assert (roles.unused >= N_REAL).any()


@pytest.mark.parametrize("role", ["tuning", "test"])
def test_generated_images_in_tuning_or_test_are_refused(role: str) -> None:
    manifest = build_manifest(40, split={"tuning": "val", "test": "test"}[role])
    roles = assign_roles(manifest, tuning_from="val" if role == "tuning" else "train")
    with pytest.raises(SplitError, match="generated.: they may only train"):
        check_roles(manifest, roles, needs=(role,))  # type: ignore[arg-type]


def test_a_dataset_of_nothing_but_samples_is_told_what_it_is_for() -> None:
    whole = build_manifest(40)
    samples = Manifest(whole.table.filter(origin="generated"), whole.root, "samples")
    roles = assign_roles(samples)
    assert len(roles.tuning) == 0
    for role in ("tuning", "test"):
        with pytest.raises(
            SplitError, match=r"samples: the (tuning|test) split has 0.*may only train.*--added"
        ):
            check_roles(samples, roles, needs=(role,))  # type: ignore[arg-type]


def test_rows_to_be_measured_on_may_not_be_generated() -> None:
    manifest = build_manifest(5)
    refuse_generated(manifest, np.arange(N_REAL), what="the training split")
    with pytest.raises(SplitError, match="mixed: 5 of 65 images of the training split are gen"):
        refuse_generated(manifest, np.arange(N_REAL + 5), what="the training split")


def test_rows_of_several_origins_are_refused() -> None:
    manifest = build_manifest(5)
    table = manifest.table.with_columns(
        origin=manifest.table["origin"].replace("generated", "phantom")
    )
    mixed = Manifest(table, manifest.root, "mixed")
    refuse_mixed_origins(mixed, np.arange(N_REAL), what="the tuning split")
    refuse_mixed_origins(mixed, np.arange(N_REAL, N_REAL + 5), what="the tuning split")
    with pytest.raises(SplitError, match=r"the tuning split mixes origins \(60 real, 5 phantom\)"):
        refuse_mixed_origins(mixed, np.arange(N_REAL + 5), what="the tuning split")


def test_samples_in_class_folders_are_known_by_their_note(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for name in ("a.jpeg", "b.png"):
                Image.new("L", (8, 8)).save(folder / name)
    save_picture(tmp_path / "test/NORMAL/000000.PNG", comment=NOTE)
    save_picture(tmp_path / "test/NORMAL/000001.png", comment="Radiograph of a person.")
    (tmp_path / "test/NORMAL/empty.png").touch()
    manifest = open_dataset(tmp_path).manifest
    generated = manifest.table.filter(origin="generated")["path"].to_list()
    assert generated == ["test/NORMAL/000000.PNG"]
    assert set(manifest.table["origin"]) == {"real", "generated"}
    with pytest.raises(SplitError, match="1 generated.*may only train"):
        check_roles(manifest, assign_roles(manifest), needs=("test",))
    with pytest.raises(SplitError, match="are generated"):
        refuse_generated(manifest, np.arange(len(manifest)), what="the test split")


# A sample that a manifest of the user's own lists


def write_own_manifest(folder: Path, *, split: str, origin: str | None) -> Path:
    """Write 60 pictures, a third of them in ``split``, and there `drawn.png` of a DCGAN."""
    header = "path,target,patient_id,split" + ("" if origin is None else ",origin")
    lines = [header]
    for i in range(N_REAL):
        save_picture(folder / f"{i}.png", comment="Posteroanterior." if i % 2 else None)
        stated = "" if origin is None else ",real"
        lines.append(f"{i}.png,{i // 2 % 2},p{i},{'train' if i % 3 else split}{stated}")
    save_picture(folder / "drawn.png", comment=NOTE)
    lines.append(f"drawn.png,0,drawn,{split}" + ("" if origin is None else f",{origin}"))
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("origin", [None, "", "real", "phantom"])
@pytest.mark.parametrize("role", ["tuning", "test"])
def test_a_sample_that_a_manifest_has_in_tuning_or_test_is_refused(
    tmp_path: Path, role: str, origin: str | None
) -> None:
    split = {"tuning": "val", "test": "test"}[role]
    manifest = open_dataset(write_own_manifest(tmp_path, split=split, origin=origin)).manifest
    roles = assign_roles(manifest, tuning_from="val" if role == "tuning" else "train")
    with pytest.raises(
        SplitError,
        match=r"generated images \(20 real, 1 generated\): they may.*first is drawn\.png.*note",
    ):
        check_roles(manifest, roles, needs=(role,))  # type: ignore[arg-type]
    with pytest.raises(
        SplitError, match=r"1 of 21 images of it are generated.*first is drawn\.png"
    ):
        refuse_generated(manifest, getattr(roles, role), what="it")


@pytest.mark.parametrize("origin", [None, "real"])
def test_a_sample_that_a_manifest_has_in_train_only_trains(
    tmp_path: Path, origin: str | None
) -> None:
    dataset = open_dataset(write_own_manifest(tmp_path, split="train", origin=origin))
    assert dataset.manifest.table["origin"][-1] == "generated"
    for salt in range(20):
        roles = assign_roles(dataset.manifest, tuning_fraction=0.5, salt=str(salt))
        assert N_REAL in roles.training
    check_roles(dataset.manifest, roles, needs=("training", "tuning"))


def test_a_dataset_made_in_python_knows_its_samples_too(tmp_path: Path) -> None:
    save_picture(tmp_path / "drawn.png", comment=NOTE)
    names = ["drawn.png", "absent.png", "nul\0.png"]
    columns = {"path": names, "target": [0] * 3, "patient_id": names, "split": ["test"] * 3}
    dataset: Dataset = FileDataset(make_manifest(columns, root=tmp_path, name="made"))
    assert dataset.manifest.table["origin"].to_list() == ["generated", "real", "real"]


def test_the_log_tells_of_samples_that_the_table_calls_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_dataset(write_own_manifest(tmp_path, split="train", origin="generated"))
    assert not caplog.records
    open_dataset(write_own_manifest(tmp_path, split="train", origin="real"))
    assert "1 images count as generated" in caplog.text
    assert "drawn.png" not in caplog.text
