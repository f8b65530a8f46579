"""Several arrays under one numbering, without copying them into one."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)


class JoinedRows(Generic[Value]):
    """Arrays one behind the other: row i counts on through them.

    For memory maps, whose concatenation would have to be held in memory.

    Args:
        parts: Each (n, ...) with the same shape behind n.
    """

    def __init__(self, parts: Sequence[NDArray[Value]]) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        """Return the number of rows in all parts."""
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...) of all parts together."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self._parts)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Value]:
        """Return (len(rows), ...): a copy of these rows, in their order.

        Raises: IndexError: a row is negative, or behind the last.
        """
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"a row is outside 0 to {len(self) - 1}")
        result = np.empty((len(rows), *self.shape[1:]), dtype=self._parts[0].dtype)
        for part, start in zip(self._parts, self._starts, strict=False):
            is_here = (rows >= start) & (rows < start + len(part))
            result[is_here] = part[rows[is_here] - start]
        return result
