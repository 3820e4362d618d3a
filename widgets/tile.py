"""`Tile`: a titled box around lines that somebody else makes."""

from __future__ import annotations

from .linewidget import LineWidget


class Tile(LineWidget):
    """A framed `LineWidget`. Fill it with `set_lines`; the frame, its title and its note are
    drawn in the same pass and repainted as sparingly."""


class FocusTile(Tile, can_focus=True):
    """A tile the focus can rest on, for panels that open something with enter."""
