"""`AclMatrix`: who may do what to which record, a cell for each pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from ..engine.views import CellView, MatrixRow, MatrixView, SubjectView
from .cells import Line, Span, fit, width_of
from .linewidget import Frame, LineWidget

_KEY: Final = 26
_LEVEL: Final = 8
_CELL: Final = 9
_WIDEST_CELL: Final = 14
_GUTTER: Final = 2
_ALL: Final = "rwd"


class AclMatrix(LineWidget, can_focus=True):
    """Records down, subjects across; a cell says `rwd`, with a dash for each right that is denied.

    The cursor is on one cell; the columns of record and level stay where they are while the
    subjects scroll. The cursor stays with its record and its subject when others come and go.
    `empty` is shown in place of records.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1, 0)", "Down", show=False, id="matrix.down"),
        Binding("k,up", "move(-1, 0)", "Up", show=False, id="matrix.up"),
        Binding("l,right", "move(0, 1)", "Next subject", show=False, id="matrix.right"),
        Binding("h,left", "move(0, -1)", "Subject before", show=False, id="matrix.left"),
        Binding("g,home", "edge(0)", "First record", show=False, id="matrix.first"),
        Binding("G,end", "edge(1)", "Last record", show=False, id="matrix.last"),
        Binding("ctrl+d", "page(1, 2)", "Half a page down", show=False, id="matrix.half_down"),
        Binding("ctrl+u", "page(-1, 2)", "Half a page up", show=False, id="matrix.half_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="matrix.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="matrix.page_up"),
        Binding("enter", "select", "Explain", show=False, id="matrix.open"),
    ]

    class Moved(Message):
        """The cursor came to another cell."""

        def __init__(self, matrix: AclMatrix) -> None:
            super().__init__()
            self.matrix = matrix

        @property
        def control(self) -> AclMatrix:
            return self.matrix

    class Selected(Moved):
        """Enter, or a double click, on a cell."""

        def __init__(self, matrix: AclMatrix, row: MatrixRow, subject: SubjectView) -> None:
            super().__init__(matrix)
            self.row = row
            self.subject = subject

    def __init__(
        self,
        *,
        title: str = "",
        frame: Frame | None = None,
        empty: str = "No record here yet.",
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._empty = empty
        self._records: Sequence[MatrixRow] = ()
        self._subjects: Sequence[SubjectView] = ()
        self._more = False
        self._down = self._across = 0
        self._top = self._left = 0

    @property
    def empty(self) -> str:
        """What to show in place of records."""
        return self._empty

    @empty.setter
    def empty(self, text: str) -> None:
        if text != self._empty:
            self._empty = text
            self.rebuild()

    @property
    def cursor_row(self) -> MatrixRow | None:
        """The record under the cursor, None in an empty matrix."""
        return self._records[self._down] if self._records else None

    @property
    def cursor_subject(self) -> SubjectView | None:
        """The subject under the cursor, None in an empty matrix."""
        return self._subjects[self._across] if self._records and self._subjects else None

    @property
    def cursor_cell(self) -> CellView | None:
        """What the subject under the cursor may do to the record under it."""
        row = self.cursor_row
        return row.cells[self._across] if row is not None and self._subjects else None

    @property
    def page_rows(self) -> int:
        """Records on the screen at once."""
        return max(1, self.body_height - 1)

    def show(self, matrix: MatrixView) -> None:
        """Show these rights."""
        row, subject = self.cursor_row, self.cursor_subject
        before = self._down
        self._records, self._subjects, self._more = matrix.rows, matrix.subjects, matrix.more
        self._down = _place(self._records, before, lambda each: row and _name(each) == _name(row))
        self._across = _place(
            self._subjects, self._across, lambda each: subject and each.id == subject.id
        )
        self._top += self._down - before
        self.rebuild()
        if (row, subject) != (self.cursor_row, self.cursor_subject):
            self.post_message(self.Moved(self))

    def layout_lines(self) -> Sequence[Line]:
        """The subjects, and the records there is room for."""
        if not self._records:
            self._note = ""
            return [(), *(((f"   {text}", "muted"),) for text in self._empty.split("\n"))]
        cell = self._cell_width()
        across = max(1, (self.body_width - self._fixed_width()) // cell)
        self._keep_in_view(across)
        self._note = self._summary(across)
        columns = range(self._left, min(len(self._subjects), self._left + across))
        rows = range(self._top, min(len(self._records), self._top + self.page_rows))
        return [self._heading(columns, cell), *(self._line(y, columns, cell) for y in rows)]

    def _cell_width(self) -> int:
        """Cells a subject gets: enough for the names where there is room, even for all."""
        longest = max((width_of(subject.name) for subject in self._subjects), default=0)
        return max(_CELL, min(_WIDEST_CELL, longest + 2))

    def _fixed_width(self) -> int:
        return _GUTTER + self._key_width() + 1 + _LEVEL

    def _key_width(self) -> int:
        return max(8, min(_KEY, self.body_width // 3))

    def _keep_in_view(self, across: int) -> None:
        page = self.page_rows
        if not self._top <= self._down < self._top + page:
            self._top = self._down - page // 2
        self._top = max(0, min(self._top, len(self._records) - page))
        if not self._left <= self._across < self._left + across:
            self._left = self._across - across // 2
        self._left = max(0, min(self._left, len(self._subjects) - across))

    def _summary(self, across: int) -> str:
        more = "+" if self._more else ""
        parts = [f"{self._down + 1} of {len(self._records):,}{more}"]
        hidden = len(self._subjects) - across
        if hidden > 0:
            parts.append(f"subject {self._across + 1} of {len(self._subjects)}")
        return " · ".join(parts)

    def _heading(self, columns: range, cell: int) -> Line:
        start = " " * _GUTTER + fit("record", self._key_width()) + " " + fit("level", _LEVEL)
        spans: list[Span] = [(start, "muted")]
        for x in columns:
            here = x == self._across
            name = fit(self._subjects[x].name, cell - 2)
            spans.append((f"{'▾' if here else ' '}{name} ", "title bold" if here else "muted"))
        return tuple(spans)

    def _line(self, y: int, columns: range, cell: int) -> Line:
        record = self._records[y]
        here = y == self._down
        spans: list[Span] = [
            ("▸ " if here else "  ", "accent"),
            (fit(record.key, self._key_width()) + " ", "title" if here else "text"),
            (fit(record.level, _LEVEL), "muted"),
        ]
        for x in columns:
            rights = record.cells[x].rights
            lit = here and x == self._across and self.has_focus
            mark = "▐" if here and x == self._across else " "
            spans.append((mark, "accent"))
            spans.append((fit(rights, 3), "cursor reverse" if lit else _style_of(rights)))
            spans.append((" " * (cell - 4), "text"))
        return tuple(spans)

    def _go(self, down: int, across: int) -> None:
        down = max(0, min(down, len(self._records) - 1))
        across = max(0, min(across, len(self._subjects) - 1))
        if self._records and (down, across) != (self._down, self._across):
            self._down, self._across = down, across
            self.rebuild()
            self.post_message(self.Moved(self))

    def action_move(self, down: int, across: int) -> None:
        """Move the cursor by so many records and subjects."""
        self._go(self._down + down, self._across + across)

    def action_edge(self, end: int) -> None:
        """To the first record, or the last."""
        self._go((len(self._records) - 1) * end, self._across)

    def action_page(self, direction: int, parts: int = 1) -> None:
        """Move cursor and view by a page, or by one of its `parts`."""
        step = direction * max(1, self.page_rows // parts)
        self._top += step
        self._go(self._down + step, self._across)

    def action_select(self) -> None:
        """Ask why the cell is as it is."""
        row, subject = self.cursor_row, self.cursor_subject
        if row is not None and subject is not None:
            self.post_message(self.Selected(self, row, subject))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the cell clicked; explain it on the second click."""
        down = self._top + event.y - self.body_top - 1
        across = self._left + (event.x - self._fixed_width()) // self._cell_width()
        if event.y > self.body_top and down < len(self._records):
            inside = event.x >= self._fixed_width() and across < len(self._subjects)
            self._go(down, across if inside else self._across)
            if event.chain == 2:
                self.action_select()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(3, 0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(-3, 0)


def _name(row: MatrixRow) -> tuple[str, str]:
    return row.namespace, row.key


def _place(items: Sequence[Any], before: int, is_it: Callable[[Any], object]) -> int:
    """Where the item is now, else as near as there is one to where it was."""
    found = next((place for place, each in enumerate(items) if is_it(each)), before)
    return max(0, min(found, len(items) - 1))


def _style_of(rights: str) -> str:
    """All, some or none; the letters say which."""
    if rights == _ALL:
        return "good"
    return "muted" if set(rights) == {"-"} else "warning"
