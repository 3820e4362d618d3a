"""All the room of a screen for one widget, and shared again.

Textual's own maximising leaves out head, keys and command bar, which are what one works with.
"""

from __future__ import annotations

from typing import Final

from textual.widget import Widget

from ..engine.errors import NotFound
from .screens import DeckScreen

_HIDDEN: Final = "-gave-way"
_GIVEN: Final = "-all-room"
_KEPT: Final = frozenset({"head", "foot", "notice"})


def give_all(screen: DeckScreen) -> None:
    """Hide what stands beside the widget in focus, on every level up to the screen. Raises
    NotFound when nothing has the focus."""
    node: Widget | None = screen.focused
    if node is None:
        raise NotFound("nothing has the focus", hint="tab gives it to a part of the screen")
    while node is not None and node is not screen:
        node.add_class(_GIVEN)
        node.styles.width = node.styles.height = "1fr"
        parent = node.parent
        for beside in parent.children if isinstance(parent, Widget) else ():
            if beside is not node and beside.id not in _KEPT and beside.display:
                beside.add_class(_HIDDEN)
                beside.styles.display = "none"
        node = parent if isinstance(parent, Widget) else None


def shared_again(screen: DeckScreen) -> bool:
    """Give every widget its place back; False when none was hidden."""
    given = list(screen.query(f".{_GIVEN}"))
    for widget in given:
        widget.remove_class(_GIVEN)
        widget.styles.clear_rule("width")
        widget.styles.clear_rule("height")
    for widget in screen.query(f".{_HIDDEN}"):
        widget.remove_class(_HIDDEN)
        widget.styles.display = "block"  # tells the parent to arrange anew, which clearing does not
        widget.styles.clear_rule("display")
    if given:
        screen.refresh(layout=True)
    return bool(given)
