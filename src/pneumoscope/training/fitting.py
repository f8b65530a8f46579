"""Train a detector: from a recipe and a dataset to a run folder."""

import datetime as dt
import logging
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from pneumoscope.data.dataset import Dataset
from pneumoscope.data.predictions import make_predictions
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.training.added_data import (
    check_added,
    check_finished,
    check_same_added,
    with_added,
)
from pneumoscope.training.batches import EpochOrder, evaluation_loader, training_loader
from pneumoscope.training.checkpoint_io import DurableCheckpointIO, read_checkpoint
from pneumoscope.training.classifier import Classifier, balanced_class_weights
from pneumoscope.training.devices import check_devices
from pneumoscope.training.epoch_weights import EpochStore
from pneumoscope.training.inference import load_network, predict_pixels, sigmoid
from pneumoscope.training.keeper import EpochKeeper
from pneumoscope.training.machine import Precision, choose_precision, keep_freed_memory, note_start
from pneumoscope.training.networks import check_network
from pneumoscope.training.progress import TrainingProgress
from pneumoscope.training.quiet_lightning import quiet_lightning
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.run_data import RunData, prepare_data
from pneumoscope.training.run_folder import RUN_SCHEMA, RunFolder, open_run
from pneumoscope.training.run_state import (
    FACTS_FILE,
    check_same_radiographs,
    check_same_rows,
    has_run,
    hold_folder,
    other_experiment,
)

if TYPE_CHECKING:
    from pneumoscope.training.features import Features

_log = logging.getLogger(__name__)


def fit(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    strict: bool = False,
    added: Path | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    strategy: str = "auto",
    cache_folder: Path | None = None,
    show_progress: bool = True,
    store_epochs: bool = False,
) -> RunFolder:
    """Train by a recipe and return the finished run.

    A run that is killed, or stopped with Ctrl-C, leaves its last whole epoch; with ``resume`` it
    goes on from there and ends in the same weights, bit for bit on a CPU, as one that was left
    alone.

    Args:
        recipe: The experiment.
        dataset: Its radiographs; the test split stays untouched.
        out: The run folder; new or empty unless ``resume``.
        seed: Decides initial weights, order, augmentation and dropout.
        resume: Go on with the run in ``out``; begin it where there is none yet.
        strict: Refuse a dataset in which a radiograph can't be read, instead of leaving it out.
        added: The folder of generated images that train too, where the recipe has such.
        accelerator: As Lightning's Trainer has it: "cpu", "gpu", "auto".
        devices: How many, as Lightning's Trainer has it.
        strategy: How several devices share a step, such as "ddp".
        cache_folder: Where decoded caches lie, instead of the platform's place.
        show_progress: Draw progress bars on stderr.
        store_epochs: Keep every epoch's weights in ``checkpoints``; see `epoch_weights`.

    Raises:
        UsageError: the recipe needs ``added`` and it is missing, or has no use for it; ``out`` is
            a file; there are no such devices here.
        RecipeError: the backbone can't be built as the recipe says.
        WeightsError: its pretrained weights can't be had, or are of another architecture.
        RunError: ``out`` is in use, or holds another experiment or one on other radiographs.
        DivergedError: the loss became NaN; the last good checkpoint stays.
        SplitError, DatasetError: the dataset can't be used.
        StorageError: the disk is full; the last good checkpoint stays.
        KeyboardInterrupt: stopped by the user; the last whole epoch is kept.
    """
    check_added(recipe, added)
    is_on_gpu = check_devices(accelerator, devices, strategy)
    # Before minutes of decoding. A begun run's checkpoint brings its weights.
    check_network(recipe, is_pretrained=not (out / FACTS_FILE).is_file())
    keep_freed_memory()
    # With several devices Lightning starts this program anew for each: only the first one writes.
    is_writer = getattr(rank_zero_only, "rank", 0) == 0
    with hold_folder(out) if is_writer else nullcontext():
        earlier = _check_folder(out, recipe, seed=seed, resume=resume) if is_writer else None
        options: dict[str, Any] = {"cache_folder": cache_folder, "show_progress": show_progress}
        data = prepare_data(recipe, dataset, strict=strict, **options)
        if earlier is not None:
            # A finished run's, too: it is no result on the radiographs that are given now.
            check_same_radiographs(out, before=earlier.facts["data"], now=data.facts)
            if earlier.facts["state"] == "finished":
                check_finished(earlier, added, cache_folder=cache_folder)
                _tell_of_other_words(earlier, recipe)
                _log.info("%s is finished already; nothing to do", out)
                return earlier
            check_same_rows(out, before=earlier.facts["data"], now=data.facts)
        data = with_added(data, recipe, dataset, folder=added, seed=seed, **options)
        run = _begin(
            out,
            recipe,
            data,
            seed=seed,
            earlier=earlier,
            is_writer=is_writer,
            precision=choose_precision(recipe.training.precision, is_on_gpu=is_on_gpu),
        )
        _train(
            run,
            data,
            trainer_options={
                "accelerator": accelerator,
                "devices": devices,
                "strategy": strategy,
                "enable_progress_bar": False,
            },
            show_progress=show_progress,
            cache_folder=cache_folder,
            store_epochs=store_epochs,
        )
        return run


def _train(
    run: RunFolder,
    data: RunData,
    *,
    trainer_options: dict[str, Any],
    show_progress: bool,
    cache_folder: Path | None,
    store_epochs: bool,
) -> None:
    """Run Lightning's loop, and record how it ended, whatever happens."""
    recipe, seed = run.recipe, int(run.facts["seed"])
    weights = (1.0, 1.0)
    if recipe.training.class_weights == "balanced":
        weights = balanced_class_weights(data.training_target)
    keeper = EpochKeeper(run.path, recipe.training)
    checkpoint = keeper.last_checkpoint if keeper.last_checkpoint.exists() else None
    module = Classifier(
        recipe,
        seed=seed,
        class_weights=weights,
        n_rows=data.n_own,
        n_added=len(data.target) - data.n_own,
        is_pretrained=checkpoint is None,
    )
    module.to(memory_format=torch.channels_last)
    run.facts |= {
        "n_parameters": sum(p.numel() for p in module.network.parameters())
        + sum(b.numel() for n, b in module.network.named_buffers() if "running_" in n),
        "n_trainable": sum(p.numel() for p in module.network.parameters() if p.requires_grad),
    }
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        keeper.load_state_dict(state["callbacks"][keeper.state_key])
        # Lightning loads it again, but a frozen backbone's maps are asked for before that.
        module.load_state_dict(state["state_dict"])
    run.facts["state"] = "running"
    note_start(run.facts, n_epochs=len(keeper.history))
    run.write_facts()
    started_s = time.monotonic()
    # A kill leaves what run.json said when that start began; the epochs' own times are kept.
    earlier_s = max(run.facts["seconds"], sum(row["seconds"] for row in keeper.history))
    try:
        if not keeper.is_finished:
            _fit_with_lightning(
                module,
                data,
                run,
                keeper,
                trainer_options,
                checkpoint,
                show_progress,
                cache_folder,
                store_epochs,
            )
    except BaseException:
        run.facts["state"] = "stopped"
        raise
    finally:
        run.facts |= _outcome(keeper) | {
            "seconds": round(earlier_s + time.monotonic() - started_s, 1)
        }
        run.write_facts()
    if run.is_writer:
        keeper.write_history()  # a kill may have come between the last checkpoint and it
        _answer_tuning(run, data)
    run.facts["state"] = "finished"
    run.write_facts()


def _fit_with_lightning(
    module: Classifier,
    data: RunData,
    run: RunFolder,
    keeper: EpochKeeper,
    trainer_options: dict[str, Any],
    checkpoint: Path | None,
    show_progress: bool,
    cache_folder: Path | None,
    store_epochs: bool,
) -> None:
    """Train until the recipe's end, an early stop, or an error."""
    training = run.recipe.training
    callbacks: list[pl.Callback] = [EpochStore(run.path), keeper] if store_epochs else [keeper]
    if show_progress and run.is_writer:
        callbacks.append(TrainingProgress(keeper))
    with quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=training.epochs,
            precision="bf16-mixed" if run.facts["precision"] == "bf16" else "32-true",
            callbacks=callbacks,
            logger=TensorBoardLogger(run.path, name="", version="tensorboard"),
            plugins=[DurableCheckpointIO()],
            enable_checkpointing=False,  # EpochKeeper writes them
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # StepSampler shares each step out itself
            log_every_n_steps=1,
            **trainer_options,
        )
        order = EpochOrder(
            data.training, data.training_target, training=training, seed=int(run.facts["seed"])
        )
        features = _features(
            module,
            data,
            device=trainer.strategy.root_device,
            cache_folder=cache_folder,
            show_progress=show_progress and run.is_writer,
        )
        loader = training_loader(
            data.pixels,
            data.target,
            subtype=data.subtype,
            order=order,
            rank=trainer.global_rank,
            n_processes=trainer.world_size,
            features=features,
        )
        tuning = evaluation_loader(data.cache.pixels, data.target, data.tuning, features=features)
        try:
            trainer.fit(module, loader, tuning, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as error:
            # Lightning ends the process on Ctrl-C; a library must leave that to its caller.
            raise KeyboardInterrupt from error
        if trainer.interrupted:
            raise KeyboardInterrupt


def _features(
    module: Classifier,
    data: RunData,
    *,
    device: torch.device,
    cache_folder: Path | None,
    show_progress: bool,
) -> "Features | None":
    """Return the backbone's maps where they stay the same in every epoch."""
    network = module.recipe.network
    if not (isinstance(network, BackboneNetworkRecipe) and network.is_frozen_for_good):
        return None
    # Here, not above: timm takes a second to import, and the CNNs of the sources need none of it.
    from pneumoscope.training.features import has_constant_features, open_features

    if not has_constant_features(module.recipe):
        return None
    return open_features(
        module.network,
        module.recipe,
        data,
        device=device,
        cache_folder=cache_folder,
        show_progress=show_progress,
    )


def _answer_tuning(run: RunFolder, data: RunData) -> None:
    """Write the kept epoch's answers on the tuning split."""
    logit = predict_pixels(load_network(run), data.cache.pixels[data.tuning])
    table = data.cache.manifest.table[data.tuning.tolist()]
    answers = make_predictions(table, logit=logit, probability=sigmoid(logit))
    answers.write(run.predictions_path("tuning"))


def _begin(
    out: Path,
    recipe: Recipe,
    data: RunData,
    *,
    seed: int,
    earlier: RunFolder | None,
    is_writer: bool,
    precision: Precision,
) -> RunFolder:
    """Write recipe.yaml and the first run.json, or take the earlier ones up."""
    if earlier is not None:
        check_same_added(earlier, data.facts.get("added"))
        # What describes the run, or decides something after training, is as it was given last.
        run = RunFolder(out, recipe=recipe, facts=earlier.facts, is_writer=is_writer)
        run.write_recipe()
        return run
    run = RunFolder(
        out,
        recipe=recipe,
        facts={
            "schema": RUN_SCHEMA,
            "recipe": recipe.name,
            "seed": seed,
            "state": "running",
            "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "precision": precision,
            "channels_last": True,
            "data": data.facts,
        },
        is_writer=is_writer,
    )
    run.write_recipe()
    run.write_facts()
    return run


def _check_folder(out: Path, recipe: Recipe, *, seed: int, resume: bool) -> RunFolder | None:
    """Return the run that ``out`` holds, if it is this one and may go on."""
    if not has_run(out, resume=resume):
        return None
    earlier = open_run(out, needs_finished=False)
    # What only describes an experiment may be worded anew while it runs.
    is_same = recipe_sha256(earlier.recipe) == recipe_sha256(recipe)
    if not is_same or earlier.facts["seed"] != seed:
        raise other_experiment(out, earlier.name)
    return earlier


def _tell_of_other_words(run: RunFolder, recipe: Recipe) -> None:
    """Warn that a finished run keeps what it says of itself, and how it is calibrated."""
    before, now = run.recipe.model_dump(), recipe.model_dump()
    others = [key for key in now if before[key] != now[key]]
    if others:
        _log.warning(
            "%s is finished, and its %s as it was; what is given now does not reach it. Change its "
            "recipe.yaml and run `pneumoscope export`, where a bundle is to have it.",
            run.path,
            f"{', '.join(others)} {'stay' if len(others) > 1 else 'stays'}",
        )


def _outcome(keeper: EpochKeeper) -> dict[str, Any]:
    """Return what run.json says of the epochs."""
    speeds = [row["images_per_s"] for row in keeper.history]
    return {
        "epochs_run": len(keeper.history),
        "best_epoch": keeper.best_epoch,
        "selected_checkpoint": keeper.keep.epoch,
        "images_per_s": statistics.median(speeds) if speeds else None,
    }
