"""A trained run becomes one file that answers the same everywhere: the bundle."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from pneumoscope.core.errors import ExportError, RunError
from pneumoscope.core.files import write_bytes, write_text
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.progress import progress_bar
from pneumoscope.detector.card import METADATA_KEY
from pneumoscope.metrics.calibration import Calibration
from pneumoscope.metrics.curves import auroc
from pneumoscope.training.atypicality import fit_atypicality
from pneumoscope.training.bundle_graph import (
    BundleModule,
    bundle_graph,
    module_graph,
    set_metadata,
)
from pneumoscope.training.export_card import make_card
from pneumoscope.training.export_checks import Parity, check_graph, compare
from pneumoscope.training.export_tuning import (
    TuningAnswers,
    answer_tuning,
    check_tuning,
    choose,
    gray_batches,
)
from pneumoscope.training.inference import load_network
from pneumoscope.training.machine import keep_freed_memory
from pneumoscope.training.quantise import quantise
from pneumoscope.training.run_data import RunData, prepare_data
from pneumoscope.training.run_folder import RunFolder, check_bundle_name
from pneumoscope.training.run_state import difference_in_data

_log = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
MAX_AUROC_FALL = 0.002  # of int8 against fp32, on the tuning split
_N_FOR_ATYPICALITY = 400  # training radiographs, and two changed copies of each
_N_FOR_INT8 = 200  # tuning radiographs whose activations give the ranges


def export_bundle(
    run: RunFolder,
    dataset: Dataset,
    out: Path,
    *,
    precision: Precision = "fp32",
    name: str | None = None,
    version: str | None = None,
    cache_folder: Path | None = None,
    show_progress: bool = True,
) -> Parity:
    """Write a run's kept checkpoint as ``NAME.onnx``, and ``NAME.onnx.sha256`` beside it.

    Temperature, bias (Platt), operating points and the atypicality threshold (its 98th percentile)
    are chosen on the tuning split, or on it and changed copies of it where the recipe's
    ``calibration`` says so, by the answers of the very graph that is written: an int8 bundle gets
    its own, not those of fp32. Atypicality is fitted to at most 400 training radiographs, evenly
    spaced. The test split is not read.

    Before anything is written, the graph in fp32 is compared with torch on 16 radiographs of the
    tuning split in four sizes each. The same run gives the same bytes.

    Args:
        run: A finished run.
        dataset: What it was trained on.
        out: The file to write, ending in ``.onnx``.
        precision: ``int8`` quantises the backbone alone.
        name: Of the bundle, by default the recipe's.
        version: Of the bundle, by default "1".
        cache_folder: Where decoded caches lie, instead of the platform's place.
        show_progress: Draw a progress bar on stderr.

    Raises:
        UsageError: ``out`` does not end in ``.onnx``.
        RunError: the checkpoint or predictions-tuning.csv is missing or damaged, or the dataset is
            not the one that the run was trained on.
        DatasetError, SplitError: the dataset can't be used.
        ExportError: the graph differs from torch by more than 1e-3 in a logit, is not valid, or
            int8 costs more than 0.002 of the tuning AUROC. Nothing is written.
        StorageError: the disk is full, or the folder can't be written.
    """
    check_bundle_name(out)
    keep_freed_memory()
    with progress_bar("Exporting", 6, show=show_progress) as advance:
        network = load_network(run)
        data = _open_data(run, dataset, cache_folder)
        advance(1)
        atypicality = fit_atypicality(
            network,
            gray_batches(data.cache.pixels, evenly_spaced(data.training, _N_FOR_ATYPICALITY)),
        )
        advance(1)
        module = BundleModule(
            network, calibration=Calibration(temperature=1, bias=0), atypicality=atypicality
        )
        graph = module_graph(module)
        advance(1)
        bundle, parity = _finish(
            run,
            dataset,
            data,
            module,
            graph,
            precision=precision,
            names=(name, version),
            advance=advance,
        )
    content = bundle.SerializeToString(deterministic=True)
    write_bytes(out, content)
    write_text(
        out.with_name(f"{out.name}.sha256"), f"{hashlib.sha256(content).hexdigest()}  {out.name}\n"
    )
    _log.info("%s: %d bytes", out, len(content))
    return replace(parity, n_bytes=len(content))


def evenly_spaced(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return at most ``n`` of the rows, in order; of a table sorted by class, both classes."""
    if len(rows) <= n:
        return rows
    return rows[np.linspace(0, len(rows) - 1, n).round().astype(np.int64)]


def _finish(
    run: RunFolder,
    dataset: Dataset,
    data: RunData,
    module: BundleModule,
    graph: onnx.ModelProto,
    *,
    precision: Precision,
    names: tuple[str | None, str | None],
    advance: Callable[[int], None],
) -> tuple[onnx.ModelProto, Parity]:
    """Calibrate and check the graph in fp32, then again in int8 where asked for."""
    recipe, seed, side = run.recipe, int(run.facts["seed"]), run.recipe.input.size_px
    answers = answer_tuning(graph, data, recipe, seed)
    check_tuning(answers, run, data)
    choices = choose(answers)
    advance(1)
    module.set_calibration(choices.calibration)
    bundle = bundle_graph(graph, size_px=side, calibration=choices.calibration)
    map_size = module.map_size_px()
    check_graph(bundle, map_size_px=map_size)
    parity = compare(bundle, module, dataset, _rows_to_compare(data))
    parity = replace(parity, auroc_changed=_auroc_changed(answers))
    advance(1)
    if precision == "int8":
        graph = quantise(
            graph, gray_batches(data.cache.pixels, evenly_spaced(data.tuning, _N_FOR_INT8))
        )
        rounded = answer_tuning(graph, data, recipe, seed)
        before, after = _check_fall(answers, rounded)
        parity = replace(parity, auroc_fp32=before, auroc_int8=after)
        choices = choose(rounded)
        bundle = bundle_graph(graph, size_px=side, calibration=choices.calibration)
        check_graph(bundle, map_size_px=map_size)
    card = make_card(
        run,
        data,
        choices,
        name=names[0],
        version=names[1],
        precision=precision,
        is_pooled_linear=module.network.pooling == "mean" and len(module.network.dense) == 0,
    )
    set_metadata(bundle, {METADATA_KEY: card.model_dump_json()})
    advance(1)
    return bundle, parity


def _open_data(run: RunFolder, dataset: Dataset, cache_folder: Path | None) -> RunData:
    """Return the run's radiographs. Raises: RunError: the dataset has others, or other roles."""
    data = prepare_data(
        run.recipe, dataset, cache_folder=cache_folder, strict=False, show_progress=False
    )
    difference = difference_in_data(run.facts["data"], data.facts)
    if difference is not None:
        raise RunError(
            f"{run.path}: was trained {difference} than {dataset.name} has. Give the dataset that "
            "it was trained on, as it was then."
        )
    return data


def _rows_to_compare(data: RunData) -> NDArray[np.int64]:
    """Return rows to take pictures from, first of tuning, then of training."""
    spread = evenly_spaced(data.tuning, 24)  # some of which may have become unreadable
    return np.concatenate([spread, np.setdiff1d(data.tuning, spread), data.training])


def _auroc_changed(answers: TuningAnswers) -> float | None:
    """Return the AUROC over all changed copies together; None without any."""
    copies = answers.changed_logit
    if len(copies) == 0:
        return None
    return auroc(copies.reshape(-1), np.tile(answers.target, len(copies)))


def _check_fall(fp32: TuningAnswers, int8: TuningAnswers) -> tuple[float, float]:
    """Return both AUROCs. Raises: ExportError: int8's is too much lower."""
    before, after = auroc(fp32.logit, fp32.target), auroc(int8.logit, int8.target)
    if not before - after <= MAX_AUROC_FALL:
        raise ExportError(
            f"int8 lowers the AUROC on the tuning split from {before:.4f} to {after:.4f}, by more "
            f"than {MAX_AUROC_FALL}; no bundle is written. Export in fp32."
        )
    return before, after
