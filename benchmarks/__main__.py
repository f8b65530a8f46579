"""Measure, print the table, and write it to ``benchmarks.md`` and ``benchmarks.json``."""

import datetime as dt
import os
import shlex
import shutil
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.options import WITHOUT_DATA, Options, parse_arguments
from benchmarks.page_parts import measure_page
from benchmarks.parts import Record, measure_pipeline, measure_run, measure_step, say
from benchmarks.predict_parts import measure_predict
from benchmarks.processes import PieceError
from benchmarks.serve_parts import measure_serve
from benchmarks.subset import make_subset
from benchmarks.table import markers, render_page, render_section, write_section
from pneumoscope.core.errors import PneumoscopeError
from pneumoscope.core.files import write_json, write_text

_BUSY_LOAD_A_CORE = 0.25


def main() -> int:
    """Return the exit status: 0 measured, whatever the bars say; 1 a piece failed."""
    options = parse_arguments()
    load = os.getloadavg()[0]  # before our own work adds to it
    work = options.out.absolute() / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    record = Record(options=options, work=work)
    try:
        measure(record)
    except (PieceError, PneumoscopeError) as error:
        say(str(error))
        return 1
    results = collect(record, load=load)
    page = render_page(results, record.rows)
    if options.into:
        name = section_name(options)
        write_section(options.into, name, render_section(results, record.rows))
    write_json(options.out / "benchmarks.json", results)
    write_text(options.out / "benchmarks.md", page)
    shutil.rmtree(work, ignore_errors=True)
    sys.stdout.write(page)
    return 0


def measure(record: Record) -> None:
    """Run the parts that were asked for."""
    options = record.options
    needs_keras = {"step", "run", "predict"} & set(options.only)
    if needs_keras and not options.keras_python.exists():
        raise PieceError(
            f"{options.keras_python}: Keras' environment is not there. Make it with "
            "`make .venv-keras/.installed`, or leave it out with --only pipeline."
        )
    if options.into:
        markers(options.into, section_name(options))  # told now, and not after ten minutes
    data = record.work / "data"
    if options.data and {"run", "pipeline"} & set(options.only):
        make_subset(options.data, data, n_images=options.n_images)
    if "step" in options.only:
        measure_step(record)
    if "run" in options.only:
        measure_run(record, data)
    if "pipeline" in options.only:
        measure_pipeline(record, data)
    if "predict" in options.only:
        measure_predict(record)
    if "serve" in options.only:
        measure_serve(record)
    if "page" in options.only:
        measure_page(record)


def section_name(options: Options) -> str:
    """Return what a page's section is called: "training", "predict", "serve+page" and so on."""
    parts = ["training"] if set(options.only) - WITHOUT_DATA else []
    return "+".join([*parts, *(part for part in options.only if part in WITHOUT_DATA)])


def collect(record: Record, *, load: float) -> dict[str, Any]:
    """Return all that benchmarks.json holds."""
    options = record.options
    machine = next(piece["machine"] for piece in record.pieces if "machine" in piece)
    versions: dict[str, dict[str, str]] = {}
    for piece in record.pieces:
        versions.setdefault(piece["side"], {}).update(piece["versions"])
    return {
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "machine": machine,
        "versions": versions,
        "load_before": load,
        "settings": {
            key: value for key, value in asdict(options).items() if isinstance(value, int | float)
        },
        "warnings": warnings_of(options, load=load, n_cores=int(machine["cores"])),
        "notes": record.notes,
        "rows": [asdict(row) | {"verdict": row.verdict} for row in record.rows],
        "pieces": record.pieces,
    }


def warnings_of(options: Options, *, load: float, n_cores: int) -> list[str]:
    """Return why the figures may not be believed."""
    reasons = []
    if options.n_epochs == 1:
        reasons.append("`--quick`: a trial of the benchmark itself; these figures mean nothing.")
    if load > _BUSY_LOAD_A_CORE * n_cores:
        reasons.append(
            f"Other work was running when this began (load average {load:.1f} on {n_cores} cores)."
        )
    return reasons


if __name__ == "__main__":
    sys.exit(main())
