"""Draw the evidence for pneumonia on the radiograph that it was found in.

The radiograph keeps its own resolution; a heading stands above it, a legend and a footer below.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pneumoscope.core.types import Region
from pneumoscope.imaging.colour_map import COLOURS

MIN_WIDTH_PX: Final = 400  # room for the words, beside a picture that is narrower
MIN_SPAN_LOGIT: Final = (
    4.0  # the legend reaches at least this far, so that weak evidence looks weak
)
_MAX_OPACITY: Final = 0.5  # anatomy stays visible under the strongest evidence
_FULL_AT: Final = 0.5  # share of the legend's span from which opacity stops growing
_STRIP_PX: Final = 256  # width of what is coloured at a time
_BACKGROUND, _TEXT, _FAINT = (16, 16, 18), (240, 240, 240), (170, 170, 175)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_overlay(
    pixels: NDArray[np.uint8],
    cam: NDArray[np.floating],
    *,
    logit: float,
    threshold_logit: float,
    regions: Sequence[Region] = (),
    title: str = "",
    subtitle: str = "",
    footer: str = "",
) -> Image.Image:
    """Return the radiograph with its evidence, regions and a legend in logit units.

    Evidence at a place is what the logit would be if the whole radiograph looked like it:
    cam + (logit - mean(cam)). It is drawn where it lies above the operating point.

    Args:
        pixels: (H, W), display values.
        cam: (h, w), signed, in logit units.
        logit: Of the whole radiograph.
        threshold_logit: The operating point; infinite where its probability is 0 or 1.
        regions: Boxes in pixels of the picture.
        title: First line above the picture.
        subtitle: Second, smaller line.
        footer: Line below the legend.

    Returns: RGB, at least as wide as the picture and ``MIN_WIDTH_PX``, and higher than it.
    """
    local = cam.astype(np.float32) + np.float32(logit - cam.mean(dtype=np.float64))
    low = threshold_logit if math.isfinite(threshold_logit) else float(local.min())
    high = max(low + MIN_SPAN_LOGIT, float(local.max()))
    picture = _colour(pixels, local, low=low, high=high)
    height, width = pixels.shape
    scale = max(12, round(math.sqrt(height * width) / 42))  # of the letters, in pixels
    scale = min(scale, max(width, MIN_WIDTH_PX) // 12)  # a tall, narrow picture has no more room
    _draw_regions(picture, regions, size_px=scale)
    head = _heading(max(width, MIN_WIDTH_PX), title, subtitle, size_px=scale)
    foot = _legend(head.width, low=low, high=high, footer=footer, size_px=scale)
    page = Image.new("RGB", (head.width, head.height + height + foot.height), _BACKGROUND)
    page.paste(head, (0, 0))
    page.paste(picture, ((head.width - width) // 2, head.height))
    page.paste(foot, (0, head.height + height))
    return page


def _colour(
    pixels: NDArray[np.uint8], local: NDArray[np.float32], *, low: float, high: float
) -> Image.Image:
    """Lay the colour of the evidence on the gray picture."""
    height, width = pixels.shape
    picture = Image.fromarray(pixels).convert("RGB")
    # First along the rows, then strip by strip along the columns, as one resize would do it: the
    # numbers are the same, and a large picture needs no float arrays of its own size.
    wide = Image.fromarray(local).resize((width, local.shape[0]), Image.Resampling.BICUBIC)
    opacities = [_opacity(step / 255) for step in range(256)]
    for left in range(0, width, _STRIP_PX):
        right = min(left + _STRIP_PX, width)
        strip = wide.crop((left, 0, right, wide.height))
        smooth = strip.resize((right - left, height), Image.Resampling.BICUBIC)
        share = (np.asarray(smooth) - np.float32(low)) / np.float32(high - low)
        index = Image.fromarray(np.clip(255 * share + 0.5, 0, 255).astype(np.uint8))
        opacity = index.point(opacities)
        index.putpalette(COLOURS)
        picture.paste(index.convert("RGB"), (left, 0), opacity)
    return picture


def _opacity(share: float) -> int:
    """Return the opacity, 0 to 255, of evidence at a share of the legend's span."""
    return round(255 * _MAX_OPACITY * min(1.0, share / _FULL_AT))


def _draw_regions(picture: Image.Image, regions: Sequence[Region], *, size_px: int) -> None:
    draw, font = ImageDraw.Draw(picture), _font(size_px)
    line = max(1, size_px // 8)
    # The strongest comes first, and is drawn last so that its label lies on top.
    for region in reversed(regions):
        box = (region.x, region.y, region.x + region.width - 1, region.y + region.height - 1)
        draw.rectangle(box, outline="black", width=2 * line)
        draw.rectangle(box, outline="white", width=line)
        if not math.isnan(region.score):
            _draw_tag(draw, f"{region.score:.2f}", box, font=font, pad=line + 1)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[float, float, float, float],
    *,
    font: Font,
    pad: int,
) -> None:
    """Write a score at the upper left corner of its box, inside it."""
    left, top, right, bottom = draw.textbbox((box[0] + 2 * pad, box[1] + 2 * pad), text, font=font)
    draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill="black")
    draw.text((box[0] + 2 * pad, box[1] + 2 * pad), text, fill="white", font=font)


def _heading(width: int, title: str, subtitle: str, *, size_px: int) -> Image.Image:
    pad = size_px // 2
    lines = [(title, round(1.4 * size_px), _TEXT), (subtitle, size_px, _FAINT)]
    return _write([line for line in lines if line[0]], width=width, pad=pad)


def _legend(width: int, *, low: float, high: float, footer: str, size_px: int) -> Image.Image:
    pad, bar_height = size_px // 2, size_px
    caption = _write(
        [("Evidence above the operating point, in logits", size_px, _TEXT)], width=width, pad=pad
    )
    bar = _bar(width, low=low, high=high, size_px=size_px, bar_height=bar_height)
    foot = _write([(line, size_px, _FAINT) for line in _wrap(footer, width, size_px)], width=width,
                  pad=pad)  # fmt: skip
    page = Image.new("RGB", (width, caption.height + bar.height + foot.height), _BACKGROUND)
    page.paste(caption, (0, 0))
    page.paste(bar, (0, caption.height))
    page.paste(foot, (0, caption.height + bar.height))
    return page


def _bar(width: int, *, low: float, high: float, size_px: int, bar_height: int) -> Image.Image:
    """Draw the colours over a mid-gray, as they look on the radiograph, with a scale."""
    font, pad = _font(size_px), size_px // 2
    strip = Image.new("RGB", (width, bar_height + 2 * size_px), _BACKGROUND)
    left, right = 2 * size_px, width - 2 * size_px
    local = np.linspace(low, high, right - left, dtype=np.float32)[None]
    gray = np.full((1, right - left), 96, np.uint8)
    colours = _colour(gray, local, low=low, high=high).resize((right - left, bar_height))
    strip.paste(colours, (left, 0))
    draw = ImageDraw.Draw(strip)
    step = _tick_step(high - low)
    for tick in range(math.ceil(low / step), math.floor(high / step) + 1):
        x = left + (tick * step - low) / (high - low) * (right - left - 1)
        draw.line((x, bar_height, x, bar_height + pad // 2), fill=_FAINT, width=max(1, pad // 6))
        draw.text((x, bar_height + pad), f"{tick * step:g}", fill=_TEXT, font=font, anchor="ma")
    return strip


def _tick_step(span: float) -> float:
    """Return the step of 1, 2 or 5 times a power of ten that gives at most six ticks."""
    power = 10.0 ** math.floor(math.log10(span / 6))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= 6)


def _write(
    lines: Sequence[tuple[str, int, tuple[int, int, int]]], *, width: int, pad: int
) -> Image.Image:
    """Return lines of (text, size, colour) on a strip of their own."""
    heights = [round(1.3 * size) for _, size, _ in lines]
    strip = Image.new("RGB", (width, sum(heights) + pad), _BACKGROUND)
    draw, y = ImageDraw.Draw(strip), pad // 2
    for (text, size, colour), height in zip(lines, heights, strict=True):
        draw.text((pad, y), text, fill=colour, font=_font(size))
        y += height
    return strip


def _wrap(text: str, width: int, size_px: int) -> list[str]:
    """Break a text into lines that fit."""
    font, room = _font(size_px), width - size_px
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _font(size_px: int) -> Font:
    return ImageFont.load_default(size_px)
