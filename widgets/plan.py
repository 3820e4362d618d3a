"""`ConfirmPlan`: what an action will touch, before somebody says yes to it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from .cells import Line, clean, line, width_of
from .linewidget import LineWidget

_LEAST_CELLS: Final = 20


class ConfirmPlan(LineWidget, can_focus=True):
    """The question, a line or more for each thing that is touched, why it is refused, the command
    line, and the words that must be typed. Nothing of a plan is cut: texts are wrapped, and where
    there are more lines than room the things touched scroll while the rest stays.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_by(1)", "Down", show=False, id="plan.down"),
        Binding("k,up", "scroll_by(-1)", "Up", show=False, id="plan.up"),
        Binding("ctrl+d,pagedown", "page(1)", "Page down", show=False, id="plan.page_down"),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False, id="plan.page_up"),
    ]

    def __init__(
        self,
        question: str,
        touches: Sequence[str],
        *,
        refused: str = "",
        command: str = "",
        words: Sequence[str] = (),
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(id=id)
        self._question = question
        self._touches = tuple(touches)
        self._refused = refused
        self._command = command
        self._words = tuple(words)
        self._top = 0

    def height_for(self, width: int) -> int:
        """Lines it takes to show all of it at that width."""
        return 3 + len(self._middle(width)) + len(self._end(width))

    def layout_lines(self) -> Sequence[Line]:
        """The question, as many of the touched things as fit, and the end."""
        width = self.body_width
        middle, end = self._middle(width), self._end(width)
        room = max(1, self.body_height - 3 - len(end))
        if len(middle) > room:
            room -= 1  # for the line that says how many more there are
        self._top = max(0, min(self._top, len(middle) - room))
        shown = middle[self._top : self._top + room]
        if len(middle) > room:
            below = len(middle) - self._top - room
            note = f"    {self._top} lines above, {below} below: ↑ and ↓"
            shown = [*shown, line((note, "muted"))]
        return [(), line((f" {self._question}", "warning bold")), (), *shown, *end]

    def _middle(self, width: int) -> list[Line]:
        return [
            each
            for touch in self._touches
            for each in wrapped("  • ", touch, width, "muted", "text")
        ]

    def _end(self, width: int) -> list[Line]:
        lines: list[Line] = []
        if self._refused:
            lines += [(), *wrapped("  ✗ ", self._refused, width, "bad", "bad")]
        if self._command:
            lines += [(), *wrapped(" $ ", self._command, width, "muted", "accent")]
        if self._words:
            wanted = " or ".join(self._words)
            lines += [(), line(" This is production. To go on, type ", (wanted, "warning bold"))]
        return lines

    def action_scroll_by(self, lines: int) -> None:
        """Towards later things, or earlier ones when negative."""
        self._top += lines
        self.rebuild()

    def action_page(self, direction: int) -> None:
        """By pages."""
        self.action_scroll_by(direction * max(1, self.body_height // 2))


def wrapped(mark: str, text: str, width: int, mark_style: str, style: str) -> list[Line]:
    """A text behind a mark, in as many lines as it needs."""
    first, *others = _wrap(clean(text), max(_LEAST_CELLS, width - len(mark))) or [""]
    lines = [line((mark, mark_style), (first, style))]
    return [*lines, *(line(" " * len(mark), (other, style)) for other in others)]


def _wrap(text: str, room: int) -> list[str]:
    """Lines of at most `room` cells. Glyphs of two cells are reckoned as such."""
    if width_of(text) == len(text):
        return textwrap.wrap(text, room)
    lines = [""]
    for glyph in text:
        if width_of(lines[-1] + glyph) > room:
            lines.append("")
        lines[-1] += glyph
    return lines
