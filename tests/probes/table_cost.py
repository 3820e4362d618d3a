"""What a table of a million rows costs: CPU per key, per update, per removal.

    python tests/probes/table_cost.py [--rows 1000000] [--repeats 7]

Runs the table headless at 120x40, paints every update into the bytes a terminal would get, and
prints a table: milliseconds of CPU from the message until all is painted, the least and the median
of the repeats, and where there is one, the bar. What the pilot itself takes for a key that does
nothing is in the first line, and in every figure of a key. Ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, CompositorUpdate
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen

from swarmdeck.widgets import Column, DeckApp, PagedRows, VirtualTable
from swarmdeck.widgets.app import CellUpdate

KEYS = ("j", "k", "G", "g", "ctrl+d", "ctrl+u", "pagedown", "pageup", "space")
KEY_BAR_MS = 20.0
SECOND_BAR_MS = 20.0
PAGE_ROWS = 200


class Row(NamedTuple):
    id: str
    done: int


class Probe(DeckApp):
    """One table whose paints are turned into bytes, as for a terminal, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self.painted = 0
        self.sent = 0
        self.table: VirtualTable[Row] = VirtualTable(
            [
                Column("message", lambda row: row.id, 20, grow=1),
                Column("kind", lambda row: f"digest-{row.done % 7}", 12),
                Column("state", lambda row: ("ready", "leased")[row.done % 2], 10),
                Column("priority", lambda row: str(row.done % 10), 8, "right"),
                Column("attempts", lambda row: str(row.done % 3), 8, "right"),
                Column(
                    "done", lambda row: f"{row.done:,}", 12, "right", sort_name="done",
                    sort=lambda row: row.done,
                ),
            ],
            key=lambda row: row.id,
            title="Messages",
        )  # fmt: skip

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if type(renderable) is ChopsUpdate:
            renderable = CellUpdate(renderable.chops, renderable.spans, renderable.chop_ends)
        if isinstance(renderable, CompositorUpdate):
            self.painted += 1
            self.sent += len(renderable.render_segments(self.console))
        super()._display(screen, renderable)


class Paged:
    """A listing read in pages on demand, as the console reads it: what is viewed is put."""

    def __init__(self, table: VirtualTable[Row], source: list[Row]) -> None:
        self.table = table
        self.source = source
        self.rows: PagedRows[Row] = PagedRows(lambda row: row.id, page_rows=PAGE_ROWS)
        self.rows.set_total(len(source))

    def pull(self) -> None:
        for page in self.rows.wants(*self.table.viewed):
            start = page * PAGE_ROWS
            self.rows.put(page, self.source[start : start + PAGE_ROWS])
        self.table.show(self.rows)


async def cost_ms(act: Callable[[], Awaitable[object]], pilot: Pilot[Any]) -> float:
    """CPU from doing something until the last paint after it."""
    await pilot.pause()
    started = time.process_time()
    await act()
    await pilot.pause()
    return (time.process_time() - started) * 1000


def tell(name: str, times: list[float], bar: float | None = None) -> None:
    against = "" if bar is None else f"{bar:8.0f}   {'ok' if min(times) <= bar else 'OVER'}"
    print(f"{name:58}{min(times):9.2f}{statistics.median(times):9.2f}{against}")


async def keys(
    app: Probe,
    pilot: Pilot[Any],
    name: str,
    repeats: int,
    read: Callable[[], None] = lambda: None,
    more: str = "",
) -> None:
    """Every key from the middle of the rows, so that none is at its end already."""
    for key in (*KEYS, *more):
        times = []
        for _ in range(repeats):
            app.table._go(len(app.table._items) // 2)
            await pilot.pause()
            read()
            times.append(await cost_ms(lambda key=key: pilot.press(key), pilot))
        tell(f"{name}: {key}", times, KEY_BAR_MS)
    app.table.clear_marks()


async def shows(
    app: Probe, pilot: Pilot[Any], name: str, made: Callable[[int], Any], repeats: int, bar: float
) -> None:
    """Each turn another sequence is shown; making it does not count."""
    times = []
    for turn in range(repeats):
        rows = made(turn)

        async def show(rows: Any = rows) -> None:
            app.table.show(rows)

        times.append(await cost_ms(show, pilot))
    tell(name, times, bar)


def altered(rows: list[Row], turn: int, first: int, count: int, step: int) -> list[Row]:
    """A copy in which `count` rows differ."""
    other = rows.copy()
    for at in range(first, min(first + count * step, len(rows)), step):
        other[at] = rows[at]._replace(done=rows[at].done + turn + 1)
    return other


async def single_changes(app: Probe, pilot: Pilot[Any], rows: list[Row], keys_of: str) -> float:
    """A second of 1,000 rows that change one by one, ten calls every hundredth."""
    first, last = app.table.viewed
    seen = range(first, last + 1)
    before = app.painted
    started = time.process_time()
    for turn in range(100):
        for each in range(10):
            number = turn * 10 + each
            at = seen[number % len(seen)] if keys_of == "seen" else number * 997 % len(rows)
            rows[at] = rows[at]._replace(done=rows[at].done + 1)
            app.table.changed(rows[at].id)
        await asyncio.sleep(0.01)
    used = (time.process_time() - started) * 1000
    await asyncio.sleep(0.15)
    print(f"    (painted {app.painted - before} times)") if app.painted > before else None
    return used


async def empty_second() -> float:
    """What the loop of `single_changes` takes without its changes."""
    started = time.process_time()
    for _ in range(100):
        await asyncio.sleep(0.01)
    return (time.process_time() - started) * 1000


async def measure_plain(app: Probe, pilot: Pilot[Any], rows: list[Row], repeats: int) -> None:
    half = len(rows) // 2
    app.table.show(rows)
    await keys(app, pilot, "plain list", repeats)
    app.table._go(half)
    spread = len(rows) // 1_000
    await shows(app, pilot, "plain list: show, 1,000 rows differ everywhere",
        lambda turn: altered(rows, turn, turn, 1_000, spread), repeats, SECOND_BAR_MS)  # fmt: skip
    await shows(app, pilot, "plain list: show, 1,000 rows differ around the cursor",
        lambda turn: altered(rows, turn, half - 500, 1_000, 1), repeats, SECOND_BAR_MS)  # fmt: skip
    for at in range(0, len(rows), len(rows) // 100):
        app.table._marks.add([(rows[at].id, at)])
    await shows(app, pilot, "plain list: the same with 100 marks",
        lambda turn: altered(rows, turn, half - 500, 1_000, 1), repeats, SECOND_BAR_MS)  # fmt: skip
    await shows(app, pilot, "plain list: show, 100 rows came above, 100 marks",
        lambda turn: [Row(f"new-{turn}-{n}", n) for n in range(100)] + rows,
        repeats, SECOND_BAR_MS)  # fmt: skip
    app.table.clear_marks()
    app.table.show(rows)
    idle = min([await empty_second() for _ in range(2)])
    for seen, name in (("seen", "all on the screen"), ("all", "anywhere")):
        times = [await single_changes(app, pilot, rows, seen) - idle for _ in range(3)]
        tell(f"plain list: 1,000 single changes in a second, {name}", times, SECOND_BAR_MS)


async def measure_removal(app: Probe, pilot: Pilot[Any], rows: list[Row], repeats: int) -> None:
    some = rows[:100_000]

    def without(turn: int, cursor: bool) -> list[Row]:
        gone = set(range(turn + (0 if cursor else 1), len(some), len(some) // 100))
        kept = [row for at, row in enumerate(some) if at not in gone]
        app.table.show(some)
        app.table._go(turn + 500 * len(some) // 1_000)
        return kept

    for cursor, name in ((False, "its neighbour"), (True, "the cursor's row too")):
        await shows(app, pilot, f"plain list: 100 of 100,000 removed, {name}",
            lambda turn, cursor=cursor: without(turn, cursor), repeats, SECOND_BAR_MS)  # fmt: skip


async def measure_paged(app: Probe, pilot: Pilot[Any], rows: list[Row], repeats: int) -> None:
    paged = Paged(app.table, rows)
    app.table.show(paged.rows)
    await keys(app, pilot, "pages", repeats, paged.pull, "oO")
    app.table._go(len(rows) // 2)
    await pilot.pause()
    paged.pull()
    for expired in (False, True):
        times = []
        for _ in range(repeats):

            async def pull(expired: bool = expired) -> None:
                if expired:
                    paged.rows.expire()
                paged.pull()

            times.append(await cost_ms(pull, pilot))
        name = "every page on the screen read anew" if expired else "nothing new"
        tell(f"pages: a pull with {name}", times, SECOND_BAR_MS / 10)


async def measure(rows: int, repeats: int) -> None:
    source = [Row(f"dev_message_{n:08}", n) for n in range(rows)]
    app = Probe()
    async with app.run_test(size=(120, 40)) as pilot:
        print(f"{f'CPU ms, 120x40, {rows:,} rows':58}{'least':>9}{'median':>9}     bar")
        app.table.show(source[:1_000])
        times = [await cost_ms(lambda: pilot.press("f9"), pilot) for _ in range(repeats)]
        tell("a key that does nothing", times)
        await measure_plain(app, pilot, source, repeats)
        await measure_removal(app, pilot, source, repeats)
        await measure_paged(app, pilot, source, repeats)
        print(f"{app.painted} paints, {app.sent:,} characters")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    asyncio.run(measure(options.rows, options.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
