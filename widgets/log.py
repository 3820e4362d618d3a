"""`LogTail`: the last lines of an output, following its end until somebody scrolls back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import ClassVar

from textual.binding import Binding, BindingType

from .cells import Line
from .linewidget import Frame, LineWidget


class LogTail(LineWidget, can_focus=True):
    """At most `capacity` lines; older ones fall out. A filter hides lines and forgets none."""

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
        self._shown: deque[Line] = self._lines
        self._wanted: Callable[[str], bool] | None = None
        self._back = 0

    @property
    def following(self) -> bool:
        """True while the newest line is shown."""
        return self._back == 0

    def write(self, text: str, style: str = "text") -> None:
        """Add text, a line for each of its lines. The view stays where it is when scrolled back."""
        for part in text.splitlines() or [""]:
            self._add(((part, style),))
        self.rebuild()

    def _add(self, row: Line) -> None:
        wanted = self._wanted is None or self._wanted(row[0][0])
        if self._shown is not self._lines:
            if len(self._lines) == self._lines.maxlen and self._leads():
                self._shown.popleft()
            if wanted:
                self._shown.append(row)
        self._lines.append(row)
        if self._back and wanted:
            self._back += 1

    def _leads(self) -> bool:
        """Whether the line that falls out next is a shown one."""
        return bool(self._shown) and self._shown[0] is self._lines[0]

    def filter(self, wanted: Callable[[str], bool] | None) -> None:
        """Show only the lines whose text is wanted, those to come as well; None shows all."""
        self._wanted = wanted
        self._shown = self._lines
        if wanted is not None:
            kept = (row for row in self._lines if wanted(row[0][0]))
            self._shown = deque(kept, maxlen=self._lines.maxlen)
        self._back = 0
        self.rebuild()

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._shown.clear()
        self._back = 0
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """As many lines as fit, the newest last."""
        shown = self._shown
        self._back = max(0, min(self._back, len(shown) - self.body_height))
        self._note = f"{self._back:,} below, G follows" if self._back else "following"
        if self._wanted is not None:
            self._note = f"{len(shown):,} of {len(self._lines):,} lines · {self._note}"
        end = len(shown) - self._back
        return list(islice(shown, max(0, end - self.body_height), end))

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
