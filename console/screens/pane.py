"""Screens of text: a view in full as JSON, an agent's output, the help."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from textual.binding import Binding, BindingType
from textual.widget import Widget

from ...engine.actions import Action
from ...widgets import Line, LineWidget, Span, line
from ..bridge import Pull
from ..columns import Moment
from .frame import INNER, DeckScreen

_INDENT: Final = "  "


class TextPane(LineWidget, can_focus=True):
    """Lines to read: scrolled, never edited. With `follow` it stays at the end while there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_by(1)", "Down", show=False, id="pane.down"),
        Binding("k,up", "scroll_by(-1)", "Up", show=False, id="pane.up"),
        Binding("g,home", "scroll_by(-1000000)", "Start", show=False, id="pane.first"),
        Binding("G,end", "scroll_by(1000000)", "End", show=False, id="pane.last"),
        Binding("ctrl+d,pagedown", "page(1)", "Page down", show=False, id="pane.page_down"),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False, id="pane.page_up"),
    ]

    def __init__(
        self,
        title: str,
        *,
        follow: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame="rule", id=id)
        self._lines: Sequence[Line] = ()
        self._top = 0
        self._at_end = follow
        self._follow = follow

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines, from where one has scrolled to."""
        self._lines = lines
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        last = max(0, len(self._lines) - self.body_height)
        self._top = last if self._follow and self._at_end else max(0, min(self._top, last))
        end = self._top + self.body_height
        self._note = f"{min(end, len(self._lines))} of {len(self._lines)} lines" if last else ""
        return self._lines[self._top : end]

    def action_scroll_by(self, lines: int) -> None:
        last = max(0, len(self._lines) - self.body_height)
        self._top = max(0, min(last, self._top + lines))
        self._at_end = self._top == last
        self.rebuild()

    def action_page(self, direction: int) -> None:
        self.action_scroll_by(direction * max(1, self.body_height - 1))

    def on_mouse_scroll_down(self) -> None:
        self.action_scroll_by(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_scroll_by(-3)


class WrappedLine(LineWidget):
    """A text in as many lines as it needs and there are."""

    _text = ""

    def tell(self, text: str) -> None:
        """Show this text."""
        self._text = text
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        return [
            line(f"  {part}") for part in textwrap.wrap(self._text, max(8, self.body_width - 4))
        ]


class TextScreen(DeckScreen):
    """A screen with one pane. `read` turns the answer to `query` into lines at every pull; a
    screen without a query shows `lines`."""

    def __init__(
        self,
        crumb: str,
        moment: Moment,
        title: str,
        *,
        query: Action | None = None,
        read: Callable[[Any, Moment], Sequence[Line]] | None = None,
        lines: Sequence[Line] = (),
        follow: bool = False,
    ) -> None:
        super().__init__(crumb, moment, (INNER,))
        self._pane = TextPane(title, follow=follow)
        self._query = query
        self._read = read
        self._lines = lines

    def body(self) -> Iterable[Widget]:
        yield self._pane

    def on_mount(self) -> None:
        self._pane.show(self._lines or (line(("reading …", "muted")),))

    def query_wanted(self) -> Action | None:
        return self._query

    def show(self, pull: Pull) -> None:
        if self._query is None or pull.asked != self._query or self._read is None:
            return
        if pull.error is not None:
            self._pane.show(error_lines(pull.error.message, pull.error.hint))
        else:
            self._pane.show(self._read(pull.answer, self.moment))

    def tell(self, lines: Sequence[Line]) -> None:
        """Show these lines until the next answer."""
        self._pane.show(lines)

    def rest(self) -> None:
        self._pane.focus()


def error_lines(message: str, hint: str) -> list[Line]:
    """An error in place of what was wanted."""
    lines = [line(("  ✗ ", "bad"), message)]
    return [*lines, line(("    " + hint, "muted"))] if hint else lines


def text_lines(answer: Sequence[str], _moment: Moment) -> list[Line]:
    """Plain lines, such as an agent's output."""
    return [line(part) for text in answer for part in text.splitlines() or [""]] or [
        line(("  Nothing was written yet.", "muted"))
    ]


def json_lines(view: Any, _moment: Moment) -> list[Line]:  # noqa: ANN401 - any view
    """A view as JSON, a line for each value."""
    lines: list[list[Span]] = [[]]
    _write(msgspec.to_builtins(view, builtin_types=()), 1, lines)
    return [((_INDENT, "text"), *spans) for spans in lines]


def _write(value: Any, depth: int, lines: list[list[Span]]) -> None:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping) and value:
        items = [(f"{_text(key)}: ", each) for key, each in value.items()]
        _write_many("{}", items, depth, lines)
    elif isinstance(value, (list, tuple)) and value:
        _write_many("[]", [("", each) for each in value], depth, lines)
    else:
        lines[-1].append((_text(value), _STYLES.get(type(value), "text")))


def _write_many(
    brackets: str, items: Sequence[tuple[str, Any]], depth: int, lines: list[list[Span]]
) -> None:
    lines[-1].append((brackets[0], "muted"))
    for place, (key, value) in enumerate(items):
        lines.append([(_INDENT * depth, "text"), (key, "accent")])
        _write(value, depth + 1, lines)
        if place < len(items) - 1:
            lines[-1].append((",", "muted"))
    lines.append([(_INDENT * (depth - 1), "text"), (brackets[1], "muted")])


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(value, ensure_ascii=False)


_STYLES: Final[dict[type, str]] = {int: "good", float: "good", bool: "warning", type(None): "muted"}
