"""Does the map lie where the findings are? Measured where a manifest has boxes.

Beside the detector stand two that have not looked at the picture: one that always points to the
middle, and one that points anywhere. They show boxes for the same radiographs that the detector
calls pneumonia, one each, of the training boxes' mean size, so that the difference is in the
where alone.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pneumoscope.core.errors import RadiographError
from pneumoscope.core.types import Region
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import Predictions
from pneumoscope.detector.card import CalibrationCard
from pneumoscope.detector.logit_scale import to_logit
from pneumoscope.detector.regions import find_regions
from pneumoscope.metrics.localisation import (
    Point,
    best_iou,
    is_hit,
    peak_point,
    rsna_image_score,
)
from pneumoscope.metrics.measure import bootstrap_estimate
from pneumoscope.report.results import Localisation, LocalisationRow, Measured
from pneumoscope.training.maps import Maps

N_DRAWS = 100  # of the random point and box, a radiograph
_MAX_MEASURED_BOXES = 256  # training radiographs that the mean box is worked out from
_SEED = 0


@dataclass(frozen=True)
class _Case:
    """One radiograph whose boxes are known, in the pixels of its own file."""

    boxes: tuple[Region, ...]  # empty on a normal radiograph
    regions: tuple[Region, ...]  # what the detector shows
    peak: Point
    height_px: int
    width_px: int


@dataclass(frozen=True)
class _Scores:
    """One way's score on each of N cases; NaN where it does not count."""

    hit: list[float]
    best_iou: list[float]
    rsna: list[float]


Answer = tuple[Point, tuple[Region, ...]]  # where it points, and what boxes it shows


def has_boxes(dataset: Dataset, rows: NDArray[np.int64]) -> bool:
    """Return True where any of the rows has a box."""
    return any(boxes_of(text) for text in dataset.manifest.table["boxes"][rows.tolist()])


def boxes_of(text: str | None) -> tuple[Region, ...]:
    """Return the boxes of a manifest's cell, which is JSON or null."""
    return tuple(
        Region(x=box["x"], y=box["y"], width=box["width"], height=box["height"])
        for box in (json.loads(text) if text else [])
    )


def measure_localisation(
    dataset: Dataset,
    rows: NDArray[np.int64],
    predictions: Predictions,
    maps: Maps,
    *,
    threshold: float,
    training_rows: NDArray[np.int64],
    calibration: CalibrationCard | None = None,
) -> Localisation:
    """Return pointing game, mean best IoU and RSNA score, beside the two that do not look.

    A radiograph of pneumonia without boxes is left out: nobody marked it.

    Args:
        dataset: Whose manifest has boxes for some of the rows.
        rows: (N,) of the manifest.
        predictions: On those rows, in their order.
        maps: Of those rows, in their order.
        threshold: The operating point: regions are shown at or above this probability.
        training_rows: Of the manifest; their boxes give the size of the baselines' box.
        calibration: Of the probabilities; None where they are the logits' plain sigmoid.

    Raises: RadiographError: a radiograph can't be read any more.
    """
    threshold_logit = to_logit(threshold, calibration)
    texts = dataset.manifest.table["boxes"][rows.tolist()].to_list()
    boxes = [boxes_of(text) for text in texts]
    is_known = np.array([bool(truth) for truth in boxes]) | ~predictions.target
    cases = [
        _case(
            dataset,
            int(rows[i]),
            boxes[i],
            maps.cam[i],
            float(predictions.logit[i]),
            threshold_logit,
        )
        for i in np.flatnonzero(is_known)
    ]
    patient_id = predictions.patient_id[is_known]
    box = mean_box(dataset, training_rows)
    rng = np.random.default_rng(_SEED)
    ways = {
        "detector": _scores(cases, lambda case: (case.peak, case.regions)),
        "image centre": _scores(cases, lambda case: _centre(case, box)),
        "random": _mean_scores(
            [_scores(cases, lambda case: _random(case, box, rng)) for _ in range(N_DRAWS)]
        ),
    }
    return Localisation(
        threshold=threshold,
        n=len(cases),
        n_with_boxes=sum(bool(case.boxes) for case in cases),
        n_boxes=sum(len(case.boxes) for case in cases),
        n_unmarked=int(np.count_nonzero(~is_known)),
        map_height=int(maps.cam.shape[1]),
        map_width=int(maps.cam.shape[2]),
        mean_box=box,
        rows=[
            LocalisationRow(
                name=name,
                pointing_game=measured_mean(scores.hit, patient_id),
                mean_best_iou=measured_mean(scores.best_iou, patient_id),
                rsna_score=measured_mean(scores.rsna, patient_id),
            )
            for name, scores in ways.items()
        ],
    )


def mean_box(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[float, float] | None:
    """Return the mean width and height of boxes, as shares of their pictures'; None without any.

    Of more than 256 radiographs with boxes, 256 are taken, evenly spread: their files are read.
    One that can't be read counts for nothing, as in training.
    """
    texts = dataset.manifest.table["boxes"][rows.tolist()].to_list()
    marked = [row for row, text in zip(rows.tolist(), texts, strict=True) if boxes_of(text)]
    shares = []
    for row in spread(np.array(marked, dtype=np.int64), _MAX_MEASURED_BOXES):
        try:
            picture = dataset.read(int(row))
        except RadiographError:
            continue
        for box in boxes_of(dataset.manifest.table["boxes"][int(row)]):
            shares.append((box.width / picture.width_px, box.height / picture.height_px))
    if not shares:
        return None
    width, height = np.mean(shares, axis=0)
    return float(width), float(height)


def spread(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return at most n of the rows, evenly spread over them."""
    if rows.size <= n:
        return rows
    return rows[np.linspace(0, rows.size - 1, n).round().astype(np.int64)]


def measured_mean(values: ArrayLike, patient_id: NDArray[np.str_]) -> Measured:
    """Return the mean of the values that are numbers, with its interval.

    Args:
        values: (N,), NaN where a radiograph does not count.
        patient_id: (N,).
    """
    array = np.asarray(values, dtype=np.float64)
    counts = ~np.isnan(array)
    if not counts.any():
        return Measured(value=math.nan, low=math.nan, high=math.nan, n=0, method="none")
    kept = array[counts]
    return Measured.of(bootstrap_estimate(float(kept.mean()), np.mean, patient_id[counts], kept))


def _case(
    dataset: Dataset,
    row: int,
    boxes: tuple[Region, ...],
    cam: NDArray[np.float32],
    logit: float,
    threshold_logit: float,
) -> _Case:
    height_px, width_px = cam.shape
    if boxes:  # any region on a picture without boxes is wrong, so its size does not matter
        picture = dataset.read(row)
        height_px, width_px = picture.height_px, picture.width_px
    size = {"height_px": height_px, "width_px": width_px}
    regions = find_regions(cam, logit=logit, threshold_logit=threshold_logit, **size)
    return _Case(boxes=boxes, regions=regions, peak=peak_point(cam, **size), **size)


def _centre(case: _Case, box: tuple[float, float] | None) -> Answer:
    return _answer(case, box, across=0.5, down=0.5)


def _random(case: _Case, box: tuple[float, float] | None, rng: np.random.Generator) -> Answer:
    across, down = rng.random(2)
    return _answer(case, box, across=across, down=down)


def _answer(case: _Case, box: tuple[float, float] | None, *, across: float, down: float) -> Answer:
    """Return a point, and where the detector calls pneumonia a box that lies in the picture."""
    point = (across * case.width_px, down * case.height_px)
    if box is None or not case.regions:
        return point, ()
    width, height = box[0] * case.width_px, box[1] * case.height_px
    x, y = across * (case.width_px - width), down * (case.height_px - height)
    return point, (Region(x=x, y=y, width=width, height=height),)


def _scores(cases: Sequence[_Case], answer: Callable[[_Case], Answer]) -> _Scores:
    scores = _Scores([], [], [])
    for case in cases:
        point, regions = answer(case)
        scores.hit.append(float(is_hit(point, case.boxes)) if case.boxes else math.nan)
        scores.best_iou.append(best_iou(regions, case.boxes))
        scores.rsna.append(rsna_image_score(regions, case.boxes))
    return scores


def _mean_scores(draws: Sequence[_Scores]) -> _Scores:
    """Return each case's mean over the draws. What counts is the same in every draw."""
    return _Scores(
        hit=np.mean([draw.hit for draw in draws], axis=0).tolist(),
        best_iou=np.mean([draw.best_iou for draw in draws], axis=0).tolist(),
        rsna=np.mean([draw.rsna for draw in draws], axis=0).tolist(),
    )
