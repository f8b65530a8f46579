"""The table of a detector's answers on one split: what every figure is worked out from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.core.errors import RunError
from pneumoscope.core.files import open_atomically

_SCHEMA = {
    "path": pl.String,
    "patient_id": pl.String,
    "target": pl.Int8,
    "subtype": pl.String,
    "logit": pl.Float64,
    "probability": pl.Float64,
}


@dataclass(frozen=True)
class Predictions:
    """One row a radiograph, in the dataset's order.

    ``table`` has the columns ``path``, ``patient_id``, ``target`` (0 or 1), ``subtype`` (or null),
    ``logit`` and ``probability`` (in [0, 1]).
    """

    table: pl.DataFrame

    def __len__(self) -> int:
        """Return the number of radiographs."""
        return self.table.height

    @property
    def target(self) -> NDArray[np.bool_]:
        """(N,) True where the reference standard says pneumonia."""
        return np.asarray(self.table["target"].to_numpy() == 1, dtype=np.bool_)

    @property
    def probability(self) -> NDArray[np.float64]:
        """(N,) P(pneumonia), in [0, 1]."""
        return np.asarray(self.table["probability"].to_numpy(), dtype=np.float64)

    @property
    def logit(self) -> NDArray[np.float64]:
        """(N,) unbounded output of the network."""
        return np.asarray(self.table["logit"].to_numpy(), dtype=np.float64)

    @property
    def patient_id(self) -> NDArray[np.str_]:
        """(N,) the patient of each radiograph."""
        return np.asarray(self.table["patient_id"].to_list(), dtype=np.str_)

    @property
    def path(self) -> list[str]:
        """(N,) the radiographs' paths below the dataset's root."""
        return self.table["path"].to_list()

    @property
    def subtype(self) -> list[str | None]:
        """(N,) bacterial, viral, or None."""
        return self.table["subtype"].to_list()

    def write(self, path: Path) -> None:
        """Write the table as CSV, atomically. Floats round-trip exactly."""
        with open_atomically(path) as file:
            self.table.write_csv(file)


def read_predictions(path: Path) -> Predictions:
    """Read a table that `Predictions.write` wrote.

    Raises: RunError: the file is missing or is not such a table.
    """
    try:
        table = pl.read_csv(path, schema=_SCHEMA)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing. Train or evaluate the run first.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{path}: not a table of predictions ({error}). Run again.") from error
    return Predictions(table)


def make_predictions(
    rows: pl.DataFrame, *, logit: NDArray[np.float64], probability: NDArray[np.float64]
) -> Predictions:
    """Put a detector's answers beside the manifest rows that they belong to.

    Args:
        rows: N manifest rows with ``path``, ``patient_id``, ``target`` and ``subtype``.
        logit: (N,) unbounded outputs.
        probability: (N,) in [0, 1].
    """
    table = rows.select("path", "patient_id", "target", "subtype").with_columns(
        pl.Series("logit", logit, dtype=pl.Float64),
        pl.Series("probability", probability, dtype=pl.Float64),
    )
    return Predictions(table)
