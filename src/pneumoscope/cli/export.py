"""``pneumoscope export``: a run becomes one ONNX bundle."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.core.errors import RunError


class Precision(StrEnum):
    """How exactly the bundle computes."""

    FP32 = "fp32"
    INT8 = "int8"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `train` left.")],
    out: Annotated[Path, typer.Option(help="Where to write the bundle, NAME.onnx.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="What RUN was trained on, if it lies elsewhere now."),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="int8 is smaller and quicker, and refused where it answers worse."),
    ] = Precision.FP32,
    name: Annotated[str | None, typer.Option(help="The bundle's name, or the recipe's.")] = None,
    version: Annotated[str | None, typer.Option(help="The bundle's version, or 1.")] = None,
) -> None:
    """Write a run's kept checkpoint as one ONNX bundle, after checking that both agree.

    Temperature, operating points and the atypicality threshold come from the tuning split.
    """
    from pneumoscope.training.run_folder import check_bundle_name, open_run

    check_bundle_name(out)  # before torch loads
    opened = open_run(run)
    place = data or _place_of_data(run, opened.facts["data"])
    from pneumoscope.data.open import open_dataset
    from pneumoscope.training.export import export_bundle

    parity = export_bundle(
        opened, open_dataset(place), out, precision=precision.value, name=name, version=version
    )
    typer.echo(
        f"{out}: largest difference from torch {parity.max_abs_logit:.1e} on {parity.n} pictures, "
        f"{parity.n_bytes / 1e6:.1f} MB"
    )
    if parity.auroc_changed is not None:
        typer.echo(f"AUROC on the changed copies of the tuning split: {parity.auroc_changed:.5f}")
    if parity.auroc_fp32 is not None and parity.auroc_int8 is not None:
        typer.echo(
            f"AUROC on the tuning split: fp32 {parity.auroc_fp32:.4f}, int8 {parity.auroc_int8:.4f}"
        )


def _place_of_data(run: Path, facts: dict[str, object]) -> Path:
    """Return where the run's dataset was when it trained.

    Raises: RunError: the run does not say, or nothing is there now.
    """
    place = facts.get("path")
    if not isinstance(place, str):
        raise RunError(
            f"{run}: run.json does not say where its dataset lies. Give it: --data DATASET"
        )
    if not Path(place).exists():
        raise RunError(
            f"{run}: was trained on {place}, which is no longer there. Give its place: "
            f"--data DATASET"
        )
    return Path(place)
