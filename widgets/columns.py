"""The columns of a table: which are shown, in which order, and how wide on this screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

R = TypeVar("R")

GAP: Final = 2
"""Blank cells after every column."""
_LEAST: Final = 4

Widths = list[tuple["Column[R]", int]]


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column: `name` is its heading, `cell` the text for a row.

    `width` is the least width in cells; columns with `grow` share what is left by that weight.
    On a narrow screen the columns of the highest `priority` go first, those with 0 never.
    `sort` gives the value to sort by; without it the cell's text is taken. `sort_name` is what
    the engine calls that order: rows that live there can only be sorted by columns that have one.
    """

    name: str
    cell: Callable[[R], str]
    width: int = 10
    align: Literal["left", "right"] = "left"
    grow: int = 0
    priority: int = 0
    style: str | Callable[[R], str] = "text"
    sort: Callable[[R], Any] | None = None
    sort_name: str = ""

    def style_for(self, row: R) -> str:
        """The style words of this column's cell in `row`."""
        return self.style if isinstance(self.style, str) else self.style(row)


class ColumnSet(Generic[R]):
    """The columns somebody chose, laid out for the room there is.

    Columns that do not fit are hidden, or scrolled to where `wide` is set: then the first one
    stays, and as many of the others as fit are shown beside it.
    """

    def __init__(self, columns: Sequence[Column[R]]) -> None:
        self._all = tuple(columns)
        self.chosen = self._all
        self.wide = False
        self.shown: Widths[R] = []
        self._skip = 0
        self._room = 0

    def named(self, name: str) -> Column[R]:
        """The column with this heading. Raises KeyError."""
        for column in self._all:
            if column.name == name:
                return column
        raise KeyError(name)

    def choose(self, names: Sequence[str] | None) -> None:
        """Show these columns in this order; None shows all of them as they were given.

        Raises KeyError with a name that no column has, ValueError where none is left.
        """
        if names is None:
            self.chosen = self._all
        elif names:
            self.chosen = tuple(self.named(name) for name in dict.fromkeys(names))
        else:
            raise ValueError("a table shows at least one column")
        self._skip = 0

    def choice(self) -> list[tuple[str, bool]]:
        """Every column and whether it is chosen: the chosen ones in their order, then the rest."""
        others = [column for column in self._all if column not in self.chosen]
        return [
            *((column.name, True) for column in self.chosen),
            *((column.name, False) for column in others),
        ]

    def lay_out(self, room: int) -> bool:
        """Fit the columns into `room` cells; whether that changed anything."""
        self._room = room
        before = self.shown
        if self.wide:
            self._skip = min(self._skip, _furthest(self.chosen, room))
            self.shown = scroll_columns(self.chosen, room, self._skip)
        else:
            self.shown = fit_columns(self.chosen, room)
        return self.shown != before

    def turn_wide(self) -> None:
        """Scroll the columns that do not fit, or hide them again."""
        self.wide = not self.wide
        self._skip = 0

    def scroll(self, by: int) -> None:
        """Go that many columns to the right. Hidden columns come back to be scrolled to."""
        if not self.wide and len(self.shown) == len(self.chosen):
            return
        self.wide = True
        self._skip = max(0, min(self._skip + by, _furthest(self.chosen, self._room)))

    def at(self, x: int) -> Column[R] | None:
        """The column that covers cell `x` of the heading."""
        end = 0
        for column, width in self.shown:
            end += width + GAP
            if 0 <= x < end:
                return column
        return None

    def summary(self) -> str:
        """What is not to be seen, in words; empty when all columns are."""
        missing = len(self.chosen) - len(self.shown)
        if not missing:
            return ""
        if not self.wide:
            return f"{missing} column{'s' * (missing > 1)} hidden"
        left, right = self._skip, missing - self._skip
        return f"{left} ◂ " * bool(left) + "columns" + f" ▸ {right}" * bool(right)


def fit_columns(columns: Sequence[Column[R]], room: int) -> Widths[R]:
    """The columns that fit `room` cells and their widths. The least important leave first; when
    only the indispensable are left, the widest of them gives way."""
    shown = list(columns)
    while _needed(shown) > room and any(column.priority for column in shown):
        worst = max(column.priority for column in shown)
        shown.remove([column for column in shown if column.priority == worst][-1])
    return _spread(shown, room)


def scroll_columns(columns: Sequence[Column[R]], room: int, skip: int) -> Widths[R]:
    """The first column and, after `skip` others, as many as fit `room` cells, at least one."""
    shown = list(columns[:1])
    for column in columns[1 + skip :]:
        if len(shown) > 1 and _needed([*shown, column]) > room:
            break
        shown.append(column)
    return _spread(shown, room)


def _furthest(columns: Sequence[Column[R]], room: int) -> int:
    """How many columns to skip at most: with that many the last one is seen."""
    for skip in range(len(columns) - 1):
        if _needed([*columns[:1], *columns[1 + skip :]]) <= room:
            return skip
    return max(0, len(columns) - 2)


def _spread(shown: list[Column[R]], room: int) -> Widths[R]:
    """Widths that fill the room: the widest column gives way, those with `grow` take the rest."""
    widths = [column.width for column in shown]
    gaps = GAP * len(shown)
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
    return sum(column.width + GAP for column in columns)
