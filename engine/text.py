"""Text from data made safe to show.

Names, values, messages and agents' output come from anywhere. Painted as they are, they could move
the cursor, write the clipboard, reverse the reading order or hide characters. `safe_text` is the
one gate they pass, on the command line and in the console.
"""

from __future__ import annotations

import unicodedata
from typing import Final

ELLIPSIS: Final = "…"

# Shown as a form because nothing would be seen, though Unicode files them under letters and marks:
# joiners, fillers, invisible Khmer vowels, and the variation selectors (which can carry a payload).
_INVISIBLE: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0}
    | set(range(0x180B, 0x1810))
    | set(range(0xFE00, 0xFE10))
    | set(range(0xFFF0, 0xFFF9))
)
_IGNORABLE_PLANE: Final = range(0xE0000, 0xE1000)
_FORMS: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})


class _Table(dict[int, str]):
    """A translation table filled as characters are met; at most one entry a code point."""

    def __missing__(self, code: int) -> str:
        shown = self[code] = _shown(code)
        return shown


_TABLE: Final = _Table()


def safe_text(text: str, limit: int = 4096) -> str:
    """`text` on one line, without a character that acts on a terminal or hides itself.

    C0 controls and DEL become their pictures (newline is ␊), C1 controls, bidirectional marks,
    zero-width characters and line separators a form such as <202E>, lone surrogates U+FFFD. The
    result has at most `limit` characters (1 or more); one that is cut ends with an ellipsis.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    shown = text[: limit + 1].translate(_TABLE)
    return shown if len(shown) <= limit else shown[: limit - 1] + ELLIPSIS


def _shown(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    hidden = code in _INVISIBLE or code in _IGNORABLE_PLANE
    if hidden or unicodedata.category(chr(code)) in _FORMS:
        return f"<{code:04X}>"
    return chr(code)


def safe_json(document: str) -> str:
    """A JSON document that says the same, without a character that acts on a terminal or hides:
    such a one can only stand in a string, where an escape says it as well."""
    if document.isascii() and "\x7f" not in document:
        return document
    return document.translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """A translation table like the one above, into escapes of JSON."""

    def __missing__(self, code: int) -> str:
        acts = code >= 0x7F and _TABLE[code] != chr(code)
        said = self[code] = _escaped(code) if acts else chr(code)
        return said


_ESCAPES: Final = _Escapes()


def _escaped(code: int) -> str:
    units = [code] if code < 0x10000 else [0xD7C0 + (code >> 10), 0xDC00 | code & 0x3FF]
    return "".join(f"\\u{unit:04x}" for unit in units)
