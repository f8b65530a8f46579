"""Lightning without its advice."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice that does not apply here; its errors still come through."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The decoded cache hands out whole batches from memory: workers would only add copies.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # BatchNorm and dropout of frozen layers, on purpose: BackboneCnn.train keeps them so.
        warnings.filterwarnings("ignore", message=".*module.*in eval mode at the start of.*")
        # Lightning's own, until it follows torch's newest: nothing that a caller could mend.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        try:
            yield
        finally:
            logger.setLevel(level)
