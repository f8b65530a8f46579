"""The report of one evaluation of synthetic radiographs: HTML, JSON and two figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.files import write_bytes, write_text
from pneumoscope.core.types import CLASS_NAMES
from pneumoscope.report.evaluation_figures import figure_png, show
from pneumoscope.report.evaluation_page import moment
from pneumoscope.report.html import figure_svg, picture_uri, render
from pneumoscope.report.results import FIGURES_FOLDER, Measured
from pneumoscope.report.synthetic_figures import (
    KIND_LABELS,
    Triple,
    distance_figure,
    pairs_figure,
)
from pneumoscope.report.synthetic_results import (
    BLURRED,
    HELD_OUT,
    LEFT_OUT,
    MATCHED,
    OTHER_HALF,
    PAIRS_FIGURE,
    PLANTED,
    SAMPLES,
    SYNTHETIC_FILE,
    SYNTHETIC_PAGE,
    Copies,
    CopyRow,
    EqualSizes,
    Pair,
    Spread,
    SyntheticEvaluation,
)

_N_SHOWN = 16
_DIGITS = {"frechet_distance": 2, "kernel_distance": 4}
_COLUMN_LABELS = {
    SAMPLES: "Synthetic",
    OTHER_HALF: "Other real ones of the training split (floor)",
    HELD_OUT: "Real, held out from the DCGAN",
}


@dataclass(frozen=True)
class Pictures:
    """What the page shows."""

    samples: NDArray[np.uint8]  # (M, size, size)
    real: Mapping[str, NDArray[np.uint8]]  # path -> (size, size)


@dataclass(frozen=True)
class ShownPair:
    """One pair as the page shows it."""

    pair: Pair
    uris: list[str]  # sample, radiograph, its neighbour


def write_synthetic(
    evaluation: SyntheticEvaluation,
    out: Path,
    *,
    pictures: Pictures,
    distances: Mapping[str, Mapping[str, NDArray[np.float64]]],
) -> None:
    """Write ``synthetic.{json,html}`` and ``figures/synthetic-closest-pairs.png``.

    Args:
        evaluation: What was found.
        out: The run folder.
        pictures: All samples, and every real radiograph by its path.
        distances: Space -> kind -> (M,) distances to the nearest training radiograph.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        StorageError: a file can't be written.
    """
    triples = [_triple(pair, pictures) for pair in evaluation.pairs]
    figure = pairs_figure(evaluation.pairs, triples)
    write_bytes(out / FIGURES_FOLDER / f"{PAIRS_FIGURE}.png", figure_png(figure))
    page = synthetic_page(evaluation, pictures=pictures, distances=distances)
    write_text(out / SYNTHETIC_PAGE, page)
    evaluation.write(out / SYNTHETIC_FILE)


def synthetic_page(
    evaluation: SyntheticEvaluation,
    *,
    pictures: Pictures,
    distances: Mapping[str, Mapping[str, NDArray[np.float64]]],
) -> str:
    """Return the report as HTML; arguments as of `write_synthetic`."""
    shown = [
        ShownPair(pair, [picture_uri(pixels) for pixels in _triple(pair, pictures)])
        for pair in evaluation.pairs
    ]
    svg = figure_svg(
        distance_figure(distances),
        label="Share of pictures whose nearest training radiograph lies within each distance",
    )
    real = list(pictures.real.values())
    return render(
        "synthetic.html.j2",
        evaluation=evaluation,
        title=page_title(evaluation),
        lead=lead_lines(evaluation),
        names=figure_names(evaluation),
        class_name=CLASS_NAMES[evaluation.gan.target],
        galleries=[
            ("Synthetic", [picture_uri(pixels) for pixels in pictures.samples[:_N_SHOWN]]),
            ("Real, at the same size", [picture_uri(real[i]) for i in _spread(len(real))]),
        ],
        tables=[each for each in (evaluation.halves, evaluation.small) if each is not None],
        column_labels=_COLUMN_LABELS,
        kind_labels=KIND_LABELS,
        left_out=LEFT_OUT,
        distance_figure=svg,
        pairs=shown,
        spread_text=spread_text,
        measured_text=measured_text,
        percent=percent,
        show=show,
        signed_percent=signed_percent,
        moment=moment,
    )


def page_title(evaluation: SyntheticEvaluation) -> str:
    """Return what was evaluated."""
    gan = evaluation.gan
    what = {"phantom": "phantoms"}.get(evaluation.real.origin, "radiographs")
    return f"{gan.recipe}, seed {gan.seed}: synthetic {CLASS_NAMES[gan.target]} {what}"


def figure_names(evaluation: SyntheticEvaluation) -> dict[str, str]:
    """Return what each figure is called: a distance by the embedding that it is in."""
    bundle = evaluation.bundle.name
    return {
        "frechet_distance": f"Fréchet distance in {bundle}'s embedding",
        "kernel_distance": f"Kernel distance in {bundle}'s embedding",
        "precision": "Precision",
        "recall": "Recall",
        "density": "Density",
        "coverage": "Coverage",
    }


def lead_lines(evaluation: SyntheticEvaluation) -> list[str]:
    """Return the answer in a few lines: distance with its floor, then copies in each space."""
    halves = evaluation.halves
    name = figure_names(evaluation)["frechet_distance"]
    return [
        f"{name}, {halves.n:,} pictures against {halves.n:,}: "
        f"{spread_text(halves, SAMPLES, 'frechet_distance')} for synthetic ones, "
        f"{spread_text(halves, OTHER_HALF, 'frechet_distance')} between two halves of real ones.",
        *(copy_line(copies) for copies in evaluation.copies),
    ]


def copy_line(copies: Copies) -> str:
    """Return what the memorisation check found in one space."""
    samples, left_out = copies.row(SAMPLES), copies.row(LEFT_OUT)
    if samples is None or left_out is None or samples.excess is None:
        raise ValueError(f"{copies.space}: has no row of samples or of patients left out.")
    where = "the embedding" if copies.space == "embedding" else copies.space
    line = (
        f"In {where}, {measured_text(samples.closer)} of the synthetic ones lie closer to "
        f"a training radiograph than any other patient's does; of real patients left out, "
        f"{measured_text(left_out.closer)}."
    )
    planted, blurred, matched = (copies.row(kind) for kind in (PLANTED, BLURRED, MATCHED))
    if planted is not None and blurred is not None:
        more = (
            ""
            if matched is None
            else f", blurred to the samples' detail {percent(matched.closer.value)},"
        )
        line += (
            f" Blurred a little, {percent(blurred.closer.value)}{more} of these; of copies planted "
            f"on purpose, {percent(planted.closer.value)}."
        )
    return f"{line} {_verdict(samples, matched, planted)}"


def _verdict(samples: CopyRow, matched: CopyRow | None, planted: CopyRow | None) -> str:
    """Say what the samples' row means: all of them taken together, then the nearest few.

    Args:
        samples: Of the samples.
        matched: Of real newcomers as smooth as the samples; None where these are as sharp as
            radiographs, so that no blur can explain how near they lie.
        planted: Of the copies planted.
    """
    exceeds_newcomers = [
        figure is not None and figure.low > expected
        for figure, expected in (
            (samples.excess, 0.0),
            (samples.below_5th, 0.05),
            (samples.below_1st, 0.01),
        )
    ]
    if not any(exceeds_newcomers):
        if planted is not None and planted.excess is not None and planted.excess.low <= 0:
            return (
                "No more than real newcomers do; but planted copies are not found here either, so "
                "only an exact copy would be."
            )
        return "That is no more than real newcomers do: no sign of copies."
    if matched is not None and not _exceeds(samples, matched):
        return (
            "More than real newcomers do, but no more than ones blurred to the samples' detail: "
            "blur may explain it. Look at the pairs."
        )
    if exceeds_newcomers[0]:
        return "More than real newcomers do: look at the pairs."
    return "Together no more than real newcomers do, but too many lie very near: look at the pairs."


def _exceeds(samples: CopyRow, other: CopyRow) -> bool:
    """Tell whether any of the samples' shares lies above the other's, intervals apart."""
    return any(
        mine is not None and theirs is not None and mine.low > theirs.high
        for mine, theirs in (
            (samples.closer, other.closer),
            (samples.below_5th, other.below_5th),
            (samples.below_1st, other.below_1st),
        )
    )


def spread_text(sizes: EqualSizes, column: str, figure: str) -> str:
    """Return a figure of repeated draws as text, with the range over the draws."""
    spread: Spread = sizes.columns[column][figure]
    digits = _DIGITS.get(figure, 3)
    low, high = show(spread.low, digits=digits), show(spread.high, digits=digits)
    return f"{show(spread.mean, digits=digits)} ({low} to {high})"


def measured_text(figure: Measured, *, name: str = "") -> str:
    """Return a share in percent with its interval; a named distance in its own unit."""
    if not name:
        return f"{percent(figure.value)} ({percent(figure.low)} to {percent(figure.high)})"
    digits = _DIGITS.get(name, 3)
    text = show(figure.value, digits=digits)
    if np.isnan(figure.low):
        return f"{text} (no interval)"
    return f"{text} ({show(figure.low, digits=digits)} to {show(figure.high, digits=digits)})"


def percent(share: float) -> str:
    """Return a share as text, in percent."""
    return "undefined" if np.isnan(share) else f"{100 * share:.1f} %"


def signed_percent(figure: Measured) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    if np.isnan(figure.value):
        return "undefined"
    ends = f"{100 * figure.low:+.1f} to {100 * figure.high:+.1f}"
    return f"{100 * figure.value:+.1f} ({ends})"


def _triple(pair: Pair, pictures: Pictures) -> Triple:
    real = pictures.real
    return pictures.samples[pair.sample_index], real[pair.path], real[pair.neighbour_path]


def _spread(n: int) -> NDArray[np.int64]:
    """Return at most 16 of n row numbers, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, _N_SHOWN)).astype(np.int64))
