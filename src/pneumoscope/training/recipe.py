"""The experiment's recipe: everything that decides what a training run does, and nothing else."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.models.network_recipe import ScratchNetworkRecipe

Monitor = Literal["tuning_loss", "tuning_accuracy", "tuning_auroc"]


class SourceRecipe(RecipePart):
    """Where the system comes from, and what its text left open."""

    title: str = Field(min_length=1, description="The work that is reproduced.")
    unsaid: list[str] = Field(
        default=[], description="What the source does not say, or says twice, and what is done."
    )


class ReportedRecipe(RecipePart):
    """The source's own figures, to stand beside ours. They decide nothing."""

    how: str = Field(min_length=1, description="How the source measured them, and on what.")
    figures: dict[str, float] = Field(default={}, description="Each figure by its name.")
    confusion: dict[
        Literal["true_positive", "false_negative", "false_positive", "true_negative"], int
    ] = Field(default={}, description="Its confusion matrix, where it printed one.")


class InputRecipe(RecipePart):
    """What the network is given."""

    size_px: int = Field(
        ge=8, le=1024, description="Side of the square that each radiograph is squeezed to."
    )
    channels: Literal[1, 3] = Field(
        description="1, or 3 equal channels where the source read the gray files as RGB."
    )


class SplitRecipe(RecipePart):
    """Who trains and who tunes. The dataset's test split is never touched by training."""

    tuning_from: Literal["train", "val"] = Field(
        default="train",
        description="`train` sets a part of the official train aside; `val` takes the official "
        "val, where that is large enough to choose by.",
    )
    tuning_fraction: float = Field(
        default=0.1, gt=0, lt=0.9, description="Share of the train radiographs that tunes."
    )
    group_by: Literal["patient_id"] = Field(
        default="patient_id", description="Radiographs of one patient never straddle the splits."
    )
    salt: str = Field(
        default="0", description="Another text draws another tuning split; seeds do not change it."
    )


class OptimizerRecipe(RecipePart):
    """How the weights are updated."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = Field(description="The rule.")
    learning_rate: float = Field(default=0.001, gt=0, le=1, description="Rate at the start.")
    epsilon: float = Field(
        default=1e-7, gt=0, description="Keeps the division safe; 1e-7 is Keras' value."
    )
    rho: float = Field(default=0.9, ge=0, lt=1, description="RMSprop's memory of squared slopes.")
    momentum: float = Field(default=0, ge=0, lt=1, description="Of SGD and RMSprop.")
    weight_decay: float = Field(default=0, ge=0, description="AdamW's decoupled decay.")


class PlateauRecipe(RecipePart):
    """Lower the learning rate when a figure stalls, counted as Keras' ReduceLROnPlateau counts."""

    monitor: Monitor = Field(default="tuning_loss", description="The figure that is watched.")
    factor: float = Field(default=0.1, gt=0, lt=1, description="The rate is multiplied by this.")
    patience_epochs: int = Field(default=10, ge=1, description="Stalled epochs before it is.")
    min_delta: float = Field(default=1e-4, ge=0, description="Less than this is no progress.")
    min_learning_rate: float = Field(default=0, ge=0, description="The rate's floor.")


class EarlyStopRecipe(RecipePart):
    """Stop when a figure no longer gets better."""

    monitor: Monitor = Field(default="tuning_loss", description="The figure that is watched.")
    patience_epochs: int = Field(ge=1, description="Epochs without progress before stopping.")
    min_delta: float = Field(default=0, ge=0, description="Less than this is no progress.")


class KeepRecipe(RecipePart):
    """Which epoch's weights are the run's result."""

    epoch: Literal["best", "last"] = Field(
        default="best", description="`best` by the figure below, or simply the `last`."
    )
    monitor: Monitor = Field(default="tuning_loss", description="What `best` means.")


class TrainingRecipe(RecipePart):
    """How long and on what the network is trained."""

    epochs: int = Field(ge=1, le=10_000, description="At most this many.")
    batch_size: int = Field(ge=1, le=4096, description="Radiographs a step.")
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Steps an epoch; by default one pass through the training split."
    )
    loss: Literal["bce"] = Field(default="bce", description="Binary cross-entropy on the logit.")
    optimizer: OptimizerRecipe = Field(description="The update rule.")
    plateau: PlateauRecipe | None = Field(default=None, description="Learning-rate drops, if any.")
    early_stop: EarlyStopRecipe | None = Field(default=None, description="Early stopping, if any.")
    keep: KeepRecipe = Field(default=KeepRecipe(), description="The epoch that counts.")
    sampling: Literal["shuffled", "balanced"] = Field(
        default="shuffled",
        description="`balanced`: half of each epoch is positive, half negative, and the smaller "
        "class is repeated as often as that takes.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="`balanced` weighs each class by 1 / its share / 2 in the loss."
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="`auto` takes bf16 where the processor computes in it."
    )


class Recipe(RecipePart):
    """One experiment."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="The recipe's own name.")
    title: str = Field(min_length=1, description="One line: what it is.")
    source: SourceRecipe = Field(description="Where the system comes from.")
    reported: ReportedRecipe | None = Field(default=None, description="What its source reported.")
    input: InputRecipe = Field(description="What the network is given.")
    network: ScratchNetworkRecipe = Field(description="The network's shape.")
    augmentation: AugmentationRecipe = Field(
        default=AugmentationRecipe(), description="Random changes to training radiographs."
    )
    split: SplitRecipe = Field(default=SplitRecipe(), description="Who trains and who tunes.")
    training: TrainingRecipe = Field(description="How it is trained.")

    @model_validator(mode="after")
    def _check_sizes_fit(self) -> "Recipe":
        self.network.map_size_px(self.input.size_px)
        return self
