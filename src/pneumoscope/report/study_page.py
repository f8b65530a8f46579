"""A study on paper: one table in Markdown for the docs, and one HTML file with everything."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from pneumoscope.core.files import write_text
from pneumoscope.report.comparison_page import (
    comparison_tables,
    first_line,
    over_seeds,
    p_text,
)
from pneumoscope.report.comparison_results import Comparison
from pneumoscope.report.evaluation_figures import show
from pneumoscope.report.evaluation_page import moment, signed
from pneumoscope.report.html import render
from pneumoscope.report.study_results import Contrast, RunOutcome, StudyResult, SystemResult
from pneumoscope.report.table import Table, is_number_column, tables_markdown

STUDY_FILE = "study.json"
MARKDOWN_FILE = "study.md"
PAGE_FILE = "study.html"

_CONTRAST_LABELS = {
    "auroc": "AUROC",
    "specificity balanced": "Specificity, balanced point",
    "specificity 0.5": "Specificity at 0.5",
    "accuracy balanced": "Accuracy, balanced point",
}
_AT_A_POINT = ("accuracy", "sensitivity", "specificity")


def write_study(result: StudyResult, out: Path, *, comparison: Comparison | None) -> None:
    """Write ``study.md``, ``study.html`` and, last, ``study.json``.

    Args:
        result: What was found.
        out: The study's folder.
        comparison: Of the measured runs, for the page's detailed tables; None while there is none.

    Raises:
        MissingExtraError: jinja2 is not installed.
        StorageError: a file can't be written.
    """
    write_text(out / MARKDOWN_FILE, study_markdown(result))
    tables = study_tables(result)
    details = [] if comparison is None else comparison_tables(comparison)
    page = render(
        "study.html.j2",
        title=result.title,
        notice=result.notice,
        is_phantom=result.data is not None and "phantom" in result.data.origin,
        subtitle=subtitle(result, comparison),
        tables=tables,
        details=details,
        runs=runs_table(result),
        unsaid=[(system.name, system.source_title, system.unsaid) for system in result.systems],
        method=result.method,
        is_number_column=is_number_column,
    )
    write_text(out / PAGE_FILE, page)
    result.write(out / STUDY_FILE)


def study_markdown(result: StudyResult) -> str:
    """Return the study's own tables as Markdown."""
    return tables_markdown(study_tables(result), notice=result.notice, method=result.method)


def subtitle(result: StudyResult, comparison: Comparison | None) -> str:
    """Return what was measured on what, and when."""
    made = f"Made {moment(result.studied)} on {result.machine}."
    if comparison is None:
        return f"No run is measured yet. {made}"
    return f"{first_line(comparison)} {made}"


def study_tables(result: StudyResult) -> list[Table]:
    """Return the study's own tables: the systems, what is missing, and the questions."""
    tables = [_systems_table(result), missing_table(result)]
    questions = dict.fromkeys(contrast.question for contrast in result.contrasts)
    for question in questions:
        asked = [each for each in result.contrasts if each.question == question]
        tables += [_contrast_table(question, asked), _averaged_table(question, asked)]
    return [table for table in tables if table.rows]


def runs_table(result: StudyResult) -> Table:
    """Return every run: where its figures are from."""
    rows = []
    for system in result.systems:
        for run in system.runs:
            rows.append(
                [
                    f"{system.name}, seed {run.seed}",
                    _state(run),
                    run.metrics or run.folder,
                    "" if run.reading is None else str(run.reading),
                    "" if run.best_epoch is None else f"{run.best_epoch} of {run.epochs_run}",
                    _duration(run.seconds),
                    _machine(run),
                ]
            )
    return Table(
        caption="Runs: the metrics.json that each one's figures are from",
        header=["Run", "State", "metrics.json", "Reading of test", "Best epoch", "Training",
                "Trained on"],
        rows=rows,
    )  # fmt: skip


def short_contrasts(result: StudyResult) -> list[Table]:
    """Return the questions' tables with the columns that fit a terminal."""
    tables = [
        _contrast_table(question, [each for each in result.contrasts if each.question == question])
        for question in dict.fromkeys(contrast.question for contrast in result.contrasts)
    ]
    columns = (0, 2, 5, 8)
    return [
        Table(
            caption=table.caption,
            header=[table.header[column] for column in columns],
            rows=[[row[column] for column in columns] for row in table.rows],
        )
        for table in tables
    ]


def seeds_text(system: SystemResult) -> str:
    """Return how many of the wanted seeds are measured."""
    n, wanted = len(system.measured), len(system.runs)
    text = f"{n}" if n == wanted else f"{n} of {wanted} so far"
    if any(run.measured_by == "bundle" for run in system.measured):
        text += ", through the bundle"
    return text


def _systems_table(result: StudyResult) -> Table:
    header = ["System", "Seeds", "Its source reported", "How it measured", "AUROC"]
    header += [f"{name.capitalize()} at 0.5" for name in _AT_A_POINT]
    header += [f"{name.capitalize()}, balanced" for name in _AT_A_POINT]
    header += ["Parameters", "Training", "Images/s", "Bundle", "Latency"]
    return Table(
        caption="Every system: reported, measured (mean over seeds ± SD, 95 % interval), and what "
        "it costs",
        header=header,
        rows=[_system_row(system) for system in result.systems],
    )


def _system_row(system: SystemResult) -> list[str]:
    row = [
        system.name,
        seeds_text(system),
        _reported(system),
        system.reported.how,
    ]
    found = system.result
    if found is None:
        row += ["", *[""] * (2 * len(_AT_A_POINT))]
    else:
        row.append(over_seeds(found.scores["auroc"]))
        for point in ("0.5", "balanced"):
            row += [over_seeds(found.points[point][name]) for name in _AT_A_POINT]
    costs = system.costs
    row += [
        _range([run.n_parameters for run in system.measured], lambda value: f"{value:,.0f}"),
        _range([run.seconds for run in system.measured], _duration),
        _range([run.images_per_s for run in system.measured], lambda value: f"{value:.0f}"),
        "" if costs is None else f"{costs.n_bytes / 1e6:.1f} MB",
        "" if costs is None or costs.n_pictures == 0 else f"{costs.latency_ms:.0f} ms",
    ]
    return row


def _reported(system: SystemResult) -> str:
    figures = system.reported.figures
    if not figures:
        return "nothing"
    return ", ".join(f"{each.name.replace('_', ' ')} {each.reported:g}" for each in figures)


def missing_table(result: StudyResult) -> Table:
    """Return the runs, bundles and latencies that are not there, with the reason."""
    rows = []
    for system in result.systems:
        if system.not_reproducible:
            rows.append([system.name, "all", "not reproducible here", system.not_reproducible])
        else:
            alike: dict[tuple[str, str], list[str]] = {}
            for run in system.runs:
                if run.state != "measured":
                    alike.setdefault((_state(run), run.reason or ""), []).append(str(run.seed))
            rows += [[system.name, ", ".join(seeds), *why] for why, seeds in alike.items()]
        if system.no_costs and system.measured:
            rows.append([system.name, "", "no bundle", system.no_costs])
    untimed = [each.name for each in result.systems if each.costs and each.costs.n_pictures == 0]
    if untimed:
        reason = "there are no pictures here to time detectors on: give --pictures DIR"
        rows.append([", ".join(untimed), "", "no latency", reason])
    return Table(
        caption="What is missing, and why", header=["System", "Seed", "State", "Reason"], rows=rows
    )


def _contrast_table(question: str, contrasts: Sequence[Contrast]) -> Table:
    rows = []
    for contrast in contrasts:
        seeds = f"{len(contrast.seeds)}"
        if len(contrast.seeds) < contrast.n_wanted:
            seeds += f" of {contrast.n_wanted} so far"
        for place, each in enumerate(contrast.differences):
            figure = each.difference
            interval = "no interval"
            if not math.isnan(figure.low):
                interval = f"{signed(figure.low)} to {signed(figure.high)}"
            rows.append(
                [
                    f"{contrast.a} against {contrast.b}" if place == 0 else "the same",
                    seeds,
                    _CONTRAST_LABELS[each.figure],
                    show(sum(each.a) / len(each.a)),
                    show(sum(each.b) / len(each.b)),
                    f"{signed(figure.mean)} ({interval})",
                    ", ".join(signed(value) for value in figure.by_seed),
                    p_text(each.p_value),
                    p_text(each.p_holm),
                ]
            )
        if not contrast.differences:
            rows.append([f"{contrast.a} against {contrast.b}", "0 so far", *[""] * 7])
    return Table(
        caption=question,
        header=["Pair", "Paired seeds", "Figure", "Mean", "Mean of the other",
                "Difference (95 % interval)", "By seed", "p", "p (Holm)"],
        rows=rows,
    )  # fmt: skip


def _averaged_table(question: str, contrasts: Sequence[Contrast]) -> Table:
    rows = []
    for contrast in contrasts:
        if contrast.averaged is None:
            continue
        auroc, accuracy = contrast.averaged.auroc, contrast.averaged.accuracy
        rows.append(
            [
                f"{contrast.a} against {contrast.b}",
                f"{signed(auroc.difference)} ({signed(auroc.low)} to {signed(auroc.high)})",
                p_text(auroc.p_value),
                p_text(auroc.p_holm),
                signed(accuracy.accuracy_a - accuracy.accuracy_b),
                p_text(accuracy.p_value),
                p_text(accuracy.p_holm),
            ]
        )
    return Table(
        caption=f"{question} The seeds of each averaged to one detector: DeLong's and McNemar's "
        "tests, patients alone",
        header=["Pair", "AUROC difference (95 % interval)", "p (DeLong)", "p (DeLong, Holm)",
                "Accuracy difference, balanced", "p (McNemar)", "p (McNemar, Holm)"],
        rows=rows,
    )  # fmt: skip


def _state(run: RunOutcome) -> str:
    words = {"missing": "not trained yet", "trained": "trained, not measured yet"}
    state = words.get(run.state, run.state)
    if run.measured_by == "bundle":
        state += " through its bundle"
    return f"{state}, taken up" if run.is_taken_up else state


def _machine(run: RunOutcome) -> str:
    machine = run.machine
    accelerators = machine.get("accelerators") or []
    words = [machine.get("processor") or machine.get("platform") or "", *accelerators]
    if machine.get("threads"):
        words.append(f"{machine['threads']} threads")
    return ", ".join(word for word in words if word)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes == 0:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


def _range(values: Sequence[float | None], text: Callable[[float], str]) -> str:
    """Return the smallest and the largest of what is known, or the one that they are."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = text(min(known)), text(max(known))
    return low if low == high else f"{low} to {high}"
