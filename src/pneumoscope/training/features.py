"""A frozen backbone's last maps, worked out once and trained on from the disk.

Where they lie: ``cache_root()/features/KEY.npy``, one file for the tuning split and one for each
copy of the augmented training split; images added to it have files of their own. The key covers
everything that the maps depend on, so runs with other seeds, heads, losses or rates share the
files, and a run with added images those of the run without. Nothing deletes old ones; deleting any
of them is safe while nothing trains.
"""

import hashlib
import itertools
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope.data.added_images import AddedImages
from pneumoscope.data.augment import (
    AugmentationParameters,
    apply_parameters,
    draw_copy_parameters,
)
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.data.cache import DECODER_VERSION, DecodedCache, cache_root
from pneumoscope.data.joined_rows import JoinedRows
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.models.backbones import BackboneCnn
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.changed_copies import draw_added_copies
from pneumoscope.training.features_file import open_or_build
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData

_log = logging.getLogger(__name__)

# Raise the number when the way from pixels to maps changes its result.
_VERSION = f"1, torch {torch.__version__}, timm {timm.__version__}"


@dataclass(frozen=True)
class Features:
    """The last maps of the radiographs that train and tune, by row number."""

    copies: tuple[JoinedRows[np.float32], ...]  # each (n_training, C, h, w), of read-only maps
    tuning: NDArray[np.float32]  # (n_tuning, C, h, w)
    place: NDArray[np.int64]  # (all rows,) where in its array a row lies; -1 in neither

    def training_maps(self, rows: NDArray[np.int64], *, epoch: int) -> Tensor:
        """Return (N, C, h, w): the copy whose turn it is in this epoch, counted from 0."""
        copy = self.copies[epoch % len(self.copies)]
        return torch.from_numpy(copy[self.place[rows]])

    def tuning_maps(self, rows: NDArray[np.int64]) -> Tensor:
        """Return (N, C, h, w) of unchanged radiographs."""
        return torch.from_numpy(self.tuning[self.place[rows]])


def has_constant_features(recipe: Recipe) -> bool:
    """Tell whether the recipe gives a finite number of maps, and wants them kept."""
    is_frozen = (
        isinstance(recipe.network, BackboneNetworkRecipe) and recipe.network.is_frozen_for_good
    )
    is_finite = recipe.augmentation.copies is not None or not _changes_anything(recipe.augmentation)
    return recipe.training.cache_features and is_frozen and is_finite


def open_features(
    network: DetectorNetwork,
    recipe: Recipe,
    data: RunData,
    *,
    device: torch.device,
    cache_folder: Path | None = None,
    show_progress: bool = True,
) -> Features:
    """Return the maps of a run's radiographs, from the disk where they were worked out before.

    Two processes that ask at once work them out once: the second waits. A build that is killed
    leaves nothing that looks complete; the copies before it are kept.

    Args:
        network: With the weights that it will keep.
        recipe: One that `has_constant_features`.
        data: Who trains and who tunes.
        device: Where to work the maps out; the network is there afterwards.
        cache_folder: Where caches lie, instead of `cache_root()`.
        show_progress: Draw a bar on stderr, if that is a terminal.

    Raises: StorageError: the disk is full, or the folder cannot be written.
    """
    if not isinstance(network, BackboneCnn):
        raise TypeError("only a backbone has maps that stay the same")
    folder = (cache_root() if cache_folder is None else cache_folder) / "features"
    n_copies = 1
    if _changes_anything(recipe.augmentation):
        n_copies = min(recipe.augmentation.copies or 1, recipe.training.epochs)
    was_training = network.training
    network.to(device).eval()
    own = _OwnImages(data.cache)
    source = _Source(network, recipe, own, device=device)
    options: dict[str, Any] = {"folder": folder, "show_progress": show_progress}
    own_training = data.training[data.training < data.n_own]
    try:
        parts = [
            [
                source.open(
                    own, own_training, copy=copy, title=f"Maps {copy + 1}/{n_copies}", **options
                )
            ]
            for copy in range(n_copies)
        ]
        if data.added is not None:
            added = _AddedImages(data.added)
            # Apart, because what every seed adds alike is then worked out once for all of them.
            pieces = np.split(np.arange(len(data.added)), [data.added.n_shared])
            for copy, piece in itertools.product(range(n_copies), filter(len, pieces)):
                title = f"Maps of added {copy + 1}/{n_copies}"
                parts[copy].append(source.open(added, piece, copy=copy, title=title, **options))
        tuning = source.open(own, data.tuning, copy=None, title="Maps of tuning", **options)
    finally:
        network.train(was_training)
    copies = tuple(map(JoinedRows, parts))
    _log.info(
        "the backbone is frozen: training on its maps in %s, %d of each radiograph, %.1f GB",
        folder,
        n_copies,
        (tuning.nbytes + sum(copy.nbytes for copy in copies)) / 1e9,
    )
    place = np.full(len(data.target), -1, dtype=np.int64)
    place[data.training] = np.arange(len(data.training))
    place[data.tuning] = np.arange(len(data.tuning))
    return Features(copies=copies, tuning=tuning, place=place)


class _Images(Protocol):
    """Images that maps are made of, by row."""

    pixels: NDArray[np.uint8]  # (all rows, H, W)
    contents: tuple[str, ...]  # (all rows,)

    def draw(self, changes: AugmentationRecipe, copy: int) -> AugmentationParameters:
        """Return what is done to every row in one copy."""

    def drawn_from(self) -> list[Any]:
        """Return what that depends on besides the row, the ranges and the copy."""


class _OwnImages:
    """The dataset's."""

    def __init__(self, cache: DecodedCache) -> None:
        self.pixels, self.contents = cache.pixels, cache.sha256

    def draw(self, changes: AugmentationRecipe, copy: int) -> AugmentationParameters:
        return draw_copy_parameters(changes, len(self.contents), copy=copy)

    def drawn_from(self) -> list[Any]:
        return [len(self.contents)]


class _AddedImages:
    """Those added to its training split."""

    def __init__(self, added: AddedImages) -> None:
        self.pixels, self.contents = added.pixels, added.contents

    def draw(self, changes: AugmentationRecipe, copy: int) -> AugmentationParameters:
        return draw_added_copies(changes, len(self.contents), copy=copy)

    def drawn_from(self) -> list[Any]:
        return [len(self.contents), "added"]


class _Source:
    """What the maps come from: a network and the changes before it."""

    def __init__(
        self, network: BackboneCnn, recipe: Recipe, images: _Images, *, device: torch.device
    ) -> None:
        self.network = network
        self.augmentation = recipe.augmentation
        self.device = device
        self._maps_shape = self._maps(images, np.array([0]), None).shape[1:]
        shape = recipe.network.model_dump(include={"backbone", "stretch", "pooling"}, mode="json")
        self._facts = [
            _VERSION,
            DECODER_VERSION,
            network.size_px,
            network.channels,
            shape,
            _weights_hash(network),
            device.type,  # another kind of processor rounds differently
        ]

    def open(
        self,
        images: _Images,
        rows: NDArray[np.int64],
        *,
        copy: int | None,
        title: str,
        folder: Path,
        show_progress: bool,
    ) -> NDArray[np.float32]:
        """Return (len(rows), C, h, w); ``copy`` None leaves the images unchanged."""
        if not _changes_anything(self.augmentation):
            copy = None
        path = folder / f"{self._key(images, rows, copy)}.npy"
        return open_or_build(
            path,
            (len(rows), *self._maps_shape),
            lambda part: self._maps(images, rows[part], copy),
            title=title,
            show_progress=show_progress,
        )

    def _key(self, images: _Images, rows: NDArray[np.int64], copy: int | None) -> str:
        facts = [*self._facts, [images.contents[row] for row in rows]]
        if copy is not None:
            # What is drawn for an image depends on its row and on how many rows there are.
            changes = self.augmentation.model_dump(mode="json", exclude={"copies"})
            facts += [changes, copy, rows.tolist(), *images.drawn_from()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _maps(
        self, images: _Images, rows: NDArray[np.int64], copy: int | None
    ) -> NDArray[np.float32]:
        """Return (N, C, h, w) of at most a batch of rows, (N, C, 1, 1) where the head pools them.

        As `Classifier` does it step by step: scaled, changed, through the network.
        """
        pixels = torch.from_numpy(images.pixels[rows][:, None]).to(self.device)
        cudnn = torch.backends.cudnn
        # Said outright: the context would switch cuDNN off otherwise.
        with torch.inference_mode(), cudnn.flags(enabled=cudnn.enabled, allow_tf32=False):
            gray = pixels.float().div_(255)
            if copy is not None:
                drawn = images.draw(self.augmentation, copy).take(torch.from_numpy(rows))
                gray = apply_parameters(gray, drawn, self.augmentation)
            gray = gray.contiguous(memory_format=torch.channels_last)
            maps = self.network.levels(gray)[-1]
            if self.network.pooling == "mean":
                maps = maps.mean(dim=(2, 3), keepdim=True)  # the mean of one value is itself
            return np.ascontiguousarray(maps.float().cpu().numpy())


def _changes_anything(augmentation: AugmentationRecipe) -> bool:
    return augmentation.model_copy(update={"copies": None}) != AugmentationRecipe()


def _weights_hash(network: BackboneCnn) -> str:
    """Return the SHA-256 of the backbone's weights and of the normalisation before it."""
    digest = hashlib.sha256()
    tensors = {**network.body.state_dict(), "mean": network.mean, "std": network.std}
    for name, value in tensors.items():
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
