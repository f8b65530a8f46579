"""The same backbone without a bundle: timm's network in torch, eager, fp32, Pillow's decoding.

Run as ``python -m benchmarks.torch_side files ...``. It gives one logit a file and nothing else: no
map, no regions, no atypicality.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor

from benchmarks.piece import add_clock_arguments, clock_from, report
from pneumoscope.training.machine import describe_machine, describe_versions

BACKBONE = "tf_efficientnet_lite0"
SIZE_PX = 224
BATCH_SIZE = 32


def measure_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time batches of files: decode and squeeze each, then the network on all of them."""
    network = timm.create_model(BACKBONE, pretrained=False, num_classes=1, in_chans=1).eval()
    files = sorted(arguments.folder.iterdir())
    clock = clock_from(arguments)
    with torch.inference_mode(), ThreadPoolExecutor(arguments.decoders) as pool:
        # `map` alone has each file wait for the one before.
        decode_all = map if arguments.decoders == 1 else pool.map
        for batch in batches_of(files, decode_all):
            torch.sigmoid(network(batch)).tolist()
            if clock.tick():
                break
    return clock.figures(BATCH_SIZE)


def batches_of(
    files: list[Path],
    decode_all: Callable[[Callable[[Path], Tensor], list[Path]], Iterable[Tensor]],
) -> Iterator[Tensor]:
    """Yield whole batches (32, 1, 224, 224) in [-1, 1]."""
    for first in range(0, len(files) - BATCH_SIZE + 1, BATCH_SIZE):
        yield torch.stack(list(decode_all(decode, files[first : first + BATCH_SIZE])))


def decode(path: Path) -> Tensor:
    """Return (1, 224, 224) in [-1, 1]."""
    with Image.open(path) as image:
        square = image.convert("L").resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).float().div_(127.5).sub_(1)[None]


def main() -> None:
    """Run the piece and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    pieces = parser.add_subparsers(required=True)
    files = pieces.add_parser("files")
    add_clock_arguments(files)
    files.add_argument("--folder", type=Path, required=True)
    files.add_argument("--decoders", type=int, required=True, help="Threads that decode.")
    files.add_argument("--threads", type=int, required=True, help="Threads of torch.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)  # random weights could make tiny numbers, which are slow
    facts = measure_files(arguments)
    versions = describe_versions() | {"timm": timm.__version__}
    report(facts | {"versions": versions, "machine": describe_machine()})


if __name__ == "__main__":
    main()
