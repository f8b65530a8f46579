"""Our side: the project's own training code, one measured piece a process.

Run as ``python -m benchmarks.our_side PIECE ...``. `Classifier`, its batches and Lightning's loop
are the ones that `pneumoscope train` runs; here they only get a clock.
"""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from benchmarks.held_batches import EitherWay, block_ratios, hold_batches, make_schedule
from benchmarks.piece import StepClock, add_clock_arguments, clock_from, report
from pneumoscope.data.augmentation_recipe import AugmentationRecipe
from pneumoscope.data.open import open_dataset
from pneumoscope.training.batches import Batch, EpochOrder, training_loader
from pneumoscope.training.classifier import Classifier
from pneumoscope.training.fitting import fit
from pneumoscope.training.machine import (
    Precision,
    choose_precision,
    describe_machine,
    describe_versions,
    keep_freed_memory,
)
from pneumoscope.training.recipe_file import load_recipe
from pneumoscope.training.run_data import prepare_data


class Ticker(pl.Callback):
    """Ends the training once the clock has seen enough steps."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        """Tell the clock that a step ended."""
        trainer.should_stop = self._clock.tick() or trainer.should_stop


def measure_step(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time Lightning's loop on pixels held in memory, without augmentation."""
    recipe = load_recipe("gray-150").model_copy(update={"augmentation": AugmentationRecipe()})
    size_px, batch_size = recipe.input.size_px, recipe.training.batch_size
    n_images = (arguments.warm_up + arguments.steps) * batch_size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n_images, size_px, size_px), dtype=np.uint8)
    target = (np.arange(n_images) % 2).astype(np.float32)
    order = EpochOrder(np.arange(n_images), target == 1, training=recipe.training, seed=0)
    loader = training_loader(pixels, target, order=order, rank=0, n_processes=1)
    clock = clock_from(arguments)
    precision = choose_precision(arguments.precision, is_on_gpu=torch.cuda.is_available())
    module = Classifier(recipe, seed=0, class_weights=(1.0, 1.0))
    train(module, loader, precision=precision, callback=Ticker(clock))
    return clock.figures(batch_size) | {"precision": precision}


def measure_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train as `pneumoscope train` does, the decoded cache built on the way."""
    # The folder's `val` has the very images that Keras tunes on.
    changes = [f"training.epochs={arguments.epochs}", "split.tuning_from=val"]
    run = fit(
        load_recipe("gray-150", changes=changes),
        open_dataset(arguments.data),
        arguments.out,
        accelerator="cpu",
        cache_folder=arguments.cache,
        show_progress=False,
    )
    names = ("epochs_run", "seconds", "images_per_s", "precision")
    return {name: run.facts[name] for name in names} | {
        "n_training": run.facts["data"]["n_training"],
        "n_tuning": run.facts["data"]["n_tuning"],
    }


def measure_pipeline(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time steps through the input pipeline, and on the same batches held in memory, in turn."""
    recipe = load_recipe(arguments.recipe, changes=["split.tuning_from=val"])
    data = prepare_data(
        recipe,
        open_dataset(arguments.data),
        cache_folder=arguments.cache,
        strict=True,
        show_progress=False,
    )
    order = EpochOrder(data.training, data.training_target, training=recipe.training, seed=0)
    loader = training_loader(data.cache.pixels, data.target, order=order, rank=0, n_processes=1)
    schedule = make_schedule(
        loader,
        batch_size=recipe.training.batch_size,
        n_pairs=arguments.pairs,
        n_images_per_block=arguments.block_images,
    )
    held = hold_batches(schedule, recipe=recipe, seed=0)
    # Random weights take as long as pretrained ones, and need no file.
    module = EitherWay(recipe, seed=0, class_weights=(1.0, 1.0), is_pretrained=False)
    precision = choose_precision(recipe.training.precision, is_on_gpu=torch.cuda.is_available())
    train(module, schedule.loader(held), precision=precision, callback=schedule.clock)
    return block_ratios(schedule) | {"recipe": recipe.name, "precision": precision}


def train(
    module: Classifier, loader: "DataLoader[Batch]", *, precision: Precision, callback: pl.Callback
) -> None:
    """Run one epoch of Lightning's loop with the settings that `fit` gives it."""
    module.network.to(memory_format=torch.channels_last)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
        )
        trainer.fit(module, loader)


def main() -> None:
    """Run one piece and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    pieces = parser.add_subparsers(required=True)
    step = pieces.add_parser("step")
    add_clock_arguments(step)
    step.add_argument("--precision", choices=("auto", "fp32", "bf16"), required=True)
    step.set_defaults(measure=measure_step)
    run = pieces.add_parser("run")
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--epochs", type=int, required=True)
    run.set_defaults(measure=measure_run)
    pipeline = pieces.add_parser("pipeline")
    pipeline.add_argument("--recipe", required=True)
    pipeline.add_argument("--pairs", type=int, required=True)
    pipeline.add_argument("--block-images", type=int, required=True)
    pipeline.set_defaults(measure=measure_pipeline)
    for piece in (run, pipeline):
        piece.add_argument("--data", type=Path, required=True)
        piece.add_argument("--cache", type=Path, required=True)
    for piece in (step, run, pipeline):
        piece.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    facts: dict[str, Any] = arguments.measure(arguments)
    report(facts | {"versions": describe_versions(), "machine": describe_machine()})


if __name__ == "__main__":
    main()
