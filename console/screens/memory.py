"""The memory of the host: who may have how much, who has it, and who borrowed it from whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from textual.widget import Widget

from ...engine import views
from ...engine.model import PREFIXES
from ...widgets import Line, LineWidget, Span, VirtualTable, line
from ...widgets.format import size
from .. import columns
from ..bridge import Pull
from ..columns import Moment
from ..listings import LISTINGS, Scope, scale_words
from ..places import Place
from .listing import ListScreen

_USED, _ALLOCATED, _PLAN = "█", "▒", "─"
_LEAST_NAMED: Final = 3
_SHORT: Final = {str(name): prefix for name, prefix in PREFIXES.items()}


class Share(NamedTuple):
    """A part of the host. `held` is what is allocated in it, `used` what is measured of that."""

    name: str
    bytes: int
    held: int
    used: int
    style: str


def shares(overview: views.Overview) -> list[Share]:
    """The host as the plan divides it. What is borrowed shows where it is taken from."""
    host, environments = overview.host, overview.environments
    lent: dict[str, int] = {}
    for environment in environments:
        for loan in environment.lenders:
            lent[loan.lender] = lent.get(loan.lender, 0) + loan.bytes
    found = [
        Share(each.name, each.base_bytes, min(each.allocated_bytes, each.base_bytes),
              min(each.used_bytes, each.base_bytes), columns.place_style(each.name))
        for each in environments
    ]  # fmt: skip
    found = [part._replace(held=part.held + lent.get(part.name, 0)) for part in found]
    found += [
        Share("coordination", host.coordination_bytes, 0, 0, "accent"),
        Share("monitoring", host.monitoring_bytes, 0, 0, "accent"),
        Share("buffer", host.buffer_bytes, lent.get("buffer", 0), 0, "warning"),
        Share("reserved", host.reserved_bytes, 0, 0, "muted"),
    ]
    return [part for part in found if part.bytes > 0]


def widths(parts: Sequence[Share], room: int) -> list[int]:
    """Cells for each part, one at least, `room` in all."""
    total = sum(part.bytes for part in parts) or 1
    edges = [0]
    for part in parts:
        edges.append(edges[-1] + part.bytes)
    cuts = [round(edge * room / total) for edge in edges]
    cells = [max(1, right - left) for left, right in pairwise(cuts)]
    while sum(cells) > room and max(cells) > 1:
        cells[cells.index(max(cells))] -= 1
    return cells


class HostMap(LineWidget):
    """The whole host as one bar: a part for each budget, what is held in it and what of that is
    used; below it the names and the sizes."""

    DEFAULT_CSS = "HostMap { height: 5; }"

    def __init__(self) -> None:
        super().__init__(title="Host", frame="rule", id="host")
        self._parts: Sequence[Share] = ()
        self._words: Line = ()

    def show(self, overview: views.Overview) -> None:
        """Show the host of this moment."""
        host = overview.host
        self._parts = shares(overview)
        self._words = line(
            (" allocated ", "muted"), size(host.allocated_bytes), (" of ", "muted"),
            size(host.swarm_plan_bytes), ("  used ", "muted"), size(host.used_bytes),
            ("  free ", "muted"), size(host.available_bytes),
        )  # fmt: skip
        self._note = " · ".join(
            part for part in (size(host.total_bytes), scale_words(host), host.enforcement) if part
        )
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        cells = widths(self._parts, self.body_width)
        parts = list(zip(self._parts, cells, strict=True))
        return (
            tuple(span for part, width in parts for span in _bar(part, width)),
            tuple(_name(part, width) for part, width in parts),
            tuple((f"{_size(part, width - 1):<{width}}", "muted") for part, width in parts),
            (*self._words, (self._legend(), "muted")),
        )

    def _legend(self) -> str:
        room = self.body_width - sum(len(text) for text, _ in self._words)
        legends = (
            f"   {_USED} used  {_ALLOCATED} allocated  {_PLAN} planned",
            f"  {_USED} used {_ALLOCATED} alloc {_PLAN} plan",
        )
        return next((text for text in legends if len(text) <= room), "")


def _size(part: Share, room: int) -> str:
    """Its size, as long as there is room for."""
    full = size(part.bytes)
    return next((text for text in (full, full.replace(" ", "")[:-1]) if len(text) <= room), "")


def _bar(part: Share, width: int) -> Iterator[Span]:
    """One part; the tick at its end keeps neighbours apart without colour."""
    room = width - 1
    used = min(room, max(1, round(part.used * room / part.bytes))) if part.used else 0
    held = min(room, max(used, round(part.held * room / part.bytes))) if part.held else used
    held = max(held, 1) if part.held and room else held
    yield _USED * used, part.style
    yield _ALLOCATED * (held - used), part.style
    yield _PLAN * (room - held), "muted"
    yield "┃", "title"


def _name(part: Share, width: int) -> Span:
    """The name, its short form, or nothing where it would not be told."""
    room = width - 1
    names = (part.name, _SHORT.get(part.name, part.name[:5]), part.name[:_LEAST_NAMED])
    name = next((name for name in names if len(name) <= room), "")
    return f"{name:<{width}}", part.style


class MemoryScreen(ListScreen):
    """The host's map, the budgets, and the swarms of the selected one with what they borrowed."""

    DEFAULT_CSS = """
    MemoryScreen #rows { height: 7; }
    MemoryScreen #holders { height: 1fr; }
    MemoryScreen.-tall #host { margin: 1 0; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["memory"], scope)
        self._map = HostMap()
        self._holders = VirtualTable(
            columns.borrowers(moment), lambda swarm: str(swarm.id), title="Swarms",
            frame="rule", empty="", id="holders",
        )  # fmt: skip
        self.parts = (self.table, self._holders)

    def above(self) -> Iterable[Widget]:
        yield self._map

    def below(self) -> Iterable[Widget]:
        yield self._holders

    @property
    def row(self) -> object:
        held = self._holders
        return held.cursor_row if held.has_focus else self.table.cursor_row

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.overview is not None:
            self._map.show(pull.overview)
            self._show_holders()

    def _show_holders(self) -> None:
        """The swarms of the environment under the cursor."""
        environment = self.table.cursor_row
        if environment is None or self._seen is None:
            return
        name = environment.name
        self._holders.title = f"Swarms of {name}"
        self._holders.empty = (
            f"No swarm of {name} holds memory; {size(environment.available_bytes)} are free for "
            "one.\n\nc  starts one,  b  changes the budget,  enter  shows the records"
        )
        self._holders.show([each for each in self._seen.swarms if each.environment == name])

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        if message.table is self.table:
            self._show_holders()

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        if message.table is self._holders:
            message.prevent_default()
            self.post_message(self.Opened(Place("swarm", message.key)))
