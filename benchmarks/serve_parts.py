"""The part of the benchmark about `serve`: latency, throughput, and many clients."""

import statistics
from pathlib import Path

from benchmarks.comparison import Bar, Comparison, measure_alone
from benchmarks.parts import Facts, Record
from benchmarks.pictures import EXAMPLES, repeat_pictures
from benchmarks.serve_side import SIZE_PX

N_DISTINCT = 16
N_CLIENTS = 32
N_MANY_CLIENTS = 100


def measure_serve(record: Record) -> None:
    """Measure (i), (j) and (k)."""
    options = record.options
    rounds = ["--rounds", options.n_rounds]
    folder = pictures_folder(record, options.n_block_files)
    latency = _piece(record, "latency", folder, *rounds, "--requests", options.n_latency_requests)
    throughput = _piece(record, "throughput", folder, *rounds, "--clients", N_CLIENTS)
    many = _piece(
        record,
        "many",
        folder,
        *("--requests", options.n_serve_requests, "--clients", N_MANY_CLIENTS),
    )
    record.rows += [
        compare_latency(latency),
        compare_throughput(throughput),
        *compare_many(many),
    ]
    record.notes += [
        f"(i) One client, one connection, a JPEG of {SIZE_PX[0]} x {SIZE_PX[1]} pixels "
        f"({latency['bytes'] / 1000:.0f} kB); against `Detector.predict` on the same bytes in the "
        f"load generator's process. {options.n_rounds} rounds of {options.n_latency_requests} "
        "each, in turn; the ratio is the median of the rounds', and a cost.",
        f"(j) {N_CLIENTS} clients post {options.n_block_files} full-resolution JPEGs, a file a "
        f"request; against `predict_many` on the same files, {options.n_threads} workers on either "
        "side, in turn. The load generator shares the cores with the server.",
        f"(k) {many['n_requests']:,} requests from {N_MANY_CLIENTS} clients at once "
        f"({many['files_per_s']:.0f} files/s). Wrong is what is refused, another file's, or in any "
        "value not what `predict` says. Memory is that of the server and its workers.",
    ]


def compare_latency(found: Facts) -> Comparison:
    """Return (i)'s row: here the ratio is a cost, and the bar an upper one."""
    return Comparison(
        part="i",
        what="one picture by the server; decoding and inference alone",
        ours=tuple(found["ms"]["server"]),
        other=tuple(found["ms"]["alone"]),
        unit="ms",
        ratio=statistics.median(found["ratios"]),
        bar=Bar(kind="at_most", value=1.3),
    )


def compare_throughput(found: Facts) -> Comparison:
    """Return (j)'s row."""
    speed = found["files_per_s"]
    return Comparison(
        part="j",
        what=f"{N_CLIENTS} clients at the server; `predict_many`",
        ours=tuple(speed["server"]),
        other=tuple(speed["predict"]),
        unit="files/s",
        ratio=statistics.median(found["ratios"]),
        bar=Bar(kind="at_least", value=0.75),
    )


def compare_many(found: Facts) -> list[Comparison]:
    """Return (k)'s rows."""
    return [
        measure_alone(
            "k",
            f"wrong, mixed-up or lost answers of {found['n_requests']:,}",
            values=[found["n_faults"]],
            bar=Bar(kind="at_most", value=0, of="ours"),
        ),
        measure_alone(
            "k",
            f"memory after all ({found['after_mib']:,.0f} MiB) above that after a tenth "
            f"({found['before_mib']:,.0f} MiB)",
            values=[found["after_mib"] - found["before_mib"]],
            unit="MiB",
            bar=Bar(kind="at_most", value=30, of="ours"),
        ),
    ]


def _piece(record: Record, name: str, folder: Path, *words: object) -> Facts:
    bundle = record.options.bundle
    more = ["--bundle", bundle.absolute()] if bundle else []
    return record.piece(
        "ours", "serve_side", name, "--folder", folder, "--distinct", N_DISTINCT, *words, *more
    )


def pictures_folder(record: Record, n_files: int) -> Path:
    """Return a folder with that many full-resolution JPEGs."""
    folder = record.work / f"pictures-{n_files}"
    if not folder.exists():
        repeat_pictures(record.options.pictures or EXAMPLES, folder, n_files=n_files)
    return folder
