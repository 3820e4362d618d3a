"""`StatusLine`: the condition of the engine on one line, and what it has to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from ..engine.views import EngineView
from .cells import Line, Span, fit, width_of
from .format import age, count, size
from .linewidget import LineWidget

# From here on the number is shown as a warning: what a person would notice or should look at.
LAG_WARNING_MS: Final = 50.0
QUEUE_WARNING: Final = 1_000
WAL_WARNING_BYTES: Final = 64 << 20
AGE_WARNING_S: Final = 5.0


class StatusLine(LineWidget):
    """Loop lag, writer queue, WAL size, bus, age of the data and the way the engine is opened.
    A number beyond its bound is marked `▲`."""

    DEFAULT_CSS = "StatusLine { height: 1; }"
    ground: ClassVar[str] = "surface"

    def __init__(
        self,
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(id=id)
        self._engine: EngineView | None = None
        self._age_s = 0.0
        self._mode = ""
        self._said: Span = ("", "text")

    def show(self, engine: EngineView, *, age_s: float, mode: str) -> None:
        """Show the engine's condition; `age_s` is how old the data on the screen is, `mode` how
        the engine is reached (`embedded`, `attached`)."""
        self._engine, self._age_s, self._mode = engine, age_s, mode
        self.rebuild()

    def say(self, text: str, style: str = "text") -> None:
        """Put a message before the numbers, in their place where it is long; empty takes it
        away."""
        self._said = (text, style)
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """The one line: message left, numbers right, as many as there is room for."""
        said, style = self._said
        left = fit(f" {said}", min(self.body_width, width_of(said) + 1)) if said else ""
        room = self.body_width - width_of(left) - 1
        spans: list[Span] = []
        for part in self._parts():
            need = sum(width_of(text) for text, _ in part)
            if need > room:
                break
            room -= need
            spans += part
        return [((left, style), (" " * max(0, room), "text"), *spans, (" ", "text"))]

    def _parts(self) -> list[list[Span]]:
        """The numbers, most telling first."""
        engine = self._engine
        if engine is None:
            return [[("no data yet", "muted")]]
        return [
            [("  ", "text"), (self._mode, "accent")],
            _number("data", age(self._age_s), self._age_s >= AGE_WARNING_S),
            _number("loop", f"{engine.loop_lag_ms:.0f} ms", engine.loop_lag_ms >= LAG_WARNING_MS),
            _number("writer", count(engine.writer_queue), engine.writer_queue >= QUEUE_WARNING),
            _number("wal", size(engine.wal_bytes), engine.wal_bytes >= WAL_WARNING_BYTES),
            _number("bus", engine.bus, warn=False),
        ]


def _number(name: str, value: str, warn: bool) -> list[Span]:
    if warn:
        return [(f"  ▲ {name} ", "warning"), (value, "warning bold")]
    return [(f"  {name} ", "muted"), (value, "text")]
