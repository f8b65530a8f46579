"""Generated images may train, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pneumoscope.core.errors import SplitError
from pneumoscope.data.folders import list_folders
from pneumoscope.data.manifest import Manifest, make_manifest
from pneumoscope.data.splits import assign_roles, check_roles, refuse_generated

N_REAL = 60


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


def test_samples_in_class_folders_are_known_by_their_note(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8))
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for name in ("a.jpeg", "b.png"):
                picture.save(folder / name)
    note = PngInfo()
    note.add_text(
        "Comment", "Synthetic picture drawn by a DCGAN. Not a radiograph of a person. gan-s0"
    )
    picture.save(tmp_path / "test/NORMAL/000000.PNG", pnginfo=note)
    other = PngInfo()
    other.add_text("Comment", "Radiograph of a person.")
    picture.save(tmp_path / "test/NORMAL/000001.png", pnginfo=other)
    (tmp_path / "test/NORMAL/empty.png").touch()
    manifest = list_folders(tmp_path)
    generated = manifest.table.filter(origin="generated")["path"].to_list()
    assert generated == ["test/NORMAL/000000.PNG"]
    assert set(manifest.table["origin"]) == {"real", "generated"}
    with pytest.raises(SplitError, match="1 generated.*may only train"):
        check_roles(manifest, assign_roles(manifest), needs=("test",))
    with pytest.raises(SplitError, match="are generated"):
        refuse_generated(manifest, np.arange(len(manifest)), what="the test split")
