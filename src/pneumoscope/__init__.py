"""Pneumoscope: find pneumonia in chest radiographs. Research use; not a medical device."""

from typing import TYPE_CHECKING, Any

from pneumoscope.core.errors import PneumoscopeError

if TYPE_CHECKING:
    from pneumoscope.detector.predict import Detector, load
    from pneumoscope.detector.prediction import Failure, Prediction

__version__ = "0.1.0"

__all__ = ["Detector", "Failure", "PneumoscopeError", "Prediction", "__version__", "load"]

# Imported when they are first used, so that `pneumoscope --help` waits for no library.
_HOMES = {
    "Detector": "pneumoscope.detector.predict",
    "Failure": "pneumoscope.detector.prediction",
    "Prediction": "pneumoscope.detector.prediction",
    "load": "pneumoscope.detector.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
