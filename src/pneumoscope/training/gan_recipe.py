"""A DCGAN's recipe: everything that decides what its training does."""

from typing import Literal

from pydantic import Field

from pneumoscope.core.schema import RecipePart
from pneumoscope.training.recipe import SourceRecipe, SplitRecipe


class GanOptimizerRecipe(RecipePart):
    """Adam, the same for generator and discriminator."""

    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Constant.")
    beta1: float = Field(
        default=0.5, ge=0, lt=1, description="Memory of slopes; Adam's usual 0.9 lets it swing."
    )
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Memory of squared slopes.")


class CollapseRecipe(RecipePart):
    """From where on an epoch is said to have collapsed. Training goes on all the same."""

    from_epoch: int = Field(
        default=10,
        ge=1,
        description="Not before this one: at first every generator makes noise, all of it alike, "
        "and is found out.",
    )
    discriminator_loss: float = Field(
        default=0.01,
        ge=0,
        description="Mean loss of an epoch, above the least that real_label allows, below which "
        "the discriminator has won: the generator learns nothing from it any more.",
    )
    sample_std_share: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Spread of the samples about their mean, as a share of the radiographs', "
        "below which all samples are the same picture.",
    )


class GanRecipe(RecipePart):
    """One DCGAN."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="The recipe's own name.")
    title: str = Field(min_length=1, description="One line: what it is.")
    source: SourceRecipe = Field(description="Where the system comes from.")
    size_px: Literal[64, 128] = Field(
        description="Side of the square that each radiograph is squeezed to, and of the samples."
    )
    target: Literal[0, 1] = Field(description="The class that is drawn: 0 normal, 1 pneumonia.")
    split: SplitRecipe = Field(
        default=SplitRecipe(),
        description="Patients that tune or test a detector are not shown to the generator: keep "
        "this as the detector's recipe has it.",
    )
    latent_dim: int = Field(default=100, ge=1, le=4096, description="Length of the vector z.")
    base_filters: int = Field(
        default=64,
        ge=1,
        le=512,
        description="Channels of the maps of half the picture's side; at each halving they double.",
    )
    epochs: int = Field(ge=1, le=100_000, description="Passes through the radiographs.")
    batch_size: int = Field(
        ge=2, le=4096, description="Radiographs a step; what is over at an epoch's end is left out."
    )
    optimizer: GanOptimizerRecipe = Field(
        default=GanOptimizerRecipe(), description="The update rule."
    )
    real_label: float = Field(
        default=1,
        gt=0.5,
        le=1,
        description="What the discriminator is to answer to a radiograph; below 1 (0.9, say) it "
        "can't become sure of itself (one-sided smoothing, Salimans et al. 2016).",
    )
    ema_decay: float = Field(
        default=0.995,
        ge=0,
        lt=1,
        description="Samples come from a moving average of the generator's weights, with this "
        "share of the old average kept at each step (less in the first steps).",
    )
    grid_side: int = Field(
        default=8, ge=1, le=32, description="Samples a side of the grid that each epoch leaves."
    )
    collapse: CollapseRecipe = Field(
        default=CollapseRecipe(), description="What is called a collapse."
    )
