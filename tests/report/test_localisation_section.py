import json
import math

import pytest

from pneumoscope.report.evaluation_page import evaluation_page
from pneumoscope.report.localisation_section import (
    localisation_sentence,
    sanity_sentence,
    where_it_looks,
)
from pneumoscope.report.results import (
    Localisation,
    LocalisationRow,
    MapSanity,
    Measured,
    load_evaluation,
)


def measured(value: float, *, n: int) -> Measured:
    return Measured(value=value, low=value - 0.01, high=value + 0.01, n=n, method="by hand")


def row(name: str, value: float) -> LocalisationRow:
    return LocalisationRow(
        name=name,
        pointing_game=measured(value, n=1204),
        mean_best_iou=measured(value + 0.1, n=1204),
        rsna_score=measured(value + 0.2, n=1300),
    )


LOCALISATION = Localisation(
    threshold=0.62,
    n=2000,
    n_with_boxes=1204,
    n_boxes=1507,
    n_unmarked=3,
    map_height=7,
    map_width=6,
    mean_box=(0.214, 0.327),
    rows=[row("detector", 0.5), row("image centre", 0.2), row("random", 0.1)],
)
SANITY = MapSanity(
    n=64,
    n_constant=2,
    n_networks=3,
    map_height=7,
    map_width=6,
    mean_abs_rho=measured(0.15, n=62),
    mean_rho=measured(-0.04, n=62),
    chance_abs_rho=0.1246,
    bar=0.2,
    is_met=True,
)


def page_of(evaluation) -> str:
    names = [f"confusion-{point.name}" for point in evaluation.operating_points]
    return evaluation_page(evaluation, drawings=dict.fromkeys(names, ""), galleries=[])


def test_the_page_shows_every_figure_with_its_interval(evaluation) -> None:
    page = page_of(
        evaluation.model_copy(update={"localisation": LOCALISATION, "map_sanity": SANITY})
    )
    part = page[page.index("Where it looks") : page.index("Beside the source")]
    for value in (0.5, 0.6, 0.7, 0.2, 0.3, 0.4, 0.1):
        assert f"{value:.3f}<br><small>{value - 0.01:.3f} to {value + 0.01:.3f}" in part
    for label in ("Detector&#39;s map", "Always the image&#39;s centre", "Anywhere"):
        assert label in part
    assert "Pointing game 1,204, Mean best IoU 1,204, RSNA score 1,300" in part
    assert "1,507 boxes on 1,204 images; the map has 7 x 6 positions" in part
    assert "21 % of the image wide and 33 % high" in part
    assert "3 images of pneumonia have no box" in part
    assert "the bar, at most 0.2, is met" in part


def test_the_page_of_an_evaluation_without_maps_has_no_such_part(evaluation) -> None:
    assert "Where it looks" not in page_of(evaluation)


def test_the_sanity_check_alone_has_no_table(evaluation) -> None:
    page = page_of(evaluation.model_copy(update={"map_sanity": SANITY}))
    assert "Where it looks" in page
    assert "Pointing game" not in page
    assert "mean |rho| of 0.150 (0.140 to 0.160) on 62 images" in page
    assert "On 2 more images a map was constant." in page


def test_a_bar_that_is_missed_is_said_so() -> None:
    missed = SANITY.model_copy(update={"mean_abs_rho": measured(0.31, n=62), "is_met": False})
    assert "the bar, at most 0.2, is NOT met" in sanity_sentence(missed)
    nothing = Measured(value=math.nan, low=math.nan, high=math.nan, n=0, method="none")
    untold = SANITY.model_copy(update={"mean_abs_rho": nothing, "mean_rho": nothing})
    assert "can't be told" in sanity_sentence(untold)
    assert "not met" in sanity_sentence(untold)


def test_without_training_boxes_the_baselines_show_none() -> None:
    sentence = localisation_sentence(LOCALISATION.model_copy(update={"mean_box": None}))
    assert "has no boxes" in sentence
    assert "%" not in sentence


def test_the_records_survive_the_file(evaluation, tmp_path) -> None:
    full = evaluation.model_copy(update={"localisation": LOCALISATION, "map_sanity": SANITY})
    full.write(tmp_path / "metrics.json")
    again = load_evaluation(tmp_path / "metrics.json")
    assert again.localisation == LOCALISATION
    assert again.map_sanity == SANITY


def test_a_file_from_before_these_parts_is_still_read(evaluation, tmp_path) -> None:
    path = tmp_path / "metrics.json"
    evaluation.model_copy().write(path)
    text = path.read_text()
    for name in ("localisation", "map_sanity"):
        assert f'"{name}": null' in text
    content = json.loads(text)
    del content["localisation"], content["map_sanity"]
    path.write_text(json.dumps(content))
    assert load_evaluation(path).localisation is None


def test_nothing_measured_says_nothing(evaluation) -> None:
    where = where_it_looks(evaluation)
    assert (where.sentence, where.sanity, where.rows) == ("", "", ())


@pytest.mark.parametrize("name", ["pointing_game", "mean_best_iou", "rsna_score"])
def test_columns_are_the_rows_own_figures(evaluation, name) -> None:
    where = where_it_looks(evaluation.model_copy(update={"localisation": LOCALISATION}))
    column = [key for _, key in where.columns].index(name)
    assert [figures[column] for _, figures in where.rows] == [
        getattr(row, name) for row in LOCALISATION.rows
    ]
