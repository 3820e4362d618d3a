"""`MeterBar`: plan, allocated and used of several budgets, one bar each on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ..engine.model import GIB, MIB
from .cells import Line, Span, fit, line, width_of
from .linewidget import Frame, LineWidget

# Columns of used, allocated and plan.
_NUMBERS: Final = (5, 6, 5)
_LEAST_BAR: Final = 8
_MOST_LABEL: Final = 16
_USED, _ALLOCATED, _PLAN, _TICK, _FREE = "█", "▒", "─", "┃", "·"


class Meter(msgspec.Struct, frozen=True):
    """One budget in bytes. `limit` is how far it may grow beyond its plan (0: not at all)."""

    label: str
    used: int
    allocated: int
    plan: int
    limit: int = 0
    style: str = "accent"


class _Unit(NamedTuple):
    name: str
    bytes: int


_GB: Final = _Unit("GB", GIB)
_MB: Final = _Unit("MB", MIB)


class MeterBar(LineWidget):
    """A bar and three numbers a line: what is used `█`, what is allocated beyond that `▒`, what
    is planned beyond that `─` up to the tick `┃`, and how far the budget may grow `·`. An amount
    used beyond what is allocated has a `!`. Marks and numbers differ, not only colours."""

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
        widest = max((width_of(meter.label) for meter in self._meters), default=0)
        scale = max((max(meter.plan, meter.limit) for meter in self._meters), default=0)
        unit = _GB if scale >= GIB else _MB
        label = min(_MOST_LABEL, max(len(unit.name), widest))
        headed = self.body_height > len(self._meters)
        suffix = "" if headed else f" {unit.name}"
        bar = self.body_width - label - 1 - sum(_NUMBERS) - len(suffix)
        if bar < _LEAST_BAR:
            label, bar = max(0, label + min(0, bar)), 0
        lines = [_meter_line(meter, label, bar, scale, unit, suffix) for meter in self._meters]
        return [_heading(label, bar, unit), *lines] if headed else lines


def bar_spans(meter: Meter, width: int, scale: int) -> list[Span]:
    """The bar of one budget over `width` cells that stand for `scale` bytes. The tick at the end
    of the plan is always seen, also where more than the plan is allocated or used."""
    if width <= 1 or scale <= 0:
        return []
    room = width - len(_TICK)
    used = _cells(meter.used, room, scale)
    allocated = max(used, _cells(meter.allocated, room, scale))
    plan = _cells(meter.plan, room, scale)
    end = max(allocated, plan, _cells(meter.limit, room, scale))
    ends = (
        (_USED, used, "bad" if meter.used > max(meter.plan, meter.limit) else meter.style),
        (_ALLOCATED, allocated, meter.style),
        (_PLAN, max(allocated, plan), "muted"),
        (_FREE, end, "muted"),
        (" ", room, "text"),
    )
    spans: list[Span] = []
    x = 0
    for glyph, stop, style in ends:
        if x <= plan < stop:
            spans += [(glyph * (plan - x), style), (_TICK, "title")]
            x = plan
        spans.append((glyph * (stop - x), style))
        x = stop
    return spans if plan < room else [*spans, (_TICK, "title")]


def _cells(amount: int, width: int, scale: int) -> int:
    """Cells for an amount: none for nothing, at least one for anything, never above `width`."""
    if amount <= 0:
        return 0
    return max(1, min(width, round(amount * width / scale)))


def figure(size_bytes: int, unit: _Unit) -> str:
    """An amount in that unit, as short as it stays telling: `12`, `7.4`, `0.03`, `<0.01`."""
    amount = size_bytes / unit.bytes
    if size_bytes <= 0:
        return "0"
    if amount < 0.005:
        return "<0.01"
    return f"{amount:.2f}" if amount < 0.095 else f"{amount:.1f}".removesuffix(".0")


def _meter_line(meter: Meter, label: int, bar: int, scale: int, unit: _Unit, suffix: str) -> Line:
    over = meter.used > meter.allocated
    used = ("!" if over else "") + figure(meter.used, unit)
    return (
        (fit(meter.label, label) + " ", meter.style),
        *bar_spans(meter, bar, scale),
        (fit(used, _NUMBERS[0], "right"), "bad bold" if over else "text"),
        (fit(figure(meter.allocated, unit), _NUMBERS[1], "right"), "text"),
        (fit(figure(meter.plan, unit), _NUMBERS[2], "right") + suffix, "muted"),
    )


def _heading(label: int, bar: int, unit: _Unit) -> Line:
    words = zip(("used", "alloc", "plan"), _NUMBERS, strict=True)
    names = "".join(fit(word, width, "right") for word, width in words)
    legends = (
        f"{_USED} used  {_ALLOCATED} allocated  {_PLAN}{_TICK} plan  {_FREE} limit",
        f"{_USED} used {_ALLOCATED} alloc {_TICK} plan {_FREE} limit",
    )
    legend = next((text for text in legends if len(text) <= bar), "")
    return line((fit(unit.name, label) + " " + fit(legend, bar) + names, "muted"))
