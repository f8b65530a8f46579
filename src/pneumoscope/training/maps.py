"""Logits and class activation maps of a run's network, and of one that has learnt nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.models.cam import evidence_map
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.inference import gray_parts, load_network, readable_rows
from pneumoscope.training.networks import build_network
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_folder import RunFolder


@dataclass(frozen=True)
class Maps:
    """One network's answers on N radiographs."""

    logit: NDArray[np.float64]  # (N,)
    cam: NDArray[np.float32]  # (N, h, w), signed, in logit units


def map_rows(
    run: RunFolder,
    dataset: Dataset,
    rows: NDArray[np.int64],
    *,
    network: DetectorNetwork | None = None,
    cache_folder: Path | None = None,
) -> Maps:
    """Return logits and maps of some rows of a dataset, in their order.

    Args:
        run: A finished run; its recipe says how large the picture is.
        dataset: Where the radiographs are.
        rows: (N,) row numbers of its manifest, all of which can be read.
        network: In evaluation mode; by default the run's own.
        cache_folder: Where decoded caches lie; by default the platform's place.

    Raises:
        RunError: the run has no usable checkpoint.
        DatasetError: a radiograph can't be read.
    """
    network = network or load_network(run)
    cache = open_cache(dataset, size_px=run.recipe.input.size_px, folder=cache_folder)
    return map_pixels(network, cache.pixels[readable_rows(cache, dataset, rows, strict=True)])


def map_pixels(network: DetectorNetwork, pixels: NDArray[np.uint8]) -> Maps:
    """Return logits and maps, in fp32.

    Args:
        network: In evaluation mode.
        pixels: (N, H, W), gray values of the network's own size.
    """
    logits, cams = [], []
    with torch.inference_mode():
        for gray in gray_parts(network, pixels):
            logit, cam = evidence_map(
                network.levels(gray)[-1],
                dense=[layer for layer in network.dense if isinstance(layer, torch.nn.Linear)],
                head=network.head,
                pooling=network.pooling,
            )
            logits.append(logit.cpu().numpy())
            cams.append(cam.cpu().numpy())
    return Maps(
        logit=np.concatenate(logits).astype(np.float64),
        cam=np.concatenate(cams).astype(np.float32),
    )


def random_network(recipe: Recipe, *, seed: int) -> DetectorNetwork:
    """Return the recipe's network in evaluation mode, every weight random, none pretrained.

    Torch's global generator is left as it was.

    Raises: RecipeError: the backbone can't be built as the recipe says.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(recipe, is_pretrained=False)
    return network.eval().to(memory_format=torch.channels_last)
