"""The lines of a table: its heading and its rows, formatted once and kept for the next key."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from .cells import Line, Span, fit, width_of
from .columns import GAP, Column, ColumnSet

R = TypeVar("R")

GUTTER: Final = 3
"""Cells before the first column: the cursor, the mark, a blank."""
# The bar on the cursor's row ends with the column that reaches this width: enough to carry the
# eye, and moving it stays below 300 bytes on the widest terminal.
_LIT_CELLS: Final = 64
# Formatted rows kept, a few screens of them.
_MOST_KEPT: Final = 500
_ON_ITS_WAY: Final = "·"


class RowLines(Generic[R]):
    """Lines of rows in the columns as they are laid out. A row's text is made once for each way
    it can look, until `clear`, or another row stands at its index."""

    def __init__(self, columns: ColumnSet[R]) -> None:
        self._columns = columns
        self._kept: dict[int, tuple[R | None, dict[str, Line]]] = {}

    def lay_out(self, width: int) -> None:
        """Make room for lines of `width` cells."""
        if self._columns.lay_out(width - GUTTER) or len(self._kept) > _MOST_KEPT:
            self._kept.clear()

    def clear(self) -> None:
        """Format all rows anew."""
        self._kept.clear()

    def forget(self, index: int) -> None:
        """Format the row at this index anew."""
        self._kept.pop(index, None)

    def heading(self, sort: Column[R] | None, *, descending: bool) -> Line:
        """The names of the columns, with an arrow at the one that is sorted by."""
        spans: list[Span] = [(" " * GUTTER, "muted")]
        for column, width in self._columns.shown:
            name = column.name
            if column is sort:
                name += "▼" if descending else "▲"
            style = "accent bold" if column is sort else "muted"
            over = min(GAP - 1, max(0, width_of(name) - width))  # the arrow may reach into the gap
            text = fit(name, width + over, column.align) + " " * (GAP - over)
            spans.append((text, style))
        return tuple(spans)

    def line(self, index: int, row: R | None, *, cursor: bool, lit: bool, marked: bool) -> Line:
        """The row at `index`, None while it is on its way; `lit` draws the cursor's bar."""
        gutter = ("▸" if cursor else " ") + ("• " if marked else "  ")
        kept = self._kept.get(index)
        if kept is None or kept[0] is not row:
            kept = self._kept[index] = (row, {})
        looks = kept[1]
        look = gutter + "lit" * lit
        if look not in looks:
            ink = "cursor reverse" if lit else "selection" if marked else "muted"
            looks[look] = ((gutter, ink), *self._draw(row, lit=lit))
        return looks[look]

    def _draw(self, row: R | None, *, lit: bool) -> list[Span]:
        spans: list[Span] = []
        x = GUTTER
        for column, width in self._columns.shown:
            text = _ON_ITS_WAY if row is None else column.cell(row)
            text = fit(text, width, column.align) + " " * GAP
            style = "muted" if row is None else column.style_for(row)
            # The bar covers whole columns, of a very wide first one its beginning.
            end = _LIT_CELLS - x
            bar = 0 if not lit or (end < width and x > GUTTER) else min(end, len(text))
            spans += [(text[:bar], "cursor reverse"), (text[bar:], style)]
            x += width + GAP
        return spans
