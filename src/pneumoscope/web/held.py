"""Count the bytes of uploads and answers that are held at one time, for all requests together."""

from collections.abc import Iterator
from contextlib import contextmanager

from pneumoscope.web.metrics import Metrics
from pneumoscope.web.refusals import try_later


class HeldBytes:
    """A purse of bytes that every request takes from, and gives back when it ends."""

    def __init__(self, n_max: int, metrics: Metrics) -> None:
        self._n_max = n_max
        self._n_held = 0
        self._metrics = metrics

    @contextmanager
    def open(self) -> Iterator["RequestBytes"]:
        """Yield one request's account; what it took is given back behind it."""
        account = RequestBytes(self)
        try:
            yield account
        finally:
            self._add(-account.n_bytes)

    def take(self, n_bytes: int) -> None:
        """Take bytes. Raises: Refusal: 503, all requests together hold too many."""
        if self._n_held + n_bytes > self._n_max:
            raise try_later(
                "QueueFullError",
                "Too many uploads and answers are held already. Send it again in a moment, or "
                "fewer files at once.",
            )
        self._add(n_bytes)

    def _add(self, n_bytes: int) -> None:
        self._n_held += n_bytes
        self._metrics.held.set(self._n_held)


class RequestBytes:
    """What one request holds."""

    def __init__(self, purse: HeldBytes) -> None:
        self._purse = purse
        self.n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take bytes. Raises: Refusal: as `HeldBytes.take`."""
        self._purse.take(n_bytes)
        self.n_bytes += n_bytes
