"""The report's part on where the detector looks: what its tables and sentences say."""

from dataclasses import dataclass

from pneumoscope.report.evaluation_figures import show
from pneumoscope.report.results import (
    Evaluation,
    Localisation,
    LocalisationRow,
    MapSanity,
    Measured,
)

ROW_LABELS = {
    "detector": "Detector's map",
    "image centre": "Always the image's centre",
    "random": "Anywhere (mean of 100 draws)",
}
COLUMNS = (
    ("Pointing game", "pointing_game"),
    ("Mean best IoU", "mean_best_iou"),
    ("RSNA score", "rsna_score"),
)


@dataclass(frozen=True)
class WhereItLooks:
    """What ``localisation.html.j2`` is given; empty where nothing was measured."""

    columns: tuple[tuple[str, str], ...] = COLUMNS
    sentence: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    rows: tuple[tuple[str, list[Measured]], ...] = ()
    sanity: str = ""


def where_it_looks(evaluation: Evaluation) -> WhereItLooks:
    """Return what the report says of an evaluation's maps."""
    localisation, sanity = evaluation.localisation, evaluation.map_sanity
    sanity_text = sanity_sentence(sanity) if sanity else ""
    if localisation is None:
        return WhereItLooks(sanity=sanity_text)
    return WhereItLooks(
        sentence=localisation_sentence(localisation),
        counts=tuple(
            (label, figure.n)
            for (label, _), figure in zip(COLUMNS, _figures(localisation.rows[0]), strict=True)
        ),
        rows=tuple((ROW_LABELS[row.name], _figures(row)) for row in localisation.rows),
        sanity=sanity_text,
    )


def localisation_sentence(localisation: Localisation) -> str:
    """Say what was compared with what."""
    cells = f"{localisation.map_height} x {localisation.map_width}"
    sentence = (
        f"{localisation.n_boxes:,} boxes on {localisation.n_with_boxes:,} images; the map has "
        f"{cells} positions. Regions are shown at the balanced operating point, "
        f"{show(localisation.threshold)}; one that is not called pneumonia has none."
    )
    if localisation.mean_box is not None:
        width, height = localisation.mean_box
        sentence += (
            " The two ways below the detector do not look at the picture: each shows one box on "
            f"the images that the detector calls pneumonia, {100 * width:.0f} % of the image wide "
            f"and {100 * height:.0f} % high, as the training split's boxes are on average."
        )
    else:
        sentence += (
            " The training split has no boxes, so the two ways below the detector point, but show "
            "no box."
        )
    if localisation.n_unmarked:
        sentence += (
            f" {localisation.n_unmarked:,} images of pneumonia have no box and are left out."
        )
    return sentence


def sanity_sentence(sanity: MapSanity) -> str:
    """Say how far the maps depend on the weights, and whether the bar is met."""
    rho = sanity.mean_abs_rho
    if rho.n == 0:
        return (
            "Whether the map depends on the weights can't be told: on every image it was constant, "
            f"the trained network's or a random one's. The bar, {sanity.bar}, is not met."
        )
    verdict = "is met" if sanity.is_met else "is NOT met"
    sentence = (
        f"With random weights in place of the trained ones ({sanity.n_networks} networks), the "
        f"maps' rank correlation with the trained network's has a mean |rho| of {show(rho.value)} "
        f"({rho.low:.3f} to {rho.high:.3f}) on {rho.n:,} images: the bar, at most {sanity.bar}, "
        f"{verdict}. With its sign, the mean is {sanity.mean_rho.value:+.3f} "
        f"({sanity.mean_rho.low:+.3f} to {sanity.mean_rho.high:+.3f}). Chance alone gives a mean "
        f"|rho| of about {sanity.chance_abs_rho:.2f} to two maps of {sanity.map_height} x "
        f"{sanity.map_width} positions, and more where neighbours are alike, as they are in maps."
    )
    if sanity.n_constant:
        sentence += f" On {sanity.n_constant:,} more images a map was constant."
    return sentence


def _figures(row: LocalisationRow) -> list[Measured]:
    return [getattr(row, name) for _, name in COLUMNS]
