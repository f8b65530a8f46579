"""Build the network that a recipe describes."""

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
