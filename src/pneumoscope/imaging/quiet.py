"""Keep the warnings of image libraries to themselves, in any number of threads."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_n_inside = 0
_was_disabled = False
_logger = logging.getLogger("pydicom")
_suppression: "warnings.catch_warnings[None] | None" = None


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore every warning inside.

    Pillow and pydicom warn of damaged headers where we raise, or read the image all the same.
    pydicom also logs its warnings, with the values of tags in them: its logger is still inside.
    Warning filters belong to the whole process, so ``warnings.catch_warnings`` in several threads
    at once can leave the wrong ones behind. Here the first thread to enter sets them aside and
    the last one to leave restores them.
    """
    global _n_inside, _suppression, _was_disabled
    with _lock:
        if _n_inside == 0:
            _suppression = warnings.catch_warnings()
            _suppression.__enter__()
            warnings.simplefilter("ignore")
            _was_disabled, _logger.disabled = _logger.disabled, True
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0 and _suppression is not None:
                _suppression.__exit__(None, None, None)
                _suppression = None
                _logger.disabled = _was_disabled
