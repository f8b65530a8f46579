"""Answers of a trained run on rows of a dataset."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.core.errors import DatasetError, RunError
from pneumoscope.data.cache import DecodedCache, open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import Predictions, make_predictions
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.batches import EVALUATION_BATCH
from pneumoscope.training.checkpoint_io import read_checkpoint
from pneumoscope.training.networks import build_network
from pneumoscope.training.run_folder import RunFolder


def load_network(run: RunFolder) -> DetectorNetwork:
    """Return the run's network with the weights of the epoch that it keeps, in evaluation mode.

    Raises: RunError: the checkpoint is missing, damaged, or does not fit the recipe.
    """
    network = build_network(run.recipe, is_pretrained=False)
    # Of the two that a checkpoint of `Classifier` holds, the average is what was tuned and kept.
    prefix = "network." if run.recipe.training.ema_decay is None else "average."
    weights = {
        key.removeprefix(prefix): value
        for key, value in read_checkpoint(run.checkpoint_path)["state_dict"].items()
        if key.startswith(prefix)
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{run.checkpoint_path}: does not fit recipe.yaml: {error}") from error
    return network.eval().to(memory_format=torch.channels_last)


def predict_pixels(network: DetectorNetwork, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return logits, in fp32 whatever the network was trained in.

    Args:
        network: In evaluation mode.
        pixels: (N, H, W), gray values of the network's own size.

    Returns: (N,).
    """
    with torch.inference_mode():
        answers = [network(gray).cpu() for gray in gray_parts(network, pixels)]
    return np.concatenate([answer.numpy() for answer in answers]).astype(np.float64)


def gray_parts(network: DetectorNetwork, pixels: NDArray[np.uint8]) -> Iterator[torch.Tensor]:
    """Yield radiographs as a network takes them: (at most 64, 1, H, W) in [0, 1], on its device.

    Args:
        network: Whose device it is.
        pixels: (N, H, W), gray values of the network's own size.
    """
    device = next(network.parameters()).device
    for start in range(0, len(pixels), EVALUATION_BATCH):
        part = torch.from_numpy(np.array(pixels[start : start + EVALUATION_BATCH]))
        gray = part[:, None].to(device).float().div_(255)
        yield gray.contiguous(memory_format=torch.channels_last)


def predict_rows(
    run: RunFolder,
    dataset: Dataset,
    rows: NDArray[np.int64],
    *,
    cache_folder: Path | None = None,
    strict: bool = False,
) -> Predictions:
    """Return a run's answers on some rows of a dataset, in the order of ``rows``.

    A radiograph that can't be read is left out, or with ``strict`` refused.

    Args:
        run: A finished run.
        dataset: Where the radiographs are.
        rows: (N,) row numbers of its manifest.
        cache_folder: Where decoded caches lie; by default the platform's place.
        strict: Make an unreadable radiograph an error.

    Raises:
        RunError: the run has no usable checkpoint.
        DatasetError: a radiograph can't be read and ``strict`` is set, or none can.
    """
    network = load_network(run)
    cache = open_cache(dataset, size_px=run.recipe.input.size_px, folder=cache_folder)
    rows = readable_rows(cache, dataset, rows, strict=strict)
    logit = predict_pixels(network, cache.pixels[rows])
    return make_predictions(
        dataset.manifest.table[rows.tolist()], logit=logit, probability=sigmoid(logit)
    )


def readable_rows(
    cache: DecodedCache, dataset: Dataset, rows: NDArray[np.int64], *, strict: bool
) -> NDArray[np.int64]:
    """Return the rows whose radiograph was decoded.

    Raises: DatasetError: none was, or ``strict`` is set and some were not; names them.
    """
    bad = rows[~cache.is_readable[rows]]
    if len(bad) == 0:
        return rows
    listed = "\n".join(f"  {cache.failures[int(row)]}" for row in bad[:10])
    more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
    if strict:
        raise DatasetError(
            f"{dataset.name}: {len(bad)} of {len(rows)} radiographs can't be read; --strict "
            f"refuses them. Mend or remove:\n{listed}{more}"
        )
    if len(bad) == len(rows):
        raise DatasetError(
            f"{dataset.name}: none of {len(rows)} radiographs can be read:\n{listed}{more}"
        )
    return rows[cache.is_readable[rows]]


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities (N,) of logits (N,), without overflow."""
    return np.exp(-np.logaddexp(0, -logit))
