"""What a bundle says of one radiograph, and what is said of a file that could not be read."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import UnreadableImageError
from pneumoscope.core.types import OperatingPoint, Radiograph, Region
from pneumoscope.detector.card import RESEARCH_USE

if TYPE_CHECKING:
    from PIL.Image import Image

Label = Literal["normal", "pneumonia"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be answered; the others were."""

    path: str
    type: str  # the error's class
    message: str  # where, what, and what to do

    def to_dict(self) -> dict[str, Any]:
        """Return what ``predict --format json`` prints."""
        return {"path": self.path, "error": {"type": self.type, "message": self.message}}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one radiograph. Research use only: no diagnosis may rest on it."""

    path: str  # or the name that the caller gave
    sha256: str  # of the file's bytes; of the pixels where an array was given
    probability: float  # calibrated, in [0, 1]
    logit: float  # uncalibrated
    label: Label
    operating_point: OperatingPoint
    threshold_logit: float  # the operating point on the logit's scale
    regions: tuple[Region, ...]  # in pixels of the file's own picture; none where normal
    warnings: tuple[str, ...]  # see `warnings_of_input`
    atypicality: float
    height_px: int  # of the file's own picture
    width_px: int
    modality: str | None
    view_position: str | None
    age_years: float | None
    sex: str | None
    bundle: dict[str, str]  # name, version, sha256
    cam: NDArray[np.float32] = field(repr=False)  # (h, w), evidence in logit units
    # The decoded picture; None from `predict_many`, since thousands of answers must not hold
    # thousands of pictures: it is read again from the source when it is wanted.
    radiograph: Radiograph | None = field(repr=False)
    source: Path | bytes | None = field(repr=False)  # None where an array was given

    def to_dict(self) -> dict[str, Any]:
        """Return what ``predict --format json`` prints."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "probability": self.probability,
            "logit": self.logit,
            "label": self.label,
            "operating_point": {
                "name": self.operating_point.name,
                "threshold": self.operating_point.threshold,
            },
            "regions": [asdict(region) for region in self.regions],
            "warnings": list(self.warnings),
            "bundle": dict(self.bundle),
        }

    def pixels(self) -> NDArray[np.uint8]:
        """Return (H, W) display values at full resolution; reads the file again where needed.

        Raises: RadiographError: the file is gone, unreadable, or another than was answered.
        """
        is_whole = self.radiograph is not None and self.radiograph.file_size_px is None
        if self.radiograph is not None and (is_whole or self.source is None):
            return self.radiograph.pixels
        if self.source is None:
            raise UnreadableImageError(f"{self.path}: the picture was not kept. Predict it again.")
        from pneumoscope.imaging.read import read_radiograph
        from pneumoscope.imaging.source import read_source

        data, title = read_source(self.source, name=self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UnreadableImageError(
                f"{title}: has changed since it was answered. Run predict on it again."
            )
        return read_radiograph(data, name=title).pixels

    def without_radiograph(self) -> "Prediction":
        """Return the same answer without the picture, which can be read again."""
        return replace(self, radiograph=None)

    def overlay(self) -> "Image":
        """Return the radiograph with the evidence, the regions and a legend drawn on it.

        Raises: RadiographError: as `pixels`.
        """
        from pneumoscope.imaging.overlay import draw_overlay

        point = self.operating_point
        return draw_overlay(
            self.pixels(),
            self.cam,
            logit=self.logit,
            threshold_logit=self.threshold_logit,
            regions=self.regions,
            title=f"{self.label}, probability {self.probability:.3f}",
            subtitle=f"pneumonia at {point.threshold:.3f} or above ({point.name})",
            footer=RESEARCH_USE,
        )

    def _repr_html_(self) -> str:
        from pneumoscope.detector.notebook import show_prediction

        return show_prediction(self)
