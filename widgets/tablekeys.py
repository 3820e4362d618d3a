"""The keys of a table. A keymap gives others to an action by the id of its binding."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

# Terminals send ctrl+space as the character zero, which is ctrl+@.
_KEYS: Final = (
    ("down", "j,down", "move(1)", "Down"),
    ("up", "k,up", "move(-1)", "Up"),
    ("first", "g,home", "first", "First"),
    ("last", "G,end", "last", "Last"),
    ("half_down", "ctrl+d", "page(1, 2)", "Half a page down"),
    ("half_up", "ctrl+u", "page(-1, 2)", "Half a page up"),
    ("page_down", "pagedown", "page(1)", "Page down"),
    ("page_up", "pageup", "page(-1)", "Page up"),
    ("open", "enter", "select", "Open"),
    ("mark", "space", "mark", "Mark"),
    ("mark_range", "v,ctrl+@,ctrl+space", "mark_range", "Mark from the last mark to here"),
    ("mark_all", "M", "mark_all", "Mark all"),
    ("clear_marks", "U", "clear_marks", "Unmark all"),
    ("sort", "o", "sort_next", "Sort by the next column"),
    ("flip", "O", "sort_flip", "Turn the sort around"),
    ("wide", "w", "wide", "Scroll the columns that do not fit"),
    ("left", "<,shift+left", "scroll_columns(-1)", "Columns to the left"),
    ("right", ">,shift+right", "scroll_columns(1)", "Columns to the right"),
)
TABLE_KEYS: Final = tuple(
    Binding(keys, action, does, show=False, id=f"table.{name}")
    for name, keys, action, does in _KEYS
)
