"""The first screen: the host's memory, the swarms, the queue, and what else is worth a glance.

Tiles give way by priority: the three tables of the main job stay on 80x24, the others join as the
terminal grows; what has no tile is said in one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.errors import ErrorReport
from ...widgets import (
    BrailleChart,
    Column,
    HeatRow,
    HeatStrip,
    Line,
    LineWidget,
    LogTail,
    Meter,
    MeterBar,
    QueueLanes,
    Series,
    Span,
    Tile,
    VirtualTable,
    line,
)
from ...widgets.format import count, micros, rate, size
from .. import columns, wording
from ..bridge import Pull
from ..columns import Moment
from ..listings import SWARMS, scale_words
from ..places import Place
from .frame import DeckScreen

_EIGHTHS: Final = "▁▂▃▄▅▆▇█"
_QUEUE_COLUMNS: Final = (
    ("ready", 0), ("leased", 0), ("delayed", 1), ("dead", 0), ("done", 0), ("expired", 3),
    ("cancelled", 4),
)  # fmt: skip


def _queue_columns() -> tuple[Column[views.EnvironmentView], ...]:
    return (
        columns.where(field="name"),
        *(_counted(state, priority) for state, priority in _QUEUE_COLUMNS),
    )


def _counted(state: str, priority: int) -> Column[views.EnvironmentView]:
    """The messages in one state; those that need a person stand out."""
    alarming = state in {"dead", "expired"}

    def number(environment: views.EnvironmentView) -> int:
        return int(getattr(environment.queue, state))

    return Column(
        state,
        lambda environment: count(number(environment)) if number(environment) else "·",
        width=max(7, len(state)),
        align="right",
        priority=priority,
        style=lambda environment: (
            "muted" if not number(environment) else "bad" if alarming else "text"
        ),
        sort=number,
    )


class GlanceLine(LineWidget):
    """Parts beside each other, as many as fit whole."""

    _parts: Sequence[tuple[str, str, str]] = ()

    def tell(self, parts: Sequence[tuple[str, str, str]]) -> None:
        """Show these, each a name, words and the style of the words."""
        self._parts = parts
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        spans: list[Span] = []
        room = self.body_width
        for name, said, style in self._parts:
            room -= len(name) + len(said)
            if room < 0:
                break
            spans += [(name, "muted"), (said, style)]
        return (tuple(spans),)


class OverviewScreen(DeckScreen):
    """Everything of one moment."""

    DEFAULT_CSS = """
    OverviewScreen #main { height: 1fr; }
    OverviewScreen #memory { height: 7; }
    OverviewScreen #swarms { height: 1fr; }
    OverviewScreen #queue { height: 7; }
    OverviewScreen #glance { height: 1; }
    OverviewScreen #side, OverviewScreen #chart, OverviewScreen #lanes { display: none; }
    OverviewScreen #agents { height: 6; }
    OverviewScreen #access { height: 3; }
    OverviewScreen #bench { height: 5; }
    OverviewScreen #alerts { height: 5; }
    OverviewScreen #events { height: 1fr; }
    OverviewScreen.-wide #side { display: block; width: 40; margin: 0 0 0 2; }
    OverviewScreen.-huge #side { display: block; width: 66; margin: 0 0 0 2; }
    OverviewScreen.-wide #glance, OverviewScreen.-huge #glance { display: none; }
    OverviewScreen.-tall #agents { height: 10; }
    OverviewScreen.-tall #bench { height: 10; }
    OverviewScreen.-tall #alerts { height: 9; }
    OverviewScreen.-tall #lanes { display: block; height: 12; }
    OverviewScreen.-huge.-tall #chart { display: block; height: 14; }
    """
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it on the instance
        (0, "-narrow"), (110, "-wide"), (160, "-huge"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-low"), (28, "-mid"), (45, "-tall"),
    ]  # fmt: skip

    def __init__(self, moment: Moment, opening: str) -> None:
        super().__init__("overview", moment, ("overview", "parts", "swarms", "rows", "motion"))
        self._memory = MeterBar(title="Memory", frame="rule", id="memory")
        self._swarms: VirtualTable[Any] = VirtualTable(
            columns.swarms(moment), lambda swarm: str(swarm.id), title="Swarms", frame="rule",
            empty=opening, id="swarms",
        )  # fmt: skip
        self._lanes = QueueLanes(title="Lanes by priority", frame="rule", id="lanes")
        self._queue: VirtualTable[Any] = VirtualTable(
            _queue_columns(), lambda environment: str(environment.name), title="Queue",
            frame="rule", empty="", id="queue",
        )  # fmt: skip
        self._glance = GlanceLine(id="glance")
        self._agents = HeatStrip(title="Agents", frame="rule", id="agents")
        self._access = Tile(title="Access", frame="rule", id="access")
        self._bench = Tile(title="Benchmarks", frame="rule", id="bench")
        self._alerts = Tile(title="Alerts", frame="rule", id="alerts")
        self._events = LogTail(capacity=200, title="Events", frame="rule", id="events")
        self._chart = BrailleChart(
            (Series("operations/s"),), title="Engine", frame="rule", unit="/s", id="chart"
        )
        self._firing: Sequence[views.AlertView] | None = None
        self._operations: tuple[int, float] | None = None
        self._leads: dict[Widget, str] = {
            self._lanes: "queue", self._agents: "agents", self._access: "access",
            self._bench: "bench", self._alerts: "alerts", self._events: "log",
            self._memory: "memory",
        }  # fmt: skip
        for tile in self._leads:
            tile.can_focus = True
        self.parts = (self._swarms, self._queue, *self._leads)

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="main"):
            with Vertical(id="work"):
                yield self._memory
                yield self._swarms
                yield self._lanes
                yield self._queue
                yield self._glance
                yield self._chart
            with Vertical(id="side"):
                yield self._agents
                yield self._access
                yield self._bench
                yield self._alerts
                yield self._events

    @property
    def row(self) -> object:
        return self._queue.cursor_row if self._queue.has_focus else self._swarms.cursor_row

    def query_wanted(self) -> Action:
        return actions.AlertList(firing=True)

    def say(self, text: str) -> None:
        """Show why there is nothing yet."""
        self._swarms.empty = text

    def show(self, pull: Pull) -> None:
        overview = pull.overview
        if overview is None:
            return
        self._show_memory(overview)
        self._swarms.empty = SWARMS.empty
        self._swarms.show(overview.swarms)
        self._queue.show(overview.environments)
        self._agents.show(_heat(overview))
        self._access.set_lines(_access_lines(overview.access))
        self._bench.set_lines(_bench_lines(overview.benchmarks))
        if pull.asked == self.query_wanted():
            self._firing = _firing(pull.answer) if pull.error is None else None
            self._alerts.set_lines(_alert_lines(self._firing, self.moment))
            self._alerts.note = f"{count(len(self._firing))} firing" if self._firing else ""
        self._glance.tell(_glance_parts(overview, self._firing))
        if self._lanes.display:
            self.put(actions.QueueLanes(), self._show_lanes)
        self._push(overview)

    def _show_lanes(
        self, lanes: Sequence[views.LaneView] | None, _error: ErrorReport | None
    ) -> None:
        """The lanes as they are; those of before where there is no answer."""
        if lanes is not None:
            self._lanes.show(lanes, self.moment.us)

    def _show_memory(self, overview: views.Overview) -> None:
        host = overview.host
        self._memory.show([_meter(each) for each in overview.environments])
        self._memory.note = " · ".join(
            part
            for part in (
                f"{size(host.allocated_bytes)} of {size(host.swarm_plan_bytes)} allocated",
                scale_words(host),
                host.enforcement,
            )
            if part
        )

    def _push(self, overview: views.Overview) -> None:
        """One sample of the engine's pace: operations since the last pull."""
        now = (overview.engine.operations, overview.engine.uptime_s)
        before, self._operations = self._operations, now
        if before is not None and now[1] > before[1]:
            self._chart.push(max(0, now[0] - before[0]) / (now[1] - before[1]))

    def add_event(self, text: str, style: str) -> None:
        """A line for the events tile."""
        self._events.write(text, style)

    def rest(self) -> None:
        self._swarms.focus()

    def open(self) -> None:
        """The screen of the tile that has the focus, or the row of the table that has it."""
        name = self._leads.get(self.focused) if self.focused is not None else None
        if name is None:
            super().open()
        else:
            self.post_message(self.Opened(Place(name)))

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        if message.table is self._swarms:
            self.post_message(self.Opened(Place("swarm", message.key)))
        else:
            self.post_message(self.Opened(Place("queue", message.key)))


def _meter(environment: views.EnvironmentView) -> Meter:
    return Meter(
        environment.name,
        environment.used_bytes,
        environment.allocated_bytes,
        environment.base_bytes,
        environment.max_bytes,
        columns.place_style(environment.name),
    )


def _heat(overview: views.Overview) -> Sequence[HeatRow]:
    """One strip for each swarm, one for the agents without."""
    rows = [
        HeatRow(
            swarm.name or swarm.id,
            tuple(agent.state for agent in overview.agents if agent.swarm == swarm.id),
            columns.place_style(swarm.environment),
        )
        for swarm in overview.swarms
    ]
    alone = tuple(agent.state for agent in overview.agents if agent.swarm is None)
    return [*rows, HeatRow("no swarm", alone, "muted")] if alone else rows


def _access_lines(access: views.AccessSummary) -> Sequence[Line]:
    denied = "warning" if access.denied_calls else "text"
    return (
        line(("agents ", "muted"), count(access.agents), ("  teams ", "muted"),
             count(access.teams)),
        line(("grants ", "muted"), count(access.grants), ("  denials ", "muted"),
             count(access.denies), ("  denied calls ", "muted"),
             (count(access.denied_calls), denied)),
    )  # fmt: skip


def _bench_lines(benchmarks: Sequence[views.BenchView]) -> Sequence[Line]:
    if not benchmarks:
        return (line(("Not measured yet: 7, then b", "muted")),)
    return [
        line(f"{bench.name:<16.16} ", (f"{rate(bench.ops_s):>8}", "text"),
             (f" {_spark(bench.repeats):<5}", "accent"), (f" {micros(bench.p99_us):>7}", "muted"))
        for bench in benchmarks
    ]  # fmt: skip


def _spark(rates: Sequence[float]) -> str:
    """The repeats as columns of one cell: how steady the rate was."""
    most = max(rates, default=0.0)
    if most <= 0:
        return ""
    return "".join(_EIGHTHS[max(0, min(7, round(rate / most * 8) - 1))] for rate in rates[-8:])


def _firing(alerts: Sequence[views.AlertView]) -> Sequence[views.AlertView]:
    """Those that call for somebody: nobody has acknowledged them."""
    return [alert for alert in alerts if alert.state == "firing"]


def _alert_lines(firing: Sequence[views.AlertView] | None, moment: Moment) -> Sequence[Line]:
    """The alerts that fire, the gravest first; calm when there are none."""
    if firing is None:
        return (line(("cannot be read", "muted")),)
    if not firing:
        return (line(("✓ ", "good"), ("nothing fires", "muted")),)
    return [
        line((f"{columns.SEVERITIES.get(alert.severity, ('?', ''))[0][0]} ", _grave(alert)),
             f"{alert.rule}  ", (wording.ago(moment.us, alert.since_at_us), "muted"),
             f"  {alert.subject}  ", (alert.detail, "muted"))
        for alert in firing
    ]  # fmt: skip


def _grave(alert: views.AlertView) -> str:
    return "bad" if alert.severity == "critical" else "warning"


def _glance_parts(
    overview: views.Overview, firing: Sequence[views.AlertView] | None
) -> Sequence[tuple[str, str, str]]:
    """What a small terminal has no tile for, what needs a person first: name, words, style."""
    access, first = overview.access, next(iter(overview.benchmarks), None)
    alarm = f"✗ {count(len(firing))} firing" if firing else "✓ none"
    return (
        (" alerts ", alarm, "bad bold" if firing else "text"),
        ("  access ", f"{count(access.grants)} grants, {count(access.denied_calls)} denied calls",
         "text"),
        ("  bench ", f"{first.name} {rate(first.ops_s)}" if first else "not measured", "text"),
        ("  host ", f"{size(overview.host.available_bytes)} free", "text"),
    )  # fmt: skip
