"""The figures of docs/gan.md are those of the results that lie in studies/measured/gan."""

import json
from pathlib import Path

import pytest

from pneumoscope.report import synthetic_results as kinds
from pneumoscope.report.results import Measured
from pneumoscope.report.synthetic_results import Spread, SyntheticEvaluation

ROOT = Path(__file__).parents[2]
RUNS = sorted(path.parent for path in (ROOT / "studies/measured/gan").glob("*/synthetic.json"))
PLACE = ["dcgan-64", "dcgan-128", "dcgan-128-zen4"]  # the order of their columns
DIGITS = {
    "Fréchet distance": ("frechet_distance", 1),
    "kernel distance": ("kernel_distance", 3),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "coverage": ("coverage", 3),
}
COPIES = {
    "synthetic": kinds.SAMPLES,
    "real, patients left out one at a time": kinds.LEFT_OUT,
    "the same, blurred by half a pixel": kinds.BLURRED,
    "the same, blurred to the samples' detail (0.60, 0.94 and 0.86 px)": kinds.MATCHED,
    "copies planted on purpose (half a pixel)": kinds.PLANTED,
}


def load(folder: Path) -> SyntheticEvaluation:
    return SyntheticEvaluation.model_validate_json((folder / kinds.SYNTHETIC_FILE).read_text())


def rows() -> dict[str, list[str]]:
    """Return the cells of the page's rows by their first one."""
    lines = (ROOT / "docs/gan.md").read_text(encoding="utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {first: rest for first, *rest in cells}


def spread(found: Spread, digits: int) -> str:
    values = (f"{value:.{digits}f}" for value in (found.mean, found.low, found.high))
    return "{} ({} to {})".format(*values)


def share(found: Measured) -> str:
    value, low, high = (f"{100 * each:.1f}" for each in (found.value, found.low, found.high))
    return "100 %" if value == "100.0" else f"{value} % ({low} to {high})"


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_distances_and_copies_are_published_as_measured(folder: Path) -> None:
    measured, published, place = load(folder), rows(), PLACE.index(folder.name)
    size = f"{measured.gan.size_px}"
    assert folder.name.removesuffix("-zen4") == measured.gan.recipe == f"dcgan-{size}"
    halves = measured.halves.columns
    for words, (name, digits) in DIGITS.items():
        cells = published[words]
        assert cells[place] == spread(halves[kinds.SAMPLES][name], digits)
        assert (
            cells[len(PLACE)].split("; ")[["64", "128"].index(size)]
            == f"{halves[kinds.OTHER_HALF][name].mean:.{digits}f}"
        )
    for words, kind in COPIES.items():
        ours = published[words][2 * place : 2 * place + 2]
        found = [copies.row(kind) for copies in measured.copies]
        assert ours == [share(row.closer) for row in found if row is not None]


@pytest.mark.parametrize(
    ("network", "folder"),
    [("springboard-150", "dcgan-128"), ("springboard-vgg16", "dcgan-128-zen4")],
)
def test_the_synthetic_normals_of_the_arms_are_of_the_dcgan_that_is_published(
    network: str, folder: str
) -> None:
    dcgan = json.loads((ROOT / f"studies/measured/gan/{folder}/run.json").read_text())
    arms = sorted((ROOT / "studies/measured").glob(f"{network}-gan-s*/run.json"))
    assert len(arms) == 3
    samples = [json.loads(path.read_text())["data"]["added"] for path in arms]
    for added in samples:
        assert added["gan"]["run"] == f"{dcgan['recipe']}-s{dcgan['seed']}"
        assert added["gan"]["epochs"] == dcgan["epochs_run"]
        assert added["gan"]["trained_on"] == dcgan["data"]["fingerprint"]
        assert added["is_generator_on_same_training"]
    assert len({added["fingerprint"] for added in samples}) == 1
