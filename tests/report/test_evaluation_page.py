import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.predictions import Predictions
from pneumoscope.metrics.operating_point import balanced_threshold
from pneumoscope.report.evaluation_figures import draw_figures
from pneumoscope.report.evaluation_page import (
    evaluation_page,
    figure_label,
    interval,
    make_galleries,
    moment,
    rule_paragraphs,
    signed,
)
from pneumoscope.report.html import figure_svg
from pneumoscope.report.results import FigureRecord, Measured

VOID = {"meta", "br", "img", "hr", "input", "link"}


class Checker(HTMLParser):
    """Notes references, and whether every element is closed by its own end tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.references += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.references += [value for name, value in attrs if name in ("src", "href", "data")]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def dataset(predictions, tmp_path_factory) -> Dataset:
    root: Path = tmp_path_factory.mktemp("pictures")
    (root / "test").mkdir()
    rng = np.random.default_rng(2)
    for path in predictions.path:
        Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(root / path)
    table = predictions.table
    # Another order than the predictions': pictures must be found by path.
    columns = {
        "path": table["path"].to_list()[::-1],
        "target": table["target"].to_list()[::-1],
        "patient_id": table["patient_id"].to_list()[::-1],
        "split": ["test"] * table.height,
    }
    return FileDataset(make_manifest(columns, root=root, name="toy"))


@pytest.fixture(scope="module")
def drawings(evaluation, predictions, history):
    figures = draw_figures(evaluation, predictions, history)
    return {
        name: figure_svg(figure, label=figure_label(name, evaluation))
        for name, figure in figures.items()
    }


@pytest.fixture(scope="module")
def render(evaluation, drawings, predictions, dataset):
    galleries = make_galleries(predictions, dataset, threshold=0.62)

    def page(**changes) -> str:
        return evaluation_page(
            evaluation.model_copy(update=changes), drawings=drawings, galleries=galleries
        )

    return page


def plain(page: str) -> str:
    """Return the page's words, with single spaces."""
    checker = Checker()
    checker.feed(page)
    return " ".join(" ".join(checker.text).split())


def test_page_parses_and_asks_the_network_for_nothing(render, drawings) -> None:
    page = render()
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.references
    for reference in checker.references:
        assert reference.startswith(("data:", "#")), reference
    assert not re.search(r"<(script|link|iframe)\b|@import|url\((?!['\"]?#)", page)
    for drawing in drawings.values():
        assert drawing in page
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_page_says_every_figure_and_fact(render, evaluation) -> None:
    text = plain(render())
    for figure in evaluation.scores.values():
        assert f"{figure.value:.3f} {figure.low:.3f} to {figure.high:.3f} {figure.n}" in text
    for point in evaluation.operating_points:
        assert f"{point.threshold:.3f}" in text
        for figure in point.figures.values():
            assert f"{figure.value:.3f} {figure.low:.3f} to {figure.high:.3f}" in text
    for fact in ("gray-150", "1,246,401", "210.5", "1 h 2 min", "cores 2", "its rate", "c" * 12,
                 "toy (90 real)", "A thesis <2021>", "2026-02-03 04:05 UTC"):  # fmt: skip
        assert fact in text
    assert "best accuracy 0.910 0.770 -0.140 accuracy at 0.5" in text
    assert "on 312 of the test images" in text
    assert "normal 0.500 (NPV) 0.600 (specificity) undefined 16" in text
    assert "This is the first reading of this test split by this run." in text
    assert "prevalence of pneumonia here is 0.600" in text
    assert "<2021>" not in render()  # escaped


def test_a_later_reading_is_told(render) -> None:
    text = plain(render(reading=3))
    # A name alone may have made it the third.
    assert "This is reading 3 of this test split, or of one of the same name, by this run" in text
    assert "earlier reading of these radiographs" in text
    assert "reading" not in plain(render(reading=None)).split("Results")[0]
    first = plain(render(counted_in="folder"))  # of a bundle whose run nobody knows
    assert "first reading of this test split that is recorded in this folder." in first
    assert "by this run" not in first.split("Results")[0]


def test_what_a_card_does_not_say_is_left_open(render, evaluation) -> None:
    point = evaluation.operating_points[0]
    stated = point.on_tuning | {
        "sensitivity": FigureRecord(
            value=0.71, low=0.6, high=0.8, n=None, method="as the card states"
        )
    }
    points = [point.model_copy(update={"on_tuning": stated}), *evaluation.operating_points[1:]]
    text = plain(render(operating_points=points))
    assert "on the tuning split 0.710 0.600 to 0.800 0.710" in text  # the next point's, no number


def test_phantoms_are_told_in_the_first_line(render, evaluation) -> None:
    data = evaluation.data.model_copy(update={"origin": "phantom"})
    page = render(data=data, notice="Synthetic phantoms, not radiographs: nothing more.")
    heading = re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert "synthetic phantoms, not radiographs" in heading
    main = page[page.index("<main>") + len("<main>") :]
    assert plain(main[: main.index("</p>") + 4]).startswith("Synthetic phantoms, not radiographs")
    assert "phantom" not in plain(render())


def test_undefined_figures_say_so(render, evaluation) -> None:
    undefined = Measured(value=math.nan, low=math.nan, high=math.nan, n=0, method="none")
    text = plain(render(scores=evaluation.scores | {"ece": undefined}))
    assert "Calibration error (ECE) undefined no interval 0" in text
    assert "nan" not in text.lower().split()
    assert interval(undefined) == "no interval"
    assert signed(math.nan) == "undefined"


def test_galleries_show_the_most_confident_errors_first(predictions, dataset) -> None:
    galleries = make_galleries(predictions, dataset, threshold=0.62)
    probability, target = predictions.probability, predictions.target
    is_called = probability >= 0.62
    expected = {
        "False positives": sorted(probability[~target & is_called], reverse=True),
        "False negatives": sorted(probability[target & ~is_called]),
    }
    for gallery, (title, values) in zip(galleries[:2], expected.items(), strict=True):
        assert gallery.title.startswith(title)
        assert gallery.n_all == len(values)
        assert [example.probability for example in gallery.examples] == pytest.approx(values[:12])
    members = (~target & is_called, target & ~is_called, target & is_called, ~target & ~is_called)
    truth = dict(zip(predictions.path, predictions.subtype, strict=True))
    for gallery, member in zip(galleries, members, strict=True):
        assert gallery.n_all == np.count_nonzero(member)
        paths = {path for path, inside in zip(predictions.path, member, strict=True) if inside}
        for example in gallery.examples:
            assert example.path in paths
            assert example.truth == (truth[example.path] or "normal")
    assert len(galleries[2].examples) == 6


def test_galleries_rank_by_logits_where_probabilities_round_to_one(predictions, dataset) -> None:
    logit = 110 + 20 * predictions.logit
    table = predictions.table.with_columns(logit=pl.Series(logit), probability=pl.lit(1.0))
    gallery = make_galleries(Predictions(table), dataset, threshold=0.62)[0]
    normal = sorted(zip(logit, predictions.path, strict=True), reverse=True)
    expected = [path for _, path in normal if not predictions.target[predictions.path.index(path)]]
    assert [example.path for example in gallery.examples] == expected[:12]


def test_a_picture_that_vanished_costs_the_picture_only(predictions, dataset, tmp_path) -> None:
    elsewhere = FileDataset(
        make_manifest(dataset.manifest.table.to_dict(as_series=False), root=tmp_path, name="gone")
    )
    galleries = make_galleries(predictions, elsewhere, threshold=0.62)
    assert all(gallery.examples == [] for gallery in galleries)
    assert galleries[0].n_all > 0


def test_long_galleries_are_cut_at_twelve(predictions, dataset) -> None:
    none_called = make_galleries(predictions, dataset, threshold=1.0)
    assert none_called[1].n_all == 24
    assert len(none_called[1].examples) == 12
    assert none_called[0].examples == []


def test_rules_are_those_of_the_code(render) -> None:
    paragraphs = rule_paragraphs(balanced_threshold)
    assert any(text.startswith("2. Each class's distribution") for text in paragraphs)
    assert not any("Args" in text for text in paragraphs)
    text = plain(render())
    for paragraph in paragraphs:
        assert " ".join(paragraph.split()) in text


def test_moments_are_shown_in_utc() -> None:
    assert moment("2026-02-03T04:05:06+02:00") == "2026-02-03 02:05 UTC"
    assert moment("yesterday") == "yesterday"


def test_predictions_of_the_fixture_have_errors_of_both_kinds(predictions: Predictions) -> None:
    is_wrong = (predictions.probability >= 0.62) != predictions.target
    assert 0 < np.count_nonzero(is_wrong & predictions.target) <= 12
    assert 0 < np.count_nonzero(is_wrong & ~predictions.target) <= 12
