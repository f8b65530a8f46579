"""Make a client's file name fit to be repeated to it."""

import unicodedata
from typing import Final

MAX_CHARACTERS: Final = 255
_NAMELESS: Final = "file"
_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def clean_name(name: bytes | None) -> str:
    """Return the last part of a file name: no folders, nothing unseen, at most 255 characters.

    The name only comes back in the reply. It is never a path of ours, and no log has it.
    """
    text = (name or b"").decode("utf-8", "replace")
    last = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    seen = "".join(letter for letter in last if unicodedata.category(letter) not in _UNSEEN)
    return seen.strip()[:MAX_CHARACTERS].rstrip() or _NAMELESS
