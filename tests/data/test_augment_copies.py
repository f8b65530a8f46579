"""Fixed changed copies of each radiograph."""

import pytest
import torch

from pneumoscope.core.errors import RecipeError
from pneumoscope.data.augment import apply_parameters, draw_copy_parameters
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.training.recipe_file import load_recipe

RECIPE = AugmentationRecipe(rotation_deg=20, noise_sd=0.1, horizontal_flip=True, copies=3)


def test_a_copy_is_always_drawn_alike_and_copies_differ() -> None:
    first, again, other = (draw_copy_parameters(RECIPE, 9, copy=copy) for copy in (0, 0, 1))
    assert first.to_dict() == again.to_dict()
    assert not torch.equal(first.rotation_deg, other.rotation_deg)
    assert len(set(first.rotation_deg.tolist())) == 9


def test_a_radiographs_copy_does_not_depend_on_the_batch_it_is_in() -> None:
    pixels = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    drawn = draw_copy_parameters(RECIPE, 9, copy=2)
    together = apply_parameters(pixels, drawn, RECIPE)
    some = torch.tensor([7, 2, 4])
    assert torch.equal(apply_parameters(pixels[some], drawn.take(some), RECIPE), together[some])


def test_copies_are_at_least_one() -> None:
    with pytest.raises(RecipeError, match=r"augmentation\.copies"):
        load_recipe("gray-150", changes=["augmentation.copies=0"])
