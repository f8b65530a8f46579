"""Keep the warnings of image libraries to themselves, in any number of threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_n_inside = 0
_suppression: "warnings.catch_warnings[None] | None" = None


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore every warning inside.

    Pillow and pydicom warn of damaged headers where we raise, or read the image all the same.
    Warning filters belong to the whole process, so ``warnings.catch_warnings`` in several threads
    at once can leave the wrong ones behind. Here the first thread to enter sets them aside and
    the last one to leave restores them.
    """
    global _n_inside, _suppression
    with _lock:
        if _n_inside == 0:
            _suppression = warnings.catch_warnings()
            _suppression.__enter__()
            warnings.simplefilter("ignore")
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0 and _suppression is not None:
                _suppression.__exit__(None, None, None)
                _suppression = None
