"""What the tuning split decides about a bundle: calibration, operating points, atypicality."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from pneumoscope.core.errors import ExportError, RunError
from pneumoscope.core.types import OperatingPoint
from pneumoscope.data.augment import apply_parameters, draw_parameters
from pneumoscope.metrics.calibration import Calibration, fit_calibration
from pneumoscope.metrics.confusion import ConfusionMatrix, wilson_interval
from pneumoscope.metrics.operating_point import choose_operating_points, sensitive_threshold
from pneumoscope.training.atypicality import threshold_at
from pneumoscope.training.bundle_graph import GRAY
from pneumoscope.training.export_checks import start_session
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData
from pneumoscope.training.run_folder import RunFolder

SHARE_FLAGGED = 0.02  # of the tuning split, as atypical
# Answers of another processor, or of TF32 on a GPU, differ a little; another network's differ more.
_SAME_LOGIT = 0.1
_BATCH = 32
# `sensitive` is the score of one radiograph, which float32 must not push below its own threshold.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TuningAnswers:
    """What a graph says of the tuning split, and of changed copies of it where the recipe asks."""

    target: NDArray[np.bool_]  # (N,)
    logit: NDArray[np.float64]  # (N,)
    atypicality: NDArray[np.float64]  # (N,)
    changed_logit: NDArray[np.float64]  # (copies, N)


@dataclass(frozen=True)
class TuningChoices:
    """What was chosen by these answers."""

    calibration: Calibration
    fitted_on: str
    n: int  # radiographs that the calibration rests on, however often each was changed
    operating_points: tuple[OperatingPoint, ...]
    atypicality_threshold: float
    share_flagged: float


def gray_batches(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], *, size: int = _BATCH
) -> Iterator[torch.Tensor]:
    """Yield (N, 1, S, S) float32 in [0, 1] of the decoded cache's rows."""
    for start in range(0, len(rows), size):
        part = np.ascontiguousarray(pixels[rows[start : start + size]])
        yield torch.from_numpy(part)[:, None].float().div_(255)


def answer_tuning(
    graph: onnx.ModelProto, data: RunData, recipe: Recipe, seed: int
) -> TuningAnswers:
    """Run a graph over the tuning split.

    Args:
        graph: What `module_graph` returned, or the same quantised.
        data: The run's radiographs.
        recipe: Says whether changed copies count, how many, and how they are changed.
        seed: Decides the changes.
    """
    session = start_session(graph)
    rule = recipe.calibration
    n_copies = rule.copies if rule.data == "changed_tuning" else 0
    logit, atypicality = [], []
    changed: list[list[NDArray[np.float32]]] = [[] for _ in range(n_copies)]
    for step, gray in enumerate(gray_batches(data.cache.pixels, data.tuning)):
        found = session.run(["logit", "atypicality"], {GRAY: gray.numpy()})
        logit.append(found[0])
        atypicality.append(found[1])
        for copy in range(n_copies):
            drawn = draw_parameters(
                recipe.augmentation, len(gray), seed=seed, epoch=copy, step=step
            )
            copied = apply_parameters(gray, drawn, recipe.augmentation).contiguous().numpy()
            changed[copy].append(session.run(["logit"], {GRAY: copied})[0])
    n = len(data.tuning)
    return TuningAnswers(
        target=np.asarray(data.target[data.tuning] == 1, dtype=np.bool_),
        logit=np.concatenate(logit).astype(np.float64),
        atypicality=np.concatenate(atypicality).astype(np.float64),
        changed_logit=np.array([np.concatenate(parts) for parts in changed], np.float64).reshape(
            n_copies, n
        ),
    )


def check_tuning(answers: TuningAnswers, run: RunFolder, data: RunData) -> None:
    """Refuse answers that are not those which training wrote down.

    Raises: RunError: predictions-tuning.csv is missing, of other radiographs, or of other weights.
    """
    written = run.predictions("tuning")
    where = run.predictions_path("tuning")
    paths = data.cache.manifest.table["path"][data.tuning.tolist()].to_list()
    if sorted(written.path) != sorted(paths):
        raise RunError(
            f"{where}: lists other radiographs than the tuning split of the dataset given. "
            f"Give the dataset that the run was trained on."
        )
    place = {
        path: number for number, path in enumerate(written.path)
    }  # the table may be sorted anew
    logit = written.logit[[place[path] for path in paths]]
    difference = float(np.max(np.abs(logit - answers.logit)))
    if not difference <= _SAME_LOGIT:
        raise RunError(
            f"{where}: its logits differ from the kept checkpoint's by up to {difference:.2g}, so "
            f"one of the two is not of this run. Train it again."
        )


def choose(answers: TuningAnswers) -> TuningChoices:
    """Choose calibration, operating points and atypicality threshold, in this order.

    With changed copies, temperature, bias and thresholds are fitted to the tuning split and the
    copies together, `sensitive` so that it holds on the split alone, too. Each point's sensitivity
    and specificity are those on the tuning split itself.

    Raises: ExportError: the detector ranks the tuning split backwards, or its atypicality is not
        finite.
    """
    n_copies = len(answers.changed_logit)
    logit = np.concatenate([answers.logit, answers.changed_logit.reshape(-1)])
    target = np.tile(answers.target, 1 + n_copies)
    try:
        calibration = fit_calibration(logit, target)
    except ValueError as error:
        reason = str(error).removeprefix("fit_calibration: ")
        raise ExportError(f"the tuning split can't calibrate this run: {reason}") from error
    clean = calibration.probability(answers.logit)
    chosen = {
        point.name: point
        for point in choose_operating_points(calibration.probability(logit), target)
    }
    # A change can make a radiograph look more like pneumonia: the promise is kept on both.
    enough = min(chosen["sensitive"].threshold, sensitive_threshold(clean, answers.target))
    chosen["sensitive"] = replace(chosen["sensitive"], threshold=enough)
    points = tuple(
        _measured_on(
            replace(point, threshold=max(0.0, point.threshold - _ROUNDING)), clean, answers.target
        )
        for point in chosen.values()
    )
    try:
        threshold = threshold_at(answers.atypicality, share=SHARE_FLAGGED)
    except ValueError as error:
        raise ExportError(f"the tuning split's atypicality can't be used: {error}") from error
    return TuningChoices(
        calibration=calibration,
        fitted_on=f"tuning and {n_copies} changed copies of it" if n_copies else "tuning",
        n=len(answers.target),
        operating_points=points,
        atypicality_threshold=threshold,
        share_flagged=float(np.mean(answers.atypicality > threshold)),
    )


def _measured_on(
    point: OperatingPoint, probability: NDArray[np.float64], target: NDArray[np.bool_]
) -> OperatingPoint:
    matrix = ConfusionMatrix.from_calls(target, probability >= point.threshold)
    return replace(
        point,
        sensitivity=matrix.sensitivity,
        specificity=matrix.specificity,
        sensitivity_interval=wilson_interval(matrix.true_positive, matrix.n_positive),
        specificity_interval=wilson_interval(matrix.true_negative, matrix.n_negative),
    )
