"""`LineWidget`: a widget that is a list of styled lines and repaints only what changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import ClassVar, Final, Literal, TypeAlias

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget

from .cells import Cell, Line, cells, changed_spans, fit, width_of
from .palette import Palette, palette_of

Frame: TypeAlias = Literal["none", "box", "rule"]

_style_of: Final = itemgetter(1)
# Columns a box takes at each side: its edge and one blank.
_BOX_SIDE: Final = 2
_LEFT: Final[tuple[Cell, ...]] = (("│", "border"), (" ", "text"))
_RIGHT: Final[tuple[Cell, ...]] = (_LEFT[1], _LEFT[0])


class LineWidget(Widget):
    """Base of everything the console paints.

    `set_lines` compares the new lines with what is on the screen cell by cell and refreshes the
    differing spans, so that a number that stays the same costs nothing. Subclasses that depend on
    their size override `layout_lines` and call `rebuild`.

    All text is cleaned on its way to the screen (`cells.clean`), whoever sent it.

    `title` draws a frame: `box` on all sides, `rule` only above. Focus makes its top edge heavy
    and sets a mark before the title: it is seen without colour too.
    """

    DEFAULT_CSS = "LineWidget { width: 1fr; height: 1fr; }"
    ground: ClassVar[str] = "background"

    def __init__(
        self,
        *,
        title: str = "",
        frame: Frame | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._title = title
        self._note = ""
        self._frame: Frame = frame or ("box" if title else "none")
        self._content: Sequence[Line] = ()
        self._rows: list[Line] = []
        self._cells: list[list[Cell]] = []

    @property
    def title(self) -> str:
        """The text in the top edge of the frame."""
        return self._title

    @title.setter
    def title(self, text: str) -> None:
        self._title = text
        self.rebuild()

    @property
    def note(self) -> str:
        """The text at the right end of the top edge, such as `12 of 340`."""
        return self._note

    @note.setter
    def note(self, text: str) -> None:
        self._note = text
        self.rebuild()

    @property
    def body_width(self) -> int:
        """Columns inside the frame."""
        return max(0, self.size.width - (2 * _BOX_SIDE if self._frame == "box" else 0))

    @property
    def body_height(self) -> int:
        """Lines inside the frame."""
        return max(0, self.size.height - {"none": 0, "rule": 1, "box": 2}[self._frame])

    @property
    def body_top(self) -> int:
        """The row of the first body line."""
        return 0 if self._frame == "none" else 1

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines. What does not fit is cut; nothing is painted that did not change."""
        self._content = lines
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """The body for the present size."""
        return self._content

    def rebuild(self) -> None:
        """Lay out again and repaint the differences."""
        width, height = self.size
        if not (self.is_mounted and width and height):
            return
        rows = self._framed(self.layout_lines(), width, height)
        if len(self._cells) != height or len(self._cells[0]) != width:
            self._cells = [self._cells_of(y, row, width) for y, row in enumerate(rows)]
            self.refresh()
        else:
            self._repaint(rows, width)
        self._rows = rows

    def _repaint(self, rows: list[Line], width: int) -> None:
        regions: list[Region] = []
        for y, (before, after) in enumerate(zip(self._rows, rows, strict=True)):
            if before == after:
                continue
            new = self._cells_of(y, after, width)
            spans = changed_spans(self._cells[y], new)
            regions += [Region(start, y, end - start, 1) for start, end in spans]
            self._cells[y] = new
        if regions:
            self.refresh(*regions)

    def _framed(self, body: Sequence[Line], width: int, height: int) -> list[Line]:
        rows = list(body[: self.body_height])
        rows += [()] * (self.body_height - len(rows))
        if self._frame == "rule":
            rows.insert(0, self._edge(width))
        elif self._frame == "box":
            bottom = "└" + "─" * (width - 2) + "┘"
            rows = [self._edge(width), *rows, ((bottom, "border"),)]
        return rows[:height]

    def _cells_of(self, y: int, row: Line, width: int) -> list[Cell]:
        if self._frame != "box" or not 0 < y < self.size.height - 1 or width < 2 * _BOX_SIDE:
            return cells(row, width)
        return [*_LEFT, *cells(row, width - 2 * _BOX_SIDE), *_RIGHT]

    def _edge(self, width: int) -> Line:
        """The top edge: corner, title, rule, note, corner."""
        focused = self.has_focus
        dash, style = ("━", "accent") if focused else ("─", "border")
        left, right = ("┍", "┑") if focused else ("┌", "┐")
        if self._frame == "rule":
            left = right = dash
        title = f" ▸ {self._title} " if focused else f" {self._title} "
        room = max(0, width - 4)
        title = fit(title, min(width_of(title), room))
        note = f" {self._note} " if self._note else ""
        if width_of(note) > room - width_of(title):
            note = ""
        rule = dash * (room - width_of(title) - width_of(note))
        return (
            (left + dash, style),
            (title, "title bold"),
            (rule, style),
            (note, "muted"),
            (dash + right, style),
        )

    @property
    def palette(self) -> Palette:
        """The styles of the theme the app shows."""
        return palette_of(self.app.theme)

    def render_line(self, y: int) -> Strip:
        """One line of the present content, for the compositor."""
        palette = self.palette
        row = self._cells[y] if y < len(self._cells) else [(" ", "text")] * self.size.width
        segments = [
            Segment("".join(glyph for glyph, _ in run), palette.style(style, self.ground))
            for style, run in groupby(row, _style_of)
        ]
        return Strip(segments, len(row))

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def on_resize(self) -> None:
        self.rebuild()

    def on_focus(self, event: events.Focus) -> None:
        """Repaint the top edge. Textual's own handler would repaint the whole widget."""
        event.prevent_default()
        self._show_focus(events.DescendantFocus(self), focused=True)

    def on_blur(self, event: events.Blur) -> None:
        """Repaint the top edge. Textual's own handler would repaint the whole widget."""
        event.prevent_default()
        self._show_focus(events.DescendantBlur(self), focused=False)

    def _show_focus(self, news: events.Event, *, focused: bool) -> None:
        self.has_focus = focused
        self.rebuild()
        if self.parent is not None:
            self.parent.post_message(news)

    def _theme_changed(self, theme: Theme) -> None:
        self.refresh()
