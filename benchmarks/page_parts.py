"""The part of the benchmark about the page: how long a person waits."""

from benchmarks.comparison import Bar, Comparison, measure_alone
from benchmarks.parts import Facts, Record
from benchmarks.serve_parts import N_DISTINCT, pictures_folder


def measure_page(record: Record) -> None:
    """Measure (l)."""
    options = record.options
    more = ["--bundle", options.bundle.absolute()] if options.bundle else []
    folder = pictures_folder(record, N_DISTINCT)
    words = ["--folder", folder, "--rounds", options.n_page_loads, "--distinct", N_DISTINCT]
    found = record.piece("ours", "page_side", "page", *words, *more)
    record.rows += compare_page(found)
    threads = "several threads" if all(found["is_isolated"]) else "one thread"
    record.notes.append(
        f"(l) Headless Chromium, started anew {options.n_page_loads} times, without a cache; the "
        "server runs on the same machine. Load is from the address until the page says that it "
        f"can answer on the device, bundle and WASM loaded ({threads}). Then {N_DISTINCT} "
        "full-resolution JPEGs are chosen, each after the answer to the one before: seconds from "
        "choosing to the answer in the list, reading and drawing included."
    )


def compare_page(found: Facts) -> list[Comparison]:
    """Return (l)'s rows; the bars are for the medians."""

    def row(what: str, name: str, most_s: float) -> Comparison:
        bar = Bar(kind="less_than", value=most_s, of="ours")
        return measure_alone("l", what, values=found[name], unit="s", bar=bar)

    return [
        row("the page, from its address to ready on the device", "load_s", 3),
        row("its first answer after that", "first_s", 1),
        row("later answers", "later_s", 0.3),
    ]
