"""Lines as terminal cells: what a widget shows, and which cells of it changed.

A line is a tuple of spans, a span is text and the words that style it (see `palette`). For
painting it becomes one entry per terminal cell: the glyph and its style. A wide glyph owns two
cells, the second one empty, so that a difference can never cut it in half.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeAlias

from rich.cells import cell_len

from ..engine.text import safe_text

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Span, ...]
Cell: TypeAlias = tuple[str, str]

# What the parts of a repaint cost in bytes at 256 colours: a cursor move and a style for each
# span, a change of ink within one.
_SPAN_COST: Final = 18
_STYLE_COST: Final = 11
_SHOWN_ON_BLANKS: Final = frozenset(("reverse", "underline", "strike"))
# Accents that pile up on one letter climb over the lines above it in some terminals.
_MARKS_PER_GLYPH: Final = 2
# What our own frames, bars and charts are made of, so that they are not looked at one by one:
# Latin letters, dashes and points, boxes and blocks, braille. All of it one cell wide, none of it
# a control (U+00AD is one).
_PLAIN: Final = re.compile(
    "[\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2500-\u25fc\u2800-\u28ff]*"
)


def line(*parts: str | Span) -> Line:
    """A line from spans; a bare string gets the style `text`."""
    return tuple((part, "text") if isinstance(part, str) else part for part in parts)


def clean(text: str) -> str:
    """`text` as it may reach a terminal: no escape, control or direction characters."""
    return text if _is_plain(text) else safe_text(text)


def width_of(text: str) -> int:
    """Cells that `text` takes once cleaned."""
    return len(text) if _is_plain(text) else len(_glyphs(clean(text)))


def _is_plain(text: str) -> bool:
    """One harmless cell for each character."""
    if text.isascii():
        return text.isprintable()
    return _PLAIN.fullmatch(text) is not None


def fit(text: str, width: int, align: str = "left") -> str:
    """`text` in exactly `width` cells: padded, or cut with `…`."""
    glyphs = _glyphs(clean(text))
    if len(glyphs) > width:
        glyphs = [*_cut(glyphs, width - 1), "…"][: max(0, width)]
    short = "".join(glyphs)
    blank = " " * (width - len(glyphs))
    return blank + short if align == "right" else short + blank


def cells(content: Line, width: int, fill: str = "text") -> list[Cell]:
    """Exactly `width` cells of a line, blank cells styled `fill` after its end."""
    out: list[Cell] = []
    for text, style in content:
        ink = style
        if out and text.isspace() and not (_shows(style) or _shows(out[-1][1])):
            # A gap takes the style before it, so that nothing is sent to change the ink.
            ink = out[-1][1]
        out += [(glyph, ink) for glyph in _glyphs(clean(text))]
        if len(out) > width:
            break
    if len(out) > width:
        half = out[width][0] == ""
        del out[width:]
        if half:
            out[-1] = (" ", out[-1][1])
    return out + [(" ", fill)] * (width - len(out))


def changed_spans(old: list[Cell], new: list[Cell]) -> list[tuple[int, int]]:
    """Where two rows of one length differ, as ascending half-open column spans.

    Never cuts a wide glyph of either row. Spans are joined where sending the cells between them
    costs fewer bytes than moving the cursor.
    """
    spans: list[tuple[int, int]] = []
    for x, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after or (spans and x < spans[-1][1]) or _both_blank(before, after):
            continue
        start, end = x, _glyph_end(old, new, x)
        if spans and _bridge_cost(new, spans[-1][1], start) < _SPAN_COST:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _both_blank(one: Cell, other: Cell) -> bool:
    return one[0] == other[0] == " " and not (_shows(one[1]) or _shows(other[1]))


@lru_cache(maxsize=1024)
def _shows(style: str) -> bool:
    """Whether a blank cell looks different in this style."""
    return not _SHOWN_ON_BLANKS.isdisjoint(style.split())


def _glyph_end(old: list[Cell], new: list[Cell], x: int) -> int:
    """Where the glyph at `x` ends in both rows. It begins there in both: a wide glyph that differs
    differs in its first cell."""
    end = x + 1
    while end < len(new) and not (old[end][0] and new[end][0]):
        end += 1
    return end


def _bridge_cost(row: list[Cell], left: int, right: int) -> int:
    """Bytes for sending the cells from `left` to `right` as part of one span."""
    if right - left >= _SPAN_COST:
        return _SPAN_COST
    around = row[max(0, left - 1) : right + 1]
    turns = sum(before[1] != after[1] for before, after in pairwise(around))
    return right - left + turns * _STYLE_COST


def _glyphs(text: str) -> list[str]:
    """One entry per cell: a glyph, or empty for the second cell of a wide one."""
    if _is_plain(text):
        return list(text)
    out: list[str] = []
    marks = 0
    for character in text:
        width = cell_len(character)
        if width == 0:
            marks = _attach(out, character, marks)
            continue
        marks = 0
        out.append(character)
        if width == 2:
            out.append("")
    return out


def _attach(out: list[str], mark: str, marks: int) -> int:
    """Join a zero-width character to the glyph before it, if there is one that has room."""
    if out and marks < _MARKS_PER_GLYPH:
        out[-1 if out[-1] else -2] += mark
        return marks + 1
    return marks


def _cut(glyphs: list[str], width: int) -> list[str]:
    """The first `width` cells, without half a glyph at the end."""
    width = max(0, width)
    if width < len(glyphs) and glyphs[width] == "":
        return [*glyphs[: width - 1], " "] if width else []
    return glyphs[:width]
