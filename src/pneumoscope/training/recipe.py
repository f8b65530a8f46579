"""The experiment's recipe: everything that decides what a training run does, and nothing else."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart
from pneumoscope.data.added_recipe import AddedRecipe
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.network_recipe import ScratchNetworkRecipe

Monitor = Literal["tuning_loss", "tuning_accuracy", "tuning_auroc"]
NetworkRecipe = ScratchNetworkRecipe | BackboneNetworkRecipe


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


class ScheduleRecipe(RecipePart):
    """A rise to the optimizer's rate, then a cosine's fall to almost nothing.

    Source: the shape of Smith and Topin (2018), Super-Convergence, arXiv:1708.07120.
    """

    kind: Literal["one_cycle"] = Field(description="The course's shape.")
    warmup_fraction: float = Field(
        default=0.2, ge=0, lt=1, description="Share of all steps in which the rate rises."
    )
    start_factor: float = Field(
        default=0.04, gt=0, le=1, description="The first rate as a share of the optimizer's."
    )
    end_factor: float = Field(
        default=0.001, ge=0, le=1, description="The last rate as a share of the optimizer's."
    )

    def factor(self, done: float) -> float:
        """Return the rate as a share of the optimizer's, ``done`` in [0, 1] of the steps."""
        if done < self.warmup_fraction:
            part, low = done / self.warmup_fraction, self.start_factor
        else:
            part = 1 - (done - self.warmup_fraction) / (1 - self.warmup_fraction)
            low = self.end_factor
        return low + (1 - low) * (1 - math.cos(math.pi * part)) / 2


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
    loss: Literal["bce", "focal"] = Field(
        default="bce", description="On the logit: binary cross-entropy, or focal (Lin et al. 2017)."
    )
    focal_gamma: float = Field(default=2, ge=0, description="Focal loss: how fast the easy fade.")
    focal_alpha: float = Field(
        default=0.25, gt=0, lt=1, description="Focal loss: weight of the positive class."
    )
    subtype_loss_weight: float = Field(
        default=0,
        ge=0,
        description="Times the cross-entropy of normal, bacterial, viral, added to the loss; needs "
        "network.has_subtype_head.",
    )
    optimizer: OptimizerRecipe = Field(description="The update rule.")
    schedule: ScheduleRecipe | None = Field(
        default=None, description="The rate's course over all steps; by default it is constant."
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Tune, keep and export a moving average of the weights, with this share of "
        "the old average kept at each step (less in the first steps).",
    )
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
    cache_features: bool = Field(
        default=True,
        description="Work a wholly frozen backbone's maps out once, in fp32, and train on them "
        "from the disk; where augmentation has no `copies` every epoch differs and this does "
        "nothing.",
    )


class CalibrationRecipe(RecipePart):
    """On which radiographs temperature, bias and operating points are chosen. Never on test."""

    data: Literal["tuning", "changed_tuning"] = Field(
        default="tuning",
        description="The tuning split as it is; or, because classes that hardly overlap there pin "
        "no threshold down, the tuning split and changed copies of it.",
    )
    copies: int = Field(
        default=8, ge=1, le=64, description="Changed copies, drawn from the recipe's augmentation."
    )


class PopulationRecipe(RecipePart):
    """What the training radiographs are. A bundle warns of input that differs."""

    of: Literal["kermany"] | None = Field(
        default=None,
        description="The data that these words are of, known by their files' names: a bundle that "
        "learned from others does not take them over. null: of whatever the recipe trains on.",
    )
    description: str = Field(min_length=1, description="In words.")
    modalities: list[str] | None = Field(default=None, description="DICOM (0008,0060), if known.")
    view_positions: list[str] | None = Field(
        default=None, description="DICOM (0018,5101), if known."
    )
    age_years: tuple[float, float] | None = Field(
        default=None, description="Youngest and oldest, if known."
    )
    limits: list[str] = Field(default=[], description="What the detector is not known to do.")
    attribution: str = Field(default="", description="Whose data, under which licence.")


class Recipe(RecipePart):
    """One experiment."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="The recipe's own name.")
    title: str = Field(min_length=1, description="One line: what it is.")
    source: SourceRecipe = Field(description="Where the system comes from.")
    reported: ReportedRecipe | None = Field(default=None, description="What its source reported.")
    input: InputRecipe = Field(description="What the network is given.")
    network: NetworkRecipe = Field(discriminator="kind", description="The network's shape.")
    augmentation: AugmentationRecipe = Field(
        default=AugmentationRecipe(), description="Random changes to training radiographs."
    )
    split: SplitRecipe = Field(default=SplitRecipe(), description="Who trains and who tunes.")
    added: AddedRecipe | None = Field(
        default=None, description="Images added to the training split, if any."
    )
    training: TrainingRecipe = Field(description="How it is trained.")
    calibration: CalibrationRecipe = Field(
        default=CalibrationRecipe(),
        description="On what the export calibrates and sets thresholds.",
    )
    population: PopulationRecipe | None = Field(
        default=None, description="What the training radiographs are, where the recipe knows it."
    )

    @model_validator(mode="after")
    def _check_sizes_fit(self) -> "Recipe":
        if isinstance(self.network, ScratchNetworkRecipe):
            self.network.map_size_px(self.input.size_px)
        return self

    @model_validator(mode="after")
    def _check_subtype_loss(self) -> "Recipe":
        has_head = isinstance(self.network, BackboneNetworkRecipe) and self.network.has_subtype_head
        if bool(self.training.subtype_loss_weight) != has_head:
            raise ValueError(
                "training.subtype_loss_weight and network.has_subtype_head: one without the other "
                "does nothing; set both or neither"
            )
        return self

    @model_validator(mode="after")
    def _check_weights_are_heeded(self) -> "Recipe":
        if self.training.loss == "focal" and self.training.class_weights != "none":
            raise ValueError(
                "training.class_weights: focal loss has none. Set training.focal_alpha instead, "
                "and class_weights: none."
            )
        return self

    @model_validator(mode="after")
    def _check_rate_has_one_master(self) -> "Recipe":
        if self.training.schedule is not None and self.training.plateau is not None:
            raise ValueError("training.schedule and training.plateau: both set the rate; keep one")
        return self
