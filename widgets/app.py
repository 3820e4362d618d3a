"""`DeckApp`: the Textual app that paints exactly the cells that changed.

The one module that reaches below Textual's public API. Stock Textual, asked to repaint columns
90 to 95 of a line, sends the line from the edge of the widget up to column 95; over a slow line
that is most of what it sends. Here only the asked columns go out.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console, RenderableType
from rich.control import Control
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.screen import Screen

from .. import themes
from .palette import load_palette


class DeckApp(App[Any]):
    """An app in the bundled themes. Set `theme` to any of `themes.names()` to change them."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: $background; color: $foreground; }"

    def __init__(self, theme: str = themes.DEFAULT) -> None:
        super().__init__()
        for name in themes.names():
            self.register_theme(load_palette(name).textual_theme())
        self.theme = theme
        # Every animation is bytes; none of them tells anything.
        self.animation_level = "none"

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if type(renderable) is ChopsUpdate:
            renderable = CellUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
        super()._display(screen, renderable)


class CellUpdate(ChopsUpdate):
    """A partial update that sends the cells of its spans and no others."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal: for each span a cursor move and its cells."""
        out: list[str] = []
        for y, left, right in self.spans:
            at = -1
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                start, stop = max(x, left), min(end, right)
                if strip is None or start >= stop:
                    continue
                if at != start:
                    out.append(str(Control.move_to(start, y)))
                out.append(strip.crop(start - x, stop - x).render(console))
                at = stop
        return "".join(out)
