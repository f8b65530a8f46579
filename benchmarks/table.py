"""The measured table as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.processes import PieceError
from pneumoscope.core.files import write_text

_HEADER = ("", "Measured", "Ours", "Against", "Ratio", "Bar", "Result")


def render_table(rows: Sequence[Comparison]) -> str:
    """Return the comparisons as a Markdown table: medians, and the range of several values."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    for row in rows:
        cells = [
            f"({row.part})",
            row.what,
            f"{render_values(row.ours)} {row.unit}".rstrip(),
            f"{render_values(row.other)} {row.unit}" if row.other else "",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            _render_bar(row),
            f"**{row.verdict}**" if row.bar else "",
        ]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def render_values(values: Sequence[float]) -> str:
    """Return the median, and in brackets the range of several values."""
    text = render_number(statistics.median(values))
    if len(values) == 1:
        return text
    return f"{text} ({render_number(min(values))}–{render_number(max(values))})"


def render_number(value: float) -> str:
    """Return three significant digits, and no fewer than the whole number."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _render_bar(row: Comparison) -> str:
    if row.bar is None:
        return ""
    return f"{row.bar} {row.unit}".rstrip() if row.bar.of == "ours" else str(row.bar)


def render_page(results: Mapping[str, Any], rows: Sequence[Comparison]) -> str:
    """Return the whole page: a title, and `render_section`."""
    return f"# Benchmarks\n\n{render_section(results, rows)}"


def render_section(results: Mapping[str, Any], rows: Sequence[Comparison]) -> str:
    """Return the table, how to read it, and what it was measured on.

    Args:
        results: ``made``, ``command``, ``machine``, ``versions`` and ``notes``, as in the JSON.
        rows: The table's.
    """
    machine = results["machine"]
    parts = [f"> {note}\n" for note in results["warnings"]]
    parts.append(render_table(rows))
    parts.append(
        "Medians, with the range over repeats in brackets. A ratio above 1 means that ours is "
        "faster, or smaller; in (c) it is the time through the input pipeline by the time from "
        "memory, the median over pairs of blocks. A bar with a unit is for our own figure.\n"
    )
    parts.append("\n".join(f"- {note}" for note in results["notes"]) + "\n")
    parts.append("Where and with what:\n")
    facts = {
        "Date": results["made"],
        "Machine": f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB memory, {machine['platform']}",
        "Threads": f"{results['settings']['n_threads']} on either side",
        "Load average before": f"{results['load_before']:.2f}",
        **{
            f"Versions, {side}": ", ".join(f"{name} {number}" for name, number in found.items())
            for side, found in results["versions"].items()
        },
        "Command": f"`{results['command']}`",
    }
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n")
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_section(page: Path, name: str, section: str) -> None:
    """Replace what lies between a page's markers of that name. Raises: PieceError: as `markers`."""
    begin, end = markers(page, name)
    text = page.read_text(encoding="utf-8")
    write_text(page, f"{text[:begin]}\n\n{section.strip()}\n\n{text[end:]}")


def markers(page: Path, name: str) -> tuple[int, int]:
    """Return where the text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` begins and ends.

    Raises: PieceError: the page is not there, or has not both markers, each once, in this order.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    begin, end = text.find(opening) + len(opening), text.find(closing)
    if text.count(opening) != 1 or text.count(closing) != 1 or end < begin:
        raise PieceError(f"{page}: write {opening} and {closing} where the figures are to go.")
    return begin, end
