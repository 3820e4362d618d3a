"""A dashboard of our widgets that changes once a second, for measuring what a change costs.

    python tests/probes/dashboard_app.py [--low-bandwidth] [--still]

A table of 200 rows of which 20 cells on the screen change with every beat, three status lines, a
full chart that gets one sample a second, a line of keys. `--low-bandwidth` paints every 5 s what
has changed since; `--still` changes nothing. `q` leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from textual.app import ComposeResult

from swarmdeck.widgets import (
    BrailleChart,
    Column,
    DeckApp,
    LineWidget,
    Series,
    VirtualTable,
    line,
    mark_of,
    state_text,
)

ROWS: Final = 200
CHANGED_CELLS: Final = 20
NUMBERS: Final = 3
SLOW_S: Final = 5
HISTORY: Final = 400
"""More samples than fit, so that the chart moves on from the beginning."""


@dataclass(frozen=True)
class Row:
    """An agent as the table shows it."""

    name: str
    state: str
    numbers: tuple[int, ...]
    """Done, held and a rate."""


def columns() -> tuple[Column[Row], ...]:
    """Words on the left, the numbers that change on the right."""
    return (
        Column("agent", lambda row: row.name, width=24, grow=1),
        Column(
            "state", lambda row: state_text(row.state), width=12,
            style=lambda row: mark_of(row.state).style,
        ),
        Column("done", lambda row: f"{row.numbers[0]:,}", width=8, align="right"),
        Column("held", lambda row: str(row.numbers[1]), width=6, align="right"),
        Column("rate", lambda row: f"{row.numbers[2]}/s", width=8, align="right"),
    )  # fmt: skip


class Foot(LineWidget):
    """One line at the bottom."""

    DEFAULT_CSS = "Foot { height: 1; }"
    ground = "surface"


class Dashboard(DeckApp):
    """Everything moves by the same seed in every run."""

    CSS = "#state { height: 3; } #chart { height: 9; }"
    BINDINGS: ClassVar = [("q", "quit", "Leave")]

    def __init__(self, beat_s: int, *, still: bool = False) -> None:
        super().__init__()
        self._beat_s = beat_s
        self._still = still
        self._random = random.Random(7)
        self._seconds = 0
        self._rows = [
            Row(f"agent-{i:04}", "running" if i % 5 else "ready", (i * 37 % 900, i % 9, i % 50))
            for i in range(ROWS)
        ]
        self._state = LineWidget(id="state")
        self._table = VirtualTable(columns(), lambda row: row.name, title="Agents", frame="rule")
        self._chart = BrailleChart(
            (Series("operations"),), title="Engine", frame="rule", unit="/s", maximum=1000.0,
            id="chart",
        )  # fmt: skip

    def compose(self) -> ComposeResult:
        yield self._state
        yield self._table
        yield self._chart
        yield Foot()

    def on_mount(self) -> None:
        foot = self.query_one(Foot)
        foot.set_lines([line((" q ", "accent bold"), "leave  ", (" j k ", "accent bold"), "move")])
        self._table.focus()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._chart.show([[self._load(second) for second in range(-HISTORY, 0)]])
        self._paint()
        if not self._still:
            self.set_interval(self._beat_s, self._beat)

    def _beat(self) -> None:
        """As many seconds as have passed, then everything once."""
        for _ in range(self._beat_s):
            self._chart.push(self._load(self._seconds))
            self._seconds += 1
        self._change()
        self._paint()

    def _change(self) -> None:
        """Change cells of the rows on the screen, each of them once."""
        shown = min(self._table.page_rows, ROWS)
        cells = [(place, number) for place in range(shown) for number in range(NUMBERS)]
        self._rows = list(self._rows)
        for place, number in self._random.sample(cells, CHANGED_CELLS):
            numbers = list(self._rows[place].numbers)
            numbers[number] = self._random.randrange(1000)
            self._rows[place] = replace(self._rows[place], numbers=tuple(numbers))

    def _load(self, second: int) -> float:
        return 500 + 300 * math.sin(second / 9) + self._random.uniform(-80, 80)

    def _paint(self) -> None:
        seconds = self._seconds
        done = sum(row.numbers[0] for row in self._rows)
        self._state.set_lines(
            [
                line((" up ", "muted"), f"{seconds} s", ("   host ", "muted"), "62.0 GiB planned"),
                line((" done ", "muted"), f"{done:,}", ("   dead ", "muted"), "0"),
                line((" load ", "muted"), f"{self._load(seconds) / 500:.2f}"),
            ]
        )
        self._table.show(self._rows)


class OneChart(DeckApp):
    """Three series over the whole screen."""

    def __init__(self) -> None:
        super().__init__()
        self.chart = BrailleChart([Series("a"), Series("b", "good"), Series("c", "warning")])

    def compose(self) -> ComposeResult:
        yield self.chart


async def chart_redraws(size: tuple[int, int], count: int) -> tuple[list[float], list[float]]:
    """CPU ms of this process, `count` times: to take a sample of three series and find what
    changed, and to make all lines anew."""
    chance = random.Random(7)
    waves = [
        [50 + 30 * math.sin(step / length) + chance.uniform(-8, 8) for step in range(1000)]
        for length in (9, 23, 40)
    ]
    app = OneChart()
    pushes, paints = [], []
    async with app.run_test(size=size):
        app.chart.show(waves)
        for sample in list(zip(*waves, strict=True))[:count]:
            begun = time.process_time()
            app.chart.push(*sample)
            laid_out = time.process_time()
            for y in range(size[1]):
                app.chart.render_line(y)
            paints.append((time.process_time() - laid_out) * 1000)
            pushes.append((laid_out - begun) * 1000)
            await asyncio.sleep(0)  # the app lives on between two samples
    return pushes, paints


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--low-bandwidth", action="store_true", help="paint every 5 s")
    parser.add_argument("--still", action="store_true", help="change nothing")
    options = parser.parse_args()
    Dashboard(SLOW_S if options.low_bandwidth else 1, still=options.still).run()


if __name__ == "__main__":
    main()
