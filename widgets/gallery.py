"""Every widget with sample figures: `python -m swarmdeck.widgets.gallery [THEME]`; `n` turns the
page.

The figures are fixed, so that the same screen is drawn every time; the tests compare it.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from .. import themes
from ..engine.model import GIB, MIB
from ..engine.views import (
    CellView,
    EngineView,
    LaneView,
    MatrixRow,
    MatrixView,
    SubjectView,
    SwarmView,
)
from .app import CellScreen, DeckApp
from .chart import BrailleChart, Series, Threshold
from .columns import Column
from .command import CommandBar
from .format import count, duration, size
from .heat import HeatRow, HeatStrip
from .lanes import QueueLanes
from .log import LogTail
from .matrix import AclMatrix
from .meter import Meter, MeterBar
from .plan import ConfirmPlan
from .states import mark_of, state_text
from .status import StatusLine
from .table import VirtualTable

_NOW_US: Final = 1_795_219_200_000_000
_METERS: Final = (
    ("production", 7.4, 12, 12, 16),
    ("development", 2.2, 6, 10, 14),
    ("testing", 0.4, 2, 8, 12),
    ("research", 11.1, 13, 10, 14),
    ("staging", 0, 0, 6, 10),
)
_STATES: Final = {
    "production": "ready " * 14 + "starting stale " + "ready " * 3,
    "development": "ready " * 9 + "failed " + "ready " * 4,
    "testing": "exited exited starting",
    "research": "ready " * 6 + "external " * 4,
    "staging": "",
}
_LOG: Final = (
    ("14:03:51 dev_agent_7 started, pid 40211", "text"),
    ("14:03:52 dev_agent_7 claimed 8 messages", "text"),
    ("14:03:58 dev_agent_2 heartbeat missed twice", "warning"),
    ("14:04:03 dev_agent_2 ended by signal 9, its 3 leases are free", "bad"),
    ("14:04:03 dev_agent_2 restarts in 1 s (1 of 5)", "text"),
)


class _Word:
    def __init__(self, word: str, help_: str) -> None:
        self.word, self.help, self.line = word, help_, f"swarm {word} "


_WORDS: Final = (
    _Word("create", "Start a swarm with its agents and a share of memory."),
    _Word("health", "Say how a swarm is doing and why."),
    _Word("list", "Swarms of all environments."),
    _Word("scale", "Change the agents and memory of a swarm."),
    _Word("terminate", "End a swarm; running work is waited for."),
)


_number = partial(Column[SwarmView], align="right")


def _columns() -> list[Column[SwarmView]]:
    return [
        Column("swarm", lambda s: s.id, width=18, grow=1),
        Column("environment", lambda s: s.environment, width=11, priority=6,
               style=lambda s: s.environment),
        Column("state", lambda s: state_text(s.state), width=12,
               style=lambda s: mark_of(s.state).style),
        _number("agents", lambda s: f"{s.agents_ready}/{s.agents_wanted}", width=7, priority=1,
                sort=lambda s: s.agents_ready),
        _number("used", lambda s: size(s.used_bytes), width=8, priority=2,
                sort=lambda s: s.used_bytes),
        _number("memory", lambda s: size(s.memory_bytes), width=8, priority=3, style="muted",
                sort=lambda s: s.memory_bytes),
        _number("age", lambda s: duration((_NOW_US - s.created_at_us) / 1e6), width=6, priority=4,
                style="muted", sort=lambda s: -s.created_at_us),
        _number("restarts", lambda s: count(s.restarts), width=8, priority=5,
                style=lambda s: "warning" if s.restarts else "muted", sort=lambda s: s.restarts),
    ]  # fmt: skip


def swarm_table(title: str = "Swarms") -> VirtualTable[SwarmView]:
    """A table of swarms as the console shows it."""
    return VirtualTable(
        _columns(),
        key=lambda s: s.id,
        title=title,
        empty="No swarms yet.\nPress : and type  swarm create development --agents 4 --memory 1GB",
        id="swarms",
    )


def sample_swarms(number: int = 40) -> tuple[SwarmView, ...]:
    """Swarms with made-up figures, the same every time."""
    environments = ("production", "development", "testing", "research", "staging")
    prefixes = ("prod", "dev", "test", "research", "staging")
    states = ("running", "running", "running", "starting", "draining", "terminated")
    return tuple(
        SwarmView(
            id=f"{prefixes[n % 5]}_swarm_{n:03}",
            name=f"swarm {n}",
            environment=environments[n % 5],
            state=states[n * 7 % 6],
            agents_wanted=4 + n % 9,
            agents_live=4 + n % 7,
            agents_ready=3 + n % 7,
            memory_bytes=(1 + n % 4) * GIB,
            borrowed_bytes=0,
            used_bytes=(n * 379 % 3000 + 64) * MIB,
            restarts=3 if n % 11 == 5 else 0,
            created_at_us=_NOW_US - (n * n * 97 + 12) * 1_000_000,
        )
        for n in range(number)
    )


def sample_engine() -> EngineView:
    """An engine in good health with one thing to look at."""
    return EngineView(
        pid=4021,
        version="0.1.0",
        data="data",
        uptime_s=86_400,
        loop_lag_ms=0.4,
        writer_queue=1_240,
        wal_bytes=3 * MIB,
        operations=1_200_000,
        bus="in-process",
        headless=False,
    )


def sample_lanes() -> tuple[LaneView, ...]:
    """What waits at each priority of two environments."""
    return tuple(
        LaneView(
            environment=environment,
            priority=priority,
            ready=(priority * 37 + more) % 61,
            delayed=priority % 3,
            leased=priority % 5,
            dead=2 if priority == 4 else 0,
            oldest_at_us=_NOW_US - (11 - priority) * 47_000_000,
        )
        for environment, more in (("development", 0), ("research", 12))
        for priority in (9, 8, 5, 4, 2)
    )


def sample_matrix() -> MatrixView:
    """What twelve agents may do to ten records."""
    names = ("lead", "api", "web", "tests", "docs", "ops")
    subjects = tuple(
        SubjectView(
            id=f"dev_agent_{n:02}", name=f"{names[n % 6]}-{n // 6}", swarm=None, teams=(),
            role="agent",
        )
        for n in range(12)
    )  # fmt: skip
    levels = ("private", "team", "swarm", "public", "system")
    rights = ("rwd", "r--", "rw-", "---")
    rows = tuple(
        MatrixRow(
            key=f"plan:{n:02}",
            namespace="default",
            level=levels[n % 5],
            owner=subjects[n].id,
            team=None,
            cells=tuple(
                CellView(rights="rwd" if x == n else rights[(x * n + n) % 4], rule="level")
                for x in range(12)
            ),
        )
        for n in range(10)
    )
    return MatrixView(environment="development", subjects=subjects, rows=rows, more=True)


class SecondPage(CellScreen[None]):
    """The widgets there was no room for."""

    CSS = """
    SecondPage #lanes { height: 13; }
    SecondPage #matrix { height: 1fr; }
    SecondPage #beside { height: 11; }
    SecondPage #plan { width: 46; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("n", "app.pop_screen", "First page")]

    def compose(self) -> ComposeResult:
        yield QueueLanes(title="Lanes", id="lanes")
        with Horizontal(id="beside"):
            yield BrailleChart([Series("gets")], title="Sweep", unit="/s", mode="sweep", id="sweep")
            yield ConfirmPlan(
                "End swarm crawl?",
                ("4 processes of production end", "2 GB of memory go back to the plan",
                 "Records and queued messages stay."),
                command="swarmdeck swarm terminate prod_swarm_1", words=("crawl",), id="plan",
            )  # fmt: skip
        yield AclMatrix(title="Rights", id="matrix")

    def on_mount(self) -> None:
        """Fill in the samples."""
        self.query_one(QueueLanes).show(sample_lanes(), _NOW_US)
        self.query_one(BrailleChart).show([[2500 + 900 * math.sin(x / 9) for x in range(300)]])
        matrix = self.query_one(AclMatrix)
        matrix.show(sample_matrix())
        matrix.focus()


class Gallery(DeckApp):
    """All widgets. `t` changes the theme, `n` the page, tab the focus."""

    CSS = """
    #bottom { dock: bottom; height: 3; }
    #left { width: 3fr; }
    #right { width: 2fr; }
    #meters { height: 8; }
    #agents { height: 8; }
    #log { height: 7; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "next_theme", "Theme"),
        Binding("n", "next_page", "Second page"),
        Binding("colon", "command", "Command"),
        Binding("q", "quit", "Quit"),
    ]

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="left"):
                yield swarm_table()
                yield LogTail(title="Output", id="log")
            with Vertical(id="right"):
                yield MeterBar(title="Memory", id="meters")
                yield self._chart()
                yield HeatStrip(title="Agents", id="agents")
        with Vertical(id="bottom"):
            yield CommandBar(lambda _text: _WORDS, id="command")
            yield StatusLine(id="status")

    def on_mount(self) -> None:
        """Fill in the samples."""
        table: VirtualTable[SwarmView] = self.query_one("#swarms", VirtualTable)
        table.show(sample_swarms())
        table.focus()
        self.query_one("#meters", MeterBar).show(
            [
                Meter(name, round(used * GIB), granted * GIB, plan * GIB, limit * GIB, name)
                for name, used, granted, plan, limit in _METERS
            ]
        )
        self.query_one("#agents", HeatStrip).show(
            [HeatRow(name, tuple(states.split()), name) for name, states in _STATES.items()]
        )
        log = self.query_one("#log", LogTail)
        for text, style in _LOG:
            log.write(text, style)
        self.query_one("#status", StatusLine).show(sample_engine(), age_s=0.8, mode="embedded")
        self.query_one("#command", CommandBar).open("swarm ")

    def _chart(self) -> BrailleChart:
        chart = BrailleChart(
            [Series("sets", "accent"), Series("gets", "good"), Series("claims", "selection")],
            title="Operations",
            unit="/s",
            thresholds=[Threshold(8_000, "busy")],
            id="chart",
        )
        chart.show(
            [
                [4200 + 2600 * math.sin(x / 17) + 300 * math.sin(x * 1.7) for x in range(300)],
                [2500 + 900 * math.sin(x / 11 + 2) for x in range(300)],
                [900 + 500 * math.sin(x / 29 + 4) for x in range(300)],
            ]
        )
        return chart

    def action_next_theme(self) -> None:
        """The next bundled theme."""
        names = themes.names()
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def action_next_page(self) -> None:
        """The widgets there was no room for."""
        self.push_screen(SecondPage())

    def action_command(self) -> None:
        """To the command bar."""
        self.query_one("#command", CommandBar).focus()


if __name__ == "__main__":
    Gallery(*sys.argv[1:2]).run()
