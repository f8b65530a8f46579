"""The figures of an evaluation of synthetic radiographs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.report.evaluation_figures import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    new_figure,
)
from pneumoscope.report.synthetic_results import (
    BLURRED,
    HELD_OUT,
    LEFT_OUT,
    MATCHED,
    PLANTED,
    SAME_PATIENT,
    SAMPLES,
    Pair,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND_LABELS = {
    SAMPLES: "Synthetic",
    LEFT_OUT: "Real, patient left out",
    HELD_OUT: "Real, held out from the DCGAN",
    BLURRED: "Real, patient left out, blurred",
    MATCHED: "Real, patient left out, as smooth as the samples",
    PLANTED: "Planted: training radiographs, blurred",
    SAME_PATIENT: "Real, another of the same patient is in",
}
_LOOKS: dict[str, tuple[str, Any]] = {
    SAMPLES: (ORANGE, "-"),
    LEFT_OUT: (BLUE, "--"),
    HELD_OUT: (GREEN, "-."),
    BLURRED: (SKY, (0, (5, 1, 1, 1, 1, 1))),
    MATCHED: (SKY, "-"),
    PLANTED: (INK, ":"),
    SAME_PATIENT: (PURPLE, (0, (1, 2))),
}
_ROWS = ("synthetic", "nearest real", "its neighbour")

_GAP_PX = 4

Triple = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def distance_figure(distances: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> "Figure":
    """Draw how many pictures of each kind have their nearest radiograph within each distance.

    Args:
        distances: Space -> kind -> (M,) distances.
    """
    figure = new_figure(10.4, 4.4)
    for index, (space, kinds) in enumerate(distances.items()):
        axes = figure.add_subplot(1, len(distances), index + 1)
        for kind, label in KIND_LABELS.items():
            if kind not in kinds:
                continue
            colour, style = _LOOKS[kind]
            values = np.sort(kinds[kind])
            share = np.arange(1, values.size + 1) / values.size
            axes.step(values, share, linestyle=style, where="post", color=colour, label=label)
        axes.set(
            xlabel=f"Distance to the nearest training radiograph, {space}",
            ylabel="Share within it",
            ylim=(0, 1.01),
            xlim=(0, None),
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6eaee", linewidth=0.7)
    # Both panels have the same kinds; inside, it would cover a curve wherever these lie.
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=4, loc="outside lower center")
    return figure


def pairs_figure(pairs: Sequence[Pair], triples: Sequence[Triple]) -> "Figure":
    """Draw the closest pairs: a column each, the sample on top, the radiograph, its neighbour.

    Args:
        pairs: Of both spaces.
        triples: The three pictures of each pair, (size, size).
    """
    spaces = list(dict.fromkeys(pair.space for pair in pairs))
    figure = new_figure(11.0, 3.3 * len(spaces))
    for block, space in enumerate(spaces):
        chosen = [index for index, pair in enumerate(pairs) if pair.space == space]
        axes = figure.add_subplot(len(spaces), 1, block + 1)
        # One picture for all: an axes for each of 72 would take seconds to lay out.
        axes.imshow(_mosaic([triples[index] for index in chosen]), cmap="gray", vmin=0, vmax=255)
        step = triples[chosen[0]][0].shape[0] + _GAP_PX
        axes.set_xticks(
            [step * (column + 0.5) for column in range(len(chosen))],
            [
                f"{pairs[index].distance:.3g} ({pairs[index].neighbour_distance:.3g})"
                for index in chosen
            ],
            fontsize=7,
        )
        axes.set_yticks([step * (row + 0.5) for row in range(len(_ROWS))], _ROWS, fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        where = "the embedding" if space == "embedding" else space
        title = f"In {where}: distance to the nearest real one (from there to its neighbour)"
        axes.set_title(title, fontsize=9, loc="left")
    return figure


def _mosaic(triples: Sequence[Triple]) -> NDArray[np.uint8]:
    """Return the triples as columns of one picture, white between them."""
    columns = []
    for triple in triples:
        padded = [np.pad(each, (0, _GAP_PX), constant_values=255) for each in triple]
        columns.append(np.concatenate(padded))
    return np.concatenate(columns, axis=1)
