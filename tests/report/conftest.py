"""An evaluation made by hand: what the pages and figures of this folder are given."""

import math

import numpy as np
import polars as pl
import pytest

from pneumoscope.data.predictions import Predictions, make_predictions
from pneumoscope.metrics.confusion import ConfusionMatrix
from pneumoscope.report.results import (
    POINT_FIGURE_NAMES,
    SCORE_NAMES,
    ClassificationReport,
    ClassRow,
    Confusion,
    DataRecord,
    Evaluation,
    Measured,
    PointResult,
    Reported,
    ReportedFigure,
    RunRecord,
    SubgroupResult,
)

THRESHOLDS = {"balanced": 0.62, "sensitive": 0.31, "0.5": 0.5}


def measured(value: float, *, n: int = 40) -> Measured:
    return Measured(value=value, low=value - 0.1, high=value + 0.1, n=n, method="by hand")


@pytest.fixture(scope="session")
def predictions() -> Predictions:
    """40 answers, 16 of them on normal radiographs."""
    rng = np.random.default_rng(1)
    target = np.arange(40) % 5 >= 2
    logit = np.where(target, 1.2, -1.2) + rng.normal(0, 1.3, 40)
    rows = pl.DataFrame(
        {
            "path": [f"test/{i:02d}.png" for i in range(40)],
            "patient_id": [f"test/p{i}" for i in range(40)],
            "target": pl.Series(target.astype(int), dtype=pl.Int8),
            "subtype": [("viral" if i % 2 else "bacterial") if t else None
                        for i, t in enumerate(target)],
        }
    )  # fmt: skip
    return make_predictions(rows, logit=logit, probability=1 / (1 + np.exp(-logit)))


def point(name: str, threshold: float, predictions: Predictions) -> PointResult:
    matrix = ConfusionMatrix.from_calls(predictions.target, predictions.probability >= threshold)
    return PointResult(
        name=name,
        threshold=threshold,
        rule=f"rule of {name}",
        on_tuning={"sensitivity": measured(0.71), "specificity": measured(0.72)},
        confusion=Confusion.of(matrix),
        figures={key: measured(getattr(matrix, key)) for key in POINT_FIGURE_NAMES},
    )


@pytest.fixture(scope="session")
def evaluation(predictions: Predictions) -> Evaluation:
    rows = [
        ClassRow(name=name, precision=0.5, recall=0.6, f1=math.nan, support=n)
        for name, n in (("normal", 16), ("pneumonia", 24), ("macro average", 40), ("weighted", 40))
    ]
    return Evaluation(
        notice=None,
        caveats=["Probabilities are not recalibrated."],
        evaluated="2026-02-03T04:05:06+00:00",
        package_version="0.0",
        reading=1,
        data=DataRecord(
            name="toy",
            split="test",
            origin="real",
            fingerprint="f" * 64,
            n=40,
            n_pneumonia=24,
            n_normal=16,
            n_patients=40,
            prevalence=0.6,
        ),
        run=RunRecord(
            folder="run",
            recipe="gray-150",
            recipe_sha256="a" * 64,
            title="A network",
            source_title="A thesis <2021>",
            unsaid=["its rate"],
            seed=3,
            checkpoint="best.ckpt",
            checkpoint_sha256="c" * 64,
            best_epoch=2,
            epochs_run=3,
            selected_checkpoint="best",
            n_parameters=1246401,
            images_per_s=210.5,
            seconds=3725.0,
            machine={"cores": 2},
            versions={"python": "3.11"},
            trained_on="toy",
            trained_on_origins={"real": 90},
        ),
        scores={name: measured(value) for name, value in zip(SCORE_NAMES, (0.91, 0.92, 0.13, 0.14),
                                                            strict=True)},
        log_loss=0.4,
        operating_points=[point(*item, predictions) for item in THRESHOLDS.items()],
        subgroups=[
            SubgroupResult(
                name="viral",
                n=12,
                sensitivity={name: measured(0.66) for name in THRESHOLDS},
                auroc=measured(0.88),
            )
        ],
        classification_report=ClassificationReport(
            threshold=0.5,
            classes=rows[:2],
            macro_average=rows[2],
            weighted_average=rows[3],
            accuracy=0.77,
        ),
        reported=Reported(
            how="on 312 of the test images",
            figures=[
                ReportedFigure(
                    name="best_accuracy",
                    reported=0.91,
                    ours=0.77,
                    ours_is="accuracy at 0.5",
                    difference=-0.14,
                )
            ],
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def history() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "epoch": [1, 2, 3],
            "training_loss": [0.6, 0.4, 0.3],
            "training_accuracy": [0.7, 0.8, 0.9],
            "tuning_loss": [0.7, 0.5, 0.6],
            "tuning_accuracy": [0.65, 0.75, 0.74],
        }
    )
