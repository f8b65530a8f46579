"""The pictures of a DCGAN's training: its samples as a grid, and its losses by epoch."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.optional import import_extra
from pneumoscope.report.evaluation_figures import (
    BLUE,
    GREEN,
    ORANGE,
    SOFT,
    figure_png,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP_PX = 2


def grid_png(pixels: NDArray[np.uint8], n_columns: int) -> bytes:
    """Return pictures side by side, row by row, as a gray PNG file.

    Args:
        pixels: (N, H, W).
        n_columns: Pictures in a row; a last row that is not full stays black.
    """
    count, height, width = pixels.shape
    n_rows = -(-count // n_columns)
    shape = (n_rows * (height + _GAP_PX) - _GAP_PX, n_columns * (width + _GAP_PX) - _GAP_PX)
    sheet = np.zeros(shape, dtype=np.uint8)
    for index, picture in enumerate(pixels):
        row, column = divmod(index, n_columns)
        top, left = row * (height + _GAP_PX), column * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = picture
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="png")
    return buffer.getvalue()


def gan_curves_png(history: Sequence[dict[str, float]], *, real_std: float) -> bytes:
    """Return losses, the discriminator's scores and the samples' spread by epoch, as a PNG file.

    Args:
        history: One row an epoch, as a DCGAN's ``history.csv`` has them.
        real_std: The radiographs' spread, drawn beside the samples'.

    Raises: MissingExtraError: matplotlib is not installed.
    """
    ticker = import_extra("matplotlib.ticker", extra="train", purpose="Drawing figures")
    figure = new_figure(12.6, 3.6)
    losses, scores, spreads = figure.subplots(1, 3)
    _draw(losses, history, {"discriminator_loss": (BLUE, "-", "discriminator")})
    _draw(losses, history, {"generator_loss": (ORANGE, "--", "generator")})
    losses.axhline(2 * np.log(2), color=SOFT, linestyle=":", label="discriminator that guesses")
    losses.set(ylabel="Loss (nats)")
    _draw(scores, history, {"real_score": (BLUE, "-", "radiographs")})
    _draw(scores, history, {"fake_score": (ORANGE, "--", "synthetic")})
    scores.set(ylabel="Discriminator's mean probability", ylim=(-0.015, 1.015))
    _draw(spreads, history, {"sample_std": (GREEN, "-", "synthetic")})
    spreads.axhline(real_std, color=SOFT, linestyle=":", label="radiographs")
    spreads.set(ylabel="Spread (gray values in [-1, 1])")
    spreads.set_ylim(bottom=0)
    for axes in (losses, scores, spreads):
        axes.set(xlabel="Epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6eaee", linewidth=0.7)
        axes.legend(frameon=False, fontsize=8)
    return figure_png(figure, dpi=110)


def _draw(
    axes: "Axes",
    history: Sequence[dict[str, float]],
    lines: dict[str, tuple[str, str, str]],
) -> None:
    """Draw columns of the history, each with its colour, line style and label."""
    epochs = [row["epoch"] for row in history]
    for column, (colour, style, label) in lines.items():
        axes.plot(epochs, [row[column] for row in history], style, color=colour, label=label)
