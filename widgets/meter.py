"""`MeterBar`: plan, allocated and used of several budgets, one bar each on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from .cells import Line, Span, fit, line, width_of
from .format import size
from .line import Frame, LineWidget

_NUMBER: Final = 9
_LEAST_BAR: Final = 8
_MOST_LABEL: Final = 16
_USED, _ALLOCATED, _PLAN, _FREE, _LIMIT = "█", "▒", "─", "·", "┃"


class Meter(msgspec.Struct, frozen=True):
    """One budget in bytes. `limit` is how far it may grow beyond its plan (0: not at all)."""

    label: str
    used: int
    allocated: int
    plan: int
    limit: int = 0
    style: str = "accent"


class MeterBar(LineWidget):
    """A bar and three numbers a line: what is used `█`, what is allocated beyond that `▒`, what
    is planned beyond that `─`, and the limit `┃`. Marks and numbers differ, not only colours."""

    def __init__(
        self,
        *,
        title: str = "",
        frame: Frame | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._meters: tuple[Meter, ...] = ()

    def show(self, meters: Sequence[Meter]) -> None:
        """Show these budgets."""
        self._meters = tuple(meters)
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """A heading if there is room for one, and the meters."""
        label = min(_MOST_LABEL, max((width_of(meter.label) for meter in self._meters), default=0))
        bar = self.body_width - label - 1 - 3 * _NUMBER
        if bar < _LEAST_BAR:
            label, bar = max(0, label + bar), 0
        scale = max((max(meter.plan, meter.limit) for meter in self._meters), default=0)
        lines = [_meter_line(meter, label, bar, scale) for meter in self._meters]
        if self.body_height > len(lines):
            lines.insert(0, _heading(label, bar))
        return lines


def bar_spans(meter: Meter, width: int, scale: int) -> list[Span]:
    """The bar of one budget over `width` cells that stand for `scale` bytes."""
    if width <= 0 or scale <= 0:
        return []
    used = _cells(meter.used, width, scale)
    allocated = max(used, _cells(meter.allocated, width, scale))
    plan = max(allocated, _cells(meter.plan, width, scale))
    limit = max(plan, _cells(meter.limit, width, scale))
    full = meter.used > max(meter.plan, meter.limit)
    spans = [
        (_USED * used, "bad" if full else meter.style),
        (_ALLOCATED * (allocated - used), meter.style),
        (_PLAN * (plan - allocated), "muted"),
        (_FREE * (limit - plan), "border"),
    ]
    if limit < width:
        return [*spans, (_LIMIT, "muted"), (" " * (width - limit - 1), "text")]
    return spans


def _cells(amount: int, width: int, scale: int) -> int:
    """Cells for an amount: none for nothing, at least one for anything, never above `width`."""
    if amount <= 0:
        return 0
    return max(1, min(width, round(amount * width / scale)))


def _meter_line(meter: Meter, label: int, bar: int, scale: int) -> Line:
    over = meter.used > meter.allocated > 0
    numbers = [
        (
            fit(size(meter.used) + ("!" if over else ""), _NUMBER, "right"),
            "bad" if over else "text",
        ),
        (fit(size(meter.allocated), _NUMBER, "right"), "text"),
        (fit(size(meter.plan), _NUMBER, "right"), "muted"),
    ]
    return ((fit(meter.label, label) + " ", meter.style), *bar_spans(meter, bar, scale), *numbers)


def _heading(label: int, bar: int) -> Line:
    names = "".join(fit(name, _NUMBER, "right") for name in ("used", "allocated", "plan"))
    legend = f"{_USED} used {_ALLOCATED} allocated {_PLAN} plan {_FREE}{_LIMIT} limit"
    if bar < len(legend):
        legend = ""
    return line((" " * (label + 1) + fit(legend, bar) + names, "muted"))
