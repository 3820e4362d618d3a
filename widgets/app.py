"""`DeckApp`: the Textual app that sends the cells that changed and little else.

The one module that reaches below Textual's public API. Stock Textual, asked to repaint columns
90 to 95 of a line, sends the line from the edge of the widget up to column 95, and says all
about the style of every piece of text anew. Over a slow line that is most of what it sends.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Final, NamedTuple

from rich.color import Color, ColorSystem
from rich.console import COLOR_SYSTEMS, Console, RenderableType
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.notifications import Notify
from textual.reactive import Reactive
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets._toast import Toast

from .. import themes
from . import toasts
from .palette import load_palette


class CellScreen(Screen[ScreenResultType]):
    """A screen on which a change of focus repaints the two widgets and not all of it."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class DeckApp(App[Any]):
    """An app in the bundled themes. Set `theme` to any of `themes.names()` to change them."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: $background; color: $foreground; }" + toasts.CSS

    def __init__(self, theme: str = themes.DEFAULT) -> None:
        super().__init__()
        for name in themes.names():
            self.register_theme(load_palette(name).textual_theme())
        self.theme = theme
        # Every animation is bytes; none of them tells anything.
        self.animation_level = "none"

    def get_default_screen(self) -> Screen[Any]:
        """The screen below all others."""
        return CellScreen(id="_default")

    def _end_batch(self) -> None:
        """Nothing is laid out while widgets are mounted. Afterwards Textual looks at the screen
        in front alone; those that it covers and that are seen around it have a turn too."""
        super()._end_batch()
        if not self._batch_count and self._screen_stack:
            for screen in self._background_screens:
                screen.check_idle()

    def on_notify(self, event: Notify) -> None:
        """Make room for a toast. Textual shows it after this."""
        if not self._screen_stack:
            return
        gone = toasts.crowded_out(self._notifications, event.notification, self.size)
        for notification in gone:
            self._unnotify(notification, refresh=False)
        for toast in self.screen.query(Toast):
            if toast._notification in gone:  # noqa: SLF001
                toast._expire()  # noqa: SLF001 - what a click on it does

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if type(renderable) is ChopsUpdate:
            renderable = CellUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
        elif type(renderable) is LayoutUpdate:
            renderable = FrameUpdate(renderable.strips, renderable.region)
        super()._display(screen, renderable)


class CellUpdate(ChopsUpdate):
    """A partial update that sends the cells of its spans and no others."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal: for each span a cursor move and its cells."""
        pen = pen_for(console)
        for y, left, right in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                start, stop = max(x, left), min(end, right)
                if strip is not None and start < stop:
                    pen.move(start, y)
                    pen.write(strip.crop(start - x, stop - x))
        return pen.finish()


class FrameUpdate(LayoutUpdate):
    """A repaint of the whole screen."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal, line by line."""
        pen = pen_for(console)
        for y, strips in enumerate(self.strips, self.region.y):
            pen.move(self.region.x, y)
            for strip in strips:
                pen.write(strip)
        return pen.finish()


class _Codes(NamedTuple):
    """A style as the parameters of an SGR sequence."""

    attributes: str
    ink: str
    ground: str


_PLAIN: Final = _Codes("", "39", "49")


def pen_for(console: Console) -> Pen:
    """A pen for a terminal: without colours where it has none, or where NO_COLOR forbids them."""
    forbidden = bool(os.environ.get("NO_COLOR"))
    return Pen(None if forbidden else COLOR_SYSTEMS.get(console.color_system or ""))


class Pen:
    """Writes strips one after another and says of each style only what differs from the last.

    Without `colours` it still sends bold, reverse and the like.
    """

    def __init__(self, colours: ColorSystem | None) -> None:
        self._colours = colours
        self._out: list[str] = []
        self._now = _PLAIN
        self._at: tuple[int, int] | None = None

    def move(self, x: int, y: int) -> None:
        """Go to a cell; nothing is sent when the pen is there already."""
        if self._at == (x, y):
            return
        same_line = self._at is not None and self._at[1] == y
        self._out.append(f"\x1b[{x + 1}G" if same_line else f"\x1b[{y + 1};{x + 1}H")
        self._at = (x, y)

    def write(self, strip: Strip) -> None:
        """Write the cells of a strip where the pen is."""
        for text, style, _ in strip:
            if style is not None and style.link:
                self._reset()
                self._out.append(style.render(text, color_system=self._colours))
            else:
                self._turn(_codes(style or Style.null(), self._colours))
                self._out.append(text)
        if self._at is not None:
            self._at = (self._at[0] + strip.cell_length, self._at[1])

    def finish(self) -> str:
        """All that was written; the terminal is left in its own style."""
        self._reset()
        return "".join(self._out)

    def _turn(self, codes: _Codes) -> None:
        now = self._now
        if codes == now:
            return
        parts: list[str] = []
        if codes.attributes != now.attributes or codes == _PLAIN:
            # Only a reset takes an attribute away on every terminal; it takes the colours too.
            now = _PLAIN
            parts = ["0", codes.attributes] if codes.attributes else ["0"]
        parts += [new for new, old in zip(codes[1:], now[1:], strict=True) if new != old]
        self._out.append(f"\x1b[{';'.join(parts)}m")
        self._now = codes

    def _reset(self) -> None:
        self._turn(_PLAIN)


@lru_cache(maxsize=1024)
def _codes(style: Style, colours: ColorSystem | None) -> _Codes:
    sequence = style.without_color.render(" ", color_system=ColorSystem.STANDARD)
    attributes = sequence.partition("m")[0].removeprefix("\x1b[") if sequence != " " else ""
    if colours is None:
        return _Codes(attributes, _PLAIN.ink, _PLAIN.ground)
    return _Codes(
        attributes,
        _colour(style.color, colours, ink=True) or "39",
        _colour(style.bgcolor, colours, ink=False) or "49",
    )


def _colour(colour: Color | None, colours: ColorSystem, *, ink: bool) -> str:
    if colour is None:
        return ""
    return ";".join(colour.downgrade(colours).get_ansi_codes(foreground=ink))
