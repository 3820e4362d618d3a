"""A text that occurs somewhere in some columns, as a condition."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Final

_FOLDED: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def containing(text: str, columns: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Whether one of the columns (expressions that take no parameters) contains `text` in any
    case, and the parameters of that. SQLite folds the case of ASCII letters only: others are
    found as they are given, all small or all large."""
    given = (text.lower(), text, text.upper())
    spellings = tuple(dict.fromkeys(each.translate(_FOLDED) for each in given))
    found = [f"instr(lower({column}), ?) > 0" for column in columns for _ in spellings]
    return f"({' OR '.join(found)})", spellings * len(columns)
