"""What a recipe may say about augmentation; `augment.py` does it."""

from typing import Annotated

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart

Factor = Annotated[float, Field(gt=0)]


class AugmentationRecipe(RecipePart):
    """Random changes to training radiographs. Every default leaves the picture as it is.

    Geometry is one affine warp, bilinear, with the nearest border pixel repeated outside, drawn
    and composed as Keras' ImageDataGenerator does it: rotation, then shift, shear and zoom.
    """

    rotation_deg: float = Field(
        default=0, ge=0, le=180, description="Angle drawn from -this to +this, in degrees."
    )
    shear_deg: float = Field(
        default=0, ge=0, lt=90, description="Shear angle drawn from -this to +this, in degrees."
    )
    zoom: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Zoom drawn from 1-this to 1+this, for rows and columns each, as Keras does.",
    )
    shift: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Shift drawn from -this to +this, as a fraction of height and of width.",
    )
    horizontal_flip: bool = Field(default=False, description="Mirror left and right half the time.")
    vertical_flip: bool = Field(default=False, description="Mirror top and bottom half the time.")
    crop: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Cut a window whose sides are 1-this to 1 of the picture's, anywhere in it, "
        "and stretch it back to the full size.",
    )
    brightness: float = Field(
        default=0, ge=0, le=1, description="Added gray value, -this to +this, of a scale of 0 to 1."
    )
    contrast: float = Field(
        default=0, ge=0, lt=1, description="Contrast about the picture's mean: 1-this to 1+this."
    )
    gamma: tuple[Factor, Factor] = Field(
        default=(1.0, 1.0), description="Exponent's range, drawn evenly in its logarithm."
    )
    noise_sd: float = Field(
        default=0, ge=0, le=1, description="Gaussian noise: its deviation is drawn from 0 to this."
    )
    blur_sigma_px: float = Field(
        default=0, ge=0, le=10, description="Gaussian blur: its sigma is drawn from 0 to this."
    )
    copies: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Draw only this many changed copies of each radiograph; epoch e takes copy "
        "e modulo this. They do not depend on the seed, so that a frozen backbone's maps of them "
        "are worked out once for all seeds. By default every epoch draws anew.",
    )
    downscale: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Shrink to a factor between this and 1 and enlarge again: hides sharpness.",
    )
    jpeg_quality: int = Field(
        default=100,
        ge=10,
        le=100,
        description="Save as JPEG at a quality between this and 100 and read again: hides the "
        "traces of earlier compression. At 100 nothing is done.",
    )

    @model_validator(mode="after")
    def _check_gamma(self) -> "AugmentationRecipe":
        if self.gamma[0] > self.gamma[1]:
            raise ValueError(f"gamma: the range runs from {self.gamma[0]} down to {self.gamma[1]}")
        return self

    @property
    def has_warp(self) -> bool:
        """Whether any geometric change is asked for."""
        return bool(
            self.rotation_deg
            or self.shear_deg
            or self.zoom
            or self.shift
            or self.crop
            or self.horizontal_flip
            or self.vertical_flip
        )
