"""From a recipe and a dataset to a run folder."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumoscope.training.fitting import fit

__all__ = ["fit"]


def __getattr__(name: str) -> Any:
    """Import `fit`, and torch with it, only when asked: reading a recipe needs neither."""
    if name == "fit":
        from pneumoscope.training.fitting import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
