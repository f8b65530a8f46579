"""A run's answers after each stored epoch, on radiographs that are decoded already."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.training.epoch_weights import has_fixed_backbone, load_epoch
from pneumoscope.training.inference import gray_parts, load_network, predict_pixels
from pneumoscope.training.run_folder import RunFolder


def answer_epochs(
    run: RunFolder, pixels: NDArray[np.uint8], epochs: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (epoch, (N,) logits) for each epoch, with the weights that were tuned after it.

    A backbone that all epochs share answers once for all of them.

    Args:
        run: A finished run with these epochs stored.
        pixels: (N, H, W), gray values of the network's own size.
        epochs: Counted from 1.

    Raises: RunError: a checkpoint is missing, damaged, or does not fit the recipe.
    """
    network = load_network(run)
    if not has_fixed_backbone(run.recipe):
        for epoch in epochs:
            load_epoch(run, epoch, network)
            yield epoch, predict_pixels(network, pixels)
        return
    with torch.inference_mode():
        maps = [network.levels(gray)[-1] for gray in gray_parts(network, pixels)]
        for epoch in epochs:
            load_epoch(run, epoch, network)
            logits = [network.head_with_penalty(part)[0] for part in maps]
            yield epoch, torch.cat(logits).cpu().numpy().astype(np.float64)
