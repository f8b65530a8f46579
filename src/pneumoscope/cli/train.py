"""`pneumoscope train`: a recipe and a dataset become a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope.cli.options import (
    ChangesOption,
    ResumeOption,
    RunOutOption,
    SeedOption,
    StrictOption,
    TrainingDataOption,
    kept_epoch,
    stops_cleanly,
)

if TYPE_CHECKING:
    from pneumoscope.data.dataset import Dataset
    from pneumoscope.training.run_folder import RunFolder


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    data: TrainingDataOption,
    out: RunOutOption,
    seed: SeedOption = 0,
    changes: ChangesOption = None,
    resume: ResumeOption = False,
    strict: StrictOption = False,
    added: Annotated[
        Path | None,
        typer.Option(help="Generated images that train too: the folder that `gan sample` wrote."),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, or auto.")] = "auto",
    devices: Annotated[str, typer.Option(help="How many devices, or auto.")] = "auto",
    strategy: Annotated[str, typer.Option(help="How devices share a step: auto, ddp.")] = "auto",
    store_epochs: Annotated[
        bool, typer.Option("--store-epochs", help="Keep every epoch's weights, not two alone.")
    ] = False,
    has_bundle: Annotated[
        bool, typer.Option("--bundle/--no-bundle", help="End with the run's bundle.onnx, or not.")
    ] = True,
) -> None:
    """Train a detector, and export it. Ctrl-C stops cleanly; --resume goes on."""
    from pneumoscope.training.recipe_file import load_recipe

    chosen = load_recipe(recipe, changes=changes or [])  # a wrong recipe is told before torch loads
    from pneumoscope.data.open import open_dataset
    from pneumoscope.training.fitting import fit

    dataset = open_dataset(data)
    with stops_cleanly(kept_epoch(out)):
        run = fit(
            chosen,
            dataset,
            out,
            seed=seed,
            resume=resume,
            strict=strict,
            added=added,
            accelerator=accelerator,
            devices=int(devices) if devices.isdecimal() else devices,
            strategy=strategy,
            store_epochs=store_epochs,
        )
    if not run.is_writer:
        return  # one of several processes that train together speaks for all
    data_facts = run.facts["data"]
    for left in data_facts["left_out"][:10]:
        typer.echo(f"left out: {left['path']}: {left['reason']}", err=True)
    typer.echo(
        f"{run.path}: {run.name}, {run.facts['epochs_run']} epochs on "
        f"{data_facts['n_training']:,} radiographs{_describe_added(data_facts.get('added'))} in "
        f"{run.facts['seconds']:.0f} s, "
        f"{len(data_facts['left_out'])} left out. "
        f"Next: pneumoscope evaluate {run.path} --data {data}"
    )
    if has_bundle:
        _export(run, dataset)


def _describe_added(facts: "dict[str, Any] | None") -> str:
    return "" if facts is None else f" and {facts['count']:,} {facts['kind']} ones"


def _export(run: "RunFolder", dataset: "Dataset") -> None:
    """Write the run's bundle. If that fails, the run is still a run: it is told."""
    from pneumoscope.core.errors import DatasetError, ExportError, RunError
    from pneumoscope.training.export import export_bundle
    from pneumoscope.training.run_folder import BUNDLE_FILE

    path = run.path / BUNDLE_FILE
    if path.exists():
        return  # of this very run, which had ended before
    try:
        parity = export_bundle(run, dataset, path)
    except (ExportError, DatasetError, RunError) as error:
        typer.echo(f"no bundle was written: {error}", err=True)
        return
    typer.echo(
        f"{path}: {parity.n_bytes / 1e6:.1f} MB, largest difference from torch "
        f"{parity.max_abs_logit:.1e}"
    )
