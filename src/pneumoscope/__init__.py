"""Pneumoscope: find pneumonia in chest radiographs. Research use; not a medical device."""

from pneumoscope.core.errors import PneumoscopeError

__version__ = "0.1.0"

__all__ = ["PneumoscopeError", "__version__"]
