"""The parts of the benchmark about training: run the pieces in turn, compare what they say."""

import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparison import Bar, Comparison, compare
from benchmarks.options import Options
from benchmarks.processes import PieceError, run_piece
from pneumoscope.models.backbone_recipe import BackboneNetworkRecipe
from pneumoscope.training.recipe_file import load_recipe, recipe_names

Facts = dict[str, Any]


@dataclass
class Record:
    """What has been measured so far."""

    options: Options
    work: Path  # for runs and caches; emptied at the start
    rows: list[Comparison] = field(default_factory=list)
    pieces: list[Facts] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ours(self, piece: str, *words: object) -> Facts:
        """Run a piece of our training."""
        return self.piece("ours", "our_side", piece, *words)

    def piece(self, side: str, module: str, piece: str, *words: object) -> Facts:
        """Run a piece of one of the modules here, in the environment that this runs in."""
        return self._run(side, sys.executable, f"benchmarks.{module}", piece, *words)

    def keras(self, piece: str, *words: object) -> Facts:
        """Run a piece of Keras' side."""
        python = self.options.keras_python.absolute()
        return self._run("keras", python, "benchmarks.keras_side", piece, *words)

    def _run(self, side: str, python: str | Path, module: str, piece: str, *words: object) -> Facts:
        say(f"{side}: {piece} {' '.join(map(str, words))}")
        facts = run_piece(python, module, [piece, *words, "--threads", self.options.n_threads])
        facts |= {"side": side, "piece": piece}
        self.pieces.append(facts)
        return facts


def say(text: str) -> None:
    """Tell the person at the terminal what goes on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def measure_step(record: Record) -> None:
    """(a) The training step of gray-150, both sides in turn, A B A B."""
    options = record.options
    words = ["--warm-up", options.n_warm_up, "--steps", options.n_steps]
    words += ["--limit-s", options.limit_s]
    speed: dict[str, list[float]] = defaultdict(list)
    precision = other = ""
    for repeat in range(options.n_repeats):
        found = record.ours("step", "--precision", "auto", *words)
        precision = found["precision"]
        other = "bf16" if precision == "fp32" else "fp32"
        speed[precision].append(found["images_per_s"])
        speed["keras fp32"].append(_keras_speed(record, "fp32", *words))
        # `auto` passes bf16 by where it is emulated: minutes a repeat, and nothing to learn.
        if precision == "bf16" or repeat == 0:
            found = record.ours("step", "--precision", other, *words)
            speed[other].append(found["images_per_s"])
            speed["keras bf16"].append(_keras_speed(record, "bf16", *words))
            speed["keras bf16, no XLA"].append(_keras_speed(record, "bf16", "--no-xla", *words))
        speed["keras fp32, no XLA"].append(_keras_speed(record, "fp32", "--no-xla", *words))
    record.rows += compare_steps(speed, chosen=precision, other=other)
    record.notes.append(
        f"(a) Batches of 32 held in memory, no augmentation; {options.n_repeats} repeats of up to "
        f"{options.n_steps} steps after {options.n_warm_up} of warm-up, cut short after "
        f"{options.limit_s:g} s; the sides alternate, a process each time. `auto` chose "
        f"{precision} on this machine."
        + (
            " It has no bf16 instructions, so bf16 is emulated on both sides (measured once): a "
            "ratio to Keras' bf16 is no achievement here."
            if precision == "fp32"
            else ""
        )
    )


def compare_steps(speed: dict[str, list[float]], *, chosen: str, other: str) -> list[Comparison]:
    """Return (a)'s rows.

    Args:
        speed: Images/s a repeat, of our precisions and of each variant of Keras.
        chosen: The precision that ``auto`` took.
        other: The other one.
    """

    def row(ours: str, keras: str, bar: Bar | None = None) -> Comparison:
        by_itself = " (auto)" if ours == chosen else ""
        return compare(
            "a",
            f"gray-150 training step, batch 32: ours {ours}{by_itself}; {keras}",
            ours=speed[ours],
            other=speed[keras],
            unit="images/s",
            direction="more_is_better",
            bar=bar,
        )

    return [
        row(chosen, "keras fp32", Bar(kind="at_least", value=2.5)),
        row(chosen, "keras bf16", Bar(kind="more_than", value=1)),
        # `fit` compiles by XLA unless told not to; both ways are shown, so that nobody has to ask.
        row(chosen, "keras fp32, no XLA", Bar(kind="at_least", value=2.5)),
        row(chosen, "keras bf16, no XLA", Bar(kind="more_than", value=1)),
        row(other, f"keras {other}"),
        row(other, f"keras {other}, no XLA"),
    ]


def _keras_speed(record: Record, precision: str, *words: object) -> float:
    return float(record.keras("step", "--precision", precision, *words)["images_per_s"])


def measure_run(record: Record, data: Path) -> None:
    """(b) and (d): five epochs of gray-150 from JPEG files, and the memory they take."""
    options = record.options
    words = ["--data", data, "--epochs", options.n_epochs]
    cache = record.work / "cache-run"
    shutil.rmtree(cache, ignore_errors=True)
    ours = record.ours("run", *words, "--out", record.work / "run", "--cache", cache)
    keras = record.keras("run", *words, "--out", record.work / "run-keras")
    check_same_work(ours, keras)
    record.rows += [
        compare(
            "b",
            f"gray-150, {options.n_epochs} epochs from JPEG files; keras fp32",
            ours=[ours["wall_s"]],
            other=[keras["wall_s"]],
            unit="s",
            direction="less_is_better",
            bar=Bar(kind="at_least", value=3),
        ),
        compare(
            "d",
            "peak memory of that run; keras fp32",
            ours=[ours["peak_memory_mib"]],
            other=[keras["peak_memory_mib"]],
            unit="MiB",
            direction="less_is_better",
        ),
    ]
    record.notes.append(
        f"(b) {ours['n_training']:,} training and {ours['n_tuning']:,} tuning radiographs, the "
        "same files on both sides, with the recipe's augmentation and its plateau schedule; "
        "tuning loss and accuracy every epoch on either side, and AUROC on ours; weights written "
        f"once by Keras, every epoch by us ({ours['precision']}). Time of the whole process from "
        "start to end, imports and our decoded cache included. Keras decodes and augments each "
        "file anew in each epoch, by ImageDataGenerator with its default of one worker."
    )
    record.notes.append(
        "(d) The most resident memory that the process of (b) held, mapped files included; neither "
        "side has child processes."
    )


def check_same_work(ours: Facts, keras: Facts) -> None:
    """Raise PieceError unless both runs went through as many radiographs as often."""
    pairs = (
        ("n_training", "n_training"),
        ("n_tuning", "n_tuning"),
        ("epochs_run", "epochs"),
    )
    for mine, theirs in pairs:
        if ours[mine] != keras[theirs]:
            raise PieceError(
                f"not the same work: our {mine} is {ours[mine]}, Keras' {theirs} {keras[theirs]}"
            )


def measure_pipeline(record: Record, data: Path) -> None:
    """(c) The recipes' steps through the input pipeline, against batches held in memory."""
    options = record.options
    n_steps = {}
    for name in recipes_that_read_pixels():
        found = record.ours(
            "pipeline",
            *("--recipe", name, "--data", data, "--cache", record.work / "cache-pipeline"),
            *("--pairs", options.n_pairs, "--block-images", options.block_images),
        )
        n_steps[name] = found["n_steps_per_block"]
        record.rows.append(compare_pipeline(found))
    shown = ", ".join(f"{name} {count}" for name, count in n_steps.items())
    record.notes.append(
        f"(c) Milliseconds a training step: gather from the decoded cache, augmentation, transfer "
        f"and step, against the step on the same batches made ready before. {options.n_pairs} "
        f"pairs of blocks in turn in one process; steps a block: {shown}, the first and last "
        "of each not counted. Recipes whose backbone is frozen train on its cached maps, and have "
        "no such pipeline."
    )


def recipes_that_read_pixels() -> list[str]:
    """Return the shipped recipes whose training steps begin with pixels, not with cached maps."""
    networks = {name: load_recipe(name).network for name in recipe_names()}
    return [
        name
        for name, network in networks.items()
        if not (isinstance(network, BackboneNetworkRecipe) and network.is_frozen_for_good)
    ]


def compare_pipeline(found: Facts) -> Comparison:
    """Return a recipe's row of (c): here the ratio is a cost, and the bar an upper one."""
    ratios = sorted(found["ratios"])
    middle = len(ratios) // 2
    median = ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2
    return Comparison(
        part="c",
        what=f"{found['recipe']}: through the input pipeline; from memory",
        ours=(found["piped_s"] * 1000,),
        other=(found["held_s"] * 1000,),
        unit="ms",
        ratio=median,
        bar=Bar(kind="at_most", value=1.10),
    )
