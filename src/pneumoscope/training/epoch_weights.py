"""Every epoch's weights on disk, for those who ask afterwards what another epoch would have given.

They lie in ``checkpoints/epoch-001.ckpt`` and so on: weights alone, no optimizer. Of a network
whose backbone stays frozen only the head is stored: the backbone is in ``last.ckpt``.
"""

import re
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from pneumoscope.core.errors import RunError
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.checkpoint_io import DurableCheckpointIO, read_checkpoint
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_folder import RunFolder

_NAME = re.compile(r"epoch-(\d{3,})\.ckpt")


class EpochStore(pl.Callback):
    """Stores the weights that are tuned at the end of each epoch.

    It must come before `EpochKeeper` among the callbacks: once ``last.ckpt`` tells of an epoch,
    that epoch is not trained again, so its weights must be on disk by then.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's weights."""
        if not isinstance(pl_module, Classifier):
            raise TypeError("EpochStore stores the epochs of a Classifier")
        if not trainer.is_global_zero:
            return
        network = pl_module.network if pl_module.average is None else pl_module.average
        DurableCheckpointIO().save_checkpoint(
            {"state_dict": changing_weights(network, pl_module.recipe)},
            epoch_path(self.folder, trainer.current_epoch + 1),
        )


def epoch_path(folder: Path, epoch: int) -> Path:
    """Return where an epoch's weights lie in a run folder; epochs count from 1."""
    return folder / "checkpoints" / f"epoch-{epoch:03d}.ckpt"


def stored_epochs(folder: Path) -> list[int]:
    """Return the epochs whose weights a run folder holds, ascending."""
    names = (_NAME.fullmatch(path.name) for path in (folder / "checkpoints").glob("epoch-*.ckpt"))
    return sorted(int(name[1]) for name in names if name)


def changing_weights(network: DetectorNetwork, recipe: Recipe) -> dict[str, Tensor]:
    """Return the tensors by name that training may change, on the CPU."""
    state = network.state_dict()
    if has_fixed_backbone(recipe):
        state = {name: value for name, value in state.items() if not name.startswith("body.")}
    return {name: value.detach().cpu() for name, value in state.items()}


def has_fixed_backbone(recipe: Recipe) -> bool:
    """Tell whether all epochs share one backbone, so that its maps serve them all."""
    shape = recipe.network
    return isinstance(shape, BackboneNetworkRecipe) and shape.is_frozen_for_good


def load_epoch(run: RunFolder, epoch: int, network: DetectorNetwork) -> None:
    """Fill a network, such as `load_network` returns, with a stored epoch's weights.

    Raises: RunError: the epoch is not stored, damaged, or does not fit the recipe.
    """
    path = epoch_path(run.path, epoch)
    weights = read_checkpoint(path)["state_dict"]
    wanted = set(changing_weights(network, run.recipe))
    if set(weights) != wanted:
        raise RunError(f"{path}: does not fit recipe.yaml. Train the run again.")
    try:
        network.load_state_dict(weights, strict=False)  # a fixed backbone is in the network already
    except RuntimeError as error:
        raise RunError(f"{path}: does not fit recipe.yaml: {error}") from error
