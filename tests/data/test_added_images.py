"""What is added to a training split: the draw, the pixels, and the folders that are refused."""

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from pneumoscope.core.errors import DatasetError, SplitError
from pneumoscope.data.added_images import AddedImages, draw_added, draw_evenly, open_generated
from pneumoscope.data.added_recipe import AddedRecipe
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms

write_samples = runpy.run_path(str(Path(__file__).parents[1] / "sample_folder.py"))["write_samples"]
SIZE_PX, SMALL_PX = 36, 20


def added(kind: str = "generated", **keys: object) -> AddedRecipe:
    size = {} if kind == "repeated" else {"size_px": SMALL_PX}
    return AddedRecipe.model_validate({"kind": kind, "count": 25} | size | keys)


def take(folder: Path, recipe: AddedRecipe | None = None) -> AddedImages:
    return open_generated(recipe or added(), folder, size_px=SIZE_PX, show_progress=False)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return open_dataset(make_phantoms(folder, count=40, seed=1, size_px=48))


@pytest.fixture(scope="module")
def cache(phantoms: Dataset) -> DecodedCache:
    return open_cache(phantoms, size_px=SIZE_PX, show_progress=False)


@pytest.fixture(scope="module")
def normals(phantoms: Dataset) -> np.ndarray:
    table = phantoms.manifest.table.with_row_index("row")
    return table.filter(target=0, split="train")["row"].to_numpy().astype(np.int64)


# The draw


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25, 30])
def test_a_draw_takes_everyone_as_often_or_once_more(count: int) -> None:
    rows = np.arange(100, 110)
    drawn = draw_evenly(rows, count, seed=4)
    times = [int((drawn == row).sum()) for row in rows]
    assert len(drawn) == count == sum(times)
    assert max(times) - min(times) <= 1


def test_whole_passes_are_the_same_for_every_seed_and_the_rest_is_drawn() -> None:
    rows = np.arange(100, 110)
    draws = [draw_evenly(rows, 24, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert np.array_equal(draws[0], draws[1])
    for drawn in draws:
        assert drawn[:20].tolist() == [*range(100, 110)] * 2
    assert len({tuple(drawn[20:]) for drawn in draws}) > 1


def test_nothing_to_draw_from_is_refused(phantoms: Dataset, cache: DecodedCache) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_evenly(np.array([], dtype=np.int64), 3, seed=0)
    with pytest.raises(DatasetError, match="no pneumonia radiograph"):
        draw_added(
            added("repeated", target=1), phantoms, cache, np.array([], dtype=np.int64), seed=0
        )


# The controls


def test_both_controls_are_of_the_same_radiographs(
    phantoms: Dataset, cache: DecodedCache, normals: np.ndarray
) -> None:
    made = {
        (kind, seed): draw_added(added(kind), phantoms, cache, normals, seed=seed)
        for kind in ("resampled", "repeated")
        for seed in (0, 1)
    }
    prints = {key: images.facts["fingerprint"] for key, images in made.items()}
    assert prints["resampled", 0] == prints["repeated", 0]
    assert prints["resampled", 1] == prints["repeated", 1]
    assert prints["resampled", 0] != prints["resampled", 1]
    repeated, resampled = made["repeated", 0], made["resampled", 0]
    assert len(normals) == 14  # so 25 are one pass and 11 drawn
    assert repeated.n_shared == resampled.n_shared == 14
    assert repeated.facts["n_different"] == 14
    # By hand: each file, squeezed by Pillow to the small square, and enlarged again.
    drawn = draw_evenly(normals, 25, seed=0)
    for place in (0, 13, 14, 24):
        path = phantoms.manifest.root / phantoms.manifest.table["path"][int(drawn[place])]
        file = Image.open(path).convert("L")
        small = file.resize((SMALL_PX, SMALL_PX), Image.Resampling.BILINEAR)
        up = small.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        straight = file.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        assert np.array_equal(resampled.pixels[place], np.asarray(up))
        assert np.array_equal(repeated.pixels[place], np.asarray(straight))
    assert set(repeated.contents) & set(cache.sha256)
    assert not set(resampled.contents) & set(cache.sha256)  # other pixels, so another name


# Generated images


def test_generated_images_are_enlarged_as_any_file_of_their_size(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=30)
    images = take(folder)
    expected = open_cache(open_dataset(folder), size_px=SIZE_PX, show_progress=False)
    assert np.array_equal(images.pixels, expected.pixels[:25])
    assert images.contents == expected.sha256[:25]
    assert (len(images), images.n_shared, images.target) == (25, 25, 0)
    facts = images.facts
    assert (facts["kind"], facts["count"], facts["size_px"]) == ("generated", 25, SMALL_PX)
    assert facts["gan"] == {"run": "dcgan-tiny-s0", "trained_on": "0" * 64}
    assert facts["path"] == str(folder.resolve())
    at_size = open_generated(added(), folder, size_px=SMALL_PX, show_progress=False)
    assert np.array_equal(at_size.pixels[3], np.asarray(Image.open(folder / "00003.png")))


def test_the_fingerprint_is_of_what_is_taken(tmp_path: Path) -> None:
    first, longer = (write_samples(tmp_path / str(n), count=n) for n in (25, 30))
    other = write_samples(tmp_path / "other", count=25, seed=1)
    prints = [take(folder).facts["fingerprint"] for folder in (first, longer, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("text", [None, "[1]", "{"])
def test_a_folder_that_does_not_say_what_drew_it_serves_too(
    tmp_path: Path, text: str | None
) -> None:
    folder = write_samples(tmp_path / "samples", count=25)
    (folder / "sample.json").unlink()
    if text is not None:
        (folder / "sample.json").write_text(text)
    assert take(folder).facts["gan"] is None


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=24)
    with pytest.raises(DatasetError, match=r"has 24 generated images.*asks for 25.*--count 25"):
        take(folder)


def test_another_class_is_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=25, target=1)
    with pytest.raises(DatasetError, match=r"25 images have the target 1.*is 0 \(normal\)"):
        take(folder)


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=25)
    table = pl.read_csv(folder / "manifest.csv").with_columns(target=pl.lit(""))
    table.write_csv(folder / "manifest.csv")
    with pytest.raises(DatasetError, match="25 images have the target unknown"):
        take(folder)


@pytest.mark.parametrize("origin", ["real", "phantom"])
def test_a_folder_with_images_that_nothing_generated_is_refused(
    tmp_path: Path, origin: str
) -> None:
    folder = write_samples(tmp_path / "samples", count=30, origin=["generated", origin])
    with pytest.raises(DatasetError, match=rf"15 images are not generated \(origin {origin}\)"):
        take(folder)


@pytest.mark.parametrize("split", ["val", "test"])
def test_generated_images_of_another_split_are_refused(tmp_path: Path, split: str) -> None:
    folder = write_samples(tmp_path / "samples", count=30, split=["train", "train", split])
    with pytest.raises(SplitError, match=f"10 generated images are in {split}; they may only"):
        take(folder)


def test_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=25, size_px=24)
    with pytest.raises(DatasetError, match=r"is 24 x 24 px, and added.size_px is 20"):
        take(folder)


def test_an_image_that_cannot_be_read_is_refused_if_it_is_taken(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=30)
    (folder / "00027.png").write_text("not a picture")
    assert len(take(folder)) == 25
    (folder / "00004.png").write_text("not a picture")
    with pytest.raises(DatasetError, match=r"1 of the first 25 images can't be read.*00004.png"):
        take(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        take(tmp_path / "none")


# The recipe's key


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"kind": "generated", "count": 5}, "size_px"),
        ({"kind": "resampled", "count": 5}, "size_px"),
        ({"kind": "repeated", "count": 5, "size_px": 20}, "size_px"),
        ({"kind": "repeated", "count": 0}, "greater than or equal to 1"),
        ({"kind": "repeated", "count": 5, "target": 2}, "target"),
        ({"kind": "drawn", "count": 5}, "kind"),
        ({"kind": "repeated", "count": 5, "split": "test"}, "split"),
    ],
)
def test_an_impossible_key_is_refused(keys: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        AddedRecipe.model_validate(keys)
