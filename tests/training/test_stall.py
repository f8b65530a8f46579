import math

import pytest

from pneumoscope.training.stall import StallCounter, is_better


def stalled_epochs(values: list[float], counter: StallCounter, *, restarts: bool) -> list[int]:
    events = []
    for epoch, value in enumerate(values):
        if counter.is_stalled(value):
            events.append(epoch)
            if restarts:
                counter.n_stalled = 0
    return events


def test_counting_follows_keras() -> None:
    # Worked by hand from Keras' rule: `wait` grows in an epoch without progress and acts when it
    # reaches the patience.
    losses = [1.0, 0.9, 0.95, 0.91, 0.89, 0.9, 0.9, 0.9, 0.9]
    counter = StallCounter("tuning_loss", 2, 0.0)
    assert stalled_epochs(losses, counter, restarts=True) == [3, 6, 8]
    accuracies = [0.5, 0.6, 0.6, 0.6, 0.7]
    counter = StallCounter("tuning_accuracy", 2, 0.0)
    assert stalled_epochs(accuracies, counter, restarts=False) == [3]


def test_less_than_min_delta_is_no_progress() -> None:
    counter = StallCounter("tuning_auroc", 1, 0.01)
    assert stalled_epochs([0.9, 0.905, 0.92], counter, restarts=False) == [1]
    assert counter.best == 0.92


@pytest.mark.parametrize("monitor", ["tuning_loss", "tuning_accuracy"])
def test_nan_is_never_progress(monitor: str) -> None:
    assert not is_better(math.nan, None, monitor=monitor)
    assert not is_better(math.nan, 0.5, monitor=monitor)
    assert is_better(0.5, None, monitor=monitor)


def test_state_goes_round() -> None:
    counter = StallCounter("tuning_loss", 3, 0.0)
    for value in (1.0, 0.5, 0.7):
        counter.is_stalled(value)
    other = StallCounter("tuning_loss", 3, 0.0)
    other.restore(counter.state())
    assert other == counter
