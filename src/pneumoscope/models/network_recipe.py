"""What a recipe may say about a network that is built from scratch; `scratch.py` builds it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart

Count = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=0)]


class ConvBlockRecipe(RecipePart):
    """One or more 3x3 convolutions with ReLU, then dropout, BatchNorm and max pooling if asked."""

    filters: list[Count] = Field(
        min_length=1, description="Output channels of each convolution, one after another."
    )
    dropout: Rate = Field(default=0, description="Element-wise dropout after the last convolution.")
    batch_norm: bool = Field(
        default=False, description="BatchNorm before pooling, momentum 0.99 and epsilon 1e-3."
    )
    pool: bool = Field(default=True, description="2x2 max pooling, stride 2, at the end.")


class DenseRecipe(RecipePart):
    """A fully connected layer with ReLU."""

    units: Count = Field(description="Outputs of the layer.")
    dropout: Rate = Field(default=0, description="Element-wise dropout after the ReLU.")


class RegularisationRecipe(RecipePart):
    """Penalties on every dense layer, the last one too, as Keras adds them to the loss."""

    kernel_l1: Penalty = Field(default=0, description="Times the sum of |weight|.")
    kernel_l2: Penalty = Field(default=0, description="Times the sum of weight squared.")
    bias_l2: Penalty = Field(default=0, description="Times the sum of bias squared.")
    activity_l2: Penalty = Field(
        default=0,
        description="Times the sum of the layer's output squared (after its ReLU or sigmoid), "
        "divided by the batch's size.",
    )


class ScratchNetworkRecipe(RecipePart):
    """Convolution blocks, flatten, dense layers, and one linear output: the logit."""

    kind: Literal["scratch"] = Field(description="A network built here, with random weights.")
    conv_padding: Literal["valid", "same"] = Field(
        description="`valid` loses one pixel a side at each convolution; `same` pads with zeros."
    )
    pool_padding: Literal["valid", "same"] = Field(
        default="valid", description="`same` keeps an odd last row and column (ceil), as Keras."
    )
    blocks: list[ConvBlockRecipe] = Field(min_length=1, description="From the image to the maps.")
    flatten_dropout: Rate = Field(default=0, description="Dropout after flattening.")
    dense: list[DenseRecipe] = Field(default=[], description="From the flat maps to the output.")
    regularisation: RegularisationRecipe = Field(
        default=RegularisationRecipe(), description="Loss terms of the dense layers."
    )

    def map_size_px(self, size_px: int) -> int:
        """Return the side of the last feature map for a square input.

        Raises: ValueError: the picture is used up before the last block; says by which.
        """
        side = size_px
        for index, block in enumerate(self.blocks):
            if self.conv_padding == "valid":
                side -= 2 * len(block.filters)
            if block.pool and side > 0:
                side = (side + 1) // 2 if self.pool_padding == "same" else side // 2
            if side < 1:
                raise ValueError(
                    f"network.blocks.{index}: nothing is left of a picture of {size_px} px here. "
                    f"Raise input.size_px or take a block away"
                )
        return side

    @model_validator(mode="after")
    def _check_l1_needs_dense(self) -> "ScratchNetworkRecipe":
        if self.flatten_dropout and not self.dense:
            raise ValueError("flatten_dropout: there is no dense layer after it")
        return self
