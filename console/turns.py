"""Keys one after the other: the next is given out when all that the last one means has been done.

Textual hands a key to the widget in focus and goes on to the next at once. When the first one
leaves the screen, those typed behind it are on their way to a widget that is gone, and are lost.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump

PATIENCE_S: Final = 1.5  # whatever is done about a key after that, the next one has its turn


class Turns:
    """Whose turn it is. All of it belongs to the app's loop."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._waiting: deque[events.Key] = deque()
        self._due: events.Key | None = None  # posted again, to be taken next
        self._dropped: events.Key | None = None  # posted again, and not wanted any more
        self._turn = 0
        self._busy = False

    def admit(self, key: events.Key) -> bool:
        """Whether it is the turn of this key. If not it is kept, and comes again."""
        if key is self._due:
            self._due = None
            return True
        if key is self._dropped:
            self._dropped = None
            self.over()
            return False
        if self._busy:
            self._waiting.append(key)
            return False
        self._begin()
        return True

    def follow(self, target: MessagePump) -> None:
        """The key was handed to `target`: its turn is over when that and all above it have had
        it."""
        turn = self._turn
        self._app.set_timer(PATIENCE_S, lambda: self.over(turn))
        self._pass_on(target, turn)

    def wait(self) -> None:
        """The key waits for something, and those behind it with it, until it comes `again`."""
        turn = self._turn
        self._app.set_timer(PATIENCE_S, lambda: self.over(turn))

    def again(self, key: events.Key) -> None:
        """A key that has waited has its turn now, before all that were typed behind it."""
        self._turn += 1
        self._busy = True
        self._due = key
        self._app.post_message(key)

    def drop(self) -> None:
        """Forget all that was typed until now."""
        self._waiting.clear()
        if self._due is not None:
            self._dropped, self._due = self._due, None
        else:
            self.over()

    def over(self, turn: int | None = None) -> None:
        """The turn is over, now."""
        if not self._busy or turn not in {None, self._turn}:
            return
        self._busy = False
        if self._waiting:
            self._begin()
            self._due = self._waiting.popleft()
            self._app.post_message(self._due)

    def _begin(self) -> None:
        self._turn += 1
        self._busy = True

    def _pass_on(self, node: MessagePump, turn: int) -> None:
        """Behind the key in the queue of `node`, then of what is above it."""
        if node is self._app or not isinstance(node, DOMNode):
            self._app.call_later(self.over, turn)
        elif not node.call_later(self._had, node, turn):
            self.over(turn)

    def _had(self, node: DOMNode, turn: int) -> None:
        self._pass_on(node.parent or self._app, turn)
