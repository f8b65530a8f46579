"""A table of text, and a page's tables as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text: what both the Markdown and the HTML show."""

    caption: str
    header: list[str]
    rows: list[list[str]]  # the first cell of a row names it


def tables_markdown(
    tables: Sequence[Table], *, notice: str | None, method: Sequence[str], first: str = ""
) -> str:
    """Return tables as Markdown, below the notice and above how they were made.

    Args:
        tables: Each with its caption.
        notice: Stands first, in bold, where there is one.
        method: How the figures were made: a list at the end.
        first: A paragraph above the tables, if any.
    """
    parts = [f"**{notice}**"] if notice else []
    parts += [first] if first else []
    for table in tables:
        parts += [f"**{table.caption}**", table_markdown(table)]
    parts.append("\n".join(f"- {line}" for line in method))
    return "\n\n".join(parts) + "\n"


def table_markdown(table: Table) -> str:
    """Return a table's header and rows as Markdown, without its caption."""
    aligned = [
        "---",
        *["---:" if is_number_column(table, i) else "---" for i in range(1, len(table.header))],
    ]
    lines = [table.header, aligned, *table.rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def is_number_column(table: Table, index: int) -> bool:
    """Return True where every filled cell of a column begins as a figure does."""
    cells = [row[index] for row in table.rows if row[index]]
    return bool(cells) and all(cell[0] in "0123456789+-<" or cell == "undefined" for cell in cells)


def _cell(text: str) -> str:
    """Return text that cannot end its table cell."""
    return text.replace("|", "\\|").replace("\n", " ")
