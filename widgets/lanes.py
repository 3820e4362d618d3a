"""`QueueLanes`: what waits at each priority of a queue, a bar a lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..engine.views import LaneView
from .cells import Line, Span, fit, line
from .format import UNKNOWN, age, count
from .linewidget import Frame, LineWidget

MOST_URGENT: Final = 10
# From here on the oldest message of a lane is shown as a warning.
OLD_S: Final = 300.0

_READY, _LEASED, _DELAYED, _DEAD = "█", "▓", "░", "✗"
_PARTS: Final = (
    ("ready", _READY, "good"),
    ("leased", _LEASED, "accent"),
    ("delayed", _DELAYED, "muted"),
    ("dead", _DEAD, "bad"),
)
_NUMBER: Final = 8
_PRIORITY: Final = 5
_OLDEST: Final = 8
_LEAST_BAR: Final = 8


class Lane(NamedTuple):
    """One priority over all the environments that are shown."""

    priority: int
    ready: int = 0
    leased: int = 0
    delayed: int = 0
    dead: int = 0
    oldest_at_us: int | None = None

    @property
    def total(self) -> int:
        return self.ready + self.leased + self.delayed + self.dead

    def plus(self, view: LaneView) -> Lane:
        """This lane with that of one more environment."""
        times = [at_us for at_us in (self.oldest_at_us, view.oldest_at_us) if at_us is not None]
        return Lane(
            self.priority,
            self.ready + view.ready,
            self.leased + view.leased,
            self.delayed + view.delayed,
            self.dead + view.dead,
            min(times, default=None),
        )


class QueueLanes(LineWidget):
    """The lanes, most urgent first, on one scale: ready `█`, leased `▓`, delayed `░`, dead `✗`, a
    number for each and how long the oldest ready message has waited.

    Where there is not a line for every lane, the empty ones go first, then the least urgent; the
    note says how many are hidden.
    """

    def __init__(
        self,
        *,
        title: str = "",
        frame: Frame | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._lanes: tuple[Lane, ...] = tuple(map(Lane, range(MOST_URGENT, 0, -1)))
        self._now_us = 0

    def show(self, lanes: Sequence[LaneView], now_us: int) -> None:
        """Show these lanes, those of one priority summed; `now_us` is the moment of the counts."""
        by_priority = {priority: Lane(priority) for priority in range(MOST_URGENT, 0, -1)}
        for view in lanes:
            by_priority[view.priority] = by_priority[view.priority].plus(view)
        self._lanes = tuple(by_priority.values())
        self._now_us = now_us
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """A heading, and a line for each lane there is room for."""
        room = max(0, self.body_height - 1)
        shown = self._lanes if room >= len(self._lanes) else self._telling(room)
        hidden = sum(1 for lane in self._lanes if lane.total and lane not in shown)
        self._note = f"{hidden} more lane{'s' * (hidden > 1)}" if hidden else ""
        bar = self.body_width - _PRIORITY - len(_PARTS) * _NUMBER - _OLDEST - 2
        bar = bar if bar >= _LEAST_BAR else 0
        most = max((lane.total for lane in self._lanes), default=0)
        return [_heading(bar), *(self._line(lane, bar, most) for lane in shown)]

    def _telling(self, room: int) -> Sequence[Lane]:
        """The lanes that hold something, most urgent first, then some of the empty ones."""
        busy = [lane for lane in self._lanes if lane.total][:room]
        empty = [lane for lane in self._lanes if not lane.total][: room - len(busy)]
        return sorted([*busy, *empty], key=lambda lane: -lane.priority)

    def _line(self, lane: Lane, bar: int, most: int) -> Line:
        spans: list[Span] = [(f"{lane.priority:>{_PRIORITY - 2}}  ", "title")]
        spans += lane_bar(lane, bar, most)
        for name, _, _ in _PARTS:
            number = getattr(lane, name)
            style = "muted" if not number else "bad" if name == "dead" else "text"
            spans.append((fit(count(number) if number else "·", _NUMBER, "right"), style))
        return (*spans, self._oldest(lane))

    def _oldest(self, lane: Lane) -> Span:
        if lane.oldest_at_us is None:
            return (fit(UNKNOWN, _OLDEST + 2, "right"), "muted")
        waited_s = max(0.0, (self._now_us - lane.oldest_at_us) / 1e6)
        minutes = int(waited_s // 60)
        words = "< 1 m" if not minutes else f"{minutes} m" if minutes < 60 else age(waited_s)
        if waited_s >= OLD_S:
            return (fit(f"▲ {words}", _OLDEST + 2, "right"), "warning")
        return (fit(words, _OLDEST + 2, "right"), "text")


def lane_bar(lane: Lane, width: int, most: int) -> list[Span]:
    """The bar of a lane over `width` cells that stand for `most` messages. Every part that holds
    anything has at least one cell."""
    if not width:
        return []
    numbers = [getattr(lane, name) for name, _, _ in _PARTS]
    sizes = [max(1, round(number * width / most)) if number else 0 for number in numbers]
    while sum(sizes) > width and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    spans = [
        (glyph * size, style) for size, (_, glyph, style) in zip(sizes, _PARTS, strict=True) if size
    ]
    return [*spans, (" " * (width - sum(sizes)), "text")]


def _heading(bar: int) -> Line:
    legends = (
        "  ".join(f"{glyph} {name}" for name, glyph, _ in _PARTS),
        " ".join(f"{glyph}{name}" for name, glyph, _ in _PARTS),
    )
    legend = next((text for text in legends if len(text) <= bar), "")
    numbers = "".join(fit(name, _NUMBER, "right") for name, _, _ in _PARTS)
    start = fit("prio", _PRIORITY)
    return line(
        (f"{start}{fit(legend, bar)}{numbers}{fit('oldest', _OLDEST + 2, 'right')}", "muted")
    )
