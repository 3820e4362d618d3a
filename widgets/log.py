"""`LogTail`: the last lines of an output, following its end until somebody scrolls back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from textual.binding import Binding, BindingType

from .cells import Line
from .linewidget import Frame, LineWidget


class LogTail(LineWidget, can_focus=True):
    """At most `capacity` lines; older ones fall out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,up", "scroll_back(1)", "Up", show=False, id="log.up"),
        Binding("j,down", "scroll_back(-1)", "Down", show=False, id="log.down"),
        Binding("ctrl+u,pageup", "page_back(1)", "Page up", show=False, id="log.page_up"),
        Binding("ctrl+d,pagedown", "page_back(-1)", "Page down", show=False, id="log.page_down"),
        Binding("G,end", "follow", "Follow the end", show=False, id="log.follow"),
    ]

    def __init__(
        self,
        *,
        capacity: int = 2000,
        title: str = "",
        frame: Frame | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._lines: deque[Line] = deque(maxlen=capacity)
        self._back = 0

    @property
    def following(self) -> bool:
        """True while the newest line is shown."""
        return self._back == 0

    def write(self, text: str, style: str = "text") -> None:
        """Add text, a line for each of its lines. The view stays where it is when scrolled back."""
        for part in text.splitlines() or [""]:
            self._lines.append(((part, style),))
            if self._back:
                self._back += 1
        self.rebuild()

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._back = 0
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """As many lines as fit, the newest last."""
        self._back = max(0, min(self._back, len(self._lines) - self.body_height))
        self._note = f"{self._back:,} below, G follows" if self._back else "following"
        end = len(self._lines) - self._back
        return list(islice(self._lines, max(0, end - self.body_height), end))

    def action_scroll_back(self, lines: int) -> None:
        """Towards older lines, or newer ones when negative."""
        self._back = max(0, self._back + lines)
        self.rebuild()

    def action_page_back(self, pages: int) -> None:
        """By pages."""
        self.action_scroll_back(pages * max(1, self.body_height - 1))

    def action_follow(self) -> None:
        """Back to the newest line."""
        self._back = 0
        self.rebuild()
