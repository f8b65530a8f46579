"""The parts of the benchmark about `predict`: files to answers, pipeline, cold start, memory."""

import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparison import Bar, Comparison, compare, measure_alone
from benchmarks.parts import Facts, Record, say
from benchmarks.pictures import EXAMPLES, repeat_pictures
from benchmarks.processes import time_command

_N_WARM_UP = 16  # files; a batch of torch's
_N_DISTINCT = 16
_TORCH_BATCH = 32
_OWN_LIMIT_S = 60  # for a machine that is far too slow
Speed = Mapping[str, Sequence[float]]


def measure_predict(record: Record) -> None:
    """Measure (e) to (h)."""
    measure_files(record)
    measure_pipeline(record)
    measure_cold_start(record)
    measure_memory(record)


def measure_files(record: Record) -> None:
    """(e) Files to answers, each side in turn."""
    options = record.options
    folder = _folder(record, options.n_files)
    words = ["--folder", folder, "--steps", options.n_files - _N_WARM_UP]
    own = [*words, "--warm-up", _N_WARM_UP, "--limit-s", _OWN_LIMIT_S]
    single = [*words, "--warm-up", _N_WARM_UP, "--limit-s", options.files_limit_s]
    batches = [*words, "--warm-up", 1, "--limit-s", options.files_limit_s]
    speed: dict[str, list[float]] = defaultdict(list)

    def add(name: str, facts: Facts) -> None:
        speed[name].append(facts["images_per_s"])

    for repeat in range(options.n_repeats):
        add("ours", _predict(record, "files", *own))
        add("keras", record.keras("files", *single))
        add("ours, --fast-decode", _predict(record, "files", *own, "--fast-decode"))
        add("keras, no XLA", record.keras("files", *single, "--no-xla"))
        if options.int8_bundle:
            fast = [*own, "--fast-decode", "--bundle", options.int8_bundle.absolute()]
            add("ours int8, --fast-decode", record.piece("ours", "predict_side", "files", *fast))
        add("torch", _torch(record, *batches, decoders=options.n_threads))
        if repeat == 0 and options.n_threads > 1:
            add("torch, decoding in one thread", _torch(record, *batches, decoders=1))
    record.rows += compare_files(speed)
    record.notes.append(
        f"(e) {_N_DISTINCT} full-resolution JPEGs under {options.n_files:,} names, in the page "
        f"cache. Files/s without imports and the first {_N_WARM_UP} files, a process each time, in "
        f"turn; the other sides are cut short after {options.files_limit_s:g} s. Ours: "
        "`predict_many`, with hash, map, regions, warnings and atypicality. Keras: `load_img` to "
        "150 px and `model.predict`, a file at a time, with gray-150's network, as `compile` comes "
        "and without XLA; the bars are against the faster. torch: EfficientNet-Lite0 of timm, "
        f"eager, fp32, batches of {_TORCH_BATCH} at 224 px, the logit alone."
    )


def compare_files(speed: Speed) -> list[Comparison]:
    """Return (e)'s rows: against Keras' faster way the bars, against the other none.

    Args:
        speed: Files/s a repeat. Keys: "ours", "ours, --fast-decode", maybe "ours int8,
            --fast-decode"; "keras", "keras, no XLA"; "torch", maybe another torch.
    """
    quickest = next(
        name for name in ("ours int8, --fast-decode", "ours, --fast-decode") if name in speed
    )
    at_least = {"ours": 5.0, quickest: 8.0}
    ours = [name for name in speed if name.startswith("ours")]
    keras = [name for name in speed if name.startswith("keras")]
    faster = max(keras, key=lambda name: statistics.median(speed[name]))

    def row(mine: str, other: str, value: float | None) -> Comparison:
        return compare(
            "e",
            f"files to answers: {mine}; {other}",
            ours=speed[mine],
            other=speed[other],
            unit="files/s",
            direction="more_is_better",
            bar=None if value is None else Bar(kind="at_least", value=value),
        )

    rows = [row(mine, faster, at_least.get(mine)) for mine in ours]
    rows += [row("ours", other, None) for other in keras if other != faster]
    for other in (name for name in speed if name.startswith("torch")):
        rows.append(row("ours", other, 2.0 if other == "torch" else None))
    return rows


def measure_pipeline(record: Record) -> None:
    """(f) What the pipeline makes of both cores, and how far the answers move."""
    options = record.options
    folder = _folder(record, options.n_block_files)
    words = ["--folder", folder, "--rounds", options.n_rounds, "--distinct", _N_DISTINCT]
    record.rows.append(compare_pipeline(_predict(record, "pipeline", *words)))
    answers = _predict(record, "answers", "--folder", _folder(record, _N_DISTINCT))
    record.rows += compare_answers(answers)
    moved = sorted(answers["change_squeezed"])
    record.notes.append(
        f"(f) {options.n_rounds} rounds of decoding alone (d files/s), inference alone on decoded "
        f"pictures (i) and `predict_many`, {options.n_block_files} files each, "
        f"{options.n_threads} workers. Against is 1 / (1/d + 1/i), what decoding and inference "
        "leave where they share the cores without loss; the ratio is the median of the rounds'. "
        f"Probabilities: {_N_DISTINCT} files through the bundle "
        f"{answers['bundle']['name']} {answers['bundle']['version']}; squeezed by Pillow to "
        f"{answers['size_px']} px (rounded to whole gray levels), the median change is "
        f"{statistics.median(moved):.4f}."
    )


def compare_pipeline(found: Facts) -> Comparison:
    """Return the pipeline's row."""
    speed = found["files_per_s"]
    ideal = [
        1 / (1 / decode + 1 / inference)
        for decode, inference in zip(speed["decode"], speed["inference"], strict=True)
    ]
    decode, inference = (statistics.median(speed[name]) for name in ("decode", "inference"))
    return Comparison(
        part="f",
        what=f"`predict_many`; 1 / (1/d + 1/i), d = {decode:.0f}, i = {inference:.0f}",
        ours=tuple(speed["both"]),
        other=tuple(ideal),
        unit="files/s",
        ratio=statistics.median(found["ratios"]),
        bar=Bar(kind="at_least", value=0.85),
    )


def compare_answers(found: Facts) -> list[Comparison]:
    """Return how far the probability moves at most."""
    return [
        measure_alone(
            "f",
            "largest change of a probability by `--fast-decode`",
            values=[max(found["change_fast"])],
            bar=Bar(kind="less_than", value=0.01, of="ours"),
        ),
        measure_alone(
            "f",
            f"largest change of a probability by squeezing to {found['size_px']} px beforehand",
            values=[max(found["change_squeezed"])],
        ),
    ]


def measure_cold_start(record: Record) -> None:
    """(g) From nothing to one answer."""
    options = record.options
    folder = _folder(record, _N_DISTINCT)
    program = Path(sys.executable).with_name("pneumoscope")
    command = [str(program), "predict", str(min(folder.iterdir()))]
    command += ["--bundle", str(options.bundle.absolute())] if options.bundle else []
    say(f"ours: {' '.join(command)}")
    ours = [time_command(command) for _ in range(options.n_cold_starts + 1)][1:]
    keras = [
        float(record.keras("first", "--folder", folder)["first_answer_s"])
        for _ in range(options.n_repeats)
    ]
    record.rows.append(
        compare(
            "g",
            "one file in a new process; keras, from its import",
            ours=ours,
            other=keras,
            unit="s",
            direction="less_is_better",
            bar=Bar(kind="less_than", value=1.2, of="ours"),
        )
    )
    record.notes.append(
        f"(g) `pneumoscope predict FILE`, the whole process, {options.n_cold_starts} times after "
        "one that fills the page cache. Keras: from `import keras` to the first answer, by a "
        "network with random weights: neither the start of Python nor a saved model is counted."
    )


def measure_memory(record: Record) -> None:
    """(h) Peak memory of few files and of many."""
    options = record.options
    counts = (options.n_few_files, options.n_memory_files)
    few, many = (
        float(_predict(record, "memory", "--folder", _folder(record, n))["peak_memory_mib"])
        for n in counts
    )
    record.rows.append(compare_memory(few, many, counts=counts))
    record.notes.append(
        "(h) The most resident memory (VmHWM) of a new process that runs `pneumoscope predict "
        "FOLDER --format jsonl`."
    )


def compare_memory(few: float, many: float, *, counts: tuple[int, int]) -> Comparison:
    """Return how much more memory many files take than few, in MiB."""
    return measure_alone(
        "h",
        f"peak memory for {counts[1]:,} files ({many:,.0f} MiB) above that for {counts[0]:,} "
        f"({few:,.0f} MiB)",
        values=[many - few],
        unit="MiB",
        bar=Bar(kind="at_most", value=30, of="ours"),
    )


def _predict(record: Record, piece: str, *words: object) -> Facts:
    """Run a piece of our side with the bundle that was asked for."""
    bundle = record.options.bundle
    more = ["--bundle", bundle.absolute()] if bundle else []
    return record.piece("ours", "predict_side", piece, *words, *more)


def _torch(record: Record, *words: object, decoders: int) -> Facts:
    return record.piece("torch", "torch_side", "files", *words, "--decoders", decoders)


def _folder(record: Record, n_files: int) -> Path:
    """Return the folder of so many files, made when it is first asked for."""
    folder = record.work / f"pictures-{n_files}"
    if not folder.exists():
        pictures = record.options.pictures or EXAMPLES
        repeat_pictures(pictures, folder, n_files=n_files)
    return folder
