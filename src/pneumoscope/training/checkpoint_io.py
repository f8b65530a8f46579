"""Write and read checkpoints so that a kill at any moment leaves a whole one."""

import pickle
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from pneumoscope.core.errors import RunError, StorageError
from pneumoscope.core.files import open_atomically


class DurableCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written to a temporary name, fsynced, then renamed."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint. Raises: StorageError: the disk is full or refuses."""
        target = Path(path)
        try:
            with open_atomically(target) as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            # torch's zip writer reports a failed write (a full disk) as a RuntimeError.
            raise StorageError(
                f"{target}: the checkpoint was not written ({error}). Free some space and run "
                f"again with --resume; the last good checkpoint is untouched."
            ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content, on the CPU; nothing but plain values is unpickled.

    Raises: RunError: the file is missing or is not a whole checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing. Train the run first, or choose another.") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise RunError(f"{path}: not a whole checkpoint ({error}). Train again.") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RunError(f"{path}: not a checkpoint of a detector. Choose another run.")
    return content
