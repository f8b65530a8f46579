"""Import what an extra brings, or say which extra to install."""

import importlib
from types import ModuleType

from pneumoscope.core.errors import MissingExtraError


def import_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Return the imported module.

    Args:
        module: Dotted name, as in ``import``.
        extra: The extra of this package that installs it, such as ``train``.
        purpose: What needs it, to begin the message with: "Drawing figures".

    Raises: MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != module.partition(".")[0]:
            raise  # the module is there, and something that it needs is broken: not our message
        raise MissingExtraError(
            f"{purpose} needs {missing}, which is not installed. "
            f"Install it with: pip install 'pneumoscope[{extra}]'"
        ) from error
