"""Write the golden answers: maps and facts, and what the detector says of them.

The browser repeats the detector's arithmetic, not its code, so it is held to what the detector
answers here. Run it as `python tests/golden/make_answers.py`.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pneumoscope.core.types import Radiograph
from pneumoscope.detector.bundle import Answer
from pneumoscope.detector.card import BundleCard
from pneumoscope.detector.logit_scale import to_probability
from pneumoscope.detector.predict import Detector
from pneumoscope.detector.warnings_of_input import warn_of_input

FILE = Path(__file__).with_name("answers.json")
THRESHOLDS = {"usual": 0.6860123565153238, "all": 0.0, "none": 1.0, "low": 0.02}
CARD = BundleCard.model_validate(
    {
        "name": "golden",
        "version": "2",
        "title": "Maps that were drawn at random",
        "recipe": "none",
        "seed": 0,
        "size_px": 300,
        "operating_points": [
            {
                "name": name,
                "threshold": threshold,
                "sensitivity": 0.9,
                "specificity": 0.8,
                "measured_on": "tuning",
            }
            for name, threshold in THRESHOLDS.items()
        ],
        "calibration": {
            "temperature": 0.8335831218936778,
            "bias": 1.2204493713442708,
            "fitted_on": "tuning",
            "n": 520,
        },
        "atypicality": {"threshold": 1.4590182304382324, "share_flagged_on_tuning": 0.02},
        "training_data": {
            "name": "none",
            "fingerprint": "00",
            "n_training": 0,
            "n_tuning": 0,
            "origins": {},
        },
        "population": {
            "modalities": ["CR", "DX"],
            "view_positions": ["AP", "PA"],
            "age_years": [1.0, 5.5],
        },
    }
)


@dataclass
class DrawnBundle:
    """Answers with a map that was drawn, so that the detector's own code does the rest."""

    answer: Answer
    card: BundleCard = CARD
    path: Path = Path("drawn.onnx")

    @property
    def identity(self) -> dict[str, str]:
        return {"name": self.card.name, "version": self.card.version, "sha256": "00"}

    def run(self, pixels: np.ndarray) -> Answer:
        return self.answer


def maps() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    drawn = [
        (f"{h} x {w}, spread {spread}", rng.normal(0, spread, (h, w)))
        for h, w, spread in [
            (7, 7, 3.0), (6, 6, 1.0), (7, 7, 12.0), (5, 9, 4.0), (1, 1, 1.0), (1, 6, 2.0),
            (14, 14, 5.0), (30, 70, 6.0),
        ]
    ]  # fmt: skip
    two = np.full((6, 6), -4.0)
    two[0, 0] = two[5, 5] = 9.0  # two equal peaks: the one first in reading order is kept
    ring = np.full((16, 16), -3.0)
    ring[3:13, 3:13] = 5.0
    ring[5:11, 5:11] = -3.0
    diagonal = np.where(np.eye(8) > 0, 6.0, -6.0)  # cells that touch by a corner alone
    return [*drawn, ("two equal peaks", two), ("a ring", ring), ("a diagonal", diagonal)]


def answers() -> list[dict[str, Any]]:
    cases = []
    sizes = [(1131, 1457), (64, 64), (63, 200), (1, 3)]
    for index, (title, values) in enumerate(maps()):
        cam = (np.round(64 * values) / 64).astype(np.float32)  # few digits make a small file
        height, width = sizes[index % len(sizes)]
        # The logit of a Grad-CAM is not its mean; take both kinds.
        logit = np.float32(cam.mean() + (0.7 if index % 2 else 0))
        probability = np.float32(to_probability(float(logit), CARD.calibration))
        drawn = DrawnBundle(
            Answer(
                logit=np.array([logit]),
                probability=np.array([probability]),
                cam=cam[None],
                embedding=np.zeros((1, 2), np.float32),
                atypicality=np.zeros(1, np.float32),
            )
        )
        detector = Detector(drawn)  # type: ignore[arg-type]
        pixels = np.zeros((height, width), np.uint8)
        points = []
        for name in THRESHOLDS:
            prediction = detector.predict(pixels, operating_point=name)
            said = prediction.to_dict()
            finite = np.isfinite(prediction.threshold_logit)
            points.append(
                {
                    "operating_point": said["operating_point"],
                    "label": said["label"],
                    "regions": said["regions"],
                    "threshold_logit": prediction.threshold_logit if finite else None,
                }
            )
        cases.append(
            {
                "title": title,
                "cam": cam.astype(float).tolist(),
                "logit": float(logit),
                "probability": float(probability),
                "height": height,
                "width": width,
                "points": points,
            }
        )
    return cases


def warnings() -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = [
        {},
        {"age_years": 1.0, "view_position": "AP", "modality": "DX", "sex": "F"},
        {"age_years": 6.49, "view_position": "LL", "modality": "CT"},
        {"age_years": 6.5},
        {"age_years": 123 / 12},  # 10.25: an exact half, which Python rounds to the even digit
        {"age_years": 3 / 365.25},
        {"age_years": 0.0},
        {"age_years": 99.96, "is_colour": True},
    ]
    sizes = [(1000, 1200), (150, 149), (149, 900), (2, 2), (900, 150)]
    cases = []
    for index, fact in enumerate(facts):
        height, width = sizes[index % len(sizes)]
        radiograph = Radiograph(pixels=np.zeros((height, width), np.uint8), **fact)
        for atypicality in (0.3, 1.4590182304382324, 1.4595, 1234.5, 1e-9, 9.995):
            cases.append(
                {
                    **fact,
                    "height": height,
                    "width": width,
                    "atypicality": atypicality,
                    "warnings": warn_of_input(radiograph, CARD, atypicality=atypicality),
                }
            )
    return cases


def numbers() -> list[dict[str, Any]]:
    values = [0.0, 1.0, 5.0, 0.5, 2.5, 1.125, 1.135, 10.25, 99.95, 999.5, 1000.0, 1e6, 123456789.0]
    values += [1e-4, 1.5e-5, 0.1, -2.675, 1 / 3, 1e22, 5e-324, 1.7976931348623157e308]
    return [
        {"value": value, "digits": digits, "text": f"{value:.{digits}g}"}
        for value in values
        for digits in (1, 3, 6)
    ]


def make() -> str:
    """Return the file's text."""
    golden = {
        "card": CARD.model_dump(mode="json"),
        "answers": answers(),
        "warnings": warnings(),
        "numbers": numbers(),
    }
    return json.dumps(golden) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size:,} bytes\n")
