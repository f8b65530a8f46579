"""Correct p-values for having made several comparisons."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values, in the order given.

    Rejecting those at or below alpha keeps the chance of any false rejection at alpha or less,
    however the tests depend on one another.

    Args:
        p_values: (M,) one a comparison, each in [0, 1].

    Raises: ValueError: not one-dimensional, empty, or a value that is NaN or outside [0, 1].
    Source: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"p_values: shape {values.shape}; give one a comparison, (M,), M >= 1.")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p_values: one is NaN or outside [0, 1]; leave undefined tests out.")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    # A larger p-value never ends up with a smaller adjusted one.
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
