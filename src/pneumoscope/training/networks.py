"""Build the network that a recipe describes."""

import torch

from pneumoscope.models.network import DetectorNetwork
from pneumoscope.models.network_recipe import ScratchNetworkRecipe
from pneumoscope.models.scratch import ScratchCnn
from pneumoscope.training.recipe import Recipe


def build_network(recipe: Recipe, *, is_pretrained: bool = True) -> DetectorNetwork:
    """Return the recipe's network, new weights drawn from torch's global generator.

    Args:
        recipe: The experiment.
        is_pretrained: Load pretrained weights where the recipe names some; False for a network
            that is to be filled from a checkpoint, or whose weights must be random.

    Raises:
        WeightsError: pretrained weights are missing, or of another architecture.
        RecipeError: the backbone can't be built as the recipe says.
    """
    shape = {"size_px": recipe.input.size_px, "channels": recipe.input.channels}
    if isinstance(recipe.network, ScratchNetworkRecipe):
        return ScratchCnn(recipe.network, **shape)
    # Here, not above: timm takes a second to import, and the CNNs of the sources need none of it.
    from pneumoscope.models.backbones import BackboneCnn

    return BackboneCnn(recipe.network, **shape, is_pretrained=is_pretrained)


def check_network(recipe: Recipe, *, is_pretrained: bool = True) -> None:
    """Refuse a backbone that can't be built, or whose weights can't be had: no schema knows that.

    It takes a second or two, and a download where the weights come from timm's hub; torch's global
    generator is left as it was.

    Args:
        recipe: The experiment.
        is_pretrained: Whether the recipe's pretrained weights are needed.

    Raises:
        RecipeError: timm does not know the backbone, or it can't be used as the recipe says.
        WeightsError: as `build_network`.
    """
    if not isinstance(recipe.network, ScratchNetworkRecipe):
        with torch.random.fork_rng(devices=[]):
            build_network(recipe, is_pretrained=is_pretrained)
