"""What the console costs its user, beside what others cost: one table of figures and verdicts.

    python tests/probes/console.py [--rounds N] [--json] [--only NAME,...] [--answer]

Runs the console, our widgets, a hello-world of the terminal library, its stock table and btop
(where installed) one after the other on pseudo-terminals of 120x30, `--rounds` times in turn, so
that a busy machine is busy for all of them; a figure is the median of the rounds. `--answer`
replies to the terminal queries. Ends with 1 when a bar is not met. Three minutes a round; the
probes of tables and commands follow with lines of their own, not in `--json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from key_latency import saturated, share, swarmdeck, type_letters
from terminal import USUAL, Ended, Size, Spell, Terminal, beside, command_cpu_ms, run

HERE: Final = Path(__file__).parent
PYTHON: Final = sys.executable
SETTLED_S: Final = 4.0
KEYS: Final = 100
MESSAGES: Final = 200
CALLERS: Final = 100
SIZES: Final = (Size(200, 60), Size(300, 90), Size(80, 24))
REDRAWS: Final = 200
BUSY_BEATS: Final = 20
LOW_BANDWIDTH: Final = {"TEXTUAL_COLOR_SYSTEM": "standard"}

HELLO: Final = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("hello world")
Hello().run()
"""
STOCK: Final = """
from textual.app import App
from textual.widgets import DataTable
class Stock(App):
    BINDINGS = [("j", "down", ""), ("k", "up", "")]
    def compose(self):
        yield DataTable(cursor_type="row")
    def on_mount(self):
        self.table = self.query_one(DataTable)
        self.table.add_columns("prio", "kind", "state", "tries", "age", "id")
        for i in range(200):
            self.table.add_row("5", "digest", "ready", "0/3", "4 s", f"dev_message_{i:08}")
    def action_down(self):
        self.table.action_cursor_down()
    def action_up(self):
        self.table.action_cursor_up()
Stock().run()
"""
SEED: Final = """
import asyncio, sys
from swarmdeck.engine import open_engine
async def main():
    async with open_engine(sys.argv[1]) as engine:
        queue = engine.queue("development")
        for number in range(int(sys.argv[2])):
            await queue.send("digest", {"number": number}, priority=1 + number % 10)
asyncio.run(main())
"""
WORK: Final = """
import asyncio, sys
from swarmdeck.engine import connect
async def main():
    async with connect(sys.argv[1]) as engine:
        memory, queue = engine.memory("development"), engine.queue("development")
        agent = await engine.agents.register("development", name="Worker", type="worker")
        taken = engine.queue("development", as_=agent)
        pause = 1 / int(sys.argv[2])
        for beat in range(100_000):
            for number in range(5):
                await memory.set(f"key:{beat % 40}:{number}", {"beat": beat}, level="team")
            for _ in range(2):
                await queue.send("digest", {"beat": beat})
            for message in await taken.claim(limit=2):
                await taken.ack(message)
            await asyncio.sleep(pause)
asyncio.run(main())
"""


@dataclass(frozen=True)
class Finding:
    """One line of the table. `bar` is the most that is allowed, None where nothing is asked."""

    name: str
    ours: float
    unit: str
    bar: float | None
    beside: str
    workload: str

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return "-"
        return "met" if self.ours <= self.bar else "NOT MET"


@dataclass(frozen=True)
class Bench:
    """Where and how the probe runs: a scratch directory of its own, rounds, the terminal's kind."""

    scratch: Path
    rounds: int
    answering: bool

    def terminal(self, command: Sequence[str], **environment: str) -> Terminal:
        """A command on a terminal of the usual size."""
        # btop draws nothing without it; for the others it changes nothing.
        utf8 = {"LANG": "C.UTF-8", "XDG_CONFIG_HOME": str(self.scratch / "config")}
        return Terminal(command, environment=utf8 | environment, answering=self.answering)

    def script(self, name: str, text: str) -> list[str]:
        """A command that runs a script of ours."""
        path = self.scratch / name
        path.write_text(text)
        return [PYTHON, str(path)]

    def data(self, name: str) -> Path:
        """A data directory that is not there yet."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    @contextmanager
    def console(self, data: Path) -> Iterator[Terminal]:
        """The console over a data directory, opened and quiet."""
        with self.terminal(swarmdeck(data)) as terminal:
            terminal.until_text("production", terminal.start)
            terminal.rest(SETTLED_S)
            yield terminal


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def python(text: str, *arguments: str) -> list[str]:
    return [PYTHON, "-c", text, *arguments]


# --- the first frame -------------------------------------------------------------------------


def first_frame(bench: Bench) -> list[Finding]:
    """Console, hello and btop in turn, each from exec to its first whole frame."""
    hello = bench.script("hello.py", HELLO)
    ours, full, resident, theirs, btop = [], [], [], [], []
    with bench.console(bench.data("compiled")):
        pass  # the first run of a new version compiles it
    for number in range(bench.rounds):
        with bench.terminal(swarmdeck(bench.data(f"first{number}"))) as terminal:
            ours.append(terminal.until(_whole, "a frame", terminal.start).cpu_ms)
            full.append(terminal.until_text("production", terminal.start).cpu_ms)
            terminal.rest(SETTLED_S)
            resident.append(terminal.rss_mb)
        with bench.terminal(hello) as terminal:
            theirs.append(terminal.until_text("hello", terminal.start).cpu_ms)
        if shutil.which("btop"):
            with bench.terminal(["btop"]) as terminal:
                btop.append(terminal.until(_whole, "a frame", terminal.start).cpu_ms)
    floor = median(theirs)
    anchors = f"hello {floor:.0f}" + (f", btop {median(btop):.0f}" if btop else "")
    workload = "empty directory, engine embedded"
    return [
        Finding("first frame, CPU", median(ours), "ms", 1.35 * floor + 150, anchors, workload),
        Finding("first frame with data, CPU", median(full), "ms", None, anchors, workload),
        Finding("memory without data", median(resident), "MB", 75, "", f"{workload}, RSS"),
    ]


def _whole(terminal: Terminal) -> bool:
    """First and last line are there, and something between them."""
    lines = terminal.lines
    return bool(lines[0] and lines[-1]) and sum(map(len, lines)) > 150


def status(bench: Bench) -> list[Finding]:
    """The cheapest command, against an interpreter that only imports the event loop."""
    data = bench.data("status")
    run(swarmdeck(data, "init"))
    run(swarmdeck(data, "status", "--json"))
    ours, floor = [], []
    for _ in range(2 * bench.rounds):
        ours.append(command_cpu_ms(swarmdeck(data, "status", "--json")))
        floor.append(command_cpu_ms(python("import asyncio")))
    anchor = median(floor)
    workload = "no owner: embeds the engine for the one command"
    found = Finding(
        "status --json, CPU", median(ours), "ms", 2.5 * anchor, f"import asyncio {anchor:.0f}",
        workload,
    )  # fmt: skip
    return [found]


# --- standing still and changing -------------------------------------------------------------


def dashboard(bench: Bench) -> list[Finding]:
    """Our widgets with a beat a second; the same sparing the line; btop in the same rounds."""
    app = [PYTHON, str(HERE / "dashboard_app.py")]
    seconds = 20.0
    usual, low, btop = [], [], []
    for _ in range(bench.rounds):
        usual.append(_spell(bench, app, "rate", seconds))
        low.append(_spell(bench, [*app, "--low-bandwidth"], "rate", seconds, **LOW_BANDWIDTH))
        if shutil.which("btop"):
            btop.append(_spell(bench, ["btop"], "menu", seconds))
    cpu, sent = _middle(btop)
    workload = "200 rows, 20 visible cells, 3 lines, chart, 1 Hz, 20 s"
    anchor = (f"btop at 0.5 Hz {cpu:.2f}", f"btop at 0.5 Hz {sent:.0f}") if btop else ("", "")
    return [
        Finding("dashboard, CPU", _middle(usual)[0], "%", 1.0, anchor[0], workload),
        Finding("dashboard, bytes", _middle(usual)[1], "/s", 3000, anchor[1], workload),
        Finding(
            "dashboard, low bandwidth", _middle(low)[1], "/s", 500, anchor[1],
            f"{workload}, painted every 5 s, 16 colours",
        ),
    ]  # fmt: skip


def _spell(
    bench: Bench, command: Sequence[str], seen: str, seconds: float, **environment: str
) -> Spell:
    with bench.terminal(command, **environment) as terminal:
        terminal.until_text(seen)
        terminal.rest(SETTLED_S)
        return terminal.rest(seconds)


def _middle(spells: Sequence[Spell]) -> tuple[float, float]:
    """Median CPU in per cent and bytes a second."""
    return median([each.cpu_percent for each in spells]), median([each.bytes_s for each in spells])


def busy(bench: Bench) -> list[Finding]:
    """The console attached to an engine that works at a steady pace."""
    spells = []
    for number in range(bench.rounds):
        data = bench.data(f"busy{number}")
        with (
            beside(swarmdeck(data, "serve"), "ready"),
            beside(python(WORK, str(data), str(BUSY_BEATS))),
            bench.console(data) as terminal,
        ):
            spells.append(terminal.rest(20.0))
    cpu, sent = _middle(spells)
    pace = f"{5 * BUSY_BEATS} writes, {2 * BUSY_BEATS} messages sent, claimed and acked a second"
    workload = f"overview, attached; {pace}; 20 s"
    return [
        Finding("console on a busy engine, CPU", cpu, "%", None, "", workload),
        Finding("console on a busy engine, bytes", sent, "/s", 3000, "", workload),
    ]


def idle(bench: Bench) -> list[Finding]:
    """The console when nothing changes."""
    spells = []
    for number in range(bench.rounds):
        with bench.console(bench.data(f"idle{number}")) as terminal:
            spells.append(terminal.rest(10.0))
    cpu = _middle(spells)[0]
    sent = max(each.bytes for each in spells)
    workload = "overview, engine embedded, nothing changes, 10 s"
    return [
        Finding("nothing changes, bytes", sent, "", 0, "", f"{workload}; worst round"),
        Finding("nothing changes, CPU", cpu, "%", 1.0, "", workload),
    ]


# --- keys ------------------------------------------------------------------------------------


def keys(bench: Bench) -> list[Finding]:
    """Cursor keys over a full queue, over a stock table, and in btop, in turn."""
    data = bench.data("keys")
    run(python(SEED, str(data), str(MESSAGES)))
    stock = bench.script("stock.py", STOCK)
    ours: list[Spell] = []
    theirs: list[Spell] = []
    btop: list[Spell] = []
    lost = 0
    for _ in range(bench.rounds):
        with bench.console(data) as terminal:
            terminal.type("4")
            terminal.until_text("digest")
            lost += _press(terminal, ours, KEYS, "jjjkjjjjkj")
        with bench.terminal(stock) as terminal:
            terminal.until_text("digest")
            _press(terminal, theirs, KEYS, "jjjkjjjjkj")
        if shutil.which("btop"):
            with bench.terminal(["btop"]) as terminal:
                terminal.until_text("menu")
                _press(terminal, btop, 20, ("\x1b[B", "\x1b[A"))
    found = _Keys("ours", ours)
    others = [_Keys("stock table", theirs), *([_Keys("btop", btop)] if btop else [])]
    workload = f"queue of {MESSAGES} messages, {len(ours)} keys j and k, engine idle"

    def line(name: str, value: Callable[[_Keys], float], unit: str, bar: float) -> Finding:
        anchors = ", ".join(f"{each.name} {value(each):.1f}" for each in others)
        return Finding(name, value(found), unit, bar, anchors, workload)

    return [
        line("key to first byte, median", lambda keys: keys.ms(0.5), "ms", 6),
        line("key to first byte, p95", lambda keys: keys.ms(0.95), "ms", 15),
        line("cursor key, bytes", lambda keys: median([s.bytes for s in keys.spells]), "", 300),
        line("cursor key, CPU", lambda keys: median([s.cpu_ms for s in keys.spells]), "ms", 20),
        Finding("keys without an answer", lost, "", 0, "", workload),
    ]


@dataclass(frozen=True)
class _Keys:
    """The keys pressed in one program."""

    name: str
    spells: list[Spell]

    def ms(self, part: float) -> float:
        return share(sorted(each.seconds * 1000 for each in self.spells), part)


def _press(terminal: Terminal, found: list[Spell], count: int, pattern: Sequence[str]) -> int:
    """Press keys once all is quiet, each when the one before is done; how many were lost."""
    terminal.rest(SETTLED_S)
    lost = 0
    for number in range(count):
        spell = terminal.press(pattern[number % len(pattern)])
        lost += spell is None
        found += [spell] if spell is not None else []
    return lost


def saturation(bench: Bench) -> list[Finding]:
    """Letters into the command bar while the engine in the console is at full load."""
    times: list[float] = []
    rates = []
    for number in range(bench.rounds):
        data = bench.data(f"saturated{number}")
        with (
            bench.console(data) as terminal,
            saturated(terminal, data, CALLERS, KEYS * 0.1 + 8) as load,
        ):
            times += type_letters(terminal, KEYS)
            load.wait(terminal)
            rates.append(load.rate)
    workload = (
        f"{CALLERS} callers over the socket, {median(rates):,.0f} writes/s; "
        f"{len(times)} letters, key to letter on the screen"
    )
    times.sort()
    return [
        Finding("key under full load, median", share(times, 0.5), "ms", None, "", workload),
        Finding("key under full load, p95", share(times, 0.95), "ms", 25, "", workload),
    ]


# --- sizes, charts, tables -------------------------------------------------------------------


def resize(bench: Bench) -> list[Finding]:
    """The terminal is pulled larger and smaller."""
    found: dict[Size, list[float]] = {size: [] for size in SIZES}
    for number in range(bench.rounds):
        with bench.console(bench.data(f"resize{number}")) as terminal:
            terminal.resize(Size(80, 24))
            for size in SIZES:
                terminal.rest(1.0)
                found[size].append(terminal.resize(size) * 1000)
    return [
        Finding(f"resize to {width}x{height}", median(times), "ms", 350, "", "to the last byte")
        for (width, height), times in found.items()
    ]


def chart(_bench: Bench) -> list[Finding]:
    """One more sample of three series over a whole screen, in this process."""
    from dashboard_app import chart_redraws

    push, paint = (median(times) for times in asyncio.run(chart_redraws(USUAL, REDRAWS)))
    workload = f"{USUAL.width}x{USUAL.height}, 3 series, full; in-process, median of {REDRAWS}"
    return [
        Finding("chart redraw, CPU", push + paint, "ms", 2.0, "",
                f"{workload}: {push:.2f} to lay out and compare, {paint:.2f} for all its strips"),
    ]  # fmt: skip


MEASURES: Final[dict[str, Callable[[Bench], list[Finding]]]] = {
    "start": first_frame,
    "status": status,
    "dashboard": dashboard,
    "busy": busy,
    "idle": idle,
    "keys": keys,
    "saturated": saturation,
    "resize": resize,
    "chart": chart,
}
FAILURES: Final = (Ended, TimeoutError, ValueError, RuntimeError, subprocess.SubprocessError)
"""What ends one measure but not the others."""
ERROR_CHARS: Final = 800

OTHERS: Final = {"tables": "table_cost.py", "commands": "command_cpu.py"}
"""Probes of their own, run after these; their lines stand below the table."""


def print_table(findings: Sequence[Finding]) -> None:
    rows = [("measure", "ours", "bar", "verdict", "beside it", "workload")]
    for each in findings:
        bar = "-" if each.bar is None else f"{each.bar:,.4g} {each.unit}".strip()
        ours = f"{each.ours:,.4g} {each.unit}".strip()
        rows.append((each.name, ours, bar, each.verdict, each.beside or "-", each.workload))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, workload in rows:
        print("  ".join([*(c.ljust(w) for c, w in zip(cells, widths, strict=True)), workload]))
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")


def run_others(names: Sequence[str]) -> bool:
    """Print what the other probes print; whether all of them ended well."""
    well = True
    for name in names:
        print(f"\n{OTHERS[name]}:", flush=True)
        done = subprocess.run([PYTHON, str(HERE / OTHERS[name])], check=False, timeout=600)
        well &= done.returncode == 0
    return well


def chosen(words: str) -> list[str]:
    """The measures named, all that there are where none is. Raises ValueError."""
    there = [*MEASURES, *(name for name, file in OTHERS.items() if (HERE / file).exists())]
    names = words.split(",") if words else there
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"unknown: {', '.join(unknown)}; there are {', '.join(there)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one document instead of the table")
    parser.add_argument("--only", default="", help="measures, with commas between")
    parser.add_argument("--answer", action="store_true", help="reply to terminal queries")
    options = parser.parse_args()
    try:
        names = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    findings: list[Finding] = []
    well = True
    with tempfile.TemporaryDirectory(prefix="swarmdeck-probe-") as scratch:
        bench = Bench(Path(scratch), options.rounds, options.answer)
        for name in names:
            if name in MEASURES:
                print(f"… {name}", file=sys.stderr, flush=True)
                try:
                    findings += MEASURES[name](bench)
                except FAILURES as error:
                    well = False
                    print(f"{name} failed: {str(error)[-ERROR_CHARS:]}", file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(each) | {"verdict": each.verdict} for each in findings]))
    else:
        print_table(findings)
        well &= run_others([name for name in names if name in OTHERS])
    return int(not well or any(each.verdict == "NOT MET" for each in findings))


if __name__ == "__main__":
    sys.exit(main())
