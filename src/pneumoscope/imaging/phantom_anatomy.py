"""The healthy chest of a phantom: what absorbs the beam, and where the lungs are."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.floating]  # float32 in fact, but no stub of numpy can tell

_PIECE = 3  # points of one piece of a vessel
_ALONG_BRANCH = np.linspace(0, 1, 7)[:, None]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A chest without opacities, as (H, W) fields."""

    attenuation: Field  # 0 outside the body, about 1 through the mediastinum
    lungs: Field  # 1 inside the aerated lungs, 0 outside, soft at their edges
    x: Field  # coordinates of each pixel in the body's frame: to the image's right,
    y: Field  # and down


@dataclass(frozen=True, slots=True)
class _Shape:
    """One body's measures, in half image widths."""

    chest_width: float
    lung_width: float
    lung_top: float
    lung_base: float  # of the image's right lung; the liver lifts the other one
    liver_lift: float
    dome: float  # how far a diaphragm dome rises above its edge
    lung_air: float  # how much less the lungs absorb than what surrounds them
    heart_size: float
    heart_x: float
    spine_bend: float
    edge: float  # softness of outlines


@dataclass(frozen=True, slots=True)
class _Pose:
    """How the body lies in the image: turned, stretched and shifted."""

    angle: float  # radians
    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    def body_coordinates(self, size_px: int) -> tuple[Field, Field]:
        """Return x and y (H, W) of each pixel's centre in the body's frame."""
        ticks = ((np.arange(size_px) + 0.5) / size_px * 2 - 1).astype(np.float32)
        right, down = np.meshgrid(ticks - self.shift_x, ticks - self.shift_y)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return (cos * right + sin * down) / self.scale_x, (cos * down - sin * right) / self.scale_y

    def to_pixels(self, points: NDArray[np.float64], size_px: int) -> NDArray[np.float64]:
        """Return (N, 2) columns and rows of (N, 2) points of the body."""
        x, y = points[:, 0] * self.scale_x, points[:, 1] * self.scale_y
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        right, down = cos * x - sin * y + self.shift_x, sin * x + cos * y + self.shift_y
        return (np.stack([right, down], axis=1) + 1) / 2 * size_px - 0.5


def draw_anatomy(rng: np.random.Generator, *, size_px: int) -> Anatomy:
    """Draw a healthy chest of random build and pose."""
    pose = _Pose(
        angle=math.radians(rng.normal(0, 2.5)),
        scale_x=rng.uniform(0.94, 1.2),
        scale_y=rng.uniform(0.92, 1.15),
        shift_x=rng.normal(0, 0.03),
        shift_y=rng.normal(0.02, 0.03),
    )
    shape = _draw_shape(rng)
    x, y = pose.body_coordinates(size_px)
    # No two outlines are quite alike.
    x = x + 0.012 * smooth_field(rng, size_px, n_cells=4)
    y = y + 0.02 * smooth_field(rng, size_px, n_cells=5)
    x = x - shape.spine_bend * np.sin(2 * y)
    heart = _heart(x, y, shape)
    lungs = _lungs(x, y, shape) * (1 - 0.9 * _ramp(heart - 0.2, 0.2))
    tissue = _soft_tissue(x, y, shape, rng)
    attenuation = tissue - shape.lung_air * lungs * (0.75 + 0.25 * smooth_ridge(x, shape))
    attenuation += rng.uniform(0.2, 0.4) * heart + _mediastinum(x, y, rng)
    vessels = _vessels(rng, pose, size_px)
    attenuation += rng.uniform(0.12, 0.24) * vessels * (0.15 + 0.85 * lungs)
    attenuation += _bones(x, y, shape, rng)
    attenuation += 0.012 * smooth_field(rng, size_px, n_cells=40)
    is_body = _ramp(_half_width(y, shape) - np.abs(x), 0.01)
    return Anatomy(np.maximum(attenuation, 0) * is_body, lungs, x, y)


def smooth_field(rng: np.random.Generator, size_px: int, *, n_cells: int) -> Field:
    """Return (H, W) smooth noise of about unit variance, with waves of ``size_px / n_cells``."""
    cells = rng.standard_normal((n_cells, n_cells), dtype=np.float32)
    image = Image.fromarray(cells).resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(image)


def smooth_ridge(x: Field, shape: _Shape) -> Field:
    """Return how thick the lung is at x: most in its middle."""
    middle = 0.55 * shape.lung_width
    return np.maximum(0, 1 - ((np.abs(x) - middle) / middle) ** 2)


def _draw_shape(rng: np.random.Generator) -> _Shape:
    lung_width = rng.uniform(0.64, 0.78)
    return _Shape(
        chest_width=lung_width + rng.uniform(0.1, 0.26),
        lung_width=lung_width,
        lung_top=rng.uniform(-0.82, -0.68),
        lung_base=rng.uniform(0.52, 0.72),
        liver_lift=rng.uniform(0.03, 0.12),
        dome=rng.uniform(0.14, 0.28),
        lung_air=rng.uniform(0.5, 0.68),
        heart_size=rng.uniform(0.85, 1.2),
        heart_x=rng.uniform(0.06, 0.16),
        spine_bend=rng.normal(0, 0.015),
        edge=rng.uniform(0.012, 0.03),
    )


def _ramp(distance: Field, width: float) -> Field:
    """Return 0 below ``-width``, 1 above ``width``, and a smooth step between."""
    t: Field = np.clip(0.5 + distance / (2 * width), 0, 1)
    return t * t * (3 - 2 * t)


def _half_width(y: Field, shape: _Shape) -> Field:
    """Return how far the body reaches to either side at y: neck, shoulders, chest."""
    neck = 0.24
    shoulders = _ramp(y + 0.86, 0.16)
    waist = 1 - 0.06 * _ramp(y - 0.3, 0.5)
    return neck + (shape.chest_width * waist - neck) * shoulders


def _soft_tissue(x: Field, y: Field, shape: _Shape, rng: np.random.Generator) -> Field:
    depth = np.sqrt(np.maximum(0, 1 - (x / _half_width(y, shape)) ** 4))
    belly = 0.12 * _ramp(y - _diaphragm(x, shape), 0.06)
    tissue = 0.85 * depth * (1 + 0.1 * y) + belly
    # Gas in the stomach, under the dome on the image's right.
    gas_x, gas_y = rng.uniform(0.25, 0.45), rng.uniform(0.1, 0.2)
    gas_size, gas = rng.uniform(0.04, 0.13), rng.uniform(0, 0.3)
    under = y - _diaphragm(x, shape)
    r = np.hypot((x - gas_x) / 1.6, under - gas_y) / gas_size
    bubble = gas * _ramp(1 - r, 0.4) * _ramp(under - 0.03, 0.02)
    return np.asarray(tissue - bubble)


def _diaphragm(x: Field, shape: _Shape) -> Field:
    """Return the y of the diaphragm at x: two domes, the image's left one higher (the liver)."""
    lift = shape.liver_lift * _ramp(-x, 0.2)
    bow = ((np.abs(x) - 0.5 * shape.lung_width) / (0.52 * shape.lung_width)) ** 2
    return shape.lung_base - lift - shape.dome * (1 - bow)


def _lungs(x: Field, y: Field, shape: _Shape) -> Field:
    """Return 1 inside either lung, the heart not yet cut out."""
    aside = np.abs(x)
    t = np.clip((y - shape.lung_top) / (shape.lung_base - shape.lung_top), 0, 1)
    outer = 0.26 + (shape.lung_width - 0.26) * (1 - (1 - t) ** 2.4) ** 0.75
    inner = 0.25 - 0.13 * np.minimum(1, t / 0.35) ** 0.5
    apex = shape.lung_top + 1.6 * (aside - 0.26) ** 2
    edge = shape.edge
    walls = _ramp(outer - aside, edge) * _ramp(aside - inner, 1.4 * edge)
    return walls * _ramp(y - apex, edge) * _ramp(_diaphragm(x, shape) - y, edge)


def _heart(x: Field, y: Field, shape: _Shape) -> Field:
    """Return the heart's thickness, 0 to 1: the ventricles to the image's right, and an atrium."""
    size, middle = shape.heart_size, shape.lung_base - shape.dome - 0.12
    dx, dy = x - shape.heart_x, y - middle
    along, across = 0.8 * dx + 0.6 * dy, 0.8 * dy - 0.6 * dx
    ventricles = 1 - (along / (0.36 * size)) ** 2 - (across / (0.25 * size)) ** 2
    dx = x + 0.08
    atrium = 1 - (dx / (0.15 * size)) ** 2 - ((dy + 0.02) / (0.24 * size)) ** 2
    return np.sqrt(np.maximum(0, np.maximum(ventricles, 0.8 * atrium)))


def _mediastinum(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return great vessels, hila and the dark trachea."""
    great = 0.22 * _ramp(0.13 - np.abs(x - 0.01), 0.05) * _ramp(0.15 - y, 0.3)
    knob_r = np.hypot(x - 0.12, y + rng.uniform(0.24, 0.34)) / rng.uniform(0.07, 0.1)
    knob = 0.16 * _ramp(1 - knob_r, 0.35)
    hila = np.zeros_like(x)
    for side in (-1, 1):
        r = np.hypot((x - side * 0.17) / 0.09, (y + 0.04 + 0.03 * side) / 0.15)
        hila += rng.uniform(0.08, 0.2) * np.exp(-2 * r**2)
    trachea = 0.2 * _ramp(0.038 - np.abs(x + 0.01), 0.02) * _ramp(-0.24 - y, 0.08)
    return great + knob + hila - trachea


def _bones(x: Field, y: Field, shape: _Shape, rng: np.random.Generator) -> Field:
    aside = np.abs(x)
    wall = shape.lung_width * (1.04 + 0.02 * y)
    cage = _ramp(wall + 0.03 - aside, 0.03) * _ramp(y - shape.lung_top, 0.06)
    share = np.minimum(aside / wall, 1.1)
    # Ribs are evenly spaced, so one wave across a bent phase draws all of them at once.
    pitch, contrast = rng.uniform(0.145, 0.185), rng.uniform(0.07, 0.15)
    drop, phase = rng.uniform(0.1, 0.2), rng.uniform(0, 1)
    back = y + 0.08 * np.sin(np.pi * share) - drop * share**3 * 2.2
    ribs = _rib_wave(back / pitch + phase, 0.27) * _ramp(aside - 0.05, 0.03)
    front = y - 0.24 * np.maximum(0, 1 - share) ** 1.2 + 0.35 * share**4
    fronts = _rib_wave(front / (1.08 * pitch) + rng.uniform(0, 1), 0.3)
    fronts *= _ramp(share - rng.uniform(0.4, 0.5), 0.12) * _ramp(0.35 - y, 0.15)
    bones = contrast * cage * _ramp(shape.lung_base + 0.15 - y, 0.2) * (ribs + 0.55 * fronts)
    vertebra = 0.75 + 0.25 * np.cos(2 * np.pi * (y / (0.72 * pitch) + phase))
    bones += rng.uniform(0.06, 0.14) * _ramp(0.085 - aside, 0.02) * vertebra
    slope, height = rng.uniform(0.08, 0.25), rng.uniform(0.04, 0.14)
    clavicle_y = shape.lung_top + height + slope * (0.35 - aside) - 0.05 * np.sin(5 * aside)
    thickness = np.abs(y - clavicle_y) / rng.uniform(0.028, 0.04)
    ends = _ramp(aside - 0.1, 0.03) * _ramp(shape.chest_width - 0.08 - aside, 0.05)
    return bones + rng.uniform(0.1, 0.2) * _ramp(1 - thickness, 0.3) * ends


def _rib_wave(phase: Field, half_width: float) -> Field:
    """Return bands, one for each whole number of phase, brighter at their rims (cortical bone)."""
    distance = np.abs(phase - np.rint(phase)) / half_width
    return _ramp(1 - distance, 0.25) * (0.65 + 0.35 * distance**2)


def _vessels(rng: np.random.Generator, pose: _Pose, size_px: int) -> Field:
    """Return the lung's vessels, 0 to 1: branching lines that thin out away from the hila."""
    zoom = 2
    canvas = Image.new("L", (zoom * size_px, zoom * size_px))
    pen = ImageDraw.Draw(canvas)
    for side in (-1, 1):
        for _ in range(12):
            heading = np.array([side * 1.0, rng.uniform(-1.6, 1.8)])
            start = np.array([side * 0.15, rng.uniform(-0.14, 0.08)])
            pieces = _branch(rng, start, heading, rng.uniform(0.3, 0.55), 0.022)
            corners = pose.to_pixels(np.concatenate([points for points, _ in pieces]), canvas.width)
            for i, (_, width) in enumerate(pieces):
                line = corners[_PIECE * i : _PIECE * (i + 1)].ravel().tolist()
                pen.line(line, fill=255, width=max(1, round(width * canvas.width / 2)))
    canvas = canvas.resize((size_px, size_px), Image.Resampling.BOX)
    canvas = canvas.filter(ImageFilter.GaussianBlur(0.8 * size_px / 256))
    return np.asarray(canvas, dtype=np.float32) / 255


def _branch(
    rng: np.random.Generator,
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    length: float,
    width: float,
) -> list[tuple[NDArray[np.float64], float]]:
    """Return a bent vessel and its branches in pieces: (_PIECE, 2) points, and their width."""
    heading = heading / math.hypot(*heading)
    sideways = np.array([-heading[1], heading[0]])
    t = _ALONG_BRANCH
    bend = rng.normal(0, 0.16) * length
    points = start + length * t * heading + bend * t**2 * sideways
    # Three pieces, each thinner than the one before; they share their end points.
    pieces = [(points[2 * i : 2 * i + _PIECE], width * (1 - 0.28 * i)) for i in range(3)]
    if width > 0.01:
        for place in (2, 4):
            turn = rng.uniform(0.35, 0.9) * rng.choice([-1, 1])
            new_heading = math.cos(turn) * heading + math.sin(turn) * sideways
            pieces += _branch(rng, points[place], new_heading, 0.6 * length, 0.55 * width)
    return pieces
