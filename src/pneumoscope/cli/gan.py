"""`pneumoscope gan`: train a DCGAN, draw synthetic radiographs with it, and measure them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli.gan_evaluate import evaluate
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
    from pneumoscope.training.gan_run import GanRun

gan_app = typer.Typer(
    name="gan",
    help="Train a DCGAN on radiographs, draw synthetic ones with it, and measure them.",
    no_args_is_help=True,
)
gan_app.command()(evaluate)


@gan_app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="dcgan-64, dcgan-128, or a YAML file.")],
    data: TrainingDataOption,
    out: RunOutOption,
    seed: SeedOption = 0,
    changes: ChangesOption = None,
    resume: ResumeOption = False,
    strict: StrictOption = False,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, or auto.")] = "auto",
) -> None:
    """Train a DCGAN on one class. Ctrl-C stops cleanly; --resume goes on."""
    from pneumoscope.training.gan_recipe_file import load_gan_recipe

    chosen = load_gan_recipe(recipe, changes=changes or [])  # told before torch loads
    from pneumoscope.data.open import open_dataset
    from pneumoscope.training.gan import train_gan

    dataset = open_dataset(data)
    with stops_cleanly(kept_epoch(out)):
        run = train_gan(
            chosen,
            dataset,
            out,
            seed=seed,
            resume=resume,
            strict=strict,
            accelerator=accelerator,
        )
    _print_run(run)


def _print_run(run: "GanRun") -> None:
    """Say what was trained, what was left out, whether it collapsed, and what comes next."""
    facts = run.facts
    for left in facts["data"]["left_out"][:10]:
        typer.echo(f"left out: {left['path']}: {left['reason']}", err=True)
    for reason, epochs in facts["collapse"].items():
        if epochs:
            typer.echo(f"{reason.replace('_', ' ')} in {len(epochs)} epochs: {epochs}", err=True)
    typer.echo(
        f"{run.path}: {run.name}, {facts['epochs_run']} epochs on "
        f"{facts['data']['n_training']:,} radiographs in {facts['seconds']:.0f} s. "
        f"Next: look at {run.grid_path(facts['epochs_run'])}, then "
        f"pneumoscope gan sample {run.path} --count 2500 --seed 0 --out DIR"
    )


@gan_app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="The folder that `gan train` left.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")],
    out: Annotated[Path, typer.Option(help="Folder for the PNGs and manifest.csv.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other samples.")] = 0,
) -> None:
    """Draw synthetic radiographs. They may be added to a training split, and to nothing else."""
    from pneumoscope.training.gan_sample import sample_gan

    manifest = sample_gan(run, count=count, seed=seed, out=out)
    typer.echo(
        f"{manifest}: {count:,} synthetic radiographs, marked as generated. "
        f"Train with them: pneumoscope train RECIPE --data D --added {out}"
    )
