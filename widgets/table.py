"""`VirtualTable`: a table of any length that formats only the rows on the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from .cells import Line, Span, fit
from .linewidget import Frame, LineWidget

R = TypeVar("R")

_GAP: Final = 2
_GUTTER: Final = 3
_LEAST: Final = 4
# The bar on the cursor's row ends with the column that reaches this width: enough to carry the
# eye, and moving it stays below 300 bytes on the widest terminal.
_LIT_CELLS: Final = 64
# How far around the cursor its row is looked for before the whole table is.
_NEAR: Final = 1_000
_WHEEL_ROWS: Final = 3
# Formatted rows kept for the next key, a few screens of them.
_MOST_DRAWN: Final = 500


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column: `name` is its heading, `cell` the text for a row.

    `width` is the least width in cells; columns with `grow` share what is left by that weight.
    On a narrow screen the columns of the highest `priority` go first, those with 0 never.
    `sort` gives the value to sort by; without it the cell's text is taken.
    """

    name: str
    cell: Callable[[R], str]
    width: int = 10
    align: Literal["left", "right"] = "left"
    grow: int = 0
    priority: int = 0
    style: str | Callable[[R], str] = "text"
    sort: Callable[[R], Any] | None = None

    def style_for(self, row: R) -> str:
        """The style words of this column's cell in `row`."""
        return self.style if isinstance(self.style, str) else self.style(row)


class VirtualTable(LineWidget, Generic[R], can_focus=True):
    """Rows of any type, known by `key`. The cursor and the marks stay with their keys while rows
    come, go and move around them; the row under the cursor keeps its place on the screen.

    `empty` is shown in place of rows and should say what to do next.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="table.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="table.up"),
        Binding("g,home", "first", "First", show=False, id="table.first"),
        Binding("G,end", "last", "Last", show=False, id="table.last"),
        Binding("ctrl+d", "page(1, 2)", "Half a page down", show=False, id="table.half_down"),
        Binding("ctrl+u", "page(-1, 2)", "Half a page up", show=False, id="table.half_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("enter", "select", "Open", show=False, id="table.open"),
        Binding("space", "mark", "Mark", show=False, id="table.mark"),
        Binding("o", "sort_next", "Sort by the next column", show=False, id="table.sort"),
        Binding("O", "sort_flip", "Turn the sort around", show=False, id="table.flip"),
    ]

    class _Row(Message):
        def __init__(self, table: VirtualTable[Any], key: str, row: Any) -> None:  # noqa: ANN401
            super().__init__()
            self.table = table
            self.key = key
            self.row = row

        @property
        def control(self) -> VirtualTable[Any]:
            return self.table

    class Selected(_Row):
        """Enter, or a double click, on a row."""

    class Moved(_Row):
        """The cursor came to another row."""

    class Marked(Message):
        """The set of marked keys changed."""

        def __init__(self, table: VirtualTable[Any], marks: frozenset[str]) -> None:
            super().__init__()
            self.table = table
            self.marks = marks

        @property
        def control(self) -> VirtualTable[Any]:
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key: Callable[[R], str],
        *,
        title: str = "",
        frame: Frame | None = None,
        empty: str = "Nothing here yet.",
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._columns = tuple(columns)
        self._key = key
        self._empty = empty
        self._source: Sequence[R] = ()
        self._items: Sequence[R] = ()
        self._index = 0
        self._top = 0
        self._cursor_key: str | None = None
        self._marks: set[str] = set()
        self._sort: Column[R] | None = None
        self._descending = False
        self._shown: list[tuple[Column[R], int]] = []
        self._drawn: dict[tuple[int, str, bool], Line] = {}

    @property
    def cursor_index(self) -> int:
        """Position of the cursor in the order shown."""
        return self._index

    @property
    def cursor_key(self) -> str | None:
        """Key of the row under the cursor, None in an empty table."""
        return self._cursor_key

    @property
    def cursor_row(self) -> R | None:
        """The row under the cursor, None in an empty table."""
        return self._items[self._index] if self._items else None

    @property
    def marks(self) -> frozenset[str]:
        """Keys of the marked rows."""
        return frozenset(self._marks)

    @property
    def page_rows(self) -> int:
        """Rows on the screen at once."""
        return max(1, self.body_height - 1)

    def marked_rows(self) -> list[R]:
        """What an action on several rows is for: the marked rows, else the cursor's."""
        if self._marks:
            return [row for row in self._items if self._key(row) in self._marks]
        return [self._items[self._index]] if self._items else []

    def show(self, rows: Sequence[R]) -> None:
        """Show these rows. `rows` is kept, not copied: hand over a sequence that stays as it is."""
        self._source = rows
        if self._marks:
            self._marks &= {self._key(row) for row in rows}
        self._order()

    def select(self, key: str) -> bool:
        """Put the cursor on the row of that key; False when there is none."""
        index = self._find(key)
        if index is not None:
            self._go(index)
        return index is not None

    def clear_marks(self) -> None:
        """Unmark all rows."""
        self._set_marks(set())

    def sort_by(self, name: str | None, descending: bool = False) -> None:
        """Sort by the column of that name; None gives back the order of `show`. Raises KeyError."""
        columns = {column.name: column for column in self._columns}
        self._sort = None if name is None else columns[name]
        self._descending = descending
        self._order()

    def _order(self) -> None:
        column = self._sort
        self._items = self._source
        self._drawn.clear()
        if column is not None:
            self._items = sorted(
                self._source, key=column.sort or column.cell, reverse=self._descending
            )
        self._follow()
        self.rebuild()

    def _follow(self) -> None:
        """Find the cursor's row again and keep it on its line of the screen."""
        before = self._index
        found = None if self._cursor_key is None else self._find(self._cursor_key)
        self._index = found if found is not None else min(before, max(0, len(self._items) - 1))
        if found is not None:
            self._top += found - before
        row = self.cursor_row
        self._cursor_key = None if row is None else self._key(row)

    def _find(self, key: str) -> int | None:
        near = range(max(0, self._index - _NEAR), min(len(self._items), self._index + _NEAR))
        everywhere = range(len(self._items))
        items, key_of = self._items, self._key
        return next((i for i in chain(near, everywhere) if key_of(items[i]) == key), None)

    def _keep_in_view(self) -> None:
        """Scroll by half a page when the cursor has left the screen: a line at a time would
        repaint the whole table for every key."""
        page = self.page_rows
        if not self._top <= self._index < self._top + page:
            self._top = self._index - page // 2
        self._top = max(0, min(self._top, len(self._items) - page))

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._items) - 1))
        if not self._items or self._key(self._items[index]) == self._cursor_key:
            return
        self._index = index
        self._cursor_key = self._key(self._items[index])
        self.rebuild()
        self.post_message(self.Moved(self, self._cursor_key, self._items[index]))

    def _set_marks(self, marks: set[str]) -> None:
        self._marks = marks
        self.rebuild()
        self.post_message(self.Marked(self, self.marks))

    def layout_lines(self) -> Sequence[Line]:
        """The heading and the rows on the screen."""
        self._keep_in_view()
        shown = fit_columns(self._columns, self.body_width - _GUTTER)
        if shown != self._shown:
            self._shown = shown
            self._drawn.clear()
        self._note = self._summary(len(self._columns) - len(shown))
        lines: list[Line] = [self._heading()]
        if not self._items:
            return [*lines, (), *(((f"   {text}", "muted"),) for text in self._empty.split("\n"))]
        end = min(self._top + self.page_rows, len(self._items))
        if len(self._drawn) > _MOST_DRAWN:
            self._drawn.clear()
        return lines + [self._line(index) for index in range(self._top, end)]

    def _summary(self, hidden: int) -> str:
        parts = [f"{self._index + 1} of {len(self._items):,}"] if self._items else []
        if self._marks:
            parts.append(f"{len(self._marks):,} marked")
        if hidden:
            parts.append(f"{hidden} column{'s' * (hidden > 1)} hidden")
        return " · ".join(parts)

    def _heading(self) -> Line:
        spans: list[Span] = [(" " * _GUTTER, "muted")]
        for column, width in self._shown:
            name = column.name
            if column is self._sort:
                name += "▼" if self._descending else "▲"
            style = "accent bold" if column is self._sort else "muted"
            spans.append((fit(name, width, column.align) + " " * _GAP, style))
        return tuple(spans)

    def _line(self, index: int) -> Line:
        """A row as it stands; formatted once for each way it can look until the next `show`."""
        row = self._items[index]
        cursor = index == self._index
        marked = self._key(row) in self._marks
        lit = cursor and self.has_focus
        gutter = ("▸" if cursor else " ") + ("• " if marked else "  ")
        look = (index, gutter, lit)
        if look not in self._drawn:
            self._drawn[look] = self._draw(row, gutter, lit=lit, marked=marked)
        return self._drawn[look]

    def _draw(self, row: R, gutter: str, *, lit: bool, marked: bool) -> Line:
        spans: list[Span] = [
            (gutter, "cursor reverse" if lit else "selection" if marked else "muted")
        ]
        x = _GUTTER
        for column, width in self._shown:
            text = fit(column.cell(row), width, column.align) + " " * _GAP
            style = column.style_for(row)
            # The bar covers whole columns, of a very wide first one its beginning.
            end = _LIT_CELLS - x
            bar = 0 if not lit or (end < width and x > _GUTTER) else min(end, len(text))
            spans += [(text[:bar], "cursor reverse"), (text[bar:], style)]
            x += width + _GAP
        return tuple(spans)

    def action_move(self, rows: int) -> None:
        """Move the cursor by that many rows."""
        self._go(self._index + rows)

    def action_page(self, direction: int, parts: int = 1) -> None:
        """Move cursor and view by a page, or by one of its `parts`."""
        step = direction * max(1, self.page_rows // parts)
        self._top += step
        self._go(self._index + step)

    def action_first(self) -> None:
        """To the first row."""
        self._go(0)

    def action_last(self) -> None:
        """To the last row."""
        self._go(len(self._items) - 1)

    def action_select(self) -> None:
        """Open the row under the cursor."""
        row = self.cursor_row
        if row is not None and self._cursor_key is not None:
            self.post_message(self.Selected(self, self._cursor_key, row))

    def action_mark(self) -> None:
        """Mark or unmark the row and go to the next."""
        if self._cursor_key is not None:
            self._set_marks(self._marks ^ {self._cursor_key})
            self.action_move(1)

    def action_sort_next(self) -> None:
        """Sort by the next column, after the last one by none."""
        names: list[str | None] = [None, *(column.name for column in self._columns)]
        at = names.index(self._sort.name if self._sort else None)
        self.sort_by(names[(at + 1) % len(names)], self._descending)

    def action_sort_flip(self) -> None:
        """Turn the order around."""
        if self._sort is not None:
            self.sort_by(self._sort.name, not self._descending)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row clicked; open it on the second click."""
        row = event.y - self.body_top - 1
        if 0 <= row < self.page_rows and self._top + row < len(self._items):
            self._go(self._top + row)
            if event.chain == 2:
                self.action_select()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(_WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(-_WHEEL_ROWS)


def fit_columns(columns: Sequence[Column[R]], room: int) -> list[tuple[Column[R], int]]:
    """The columns that fit `room` cells and their widths. The least important leave first; when
    only the indispensable are left, the widest of them gives way."""
    shown = list(columns)
    while _needed(shown) > room and any(column.priority for column in shown):
        worst = max(column.priority for column in shown)
        shown.remove([column for column in shown if column.priority == worst][-1])
    widths = [column.width for column in shown]
    gaps = _GAP * len(shown)
    while sum(widths) + gaps > room and max(widths, default=0) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    spare, weight = room - sum(widths) - gaps, sum(column.grow for column in shown)
    for at, column in enumerate(shown):
        if weight and spare > 0 and column.grow:
            share = spare * column.grow // weight
            widths[at] += share
            spare, weight = spare - share, weight - column.grow
    return list(zip(shown, widths, strict=True))


def _needed(columns: Sequence[Column[R]]) -> int:
    return sum(column.width + _GAP for column in columns)
