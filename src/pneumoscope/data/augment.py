"""Random changes to a whole batch at once, the same as image by image.

Drawing and applying are apart: `draw_parameters` decides from (seed, epoch, step) what is done to
each image and returns it as a record; `apply_parameters` does it, on any device, and each image's
result depends on its own parameters alone. So a batch can be repeated, split over devices, or done
one by one with the same pixels.
"""

import io
import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pneumoscope.data.augmentation_recipe import AugmentationRecipe

_SEED_OF_COPIES = 0  # whatever the run's seed, so that runs share what is worked out from them


@dataclass(frozen=True)
class AugmentationParameters:
    """What is done to each of N images, as drawn; the record of the augmentation."""

    rotation_deg: Tensor  # (N,) float64, counter-clockwise in (row, column) axes as Keras has it
    shear_deg: Tensor  # (N,) float64
    zoom: Tensor  # (N, 2) float64, rows and columns; below 1 enlarges the picture
    shift: Tensor  # (N, 2) float64, fraction of height and of width
    is_mirrored: Tensor  # (N, 2) bool: top-bottom, left-right
    crop_scale: Tensor  # (N, 2) float64, height and width of the window, fraction of the picture
    crop_place: Tensor  # (N, 2) float64, in [0, 1]: where the window lies in the room it has
    brightness: Tensor  # (N,) float64, added
    contrast: Tensor  # (N,) float64, factor about the mean
    gamma: Tensor  # (N,) float64, exponent
    noise_sd: Tensor  # (N,) float64
    noise_seed: Tensor  # (N,) int64, so that an image's noise does not depend on its batch
    blur_sigma_px: Tensor  # (N,) float64
    downscale: Tensor  # (N,) float64, in (0, 1]
    jpeg_quality: Tensor  # (N,) float64, rounded where it is used

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.rotation_deg.shape[0])

    def take(self, index: slice | Tensor) -> "AugmentationParameters":
        """Return the parameters of some of the images."""
        return AugmentationParameters(
            **{field.name: getattr(self, field.name)[index] for field in fields(self)}
        )

    def to_dict(self) -> dict[str, list[object]]:
        """Return plain lists, fit for JSON."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}


def seed_of(seed: int, epoch: int, step: int, *, stream: int = 0) -> int:
    """Return a 63-bit seed for one step, unlike that of any other (seed, epoch, step, stream).

    Source: the finaliser of SplitMix64 (Steele et al. 2014, OOPSLA), applied once a number.
    """
    mask = (1 << 64) - 1
    value = 0
    for number in (seed, epoch, step, stream):
        value = (value + number + 0x9E3779B97F4A7C15) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        value ^= value >> 31
    return value >> 1


def draw_parameters(
    recipe: AugmentationRecipe, count: int, *, seed: int, epoch: int, step: int
) -> AugmentationParameters:
    """Draw what to do to each of ``count`` images of one training step."""
    generator = torch.Generator().manual_seed(seed_of(seed, epoch, step, stream=1))

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        size = (count, *shape)
        # Always drawn, even where the range is empty: a recipe that differs in one range then
        # still gives every other change the same values.
        return low + (high - low) * torch.rand(size, generator=generator, dtype=torch.float64)

    log_gamma = uniform(math.log(recipe.gamma[0]), math.log(recipe.gamma[1]))
    flip_chance = torch.tensor([recipe.vertical_flip, recipe.horizontal_flip]) * 0.5
    return AugmentationParameters(
        rotation_deg=uniform(-recipe.rotation_deg, recipe.rotation_deg),
        shear_deg=uniform(-recipe.shear_deg, recipe.shear_deg),
        zoom=uniform(1 - recipe.zoom, 1 + recipe.zoom, 2),
        shift=uniform(-recipe.shift, recipe.shift, 2),
        is_mirrored=uniform(0, 1, 2) < flip_chance,
        crop_scale=uniform(1 - recipe.crop, 1, 2),
        crop_place=uniform(0, 1, 2),
        brightness=uniform(-recipe.brightness, recipe.brightness),
        contrast=uniform(1 - recipe.contrast, 1 + recipe.contrast),
        gamma=log_gamma.exp(),
        noise_sd=uniform(0, recipe.noise_sd),
        noise_seed=torch.randint(1 << 62, (count,), generator=generator),
        blur_sigma_px=uniform(0, recipe.blur_sigma_px),
        downscale=uniform(recipe.downscale, 1),
        # Behind all others, so that recipes from before it was there draw what they drew.
        jpeg_quality=uniform(recipe.jpeg_quality, 100),
    )


@lru_cache(maxsize=1)  # asked for at every step: it draws for the whole dataset
def draw_copy_parameters(
    recipe: AugmentationRecipe, count: int, *, copy: int
) -> AugmentationParameters:
    """Draw what to do to each of a dataset's ``count`` images in one of its fixed copies."""
    return draw_parameters(recipe, count, seed=_SEED_OF_COPIES, epoch=copy, step=0)


def apply_parameters(
    pixels: Tensor, parameters: AugmentationParameters, recipe: AugmentationRecipe
) -> Tensor:
    """Return the changed images.

    Args:
        pixels: (N, 1, H, W) float, gray values in [0, 1].
        parameters: N of them.
        recipe: Which changes are in use; the others cost nothing.

    Returns: (N, 1, H, W) in [0, 1].
    Source: parameters and composition as keras_preprocessing's ``apply_affine_transform``.
    """
    if recipe.has_warp:
        pixels = _warp(pixels, parameters)
    if recipe.downscale < 1:
        pixels = _down_and_up(pixels, parameters.downscale)
    if recipe.blur_sigma_px > 0:
        pixels = _blur(pixels, parameters.blur_sigma_px, recipe.blur_sigma_px)
    if recipe.gamma != (1.0, 1.0):
        pixels = pixels.clamp(0, 1) ** _per_image(parameters.gamma, pixels)
    if recipe.contrast > 0:
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        pixels = mean + (pixels - mean) * _per_image(parameters.contrast, pixels)
    if recipe.brightness > 0:
        pixels = pixels + _per_image(parameters.brightness, pixels)
    if recipe.noise_sd > 0:
        pixels = pixels + _noise(pixels, parameters) * _per_image(parameters.noise_sd, pixels)
    if recipe.jpeg_quality < 100:
        pixels = _compress(pixels.clamp(0, 1), parameters.jpeg_quality)
    return pixels.clamp(0, 1)


def output_to_input_matrix(
    parameters: AugmentationParameters, *, height_px: int, width_px: int
) -> Tensor:
    """Return (N, 3, 3) float64: where in the input each output pixel is taken from.

    Coordinates are (row, column, 1), in pixels, about the picture's centre.
    """
    cosine = parameters.rotation_deg.deg2rad().cos()
    sine = parameters.rotation_deg.deg2rad().sin()
    shear = parameters.shear_deg.deg2rad()
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    size = torch.tensor([height_px, width_px], dtype=torch.float64)
    shift = parameters.shift * size
    rotate = _matrix((cosine, -sine, zero), (sine, cosine, zero))
    move = _matrix((one, zero, shift[:, 0]), (zero, one, shift[:, 1]))
    slant = _matrix((one, -shear.sin(), zero), (zero, shear.cos(), zero))
    scale = _matrix((parameters.zoom[:, 0], zero, zero), (zero, parameters.zoom[:, 1], zero))
    sign = 1 - 2 * parameters.is_mirrored.to(torch.float64)
    mirror = _matrix((sign[:, 0], zero, zero), (zero, sign[:, 1], zero))
    window = parameters.crop_scale
    room = (1 - window) * size * (parameters.crop_place - 0.5)
    crop = _matrix((window[:, 0], zero, room[:, 0]), (zero, window[:, 1], room[:, 1]))
    # Keras mirrors the picture that it has warped, so in terms of output pixels mirroring is first.
    return crop @ rotate @ move @ slant @ scale @ mirror


def _warp(pixels: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Resample every image through its own affine map, bilinear, nearest border pixel outside."""
    height, width = pixels.shape[-2:]
    matrix = output_to_input_matrix(parameters, height_px=height, width_px=width)
    # grid_sample wants (x, y) with the picture running from -1 to 1: swap the axes, rescale the
    # mixed terms by the aspect, and the shifts by half the size.
    theta = torch.stack(
        [
            torch.stack(
                [matrix[:, 1, 1], matrix[:, 1, 0] * (height / width), matrix[:, 1, 2] * 2 / width],
                dim=-1,
            ),
            torch.stack(
                [matrix[:, 0, 1] * (width / height), matrix[:, 0, 0], matrix[:, 0, 2] * 2 / height],
                dim=-1,
            ),
        ],
        dim=1,
    )
    theta = theta.to(dtype=pixels.dtype, device=pixels.device)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _down_and_up(pixels: Tensor, factor: Tensor) -> Tensor:
    """Shrink each image by its own factor and enlarge it again, both antialiased bilinear."""
    height, width = pixels.shape[-2:]
    results = []
    # Image by image, because each has a smaller size of its own.
    for image, scale in zip(pixels[:, None], factor.tolist(), strict=True):
        small = (max(1, round(height * scale)), max(1, round(width * scale)))
        shrunk = F.interpolate(image, small, mode="bilinear", antialias=True, align_corners=False)
        results.append(F.interpolate(shrunk, (height, width), mode="bilinear", align_corners=False))
    return torch.cat(results)


def _blur(pixels: Tensor, sigma_px: Tensor, largest_sigma_px: float) -> Tensor:
    """Convolve each image with its own Gaussian, borders repeated."""
    # Three sigma of the widest kernel that the recipe allows, so that the result of one image
    # does not depend on what its neighbours in the batch drew.
    radius = min(math.ceil(3 * largest_sigma_px), min(pixels.shape[-2:]) - 1)
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    spread = sigma_px.clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (offset / spread) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(pixels.dtype).to(pixels.device)
    count = pixels.shape[0]
    stack = F.pad(pixels, [radius] * 4, mode="replicate").transpose(0, 1)
    stack = F.conv2d(stack, kernel[:, None, :, None], groups=count)
    stack = F.conv2d(stack, kernel[:, None, None, :], groups=count)
    return stack.transpose(0, 1)


def _compress(pixels: Tensor, quality: Tensor) -> Tensor:
    """Save each image as gray JPEG at its own quality, and read it again."""
    results = []
    for image, wanted in zip(pixels, quality.round().int().tolist(), strict=True):
        gray = (image[0] * 255).round().to(torch.uint8).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(gray).save(file, "JPEG", quality=wanted)
        results.append(torch.from_numpy(np.array(Image.open(file)))[None])
    stack = torch.stack(results).to(device=pixels.device, dtype=pixels.dtype)
    return stack / 255


def _noise(pixels: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Return standard normal noise, each image's from its own seed."""
    noise = torch.empty(pixels.shape, dtype=pixels.dtype)
    for image, seed in zip(noise, parameters.noise_seed.tolist(), strict=True):
        image.normal_(generator=torch.Generator().manual_seed(seed))
    return noise.to(pixels.device)


def _per_image(values: Tensor, pixels: Tensor) -> Tensor:
    """Shape (N,) values so that they act on (N, 1, H, W) pixels."""
    return values.to(dtype=pixels.dtype, device=pixels.device)[:, None, None, None]


def _matrix(first_row: tuple[Tensor, ...], second_row: tuple[Tensor, ...]) -> Tensor:
    """Return (N, 3, 3) homogeneous matrices from their first two rows of (N,) entries."""
    zero, one = torch.zeros_like(first_row[0]), torch.ones_like(first_row[0])
    rows = [torch.stack(row, dim=-1) for row in (first_row, second_row, (zero, zero, one))]
    return torch.stack(rows, dim=-2)
