"""The fixed changed copies of a run's images: the dataset's own, and those added to it."""

from dataclasses import fields
from functools import lru_cache

import torch

from pneumoscope.data.augment import (
    AugmentationParameters,
    draw_copy_parameters,
    draw_parameters,
)
from pneumoscope.data.augmentation_recipe import AugmentationRecipe

_SEED_OF_ADDED = 1  # whatever the run's seed; apart from that of the dataset's own copies


@lru_cache(maxsize=1)  # asked for at every step
def draw_copies(
    recipe: AugmentationRecipe, n_rows: int, *, n_added: int, copy: int
) -> AugmentationParameters:
    """Draw what to do to each image in one of its fixed copies.

    What is drawn for the dataset's own rows is what a run without added images draws, so that both
    share whatever is worked out from them.

    Args:
        recipe: The ranges.
        n_rows: Rows of the dataset.
        n_added: Images added to it.
        copy: The copy's number, from 0.

    Returns: ``n_rows + n_added`` of them, the added images' last.
    """
    own = draw_copy_parameters(recipe, n_rows, copy=copy)
    return join_parameters(own, draw_added_copies(recipe, n_added, copy=copy)) if n_added else own


def draw_added_copies(
    recipe: AugmentationRecipe, n_added: int, *, copy: int
) -> AugmentationParameters:
    """Draw what to do to each added image in one of its fixed copies; the dataset is no matter."""
    return draw_parameters(recipe, n_added, seed=_SEED_OF_ADDED, epoch=copy, step=0)


def join_parameters(
    first: AugmentationParameters, second: AugmentationParameters
) -> AugmentationParameters:
    """Return the parameters of both, the second's behind the first's."""
    return AugmentationParameters(
        **{
            field.name: torch.cat([getattr(first, field.name), getattr(second, field.name)])
            for field in fields(AugmentationParameters)
        }
    )
