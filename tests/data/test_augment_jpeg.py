"""Compression as augmentation: Pillow does it, so the oracle is what files look like on disk."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pneumoscope.data.augment import apply_parameters, draw_parameters
from pneumoscope.data.augmentation_recipe import AugmentationRecipe


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 1, 40, 56, generator=torch.Generator().manual_seed(0))


def test_each_picture_is_what_a_file_of_its_quality_holds(
    pixels: torch.Tensor, tmp_path: Path
) -> None:
    recipe = AugmentationRecipe(jpeg_quality=20)
    drawn = draw_parameters(recipe, 3, seed=0, epoch=0, step=0)
    changed = apply_parameters(pixels, drawn, recipe)
    for index, quality in enumerate(drawn.jpeg_quality.tolist()):
        assert 20 <= quality <= 100
        path = tmp_path / f"{index}.jpeg"
        gray = np.rint(pixels[index, 0].numpy() * 255).astype(np.uint8)
        Image.fromarray(gray).save(path, quality=round(quality))
        expected = np.asarray(Image.open(path), dtype=np.float32) / 255
        assert changed[index, 0].numpy() == pytest.approx(expected, abs=1e-7)
        assert not np.array_equal(expected, gray / 255)


def test_a_lower_quality_changes_more(pixels: torch.Tensor) -> None:
    recipe = AugmentationRecipe(jpeg_quality=10)
    drawn = draw_parameters(recipe, 64, seed=1, epoch=0, step=0)
    same = pixels[:1].expand(64, -1, -1, -1)
    error = (apply_parameters(same, drawn, recipe) - same).square().mean(dim=(1, 2, 3)).numpy()
    quality = drawn.jpeg_quality.numpy()
    assert np.corrcoef(quality, error)[0, 1] < -0.8


def test_a_picture_does_not_depend_on_its_batch(pixels: torch.Tensor) -> None:
    recipe = AugmentationRecipe(jpeg_quality=20)
    drawn = draw_parameters(recipe, 3, seed=0, epoch=0, step=0)
    together = apply_parameters(pixels, drawn, recipe)
    for index in range(3):
        part = slice(index, index + 1)
        assert torch.equal(together[part], apply_parameters(pixels[part], drawn.take(part), recipe))


def test_at_100_nothing_is_done(pixels: torch.Tensor) -> None:
    recipe = AugmentationRecipe(jpeg_quality=100)
    drawn = draw_parameters(recipe, 3, seed=0, epoch=0, step=0)
    assert torch.equal(apply_parameters(pixels, drawn, recipe), pixels)


def test_what_else_is_drawn_stays_as_it_was() -> None:
    """A run that is taken up again after an upgrade must draw what it drew before."""
    plain = AugmentationRecipe(rotation_deg=10, zoom=0.2, noise_sd=0.1)
    with_jpeg = plain.model_copy(update={"jpeg_quality": 20})
    before, after = (
        draw_parameters(recipe, 5, seed=3, epoch=2, step=1) for recipe in (plain, with_jpeg)
    )
    for field in fields(before):
        if field.name != "jpeg_quality":
            assert torch.equal(getattr(before, field.name), getattr(after, field.name))
    # Of this seed, as the version before compression drew them.
    assert before.rotation_deg[0].item() == pytest.approx(5.874326289170341, rel=1e-12)
    assert before.noise_sd[4].item() == pytest.approx(0.017455138563415518, rel=1e-12)
