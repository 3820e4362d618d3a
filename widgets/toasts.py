"""Toasts: what has just happened, told for a moment at the lower edge.

Textual stacks them as high as they come, and beyond the height of the screen the newest is the one
that is not seen. Here the newest is always seen: for its sake the oldest go before their time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from textual.content import Content  # painted: only measured
from textual.geometry import Size
from textual.notifications import Notification

WIDTH: Final = 60
PERCENT: Final = 75
CSS: Final = f"Toast {{ width: {WIDTH}; max-width: {PERCENT}%; padding: 0 1; }}"

_EDGES: Final = 3  # the line on the left and a cell of padding on either side
_GAP: Final = 1  # between two of them


def rows_of(notification: Notification, width: int) -> int:
    """How many rows a toast takes on a screen so many cells wide, with the gap above it."""
    inner = max(1, min(WIDTH, width * PERCENT // 100) - _EDGES)
    texts = [text for text in (notification.title, notification.message) if text]
    return _GAP + sum(Content(text).get_height({}, inner) for text in texts)  # painted: measured


def crowded_out(
    shown: Iterable[Notification], newest: Notification, screen: Size
) -> list[Notification]:
    """Those of the toasts, oldest first, that go so that all take half the screen at most."""
    older = list(shown)
    room = screen.height // 2 - rows_of(newest, screen.width)
    kept = len(older)
    while kept and (room := room - rows_of(older[kept - 1], screen.width)) >= 0:
        kept -= 1
    return older[:kept]
