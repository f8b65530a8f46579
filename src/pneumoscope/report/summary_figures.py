"""The two pictures that open every work on a dataset: class counts by split, and samples."""

import io
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import RadiographError
from pneumoscope.core.files import write_bytes
from pneumoscope.core.optional import import_extra
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PURPOSE = "Drawing figures"
_TITLES = {0: "Normal", 1: "Pneumonia", None: "Unknown"}
_COLOURS = {0: "#4c8c6b", 1: "#c0564a", None: "#9aa4ae"}  # told apart in gray print too
_N_COLUMNS = 6
_DPI = 150
_ORIGIN_WORDS = {
    "phantom": "synthetic phantoms",
    "generated": "generated images",
}


def write_summary_figures(
    summary: Summary, dataset: Dataset, folder: Path, *, seed: int = 0
) -> tuple[Path, ...]:
    """Write ``class-counts.png`` and ``samples.png`` into a folder and return their paths.

    Args:
        summary: Of this dataset.
        dataset: The samples are read from it.
        folder: Made where it is missing.
        seed: Chooses the samples: the same seed, the same radiographs.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: a file could not be written.
    """
    figures = {
        "class-counts.png": draw_class_counts(summary),
        "samples.png": draw_samples(dataset, seed=seed),
    }
    for name, figure in figures.items():
        buffer = io.BytesIO()
        # Without the Software entry, so that the bytes do not depend on matplotlib's version.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        write_bytes(folder / name, buffer.getvalue())
    return tuple(folder / name for name in figures)


def draw_class_counts(summary: Summary) -> "Figure":
    """Draw a bar for each target in each split, with its count above.

    Raises: MissingExtraError: matplotlib is not installed.
    """
    figure = _new_figure(7.0, 4.2)
    axes = figure.subplots()
    counts: dict[int | None, list[int]] = {
        0: [split.n_normal for split in summary.splits],
        1: [split.n_pneumonia for split in summary.splits],
    }
    if summary.n_unknown:
        counts[None] = [split.n_unknown for split in summary.splits]
    width = 0.8 / len(counts)
    place = np.arange(len(summary.splits))
    for index, (target, heights) in enumerate(counts.items()):
        offset = (index - (len(counts) - 1) / 2) * width
        bars = axes.bar(
            place + offset, heights, width * 0.94, label=_TITLES[target], color=_COLOURS[target]
        )
        axes.bar_label(bars, labels=[f"{height:,}" for height in heights], padding=2, fontsize=9)
    axes.set_xticks(place, [_split_label(split.split, split.n_images) for split in summary.splits])
    axes.set_ylabel("Images")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    # Outside the axes: no bar can run into it.
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(
        _title(f"{summary.name}: images by split and class", summary.n_by_origin),
        loc="left",
        parse_math=False,  # a name may hold dollars
    )
    return figure


def draw_samples(dataset: Dataset, *, n_per_class: int = 6, seed: int = 0) -> "Figure":
    """Draw a grid of radiographs chosen at random, each titled with its class.

    They come from the split with the most images. Unreadable ones are passed over.

    Args:
        dataset: A class that it lacks is left out of the figure.
        n_per_class: Radiographs of each class, at most.
        seed: The same seed chooses the same radiographs.

    Raises: MissingExtraError: matplotlib is not installed.
    """
    table = dataset.manifest.table
    split = table["split"].value_counts().sort("count", "split", descending=[True, False])
    is_in_split = (table["split"] == split["split"][0]).to_numpy()
    targets = table["target"].to_list()
    samples: list[tuple[int, NDArray[np.uint8]]] = []
    for target in (0, 1):
        is_of_class = np.fromiter((value == target for value in targets), bool, len(targets))
        rows = np.flatnonzero(is_in_split & is_of_class)
        samples += _read_some(dataset, rows, n=n_per_class, seed=seed + target)
    n_rows = max(1, -(-len(samples) // _N_COLUMNS))
    figure = _new_figure(1.75 * _N_COLUMNS, 1.95 * n_rows + 0.5)
    grid = figure.subplots(n_rows, _N_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (row, pixels) in zip(grid.flat, samples, strict=False):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(_tile_title(dataset, row), fontsize=9, parse_math=False)
    origins = table["origin"].cast(str).unique().to_list()
    note = "" if samples else " (none could be read)"
    title = _title(f"{dataset.name}: samples of {split['split'][0]}{note}", origins)
    figure.suptitle(title, parse_math=False)
    return figure


def describe_origin(origins: Collection[str]) -> str:
    """Return the words that must stand first where images are not radiographs; "" if all are."""
    found = [words for origin, words in _ORIGIN_WORDS.items() if origin in set(origins)]
    if not found:
        return ""
    if len(set(origins)) == 1:
        return f"{found[0]}, not radiographs".capitalize()
    rest = " and radiographs" if "real" in set(origins) else ", no radiographs"
    return f"Mixed {' and '.join(found)}{rest}"


def _new_figure(width_in: float, height_in: float) -> "Figure":
    """Return a figure that pyplot does not know, so that no window or global state is touched."""
    module = import_extra("matplotlib.figure", extra="train", purpose=_PURPOSE)
    figure: Figure = module.Figure(figsize=(width_in, height_in), layout="constrained")
    return figure


def _read_some(
    dataset: Dataset, rows: NDArray[np.int64], *, n: int, seed: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield up to n readable images in random order."""
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        if n == 0:
            return
        try:
            pixels = dataset.read(row).pixels
        except RadiographError:
            continue
        n -= 1
        yield row, pixels


def _tile_title(dataset: Dataset, row: int) -> str:
    target, subtype = dataset.manifest.table.select("target", "subtype").row(row)
    return f"{_TITLES[target]} ({subtype})" if subtype else _TITLES[target]


def _split_label(split: str, n_images: int) -> str:
    return f"{split}\n{n_images:,} image{'s' if n_images != 1 else ''}"


def _title(text: str, origins: Collection[str]) -> str:
    origin = describe_origin(origins)
    lines = textwrap.wrap(text, 64, break_on_hyphens=False)
    return "\n".join([origin, *lines] if origin else lines)
