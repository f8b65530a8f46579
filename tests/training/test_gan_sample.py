"""Synthetic radiographs: the same whenever they are drawn, marked, and good for training alone."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from pneumoscope.core.errors import PneumoscopeError, RunError, SplitError, UsageError
from pneumoscope.core.files import write_json
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.training import fit
from pneumoscope.training.gan import train_gan
from pneumoscope.training.gan_recipe_file import parse_gan_recipe
from pneumoscope.training.gan_run import GanRun
from pneumoscope.training.gan_sample import generate, load_generator, sample_gan
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_folder import open_run

RECIPE = {
    "name": "sampled-gan",
    "title": "A DCGAN small enough for tests",
    "source": {"title": "None"},
    "size_px": 64,
    "target": 0,
    "latent_dim": 6,
    "base_filters": 2,
    "epochs": 1,
    "batch_size": 8,
    "grid_side": 2,
}


@pytest.fixture(scope="module")
def sampled_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> GanRun:
    return train_gan(
        parse_gan_recipe(RECIPE, where="here"),
        dataset,
        tmp_path_factory.mktemp("gan") / "run",
        accelerator="cpu",
        show_progress=False,
    )


def test_a_folder_of_samples_is_a_dataset_that_says_what_it_is(
    sampled_run: GanRun, tmp_path: Path
) -> None:
    out = tmp_path / "samples"
    manifest = sample_gan(sampled_run.path, count=70, seed=5, out=out, show_progress=False)
    assert manifest == out / "manifest.csv"
    table = open_dataset(out).manifest.table
    assert table.height == 70
    assert table["patient_id"].n_unique() == 70
    assert set(table["target"]) == {0}
    assert set(table["split"]) == {"train"}
    assert set(table["origin"]) == {"generated"}
    extra = pl.read_csv(manifest)
    assert set(extra["run"]) == {"sampled-gan-s0"}
    assert extra["latent_seed"].n_unique() == 70
    facts = json.loads((out / "sample.json").read_text())
    assert (facts["run"], facts["count"], facts["seed"]) == ("sampled-gan-s0", 70, 5)
    with Image.open(out / table["path"][0]) as picture:
        assert (picture.mode, picture.size) == ("L", (64, 64))
        assert "Not a radiograph" in picture.text["Comment"]  # also where the manifest is lost


def test_the_latent_seed_leads_back_to_the_picture(sampled_run: GanRun, tmp_path: Path) -> None:
    manifest = sample_gan(sampled_run.path, count=3, out=tmp_path / "samples", show_progress=False)
    row = pl.read_csv(manifest).row(2, named=True)
    latent = torch.randn(6, generator=torch.Generator().manual_seed(row["latent_seed"]))
    picture = load_generator(sampled_run)(latent[None])[0, 0].double().numpy()
    with Image.open(tmp_path / "samples" / row["path"]) as image:
        pixels = np.asarray(image)
    np.testing.assert_allclose(pixels, (picture + 1) * 127.5, atol=0.51)


def test_a_larger_count_begins_with_the_same_samples(sampled_run: GanRun, tmp_path: Path) -> None:
    few = generate(sampled_run.path, count=3, seed=1)
    many = generate(sampled_run.path, count=70, seed=1)
    assert few.shape == (3, 64, 64)
    assert few.dtype == np.uint8
    np.testing.assert_array_equal(many[:3], few)
    assert (generate(sampled_run.path, count=3, seed=2) != few).any()
    sample_gan(sampled_run.path, count=3, seed=1, out=tmp_path / "s", show_progress=False)
    read = open_dataset(tmp_path / "s")
    for row in range(3):
        np.testing.assert_array_equal(read.read(row).pixels, few[row])


def test_samples_are_not_written_over(sampled_run: GanRun, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    sample_gan(sampled_run.path, count=2, out=out, show_progress=False)
    with pytest.raises(UsageError, match="holds samples already"):
        sample_gan(sampled_run.path, count=2, out=out, show_progress=False)
    (out / "manifest.csv").unlink()  # as a kill leaves it
    sample_gan(sampled_run.path, count=2, out=out, show_progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="notes.txt"):
        sample_gan(sampled_run.path, count=2, out=tmp_path / "other", show_progress=False)
    with pytest.raises(UsageError, match="is a file"):
        sample_gan(
            sampled_run.path, count=2, out=tmp_path / "other" / "notes.txt", show_progress=False
        )


def test_pictures_of_a_longer_sampling_do_not_stay_behind(
    sampled_run: GanRun, tmp_path: Path
) -> None:
    out = tmp_path / "samples"
    sample_gan(sampled_run.path, count=3, out=out, show_progress=False)
    (out / "manifest.csv").unlink()
    sample_gan(sampled_run.path, count=2, out=out, show_progress=False)
    assert sorted(path.name for path in out.glob("*.png")) == ["000000.png", "000001.png"]


def test_numbered_pictures_of_ones_own_are_not_cleared_away(
    sampled_run: GanRun, tmp_path: Path
) -> None:
    mine = tmp_path / "000007.png"
    Image.new("L", (8, 8)).save(mine)
    before = mine.read_bytes()
    with pytest.raises(UsageError, match=r"holds other files \(000007.png\)"):
        sample_gan(sampled_run.path, count=1, out=tmp_path, show_progress=False)
    assert mine.read_bytes() == before


def test_a_sample_json_of_ones_own_is_not_cleared_away(sampled_run: GanRun, tmp_path: Path) -> None:
    mine = tmp_path / "sample.json"
    for content in (b'{"run": "my blood samples"}', b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000):
        mine.write_bytes(content)
        with pytest.raises(UsageError, match=r"holds other files \(sample.json\)"):
            sample_gan(sampled_run.path, count=1, out=tmp_path, show_progress=False)
        assert mine.read_bytes() == content
    mine.unlink()
    mine.mkdir()
    with pytest.raises(UsageError, match=r"holds other files \(sample.json\)"):
        sample_gan(sampled_run.path, count=1, out=tmp_path, show_progress=False)


def test_samples_among_class_folders_are_not_measured_on(
    sampled_run: GanRun, tmp_path: Path
) -> None:
    sample_gan(sampled_run.path, count=2, out=tmp_path / "samples", show_progress=False)
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / "folders" / split / label
            folder.mkdir(parents=True)
            Image.new("L", (8, 8)).save(folder / "one.png")
    (tmp_path / "samples/000000.png").rename(tmp_path / "folders/test/NORMAL/000000.png")
    table = open_dataset(tmp_path / "folders").manifest.table
    assert table.filter(origin="generated")["path"].to_list() == ["test/NORMAL/000000.png"]


def test_no_samples_is_refused(sampled_run: GanRun) -> None:
    with pytest.raises(UsageError, match="count is 0"):
        generate(sampled_run.path, count=0)


def test_a_folder_that_is_no_finished_gan_is_refused(sampled_run: GanRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        generate(tmp_path, count=1)
    write_json(tmp_path / "run.json", {"schema": 1, "state": "finished"})
    with pytest.raises(RunError, match="gan train"):
        generate(tmp_path, count=1)
    write_json(tmp_path / "run.json", sampled_run.facts | {"state": "stopped"})
    with pytest.raises(RunError, match="not finished.*--resume"):
        generate(tmp_path, count=1)
    with pytest.raises(RunError, match=r"holds a DCGAN.*gan sample"):
        open_run(sampled_run.path)  # nor is a DCGAN a detector


@pytest.fixture(scope="module")
def mixed(sampled_run: GanRun, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Phantoms with 20 samples beside them, as one table; its root is in the column `root`."""
    root = tmp_path_factory.mktemp("mixed")
    make_phantoms(root / "phantoms", count=80, seed=0, size_px=32)
    sample_gan(sampled_run.path, count=20, out=root / "samples", show_progress=False)
    parts = [
        open_dataset(root / name).manifest.table.with_columns(
            path=pl.format("{}/{}", pl.lit(name), "path"), root=pl.lit(str(root))
        )
        for name in ("phantoms", "samples")
    ]
    return pl.concat(parts)


def dataset_of(table: pl.DataFrame, name: str) -> Dataset:
    path = Path(table["root"][0]) / f"{name}.csv"
    table.drop("root").write_csv(path)
    return open_dataset(path)


def with_samples_in(table: pl.DataFrame, split: str) -> pl.DataFrame:
    moved = pl.when(pl.col("origin") == "generated").then(pl.lit(split)).otherwise(pl.col("split"))
    return table.with_columns(split=moved)


def test_a_detector_does_not_learn_from_samples_alone(
    mixed: pl.DataFrame, tiny: Recipe, tmp_path: Path
) -> None:
    samples = dataset_of(mixed.filter(origin="generated"), "alone")
    with pytest.raises(SplitError, match="generated"):
        fit(tiny, samples, tmp_path / "run", show_progress=False)


def test_samples_in_the_split_that_tunes_are_refused(
    mixed: pl.DataFrame, tiny: Recipe, tmp_path: Path
) -> None:
    # Two thirds of the phantoms' train become its official val, and the recipe tunes on that.
    names = mixed.with_row_index()
    split = (
        pl.when((pl.col("split") == "train") & (pl.col("index") % 3 > 0))
        .then(pl.lit("val"))
        .otherwise(pl.col("split"))
    )
    table = with_samples_in(names.with_columns(split=split).drop("index"), "val")
    recipe = tiny.model_copy(update={"split": tiny.split.model_copy(update={"tuning_from": "val"})})
    with pytest.raises(SplitError, match=r"tuning split .*generated images .*only train"):
        fit(recipe, dataset_of(table, "tuning"), tmp_path / "run", show_progress=False)


def test_a_generator_does_not_learn_from_samples_whose_manifest_is_silent(
    mixed: pl.DataFrame, tmp_path: Path
) -> None:
    unsaid = dataset_of(mixed.drop("origin"), "unsaid")
    recipe = parse_gan_recipe(RECIPE, where="here")
    with pytest.raises(SplitError, match="20 of the .* are generated"):
        train_gan(recipe, unsaid, tmp_path / "run", accelerator="cpu", show_progress=False)


def test_samples_are_not_evaluated_on(mixed: pl.DataFrame, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    phantoms = dataset_of(mixed.filter(origin="phantom"), "phantoms")
    run = fit(recipe, phantoms, tmp_path / "run", show_progress=False)
    in_test = dataset_of(with_samples_in(mixed, "test"), "test")
    with pytest.raises(SplitError, match=r"test split .*20 generated.*only train"):
        evaluate_run(run, in_test, split="test", out=tmp_path / "out")
    unsaid = dataset_of(with_samples_in(mixed, "test").drop("origin"), "unsaid")
    with pytest.raises(SplitError, match=r"test split .*20 generated.*only train.*samples/0000"):
        evaluate_run(run, unsaid, split="test", out=tmp_path / "out")
    alone = dataset_of(mixed.filter(origin="generated"), "alone")
    for split in ("test", "training", "tuning"):
        with pytest.raises(PneumoscopeError, match="generated"):
            evaluate_run(run, alone, split=split, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    evaluate_run(run, phantoms, split="test", out=tmp_path / "out")
