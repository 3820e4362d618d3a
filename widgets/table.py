"""`VirtualTable`: a table of any length that formats only the rows on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.timer import Timer

from .cells import Line
from .columns import Column, ColumnSet
from .linewidget import Frame, LineWidget
from .marks import Marks
from .rowlines import GUTTER, RowLines
from .rows import LazyRows, PlainRows, follow
from .tablekeys import TABLE_KEYS

R = TypeVar("R")

_WHEEL_ROWS: Final = 3
# How long rows that change one by one wait to be painted together. A whole screen takes 8 ms.
_TOGETHER_S: Final = 0.75


class VirtualTable(LineWidget, Generic[R], can_focus=True):
    """Rows of any type, known by `key`. The cursor and the marks stay with their keys while rows
    come, go and move around them; the row under the cursor keeps its place on the screen.

    `show` takes a sequence, or `LazyRows` that come in pages. Of these only the rows that are
    here are shown, `·` in place of the others; `Viewed` says which ones the screen has room for,
    and `SortAsked` which order is wanted: reading, sorting and filtering is their owner's work.
    A cursor whose row is not here any more stays at its index until the row is here again or
    another one takes that index.

    `empty` is shown in place of rows and should say what to do next.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*TABLE_KEYS]

    class _Told(Message):
        def __init__(self, table: VirtualTable[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> VirtualTable[Any]:
            return self.table

    class _Row(_Told):
        def __init__(self, table: VirtualTable[Any], key: str, row: Any) -> None:  # noqa: ANN401
            super().__init__(table)
            self.key = key
            self.row = row

    class Selected(_Row):
        """Enter, or a double click, on a row."""

    class Moved(_Row):
        """The cursor came to another row; where that was still on its way, the row is here now."""

    class Marked(_Told):
        """The set of marked keys changed. `missing` rows of the range that was to be marked are
        not here and stay unmarked."""

        def __init__(self, table: VirtualTable[Any], missing: int = 0) -> None:
            super().__init__(table)
            self.missing = missing

        @property
        def marks(self) -> frozenset[str]:
            """The keys that are marked now."""
            return self.table.marks

    class Viewed(_Told):
        """The screen has room for other rows of a lazy source: from `first` to `last`, which may
        lie beyond the end."""

        def __init__(self, table: VirtualTable[Any], first: int, last: int) -> None:
            super().__init__(table)
            self.first = first
            self.last = last

    class SortAsked(_Told):
        """A lazy source is wanted in another order: by the column with the heading `column`, which
        the engine calls `name`; both None for its own order."""

        def __init__(
            self,
            table: VirtualTable[Any],
            column: str | None,
            name: str | None,
            descending: bool,
        ) -> None:
            super().__init__(table)
            self.column = column
            self.name = name
            self.descending = descending

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
        self._columns = ColumnSet(columns)
        self._lines = RowLines(self._columns)
        self._key = key
        self._empty = empty
        self._items: LazyRows[R] = PlainRows((), key)
        self._index = 0
        self._top = 0
        # The key the cursor stays with; its row need not be here.
        self._cursor_key: str | None = None
        self._awaited = False
        self._marks = Marks()
        self._sort: Column[R] | None = None
        self._descending = False
        self._viewed: tuple[int, int] | None = None
        self._on_screen: dict[str, int] = {}
        self._resting: Timer | None = None
        self._outdated = False

    @property
    def empty(self) -> str:
        """The text in place of rows, lines parted by newlines."""
        return self._empty

    @empty.setter
    def empty(self, text: str) -> None:
        if text != self._empty:
            self._empty = text
            self.rebuild()

    @property
    def cursor_index(self) -> int:
        """Position of the cursor in the order shown."""
        return self._index

    @property
    def cursor_key(self) -> str | None:
        """Key of the row under the cursor; None in an empty table and while it is on its way."""
        row = self.cursor_row
        return None if row is None else self._key(row)

    @property
    def cursor_row(self) -> R | None:
        """The row under the cursor; None in an empty table and while it is on its way."""
        return self._items.get(self._index)

    @property
    def page_rows(self) -> int:
        """Rows on the screen at once."""
        return max(1, self.body_height - 1)

    @property
    def viewed(self) -> tuple[int, int]:
        """The first and last index that the screen has room for, which may lie beyond the end."""
        return (self._top, self._top + self.page_rows - 1)

    @property
    def marks(self) -> frozenset[str]:
        """All marked keys, those of rows that are not here too."""
        return self._marks.keys

    @property
    def marked_keys(self) -> list[str]:
        """What an action on several rows is for, by key: all marks in the order they were made,
        else the cursor's row."""
        key = self.cursor_key
        return list(self._marks.places) or ([] if key is None else [key])

    def marked_rows(self) -> list[R]:
        """What an action on several rows is for: the marked rows that are here, in the order
        shown, else the cursor's."""
        if not self._marks:
            found: Iterable[R | None] = (self.cursor_row,)
        else:
            places = self._places(self._marks.places)
            found = (self._items.get(at) for at in sorted(places.values()))
        return [row for row in found if row is not None]

    def show(self, rows: Sequence[R] | LazyRows[R]) -> None:
        """Show these rows. They are kept, not copied: hand over a sequence that stays as it is,
        and lazy rows again whenever they changed.

        Marks of rows that a sequence has no more are dropped. Lazy rows keep theirs, here or not,
        until another lazy source is shown: of that the rows that are here keep them.
        """
        if not isinstance(rows, LazyRows):
            rows = PlainRows(rows, self._key)
        known = rows is self._items
        if not known:
            self._items = rows
            self._viewed = None
        self._arrange(keep_marks=known)

    def changed(self, *keys: str) -> None:
        """The rows of these keys have other contents, at the places they had: paint those on the
        screen anew, at once after a rest and else together with those of 0.75 s. The others cost a
        look-up each. Rows that came, went or changed places need `show`; a sort waits for it."""
        seen = self._on_screen.keys() & keys
        for key in seen:
            self._lines.forget(self._on_screen[key])
        self._outdated = self._outdated or bool(seen)
        if self._outdated and self._resting is None:
            self._resting = self.set_timer(_TOGETHER_S, self._end_rest)
            self.call_later(self._paint_changed)

    def select(self, key: str) -> bool:
        """Put the cursor on the row of that key; False when there is none here."""
        index = follow(self._items, self._key, key, self._index)
        if index is not None:
            self._go(index)
        return index is not None

    def clear_marks(self) -> None:
        """Unmark all rows."""
        self._marks.clear()
        self._show_marks()

    def unmark(self, keys: Iterable[str]) -> None:
        """Unmark the rows of these keys; the others stay marked."""
        marked = [key for key in keys if key in self._marks]
        for key in marked:
            self._marks.toggle(key, 0)
        if marked:
            self._show_marks()

    def sort_by(self, name: str | None, descending: bool = False) -> None:
        """Sort by the column of that name; None gives back the order of `show`. Of lazy rows only
        the arrow in the heading is shown and `SortAsked` told.

        Raises KeyError: there is no such column, or lazy rows have no order by it.
        """
        column = None if name is None else self._columns.named(name)
        if self._is_lazy and column is not None and not column.sort_name:
            raise KeyError(name)
        self._sort = column
        self._descending = descending
        if self._is_lazy:
            self.rebuild()
            order = None if column is None else column.sort_name
            self.post_message(self.SortAsked(self, name, order, descending))
        else:
            self._arrange()

    def columns_shown(self) -> list[tuple[str, bool]]:
        """Every column and whether it is chosen: the chosen ones in their order, then the rest.
        One that is chosen may still be hidden on a narrow screen."""
        return self._columns.choice()

    def choose_columns(self, names: Sequence[str] | None) -> None:
        """Show these columns in this order; None shows all of them as they were given.

        Raises KeyError with a name that no column has, ValueError for an empty choice.
        """
        self._columns.choose(names)
        self.rebuild()

    @property
    def _is_lazy(self) -> bool:
        return not isinstance(self._items, PlainRows)

    def _arrange(self, *, keep_marks: bool = False) -> None:
        """Put the rows in order and find the cursor and the marks again."""
        self._lines.clear()
        if isinstance(self._items, PlainRows):
            column = self._sort
            value = None if column is None else column.sort or column.cell
            self._items.sort(value, descending=self._descending)
        self._settle(keep_marks=keep_marks)
        self.rebuild()

    def _settle(self, *, keep_marks: bool) -> None:
        """Find the cursor's row again and keep it on its line of the screen."""
        key, before = self._cursor_key, self._index
        wanted = {} if keep_marks else dict(self._marks.places)
        if key is not None:
            wanted[key] = before
        places = self._places(wanted)
        if not keep_marks and self._marks.move(places):
            self.post_message(self.Marked(self))
        found = None if key is None else places.get(key)
        self._index = max(0, min(before, len(self._items) - 1)) if found is None else found
        if found is not None:
            self._top += found - before
        self._take_cursor_row()

    def _take_cursor_row(self) -> None:
        """Stay with the row at the cursor's index; while none is here, with the last one."""
        row = self.cursor_row
        if row is not None:
            self._cursor_key = self._key(row)
            if self._awaited:
                self.post_message(self.Moved(self, self._cursor_key, row))
        elif not len(self._items):
            self._cursor_key = None
        self._awaited = self._awaited and row is None

    def _places(self, wanted: dict[str, int]) -> dict[str, int]:
        """Where the rows of these keys are that are here, given where they were."""
        rows, key_of = self._items, self._key
        if isinstance(rows, PlainRows):
            return rows.follow(wanted)
        found = ((key, follow(rows, key_of, key, before)) for key, before in wanted.items())
        return {key: at for key, at in found if at is not None}

    def _keep_in_view(self) -> None:
        """Scroll by half a page when the cursor has left the screen: a line at a time would
        repaint the whole table for every key."""
        page = self.page_rows
        if not self._top <= self._index < self._top + page:
            self._top = self._index - page // 2
        self._top = max(0, min(self._top, len(self._items) - page))

    def _go(self, index: int, scroll: int = 0) -> None:
        """Put the cursor on a row, after scrolling the view by so many."""
        index = max(0, min(index, len(self._items) - 1))
        if index == self._index:
            return
        self._index = index
        self._top += scroll
        self._cursor_key = None
        self._awaited = True
        self._take_cursor_row()
        self.rebuild()

    def _show_marks(self, missing: int = 0) -> None:
        self.rebuild()
        self.post_message(self.Marked(self, missing))

    def _mark_rows(self, first: int, last: int) -> None:
        """Mark what is here of a range."""
        here = [(self._key(row), at) for at, row in self._items.loaded(first, last)]
        self._marks.add(here)
        self._show_marks(last - first + 1 - len(here))

    def _paint_changed(self) -> None:
        self._outdated = False
        self.rebuild()

    def _end_rest(self) -> None:
        self._resting = None
        if self._outdated:
            self._resting = self.set_timer(_TOGETHER_S, self._end_rest)
            self._paint_changed()

    def layout_lines(self) -> Sequence[Line]:
        """The heading and the rows on the screen."""
        self._keep_in_view()
        self._lines.lay_out(self.body_width)
        self._note = self._summary()
        self._tell_view()
        lines = [self._lines.heading(self._sort, descending=self._descending)]
        self._on_screen = {}
        if not len(self._items):
            return [*lines, (), *(((f"   {text}", "muted"),) for text in self._empty.split("\n"))]
        end = min(self._top + self.page_rows, len(self._items))
        return lines + [self._line(index) for index in range(self._top, end)]

    def _tell_view(self) -> None:
        if self._is_lazy and self._viewed != self.viewed:
            self._viewed = self.viewed
            self.post_message(self.Viewed(self, *self._viewed))

    def _summary(self) -> str:
        more = "" if self._items.exact else "+"
        known = len(self._items)
        parts = [f"{self._index + 1:,} of {known:,}{more}"] if known else []
        if self._marks:
            parts.append(f"{len(self._marks):,} marked")
        hidden = self._columns.summary()
        return " · ".join([*parts, hidden] if hidden else parts)

    def _line(self, index: int) -> Line:
        row = self._items.get(index)
        marked = False
        if row is not None:
            key = self._key(row)
            marked = key in self._marks
            self._on_screen[key] = index
        cursor = index == self._index
        lit = cursor and self.has_focus
        return self._lines.line(index, row, cursor=cursor, lit=lit, marked=marked)

    def action_move(self, rows: int) -> None:
        """Move the cursor by that many rows."""
        self._go(self._index + rows)

    def action_page(self, direction: int, parts: int = 1) -> None:
        """Move cursor and view by a page, or by one of its `parts`."""
        step = direction * max(1, self.page_rows // parts)
        self._go(self._index + step, scroll=step)

    def action_first(self) -> None:
        """To the first row."""
        self._go(0)

    def action_last(self) -> None:
        """To the last row."""
        self._go(len(self._items) - 1)

    def action_select(self) -> None:
        """Open the row under the cursor."""
        row = self.cursor_row
        if row is not None:
            self.post_message(self.Selected(self, self._key(row), row))

    def action_mark(self) -> None:
        """Mark or unmark the row and go to the next."""
        key = self.cursor_key
        if key is not None:
            self._marks.toggle(key, self._index)
            self._show_marks()
            self.action_move(1)

    def action_mark_range(self) -> None:
        """Mark the rows from the last mark to the cursor. Without one, mark the cursor's row."""
        start = follow(self._items, self._key, self._marks.last, self._index)
        here = self._index
        key = self.cursor_key
        if len(self._items):
            self._marks.last = key or self._marks.last
            self._mark_rows(*sorted((here if start is None else start, here)))

    def action_mark_all(self) -> None:
        """Mark every row; of lazy rows those that are here."""
        if len(self._items):
            self._mark_rows(0, len(self._items) - 1)

    def action_clear_marks(self) -> None:
        """Unmark all rows."""
        self.clear_marks()

    def action_scroll_columns(self, columns: int) -> None:
        """Scroll so many columns to the right; the first one stays."""
        self._columns.scroll(columns)
        self.rebuild()

    def action_wide(self) -> None:
        """Scroll the columns that do not fit, or hide them again."""
        self._columns.turn_wide()
        self.rebuild()

    def action_sort_next(self) -> None:
        """Sort by the next column, after the last one by none."""
        sortable = [each for each in self._columns.chosen if each.sort_name or not self._is_lazy]
        names: list[str | None] = [None, *(column.name for column in sortable)]
        now = None if self._sort is None else self._sort.name
        at = names.index(now) if now in names else 0
        self.sort_by(names[(at + 1) % len(names)], self._descending)

    def action_sort_flip(self) -> None:
        """Turn the order around."""
        if self._sort is not None:
            self.sort_by(self._sort.name, not self._descending)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row clicked and open it on the second click; on a heading, sort by
        its column and then the other way."""
        row = event.y - self.body_top - 1
        if row == -1:
            self._click_heading(event.x)
        elif 0 <= row < self.page_rows and self._top + row < len(self._items):
            self._go(self._top + row)
            if event.chain == 2:
                self.action_select()

    def _click_heading(self, x: int) -> None:
        column = self._columns.at(x - (self.size.width - self.body_width) // 2 - GUTTER)
        if column is not None and (column.sort_name or not self._is_lazy):
            self.sort_by(column.name, column is self._sort and not self._descending)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(_WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(-_WHEEL_ROWS)
