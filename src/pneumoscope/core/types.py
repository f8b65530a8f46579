"""Values that need their context to mean anything."""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Origin = Literal["real", "phantom", "generated"]
CLASS_NAMES: Final = ("normal", "pneumonia")  # by target, 0 and 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One chest image as display values, plus the facts that its file states."""

    pixels: NDArray[np.uint8]  # (H, W), display values: larger is brighter (MONOCHROME2)
    is_colour: bool = False  # the file's channels differed, so it was hardly a radiograph
    modality: str | None = None  # DICOM (0008,0060): "CR", "DX"; None where the file cannot say
    view_position: str | None = None  # DICOM (0018,5101): "PA", "AP", "LL"
    age_years: float | None = None
    sex: str | None = None  # DICOM (0010,0040): "F", "M", "O"
    # (height, width) of the file's own picture, upright, where ``pixels`` is that picture decoded
    # at a smaller scale; None where it is decoded whole. Use ``file_height_px``, ``file_width_px``.
    file_size_px: tuple[int, int] | None = None

    @property
    def height_px(self) -> int:
        """Rows of ``pixels``."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of ``pixels``."""
        return int(self.pixels.shape[1])

    @property
    def file_height_px(self) -> int:
        """Rows of the file's own picture, upright: the pixels in which regions are reported."""
        return self.file_size_px[0] if self.file_size_px else self.height_px

    @property
    def file_width_px(self) -> int:
        """Columns of the file's own picture, upright."""
        return self.file_size_px[1] if self.file_size_px else self.width_px


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A box round strong evidence or a marked finding, in the image's own pixels."""

    x: float  # left edge
    y: float  # upper edge
    width: float
    height: float
    score: float = math.nan  # strength of the evidence; NaN where a person or a drawing set it


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured figure with its uncertainty: a number alone is not a result."""

    value: float  # NaN where undefined (PPV without a positive call)
    low: float  # lower end of the 95 % interval
    high: float
    n: int  # how many radiographs (the denominator) it rests on
    method: str  # how the interval was made: "wilson", "delong", "bootstrap by patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A threshold, what it achieves, and where that was measured."""

    name: str
    threshold: float  # probability in [0, 1], not a logit
    sensitivity: float
    specificity: float
    measured_on: str  # "tuning", or an external set's name; never "test"
    sensitivity_interval: tuple[float, float] | None = None
    specificity_interval: tuple[float, float] | None = None

    def is_positive(self, probability: float) -> bool:
        """Return True at or above the threshold."""
        return probability >= self.threshold
