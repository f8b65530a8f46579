"""Rows of CSV in which no spreadsheet takes text for a formula.

A file may be named ``=HYPERLINK(...)``, and who opens the answers need not be who named it. The
rule is OWASP's (CSV Injection), made so that a program can undo it; docs/bundle.md tells how. The
page's `answerText.ts` follows it, too.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Final

# Where a cell begins: its own start, or after what a spreadsheet set to another separator, or one
# that heeds no quotes, would cut at. An apostrophe that is there already gets another, so that
# the one to take away is always the first.
_STARTS: Final = re.compile("(?:\\A|(?<=[;\t\r\n]))(?=[-=+@\t\r\n'\uff0d\uff1d\uff0b\uff20])")
_LINE_END: Final = "\r\n"  # csv.writer quotes what has a part of it; a name may have either


def as_text(text: str) -> str:
    """Return a text's cell: an apostrophe stands before whatever would begin a formula."""
    return _STARTS.sub("'", text)


def csv_line(cells: Iterable[object]) -> str:
    """Return a row without its line end. Strings are text; numbers stay as they are."""
    buffer = io.StringIO()
    written = (as_text(cell) if isinstance(cell, str) else cell for cell in cells)
    csv.writer(buffer, lineterminator=_LINE_END).writerow(written)
    return buffer.getvalue().removesuffix(_LINE_END)
