"""Localisation of maps made by hand, on pictures with boxes."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import UnreadableImageError
from pneumoscope.core.types import Region
from pneumoscope.data.dataset import Dataset, FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.predictions import Predictions, make_predictions
from pneumoscope.detector.card import CalibrationCard
from pneumoscope.detector.regions import find_regions
from pneumoscope.metrics.localisation import mean_best_iou, pointing_game, rsna_score
from pneumoscope.report.results import Localisation
from pneumoscope.study.localisation import (
    boxes_of,
    has_boxes,
    mean_box,
    measure_localisation,
    measured_mean,
    spread,
)
from pneumoscope.training.maps import Maps

HEIGHT, WIDTH = 40, 80  # of every picture
BOX = {"x": 40, "y": 0, "width": 20, "height": 10}
MIDDLE = {"x": 30, "y": 15, "width": 20, "height": 10}
# Found and right; missed; called but the peak is elsewhere; two boxes; unmarked; two normals, one
# of them called; then two for training.
BOXES = [[BOX], [BOX], [BOX], [BOX, MIDDLE], [], [], [], [BOX], [{**BOX, "width": 40}]]
TARGET = [1, 1, 1, 1, 1, 0, 0, 1, 1]
LOGIT = [3.0, -1.0, 2.0, 4.0, 5.0, -2.0, 2.5]
PEAK = [(0, 2), (0, 2), (3, 0), (1, 1), (2, 2), (0, 0), (1, 3)]  # cell of a map of 4 x 4
TEST, TRAINING = np.arange(7), np.array([7, 8])


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> Dataset:
    root = tmp_path_factory.mktemp("marked")
    names = [f"{index}.png" for index in range(len(BOXES))]
    for name in names:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)).save(root / name)
    columns = {
        "path": names,
        "target": TARGET,
        "patient_id": names,
        "split": ["test"] * 7 + ["train"] * 2,
        "boxes": [json.dumps(boxes) if boxes else None for boxes in BOXES],
    }
    return FileDataset(make_manifest(columns, root=root, name="marked"))


@pytest.fixture(scope="module")
def maps() -> Maps:
    cam = np.random.default_rng(0).normal(0, 0.1, (7, 4, 4)).astype(np.float32)
    for index, (row, column) in enumerate(PEAK):
        cam[index, row, column] = 12
    return Maps(logit=np.array(LOGIT), cam=cam)


@pytest.fixture(scope="module")
def predictions(marked) -> Predictions:
    logit = np.array(LOGIT)
    rows = marked.manifest.table[TEST.tolist()]
    return make_predictions(rows, logit=logit, probability=1 / (1 + np.exp(-logit)))


@pytest.fixture(scope="module")
def found(marked, predictions, maps) -> Localisation:
    return measure_localisation(
        marked, TEST, predictions, maps, threshold=0.5, training_rows=TRAINING
    )


def regions_of(boxes) -> list[Region]:
    return [Region(**box) for box in boxes]


def test_the_detectors_figures_are_the_metrics_of_its_regions(found, maps) -> None:
    known = [0, 1, 2, 3, 5, 6]  # 4 is pneumonia that nobody marked
    boxes = [regions_of(BOXES[i]) for i in known]
    regions = [
        find_regions(
            maps.cam[i], logit=LOGIT[i], threshold_logit=0.0, height_px=HEIGHT, width_px=WIDTH
        )
        for i in known
    ]
    points = [((PEAK[i][1] + 0.5) * 20, (PEAK[i][0] + 0.5) * 10) for i in known]
    detector = found.rows[0]
    assert detector.name == "detector"
    assert detector.pointing_game.value == pytest.approx(pointing_game(points, boxes))
    assert detector.pointing_game.value == 3 / 4  # by eye: the third points elsewhere
    assert detector.mean_best_iou.value == pytest.approx(mean_best_iou(regions, boxes))
    assert detector.rsna_score.value == pytest.approx(rsna_score(regions, boxes))
    assert detector.mean_best_iou.value > 0
    assert [figure.n for figure in (detector.pointing_game, detector.mean_best_iou)] == [4, 4]
    assert detector.rsna_score.n == 5  # the normal one that is called counts, the other does not
    assert detector.pointing_game.low <= 3 / 4 <= detector.pointing_game.high
    assert (found.n, found.n_with_boxes, found.n_boxes, found.n_unmarked) == (6, 4, 5, 1)
    assert (found.map_height, found.map_width) == (4, 4)


def test_the_centre_shows_one_box_of_the_mean_size_where_the_detector_calls(found) -> None:
    assert found.mean_box == pytest.approx((30 / WIDTH, 10 / HEIGHT))  # of widths 20 and 40
    centre = found.rows[1]
    assert centre.name == "image centre"
    shown = [Region(x=25, y=15, width=30, height=10)]
    boxes = [regions_of(BOXES[i]) for i in (0, 1, 2, 3, 5, 6)]
    regions = [shown, [], shown, shown, [], shown]
    assert centre.pointing_game.value == 1 / 4  # the middle lies in MIDDLE alone
    assert centre.mean_best_iou.value == pytest.approx(mean_best_iou(regions, boxes))
    assert centre.mean_best_iou.value == pytest.approx((20 * 10) / (30 * 10) / 4)
    assert centre.rsna_score.value == pytest.approx(rsna_score(regions, boxes))


def test_the_random_point_hits_as_often_as_the_boxes_are_large(found) -> None:
    random = found.rows[2]
    assert random.name == "random"
    share = 200 / (HEIGHT * WIDTH)
    # Three images with one box, one with two: 400 draws, so two standard errors are 0.03.
    assert random.pointing_game.value == pytest.approx(5 / 4 * share, abs=0.03)
    assert 0 < random.mean_best_iou.value < found.rows[0].mean_best_iou.value
    assert random.rsna_score.n == 5


def test_the_random_way_is_the_same_every_time(found, marked, predictions, maps) -> None:
    again = measure_localisation(
        marked, TEST, predictions, maps, threshold=0.5, training_rows=TRAINING
    )
    assert again == found


def test_without_training_boxes_there_is_a_point_but_no_box(marked, predictions, maps) -> None:
    nothing = np.array([], dtype=np.int64)
    found = measure_localisation(
        marked, TEST, predictions, maps, threshold=0.5, training_rows=nothing
    )
    assert found.mean_box is None
    assert found.rows[1].pointing_game.value == 1 / 4
    assert found.rows[1].mean_best_iou.value == 0


@pytest.mark.parametrize(("threshold", "n_called"), [(0.0, 7), (1.0, 0)])
def test_a_threshold_at_the_end_calls_all_or_none(
    marked, predictions, maps, threshold, n_called
) -> None:
    found = measure_localisation(
        marked, TEST, predictions, maps, threshold=threshold, training_rows=TRAINING
    )
    # All called: both normals count, with 0. None called: neither does.
    assert found.rows[0].rsna_score.n == (6 if n_called else 4)
    assert (found.rows[0].mean_best_iou.value > 0) == bool(n_called)
    assert found.rows[0].pointing_game.value == 3 / 4  # asks for no call


def test_boxes_are_found_where_they_are(marked) -> None:
    assert has_boxes(marked, TEST)
    assert not has_boxes(marked, np.array([4, 5, 6]))
    assert boxes_of(None) == ()
    (only,) = boxes_of(json.dumps([BOX]))
    assert (only.x, only.y, only.width, only.height) == (40, 0, 20, 10)
    assert math.isnan(only.score)
    assert mean_box(marked, np.array([5, 6])) is None


def test_spread_takes_both_ends() -> None:
    rows = np.arange(10, 30)
    assert spread(rows, 3).tolist() == [10, 20, 29]
    assert spread(rows, 20).tolist() == rows.tolist()


def test_regions_are_those_at_the_calibrated_threshold(marked, predictions, maps) -> None:
    """A bundle's probability is no plain sigmoid; asked for by the point's logit it is the same."""
    rule = CalibrationCard(temperature=2.0, bias=-0.7, fitted_on="tuning", n=10)
    plain, calibrated = (
        measure_localisation(
            marked, TEST, predictions, maps, threshold=p, training_rows=TRAINING, calibration=c
        )
        for p, c in ((0.5, None), (1 / (1 + np.exp(0.7 / 2)), rule))
    )
    assert calibrated.rows == plain.rows
    other = measure_localisation(
        marked, TEST, predictions, maps, threshold=0.9, training_rows=TRAINING, calibration=rule
    )
    assert other.rows != plain.rows


def test_a_training_radiograph_that_cannot_be_read_gives_no_box(marked, monkeypatch) -> None:
    whole = type(marked).read

    def read(self, row):
        if row == TRAINING[0]:
            raise UnreadableImageError("damaged")
        return whole(self, row)

    before = mean_box(marked, TRAINING)
    monkeypatch.setattr(type(marked), "read", read)
    assert mean_box(marked, TRAINING) == mean_box(marked, TRAINING[1:]) != before


def test_a_share_that_no_resample_changes_has_no_interval() -> None:
    found = measured_mean(np.ones(30), np.arange(30).astype(str))
    assert found.value == 1.0
    assert np.isnan(found.low)
    assert "no interval" in found.method
