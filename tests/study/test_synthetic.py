"""The whole evaluation on phantoms, with generators whose answer is known."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from pneumoscope.core.errors import DatasetError, RunError, SplitError, UsageError
from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import Manifest
from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.data.splits import assign_roles
from pneumoscope.detector.bundle import Bundle, open_bundle
from pneumoscope.report.synthetic_page import copy_line
from pneumoscope.report.synthetic_results import (
    BLURRED,
    HELD_OUT,
    LEFT_OUT,
    MATCHED,
    OTHER_HALF,
    PLANTED,
    SAMPLES,
    SyntheticEvaluation,
)
from pneumoscope.study.synthetic import evaluate_gan
from pneumoscope.study.synthetic_data import blur
from pneumoscope.training.gan_data import prepare_gan_data
from pneumoscope.training.gan_recipe import GanRecipe
from pneumoscope.training.gan_recipe_file import gan_recipe_yaml, load_gan_recipe

RECIPE = load_gan_recipe("dcgan-64", changes=["split.tuning_fraction=0.3"])


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("synthetic") / "phantoms"
    return open_dataset(make_phantoms(folder, count=150, seed=0, size_px=64, positive_fraction=0.2))


@pytest.fixture(scope="module")
def learnt(phantoms: Dataset) -> np.ndarray:
    """(N, 64, 64) what a DCGAN would be shown."""
    return prepare_gan_data(RECIPE, phantoms, show_progress=False).pixels()


@pytest.fixture(scope="module")
def bundle(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedding is the mean brightness of 7 x 7 cells."""
    return open_bundle(tiny.write_bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx"))


def make_gan_run(folder: Path, dataset: Dataset, *, recipe: GanRecipe = RECIPE) -> Path:
    """Write a finished DCGAN's folder by hand, without a network."""
    data = prepare_gan_data(recipe, dataset, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(gan_recipe_yaml(recipe))
    facts = {"schema": "gan-1", "state": "finished", "seed": 4, "epochs_run": 2, "data": data.facts}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def evaluate(
    phantoms: Dataset, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[SyntheticEvaluation, Path]]:
    """Return a function that evaluates a stand-in for the generator."""

    def run(pixels: np.ndarray, **options: object) -> tuple[SyntheticEvaluation, Path]:
        folder = make_gan_run(tmp_path_factory.mktemp("gan"), phantoms)
        asked: dict[str, int] = {}

        def generate(path: Path, *, count: int, seed: int) -> np.ndarray:
            assert path == folder
            asked.update(count=count, seed=seed)
            return np.resize(pixels, (count, *pixels.shape[1:]))

        found = evaluate_gan(
            folder,
            phantoms,
            bundle=bundle,
            generate=generate,
            n_resamples=200,
            show_progress=False,
            **options,
        )
        assert asked["count"] == found.n_samples
        assert asked["seed"] == found.sample_seed
        return found, folder

    return run


@pytest.fixture(scope="module")
def copied(evaluate, learnt: np.ndarray) -> tuple[SyntheticEvaluation, Path]:
    """A generator that returns its training set with a little noise."""
    return evaluate(noisy(learnt))


def noisy(pixels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fresh(evaluate, phantoms: Dataset) -> SyntheticEvaluation:
    """A perfect generator: phantoms of the same kind, which nobody was shown."""
    table = phantoms.manifest.table
    is_new = (table["split"].cast(str).is_in(["val", "test"]) & (table["target"] == 0)).to_numpy()
    pixels = open_cache(phantoms, size_px=64, show_progress=False).pixels[is_new]
    return evaluate(pixels, seed=3, count=len(pixels))[0]


def test_a_generator_that_copies_is_found(copied: tuple[SyntheticEvaluation, Path]) -> None:
    evaluation, _ = copied
    for copies in evaluation.copies:
        samples, left_out = copies.row(SAMPLES), copies.row(LEFT_OUT)
        assert samples.closer.value > 0.95, copies.space
        assert left_out.closer.value < 0.7
        assert samples.excess.low > 0.2
        assert samples.excess.value == samples.closer.value - left_out.closer.value
        assert samples.below_5th.value > 0.9
        assert samples.median < left_out.median / 2
        assert copies.row(PLANTED).closer.value > 0.9
        assert copies.row(PLANTED).closer.value > copies.row(BLURRED).closer.value
    # A smooth picture lies nearer to every radiograph: by gray values, the more blurred the nearer.
    pixels = evaluation.copies[0]
    assert pixels.row(BLURRED).median < pixels.row(LEFT_OUT).median
    assert pixels.row(MATCHED) is None  # with their noise, these copies are no smoother than real
    assert evaluation.matched_blur_px is None
    # A copier matches the distribution: no distance tells it, so the check above must.
    columns = evaluation.halves.columns
    floor = columns[OTHER_HALF]["frechet_distance"].high
    assert columns[SAMPLES]["frechet_distance"].mean < floor


def test_new_phantoms_drawn_smoothly_lie_as_near_as_real_ones_of_their_detail(
    evaluate, phantoms: Dataset
) -> None:
    """In gray values a smooth picture lies nearer to every radiograph: no sign of copies."""
    table = phantoms.manifest.table
    is_new = (table["split"].cast(str).is_in(["val", "test"]) & (table["target"] == 0)).to_numpy()
    pixels = open_cache(phantoms, size_px=64, show_progress=False).pixels[is_new]
    smooth = evaluate(blur(pixels, 2.0), seed=3, count=len(pixels))[0]
    assert smooth.matched_blur_px == pytest.approx(2.0, abs=0.4)
    assert f"of {smooth.matched_blur_px:g}, which leaves" in " ".join(smooth.method)
    gray = smooth.copies[0]
    nearer = [gray.row(kind).median for kind in (MATCHED, BLURRED, LEFT_OUT)]
    assert nearer == sorted(set(nearer))
    samples, matched = gray.row(SAMPLES).closer, gray.row(MATCHED).closer
    assert samples.low < matched.high
    assert samples.high > matched.low


def test_the_closest_pairs_name_the_copied_radiographs(
    copied: tuple[SyntheticEvaluation, Path], phantoms: Dataset
) -> None:
    evaluation, _ = copied
    data = prepare_gan_data(RECIPE, phantoms, show_progress=False)
    paths = phantoms.manifest.table["path"][data.rows.tolist()].to_list()
    pixel_pairs = [pair for pair in evaluation.pairs if pair.space == "pixels"]
    assert [pair.chosen_by for pair in pixel_pairs] == ["distance"] * 6 + ["ratio"] * 6
    assert all(paths[pair.sample_index] == pair.path for pair in pixel_pairs)
    distances = [pair.distance for pair in pixel_pairs[:6]]
    assert distances == sorted(distances)
    assert max(distances) < 3.5  # noise of 3 gray levels, as root mean square
    assert all(pair.neighbour_path != pair.path for pair in evaluation.pairs)


def test_a_perfect_generator_is_like_the_other_half(fresh: SyntheticEvaluation) -> None:
    for copies in fresh.copies:
        samples, left_out = copies.row(SAMPLES), copies.row(LEFT_OUT)
        assert samples.excess.low <= 0, copies.space
        assert samples.closer.value == pytest.approx(left_out.closer.value, abs=0.2)
        assert samples.below_5th.low <= 0.05
        assert copy_line(copies).endswith("no sign of copies.")
    samples, floor = (fresh.halves.columns[name] for name in (SAMPLES, OTHER_HALF))
    assert samples["coverage"].mean == pytest.approx(floor["coverage"].mean, abs=0.1)
    ratio = samples["frechet_distance"].mean / floor["frechet_distance"].mean
    assert 0.5 < ratio < 2
    assert fresh.whole.figures["kernel_distance"].low < 0.01


def test_a_generator_of_noise_is_far_away(evaluate) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 64, 64), dtype=np.uint8)
    evaluation, _ = evaluate(pixels, count=25)
    assert evaluation.n_samples == evaluation.halves.n == 25
    samples, floor = (evaluation.halves.columns[name] for name in (SAMPLES, OTHER_HALF))
    assert samples["frechet_distance"].low > 5 * floor["frechet_distance"].high
    assert samples["kernel_distance"].low > floor["kernel_distance"].high
    assert samples["precision"].mean == samples["coverage"].mean == 0
    assert evaluation.whole.figures["kernel_distance"].low > 0
    assert all(copies.row(SAMPLES).closer.value == 0 for copies in evaluation.copies)
    # 0 of 25 leaves up to z² / (n + z²) (Wilson), and of a density nothing is known.
    most = 1.959964**2 / (25 + 1.959964**2)
    found = evaluation.whole.figures
    assert (found["precision"].value, found["precision"].low) == (0, 0)
    assert found["precision"].high == pytest.approx(most)
    n_patients = evaluation.real.n_patients
    assert found["coverage"].high == pytest.approx(1.959964**2 / (n_patients + 1.959964**2))
    assert np.isnan([found["density"].low, found["density"].high]).all()
    for copies in evaluation.copies:
        samples = copies.row(SAMPLES)
        for below in (samples.below_5th, samples.below_1st):
            assert (below.value, below.low) == (0, 0)
            assert below.high == pytest.approx(most)


def test_newcomers_are_of_the_tuning_split_and_never_of_the_test_split(
    fresh: SyntheticEvaluation, phantoms: Dataset
) -> None:
    roles = assign_roles(phantoms.manifest, tuning_fraction=0.3)
    target = phantoms.manifest.table["target"].to_numpy()
    assert fresh.real.n == np.count_nonzero(target[roles.training] == 0)
    assert fresh.real.n_held_out == np.count_nonzero(target[roles.tuning] == 0)
    assert fresh.small.n == fresh.real.n_held_out
    assert set(fresh.small.columns) == {SAMPLES, HELD_OUT, OTHER_HALF}
    assert {pair.path.split("/")[0] for pair in fresh.pairs} == {"train"}


def test_every_set_of_a_comparison_has_one_size_and_it_is_said(
    copied: tuple[SyntheticEvaluation, Path],
) -> None:
    evaluation = copied[0]
    assert evaluation.halves.n == evaluation.real.n // 2
    assert evaluation.n_samples == evaluation.real.n == evaluation.whole.n_real
    assert evaluation.whole.n_samples == evaluation.n_samples
    figures = evaluation.halves.columns[SAMPLES]
    assert all(each.low <= each.mean <= each.high for each in figures.values())


def test_the_files_say_what_was_found(copied: tuple[SyntheticEvaluation, Path]) -> None:
    evaluation, folder = copied
    written = SyntheticEvaluation.model_validate_json((folder / "synthetic.json").read_text())
    assert written.copies == evaluation.copies
    assert written.halves == evaluation.halves
    assert written.bundle.name == "tiny"
    page = (folder / "synthetic.html").read_text()
    assert "Fréchet distance in tiny&#39;s embedding" in page
    assert "not radiographs" in page
    assert "look at the pairs" in page
    assert "FID" not in page.replace("neither the FID", "")
    assert 'src="http' not in page
    assert (folder / "figures/synthetic-closest-pairs.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_seed_gives_the_same_figures(
    evaluate, learnt: np.ndarray, copied: tuple[SyntheticEvaluation, Path]
) -> None:
    again, _ = evaluate(noisy(learnt))
    for part in ("halves", "small", "whole", "copies", "pairs"):
        assert getattr(again, part) == getattr(copied[0], part), part


def test_what_cannot_be_compared_is_refused(
    phantoms: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    folder = make_gan_run(tmp_path / "run", phantoms)
    with pytest.raises(UsageError, match="--count 5"):
        evaluate_gan(folder, phantoms, bundle=bundle, count=5)
    facts = json.loads((folder / "run.json").read_text())
    for change, reason in (
        ({"data": facts["data"] | {"fingerprint": "0" * 64}}, "Give the dataset of its training"),
        ({"state": "running"}, "has not finished"),
    ):
        (folder / "run.json").write_text(json.dumps(facts | change))
        with pytest.raises(RunError, match=reason):
            evaluate_gan(folder, phantoms, bundle=bundle, show_progress=False)


def test_too_few_radiographs_to_halve_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    few = open_dataset(make_phantoms(tmp_path / "few", count=40, seed=9, size_px=64))
    recipe = load_gan_recipe("dcgan-64", changes=["batch_size=4"])
    folder = make_gan_run(tmp_path / "run", few, recipe=recipe)
    with pytest.raises(DatasetError, match="20 are needed"):
        evaluate_gan(folder, few, bundle=bundle, show_progress=False)


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        (["generated"], r"of the tuning split \(normal\) are generated"),
        (["phantom", "generated"], r"of the tuning split \(normal\) are generated"),
        (["phantom", "real"], r"tuning split .* mixes origins \(\d+ real, \d+ phantom\)"),
        (["real"], "are real and those that the DCGAN learnt from are phantom"),
    ],
)
def test_newcomers_of_other_origins_are_refused(
    phantoms: Dataset, bundle: Bundle, tmp_path: Path, origins: list[str], reason: str
) -> None:
    """Val, made larger by half of train, tunes; its origins are taken in turn."""
    table = phantoms.manifest.table.with_row_index("n")
    is_val = (pl.col("split") == "val") | (pl.col("split") == "train") & (pl.col("n") % 2 == 0)
    in_turn = pl.lit(origins[0])
    if len(origins) == 2:
        in_turn = pl.when(pl.col("n") % 4 == 0).then(pl.lit(origins[1])).otherwise(in_turn)
    table = table.with_columns(
        split=pl.when(is_val).then(pl.lit("val")).otherwise("split").cast(table["split"].dtype),
        origin=pl.when(is_val).then(in_turn).otherwise("origin").cast(table["origin"].dtype),
    ).drop("n")
    dataset = FileDataset(Manifest(table, phantoms.manifest.root, "turned"))
    recipe = load_gan_recipe("dcgan-64", changes=["split.tuning_from=val"])
    folder = make_gan_run(tmp_path / "run", dataset, recipe=recipe)
    with pytest.raises(SplitError, match=reason):
        evaluate_gan(folder, dataset, bundle=bundle, generate=never_generate, show_progress=False)
    assert not (folder / "synthetic.json").exists()


def never_generate(*_: object, **__: object) -> np.ndarray:
    raise AssertionError("it was refused too late")
