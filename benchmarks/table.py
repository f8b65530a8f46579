"""The measured table as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparison import Comparison

_HEADER = ("", "Measured", "Ours", "Against", "Ratio", "Bar", "Result")


def render_table(rows: Sequence[Comparison]) -> str:
    """Return the comparisons as a Markdown table: medians, and the range of several values."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    for row in rows:
        cells = [
            f"({row.part})",
            row.what,
            f"{render_values(row.ours)} {row.unit}",
            f"{render_values(row.other)} {row.unit}",
            f"{row.ratio:.2f}",
            str(row.bar) if row.bar else "",
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


def render_page(results: Mapping[str, Any], rows: Sequence[Comparison]) -> str:
    """Return the whole page: the table, what it was measured on, and how to read it.

    Args:
        results: ``made``, ``command``, ``machine``, ``versions`` and ``notes``, as in the JSON.
        rows: The table's.
    """
    machine = results["machine"]
    parts = ["# Benchmarks\n", *(f"> {note}\n" for note in results["warnings"])]
    parts.append(render_table(rows))
    parts.append(
        "Medians, with the range over repeats in brackets. A ratio above 1 means that ours is "
        "faster, or smaller; in (c) it is the time through the input pipeline by the time from "
        "memory, the median over pairs of blocks.\n"
    )
    parts.append("\n".join(f"- {note}" for note in results["notes"]) + "\n")
    parts.append("## Where and with what\n")
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
