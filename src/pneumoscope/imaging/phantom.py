"""Draw a synthetic frontal chest phantom: a schematic drawing, not a radiograph.

Everything is attenuation first, then exposed as a detector would: scatter, blur and quantum noise.
Coordinates ``x`` (to the image's right) and ``y`` (down) run over about -1 to 1, in the body's own
frame. Opacities are drawn last, from the same generator, so that the same seed with target 0 is the
same chest without them.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.errors import UsageError
from pneumoscope.core.types import Region
from pneumoscope.imaging.phantom_anatomy import Anatomy, draw_anatomy, smooth_field

Field = NDArray[np.floating]  # float32 in fact, but no stub of numpy can tell

MIN_SIZE_PX = 32
_BOX_LEVEL = 0.15  # of an opacity's peak: fainter than this its rim is lost in the noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A drawn chest, and a box round each opacity in it."""

    pixels: NDArray[np.uint8]  # (H, W), display values: larger is brighter
    boxes: tuple[Region, ...]  # in pixels; empty where the target is 0


@dataclass(frozen=True, slots=True)
class _Exposure:
    """How the beam and the display turn attenuation into gray."""

    black: float  # attenuation shown as 0
    white: float  # attenuation shown as 255
    gamma: float
    scatter: float  # share of the detected signal that is scattered
    blur_px: float  # standard deviation
    noise: float  # relative standard deviation in the unattenuated beam


def draw_phantom(rng: np.random.Generator, *, target: Literal[0, 1], size_px: int = 256) -> Phantom:
    """Draw one chest, with one to three opacities in its lungs where the target is 1.

    Args:
        rng: The only source of chance; the same state draws the same pixels.
        target: 1 for opacities, 0 for none. Nothing else depends on it.
        size_px: Height and width.

    Raises: UsageError: ``size_px`` is below 32.
    """
    if size_px < MIN_SIZE_PX:
        raise UsageError(f"A phantom of {size_px} px shows nothing: use {MIN_SIZE_PX} or more.")
    anatomy = draw_anatomy(rng, size_px=size_px)
    exposure = _draw_exposure(rng, anatomy, size_px)
    noise = rng.standard_normal((size_px, size_px), dtype=np.float32)
    attenuation, boxes = anatomy.attenuation, []
    is_free = anatomy.lungs > 0.8
    for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]) if target == 1 else 0):
        places = np.flatnonzero(is_free)
        if places.size == 0:  # the first ones filled both lungs
            break
        opacity = _draw_opacity(rng, anatomy, place=int(rng.choice(places)))
        is_seen = opacity > _BOX_LEVEL * opacity.max()
        attenuation = attenuation + opacity
        boxes.append(_box_round(is_seen))
        is_free &= ~is_seen
    return Phantom(pixels=_expose(attenuation, exposure, noise), boxes=tuple(boxes))


def _draw_exposure(rng: np.random.Generator, anatomy: Anatomy, size_px: int) -> _Exposure:
    # The window comes from the chest without its opacities: an automatic window that saw them
    # would change the whole image with the target.
    low, high = np.percentile(anatomy.attenuation, (8, 99))
    return _Exposure(
        black=float(low - rng.uniform(-0.05, 0.15) * (high - low)),
        white=float(high + rng.uniform(-0.08, 0.25) * (high - low)),
        gamma=_draw_log_uniform(rng, 0.7, 1.35),
        scatter=rng.uniform(0.1, 0.4),
        blur_px=rng.uniform(0.3, 0.9) * size_px / 256,
        noise=_draw_log_uniform(rng, 0.008, 0.03),
    )


def _draw_opacity(rng: np.random.Generator, anatomy: Anatomy, *, place: int) -> Field:
    """Return the (H, W) attenuation of one soft-edged, irregular, patchy blob inside the lungs."""
    size_px = anatomy.lungs.shape[0]
    dx = anatomy.x - anatomy.x.flat[place]
    dy = anatomy.y - anatomy.y.flat[place]
    radius = _draw_log_uniform(rng, 0.09, 0.3)
    tilt, aspect = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along = math.cos(tilt) * dx + math.sin(tilt) * dy
    across = (math.cos(tilt) * dy - math.sin(tilt) * dx) / aspect
    angle = np.arctan2(across, along)
    rim = np.ones_like(dx)
    for harmonic in range(2, 6):
        phase, height = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.32) / harmonic**0.5
        rim += height * np.cos(harmonic * angle + phase)
    distance = np.hypot(along, across) / (radius * rim)
    profile = 1 / (1 + np.exp((np.minimum(distance, 4) - 0.75) * rng.uniform(6, 14)))
    patches = 1 + 0.35 * smooth_field(rng, size_px, n_cells=int(rng.integers(10, 22)))
    blob = profile * np.clip(patches, 0.3, 1.7) * anatomy.lungs
    return np.asarray(blob * (_draw_log_uniform(rng, 0.1, 0.5) / blob.max()), dtype=np.float32)


def _draw_log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _box_round(is_seen: NDArray[np.bool_]) -> Region:
    """Return the smallest box, in whole pixels, round what is True."""
    rows, columns = np.flatnonzero(is_seen.any(axis=1)), np.flatnonzero(is_seen.any(axis=0))
    return Region(
        x=int(columns[0]),
        y=int(rows[0]),
        width=int(columns[-1] - columns[0] + 1),
        height=int(rows[-1] - rows[0] + 1),
    )


def _expose(attenuation: Field, exposure: _Exposure, noise: Field) -> NDArray[np.uint8]:
    """Return display values (H, W): brighter where more is absorbed."""
    beam = np.exp(-2.2 * attenuation)  # 2.2: a chest passes about a tenth of the beam
    # Scatter is so wide a blur that sixteen cells across hold it.
    size = (attenuation.shape[1], attenuation.shape[0])
    coarse = Image.fromarray(beam).resize((16, 16), Image.Resampling.BOX)
    scattered = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    signal = (1 - exposure.scatter) * beam + exposure.scatter * scattered
    signal = _blur(signal, exposure.blur_px)
    # Photon counting: the standard deviation grows with the square root of the signal.
    signal = signal + exposure.noise * np.sqrt(np.maximum(signal, 0)) * noise
    density = -np.log(np.maximum(signal, 0.01)) / 2.2
    share = np.clip((density - exposure.black) / (exposure.white - exposure.black), 0, 1)
    return np.rint(255 * share**exposure.gamma).astype(np.uint8)


def _blur(image: Field, sigma_px: float) -> Field:
    """Gaussian blur, one axis after the other, with the edge pixels repeated outside."""
    reach = max(1, round(3 * sigma_px))
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weight = (weight / weight.sum()).astype(np.float32)
    for axis in (0, 1):
        n, margin = image.shape[axis], [(0, 0), (0, 0)]
        margin[axis] = (reach, reach)
        padded = np.pad(image, margin, mode="edge")
        image = np.zeros_like(image)
        for shift, w in enumerate(weight):
            image += w * padded.take(np.arange(shift, shift + n), axis=axis)
    return image
