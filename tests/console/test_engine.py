"""The console over a real engine: embedded, attached, and in a real terminal that goes away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyte
import pytest

from swarmdeck.console.app import open_or_attach
from swarmdeck.console.deck import SwarmDeck
from swarmdeck.engine import actions, connect
from swarmdeck.engine.host import EngineHost
from swarmdeck.engine.settings import load_settings

LEAVES_S = 3.0
TIMES = 20 if os.environ.get("STRESS") else 2
"""How often each end of a console is tried."""


def make_host(data: Path, on_event: Callable[[Any], None]) -> EngineHost:
    settings = load_settings(None, {}, {"engine.data_dir": str(data)})
    return EngineHost(lambda: open_or_attach(data, settings), on_event)


def make_app(data: Path) -> SwarmDeck:
    return SwarmDeck(lambda on_event: make_host(data, on_event), str(data))


async def test_the_console_works_a_real_engine(fakes: Any, tmp_path: Path) -> None:
    app = make_app(tmp_path / "data")
    async with app.run_test(size=(120, 30)) as pilot:
        deck = fakes.Deck(app, None, pilot)
        await deck.until(lambda: app.last.overview is not None)
        await deck.type('memory set development user:1 \'{"name": "A"}\' --level public')
        await deck.until(lambda: any("at version 1" in toast for toast in deck.toasts))
        await deck.type("queue send development digest '{}'")
        await deck.until(lambda: any("is ready" in toast for toast in deck.toasts))
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        await deck.press("ctrl+x")
        await deck.until(lambda: "Cancel message" in deck.text)
        await deck.press("y")
        await deck.until(lambda: any("is cancelled" in toast for toast in deck.toasts))
        await deck.type("records development")
        await deck.until(lambda: "user:1" in deck.text)
        await deck.press("8")
        await deck.until(lambda: "queue.cancel" in deck.text)
        for name in ("swarms", "agents", "memory", "access", "bench"):
            await deck.type(name)
            await deck.until(lambda: "reading" not in deck.text)
        await deck.type("swarm create moon --agents 1 --memory 64MB")
        await deck.until(lambda: "unknown environment" in deck.text)
    await app.shut()


async def test_a_second_console_attaches_and_shows_the_same(fakes: Any, tmp_path: Path) -> None:
    owner = make_host(tmp_path / "data", lambda _: None)
    await owner.start()
    assert not owner.attached
    app = make_app(tmp_path / "data")
    async with app.run_test(size=(120, 30)) as pilot:
        deck = fakes.Deck(app, None, pilot)
        await deck.until(lambda: app.last.overview is not None)
        assert app.host.attached
        await owner.run(actions.QueueSend(environment="testing", kind="digest", body={}))
        await deck.until(lambda: app.last.overview.environments[2].queue.ready == 1)
        await deck.until(lambda: "attached  data" in deck.text)
    await app.shut()
    await owner.close()


# --- a real terminal ------------------------------------------------------------------------


class Terminal:
    """A console process on a pseudo terminal of 120 by 30."""

    def __init__(self, data: Path) -> None:
        self.screen = pyte.Screen(120, 30)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
            env = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
            program = "from swarmdeck.console.main import main; raise SystemExit(main())"
            os.execve(sys.executable, [sys.executable, "-c", program, "--data", str(data)], env)

    def read(self, timeout_s: float = 0.05) -> None:
        while self._fd >= 0 and select.select([self._fd], [], [], timeout_s)[0]:
            try:
                part = os.read(self._fd, 65536)
            except OSError:
                return
            self.raw += part
            # pyte does not know the keyboard protocol's `CSI > 1 u` and paints its tail.
            self._stream.feed(part)
            timeout_s = 0

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, condition: Callable[[], object], limit_s: float = 30) -> None:
        deadline_s = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline_s, f"on the screen:\n{self.text}"
            self.read()

    def hang_up(self) -> None:
        """Close the terminal under the process."""
        os.close(self._fd)
        self._fd = -1

    def ended(self, limit_s: float) -> int | None:
        """The exit code, or None when it still runs after the limit; never waits longer."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read()
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            self.read(0.02)
            if self._fd < 0:
                time.sleep(0.02)
        return None

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._fd >= 0:
            self.hang_up()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path / "data")
    opened.until(lambda: "No swarm runs yet" in opened.text)
    yield opened
    opened.close()


def started_below(data: Path) -> list[psutil.Process]:
    """Processes whose environment names something below the data directory: its agents."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(data) in value for value in process.environ().values()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid()]


def start_swarm(terminal: Terminal) -> None:
    terminal.press(":swarm create development --agents 2 --memory 128MB --name crawl\r")
    terminal.until(lambda: "2/2" in terminal.text)


ENDS = {"HUP": signal.SIGHUP, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "closed": None}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("turn", range(TIMES))
def test_the_end_of_the_console_closes_engine_and_agents(
    terminal: Terminal, tmp_path: Path, end: str, turn: int
) -> None:
    start_swarm(terminal)
    agents = psutil.Process(terminal.pid).children(recursive=True)
    assert len(agents) >= 2
    number = ENDS[end]
    if number is None:
        terminal.hang_up()
    else:
        os.kill(terminal.pid, number)
    code = terminal.ended(LEAVES_S)
    assert code == 128 + (number or signal.SIGHUP)
    assert not [process for process in agents if process.is_running()]
    assert not (tmp_path / "data/run/engine.sock").exists()
    assert not list((tmp_path / "data").rglob("*-wal")), "every database was closed"
    if number is not None:
        assert b"\x1b[?1049l" in terminal.raw, "the terminal has its own screen back"
        assert b"\x1b[?25h" in terminal.raw, "and its cursor"


def test_stopped_from_elsewhere_the_console_ends_with_its_engine(
    terminal: Terminal, tmp_path: Path
) -> None:
    start_swarm(terminal)
    stopping = [sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(tmp_path / "data")]
    asked = subprocess.Popen([*stopping, "stop"], stdout=subprocess.DEVNULL)
    assert terminal.ended(20) == 0
    assert asked.wait(20) == 0
    assert not started_below(tmp_path / "data")


def ask(data: Path, action: actions.Action) -> Any:
    """What the engine of a directory answers, over its socket."""

    async def asked() -> Any:
        async with connect(data) as engine:
            return await engine.run(action)

    return asyncio.run(asked())


def ready(data: Path) -> list[int | None]:
    """The processes of the agents that are ready."""
    return [agent.pid for agent in ask(data, actions.AgentList()) if agent.state == "ready"]


def test_detached_the_swarms_run_on_and_the_next_console_attaches(
    terminal: Terminal, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    start_swarm(terminal)
    terminal.until(lambda: len(ready(data)) == 2)
    before = ready(data)
    terminal.press("Q")
    assert terminal.ended(30) == 0
    assert b"detached: the engine runs on as process" in terminal.raw.rpartition(b"\x1b[?1049l")[2]
    engine = ask(data, actions.Status()).engine
    assert engine.headless
    assert engine.pid != terminal.pid
    assert os.getsid(engine.pid) == engine.pid, "no terminal can end it"
    second = Terminal(data)
    try:
        second.until(lambda: "attached to its engine" in second.text)
        second.until(lambda: "2/2" in second.text)
        assert ready(data) == before
        ask(data, actions.Stop())
        second.until(lambda: "The engine has ended" in second.text)
        second.press("q")
        assert second.ended(10) == 0
    finally:
        second.close()
        with suppress(ProcessLookupError):
            os.kill(engine.pid, signal.SIGKILL)


def test_a_console_whose_engine_is_killed_takes_over_with_the_agents(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Terminal(data)
    second = None
    try:
        first.until(lambda: "No swarm runs yet" in first.text)
        start_swarm(first)
        second = Terminal(data)
        second.until(lambda: "attached to its engine" in second.text)
        second.until(lambda: len(ready(data)) == 2)
        before = ready(data)
        os.kill(first.pid, signal.SIGKILL)
        second.until(lambda: "The engine has ended" in second.text)
        second.press("t")
        second.until(lambda: "·  engine in this console" in second.text)
        second.until(lambda: ready(data) == before)
        os.kill(second.pid, signal.SIGTERM)
        assert second.ended(LEAVES_S) == 128 + signal.SIGTERM
    finally:
        first.close()
        if second is not None:
            second.close()


def test_leaving_with_q_asks_first_and_y_ends_what_runs(terminal: Terminal, tmp_path: Path) -> None:
    start_swarm(terminal)
    terminal.press("q")
    terminal.until(lambda: "crawl (development): 2 agents" in terminal.text)
    terminal.press("y")
    assert terminal.ended(10) == 0


def test_what_is_typed_ahead_is_neither_lost_nor_misread(terminal: Terminal) -> None:
    """A whole session in one burst, faster than anything can be painted."""
    terminal.press(
        ":queue send testing digest '{}'\r"
        "4:state ready\r/dig\r:swarm create\rd\t7\t64MB"
    )  # fmt: skip
    terminal.until(lambda: "$ swarmdeck swarm create development --agents 7" in terminal.text)
    terminal.press("\x1b")
    terminal.until(lambda: "Messages · ready · /dig" in terminal.text)
    terminal.until(lambda: "1 of 1 " in terminal.text)


def test_a_yes_typed_ahead_of_the_question_is_no_yes(terminal: Terminal) -> None:
    start_swarm(terminal)
    terminal.press("\x18y")
    terminal.until(lambda: "End swarm crawl?" in terminal.text)
    terminal.press("n")
    terminal.until(lambda: "End swarm crawl?" not in terminal.text)
    assert "2/2" in terminal.text


def test_a_corrupt_directory_gets_one_clear_error_and_its_exit_code(tmp_path: Path) -> None:
    place = tmp_path / "data/instances/coordination"
    place.mkdir(parents=True)
    (place / "coordination.db").write_bytes(b"not a database, whatever its name says" * 100)
    terminal = Terminal(tmp_path / "data")
    try:
        assert terminal.ended(30) == 7
        last = terminal.raw.rpartition(b"\x1b[?1049l")[2]
        assert last.count(b"swarmdeck: ") == 1
        assert b"Traceback" not in terminal.raw
    finally:
        terminal.close()
