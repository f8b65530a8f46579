"""Count epochs without progress, as Keras' callbacks count them."""

from dataclasses import dataclass
from typing import Any

from pneumoscope.training.recipe import Monitor


def is_better(value: float, than: float | None, *, monitor: Monitor, min_delta: float = 0) -> bool:
    """Return whether ``value`` is progress: a lower loss, or a higher accuracy or AUROC.

    NaN is never progress; anything else is, where there was nothing before.
    """
    if value != value:
        return False
    if than is None:
        return True
    gain = than - value if monitor == "tuning_loss" else value - than
    return gain > min_delta


@dataclass
class StallCounter:
    """Knows the best value so far and how many epochs ago it was.

    Source: the counting of Keras' ReduceLROnPlateau and EarlyStopping: the event comes in the
    epoch that makes the count reach the patience, and ReduceLROnPlateau then counts anew.
    """

    monitor: Monitor
    patience_epochs: int
    min_delta: float
    best: float | None = None
    n_stalled: int = 0

    def is_stalled(self, value: float) -> bool:
        """Take one epoch's value; return True once the patience is used up."""
        if is_better(value, self.best, monitor=self.monitor, min_delta=self.min_delta):
            self.best = value
            self.n_stalled = 0
            return False
        self.n_stalled += 1
        return self.n_stalled >= self.patience_epochs

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {"best": self.best, "n_stalled": self.n_stalled}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.best = state["best"]
        self.n_stalled = state["n_stalled"]
