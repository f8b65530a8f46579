"""The bundle's card: the JSON under the key ``pneumoscope`` of its ONNX metadata."""

from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from pneumoscope.core.types import OperatingPoint

BUNDLE_SCHEMA = 1
METADATA_KEY = "pneumoscope"
RESEARCH_USE = (
    "Research use only. Not a medical device: no diagnosis or treatment may rest on its answer."
)


class CardPart(BaseModel):
    """A part of a card. Keys that a later version adds are read over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class PointCard(CardPart):
    """An operating point; see `core.types.OperatingPoint`."""

    name: str
    threshold: float = Field(ge=0, le=1, description="Calibrated probability.")
    sensitivity: float
    specificity: float
    sensitivity_interval: tuple[float, float] | None = None
    specificity_interval: tuple[float, float] | None = None
    measured_on: str

    @classmethod
    def of(cls, point: OperatingPoint) -> Self:
        """Return the card's part for an operating point."""
        return cls(**asdict(point))

    def operating_point(self) -> OperatingPoint:
        """Return it as the type that the rest of the package uses."""
        return OperatingPoint(**self.model_dump())


class CalibrationCard(CardPart):
    """probability = sigmoid((logit + bias) / temperature)."""

    temperature: float = Field(gt=0)
    bias: float
    fitted_on: str
    n: int


class AtypicalityCard(CardPart):
    """Above the threshold a picture is unlike the training radiographs."""

    threshold: float
    share_flagged_on_tuning: float


class TrainingDataCard(CardPart):
    """What the network learned from."""

    name: str
    fingerprint: str
    n_training: int
    n_tuning: int
    n_tuning_pneumonia: int | None = None  # of n_tuning; older cards do not say
    origins: dict[str, int]


class PopulationCard(CardPart):
    """What the training radiographs were; None where nobody knows. Other input is warned of."""

    description: str = ""
    modalities: tuple[str, ...] | None = None  # DICOM (0008,0060)
    view_positions: tuple[str, ...] | None = None  # DICOM (0018,5101)
    age_years: tuple[float, float] | None = None


class FigureCard(CardPart):
    """A measured figure with its 95 % interval."""

    value: float
    low: float
    high: float


class ResultCard(CardPart):
    """What was measured on one split of one dataset."""

    dataset: str
    split: str
    n: int
    figures: dict[str, FigureCard]


class BundleCard(CardPart):
    """Everything that a bundle says of itself."""

    schema_version: int = BUNDLE_SCHEMA
    name: str
    version: str
    title: str
    recipe: str
    seed: int
    precision: Literal["fp32", "int8"] = "fp32"
    labels: tuple[str, str] = ("normal", "pneumonia")
    size_px: int = Field(description="Side of the square that the graph squeezes a picture to.")
    map_kind: Literal["CAM", "Grad-CAM"] = "CAM"
    operating_points: tuple[PointCard, ...] = Field(min_length=1)
    calibration: CalibrationCard
    atypicality: AtypicalityCard
    training_data: TrainingDataCard
    population: PopulationCard = PopulationCard()
    results: tuple[ResultCard, ...] = ()
    intended_use: str = RESEARCH_USE
    limits: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    attribution: str = ""
