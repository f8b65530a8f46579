"""What a recipe may say about a network with a pretrained backbone; `backbones.py` builds it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart
from pneumoscope.models.network_recipe import DenseRecipe, Rate

Triple = tuple[float, float, float]
Share = Annotated[float, Field(ge=0, lt=0.5)]


class WeightsFileRecipe(RecipePart):
    """Pretrained weights in a file, and the normalisation that they were trained with."""

    name: str = Field(
        min_length=1,
        description="A .safetensors file with timm's key names; looked for in the folder that "
        "PNEUMOSCOPE_WEIGHTS names, then as a path.",
    )
    mean: Triple = Field(description="Of red, green, blue in [0, 1]; subtracted.")
    std: Triple = Field(description="The difference is divided by this.")


class WeightsRecipe(RecipePart):
    """Where pretrained weights come from: the file if it is there, otherwise the hub."""

    file: WeightsFileRecipe | None = Field(default=None, description="A local file, if any.")
    hub: str | None = Field(
        default=None,
        description="timm's name with its tag, such as resnet50.a1_in1k; downloaded where no file "
        "is found, and normalised as timm's own configuration says.",
    )

    @model_validator(mode="after")
    def _check_somewhere(self) -> "WeightsRecipe":
        if self.file is None and self.hub is None:
            raise ValueError("give a file, a hub name, or both; for random weights leave it out")
        return self


class BackboneNetworkRecipe(RecipePart):
    """A timm backbone, pooling, dense layers with ReLU, and one linear output: the logit."""

    kind: Literal["backbone"] = Field(description="A network that timm builds, by its name.")
    backbone: str = Field(min_length=1, description="timm's name, such as resnet50.")
    weights: WeightsRecipe | None = Field(
        default=None, description="Pretrained weights; without them training starts from random."
    )
    stretch: tuple[Share, Share] | None = Field(
        default=None,
        description="Shares of a picture's darkest and brightest pixels that become 0 and 1; the "
        "gray values between are stretched. Part of the network, so of every bundle.",
    )
    frozen_stages: int | Literal["all"] = Field(
        default=0,
        description="How many of timm's coarse layer groups, the stem being the first, keep their "
        "weights and their BatchNorm statistics; `all` trains the head alone.",
    )
    unfreeze_after_epochs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="From then on every layer is trained; by default never."
    )
    backbone_rate_factor: float = Field(
        default=1, gt=0, le=1, description="The backbone learns at this share of the rate."
    )
    pooling: Literal["mean", "flatten"] = Field(
        default="mean", description="What is made of the last feature maps."
    )
    pooled_dropout: Rate = Field(default=0, description="Dropout after pooling.")
    dense: list[DenseRecipe] = Field(default=[], description="From there to the output.")
    has_subtype_head: bool = Field(
        default=False,
        description="A second output for normal, bacterial, viral, which only training uses.",
    )

    @model_validator(mode="after")
    def _check_freezing(self) -> "BackboneNetworkRecipe":
        if isinstance(self.frozen_stages, int) and self.frozen_stages < 0:
            raise ValueError("frozen_stages: a count from 0, or `all`")
        if self.unfreeze_after_epochs is not None and self.frozen_stages == 0:
            raise ValueError("unfreeze_after_epochs: nothing is frozen")
        return self

    @property
    def is_frozen_for_good(self) -> bool:
        """Whether the backbone gives the same maps in every epoch."""
        return self.frozen_stages == "all" and self.unfreeze_after_epochs is None
