"""Check what the figures of merit are given, so that a wrong shape is never a wrong number."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class OneClassError(ValueError):
    """Only one class is present, and the figure compares two."""


def checked_target(target: ArrayLike) -> NDArray[np.bool_]:
    """Return (N,) booleans; integers or floats that are all 0 or 1 are taken as such.

    Raises: ValueError: not one-dimensional, empty, or a value is neither 0 nor 1 (NaN included).
    """
    array = np.asarray(target)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"target: shape {array.shape}; give one value a radiograph, (N,), N >= 1.")
    if array.dtype != np.bool_:
        if not np.isin(array, (0, 1)).all():
            raise ValueError("target: has values other than 0 and 1; leave unknown targets out.")
        array = array.astype(np.bool_)
    return array


def checked_pair(
    score: ArrayLike, target: ArrayLike, *, name: str = "score"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores and targets as (N,) arrays of one length.

    Raises: ValueError: a shape differs from the other's, no radiograph, a score that is NaN,
        a target that is neither 0 nor 1.
    """
    targets = checked_target(target)
    scores = np.asarray(score, dtype=np.float64)
    if scores.shape != targets.shape:
        raise ValueError(
            f"{name}: shape {scores.shape}, but target has {targets.shape}; give one of each "
            "a radiograph, in the same order."
        )
    if np.isnan(scores).any():
        raise ValueError(f"{name}: has NaN; leave radiographs without a {name} out.")
    return scores, targets


def checked_probability(
    probability: ArrayLike, target: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return probabilities and targets as (N,) arrays of one length.

    Raises: ValueError: as `checked_pair`, or a probability outside [0, 1].
    """
    values, targets = checked_pair(probability, target, name="probability")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"probability: runs from {values.min():g} to {values.max():g}; it must lie in [0, 1]. "
            "Were logits given?"
        )
    return values, targets


def check_both_classes(target: NDArray[np.bool_], *, figure: str) -> None:
    """Raise OneClassError unless both classes are present."""
    n_positive = int(np.count_nonzero(target))
    if n_positive in (0, target.size):
        raise OneClassError(
            f"{figure}: needs both classes, but there are {n_positive} positive and "
            f"{target.size - n_positive} negative radiographs."
        )


def patient_index(patient_id: ArrayLike, n: int) -> NDArray[np.intp]:
    """Return (N,) the number, 0 to P - 1, of each radiograph's patient.

    Raises: ValueError: not one identity a radiograph.
    """
    identities: NDArray[Any] = np.asarray(patient_id)
    if identities.shape != (n,):
        raise ValueError(
            f"patient_id: shape {identities.shape}, but there are {n} radiographs; "
            "give one identity a radiograph."
        )
    return np.unique(identities, return_inverse=True)[1].astype(np.intp)
