"""The guard: who breaks a share is ended, and nobody for what all have loaded."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

import pytest

from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.hostmem import LinuxProbe
from swarmdeck.engine.model import MIB
from swarmdeck.engine.swarms.enforcement.guard import HASTE, PATIENCE_S, Agent, Breach, Guard
from swarmdeck.engine.swarms.supervisor import start_time

INTERVAL_S = 0.1
SHARE = 300 * MIB
# Holds as many MiB as it is told line by line, written to; with `child` a child of it does.
HOLDER = """
import subprocess, sys
if sys.argv[1] == "child":
    sys.exit(subprocess.call([sys.executable, "-c", sys.argv[2], "self", ""]))
if sys.argv[1] == "stray":
    # As a shell does with (command &): who started it is gone at once.
    shell = 'exec 3<&0; ("$0" -c "$1" self "" <&3 &)'
    subprocess.run(["sh", "-c", shell, sys.executable, sys.argv[2]])
    while True:
        __import__("time").sleep(600)
held = []
print("ready", flush=True)
for line in sys.stdin:
    held.append(bytearray(b"x") * (int(line) << 20))
    print(len(held), flush=True)
"""


class Table:
    """Processes as a table, for Guard."""

    def __init__(self) -> None:
        self.resident: dict[int, int] = {}
        self.proportional: dict[int, int] = {}
        self.tree: dict[int, list[int]] = {}
        self.sessions: dict[int, int] = {}
        self.made: int | None = 1
        self.close_looks = 0

    def rss(self, pid: int) -> int | None:
        return self.resident.get(pid)

    def pss(self, pid: int) -> int | None:
        self.close_looks += 1
        return self.proportional.get(pid, self.resident.get(pid))

    def children(self, pid: int) -> list[int]:
        return list(self.tree.get(pid, []))

    def newest(self) -> int | None:
        return self.made

    def session(self, pid: int) -> int | None:
        return self.sessions.get(pid)

    def all(self) -> Iterable[int]:
        return list(self.resident)


class Watched(Guard):
    """A guard that looks when it is told, at processes that are in no kernel."""

    def __init__(self, table: Table, clock: FakeClock) -> None:
        self.breaches: list[Breach] = []
        super().__init__(table, clock, INTERVAL_S, self.breaches.append)

    def add(self, agent: str, pid: int, swarm: str = "s") -> None:
        self._agents[agent] = Agent(swarm, pid, 0)

    def _end(self, pids: Sequence[int]) -> None:
        """Numbers of a table are processes of somebody else here."""


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard(table: Table, clock: FakeClock) -> Watched:
    guard = Watched(table, clock)
    guard.share({"s": SHARE})
    return guard


def killed(guard: Watched) -> list[str]:
    return [breach.agent for breach in guard.breaches]


# --- what is decided ----------------------------------------------------------------------------


def test_a_swarm_within_its_share_is_left_alone(guard: Watched, table: Table) -> None:
    guard.add("a", 1)
    guard.add("b", 2)
    table.resident = {1: SHARE // 2, 2: SHARE // 2}
    assert guard.look() == INTERVAL_S
    assert killed(guard) == []
    assert table.close_looks == 0, "a close look costs milliseconds"


def test_the_one_that_holds_most_goes_once_and_then_the_next(guard: Watched, table: Table) -> None:
    for number, agent in enumerate("abc"):
        guard.add(agent, number)
    table.resident = {0: 150 * MIB, 1: 400 * MIB, 2: 200 * MIB}
    guard.look()
    assert killed(guard) == ["b"]
    guard.look()  # b is dying: what it still holds is no other's fault, but 350 MiB are left
    assert killed(guard) == ["b", "c"]
    guard.look()
    assert killed(guard) == ["b", "c"]


def test_what_is_held_is_told_with_the_share(guard: Watched, table: Table) -> None:
    guard.add("a", 1)
    table.resident = {1: 312 * MIB}
    guard.look()
    assert guard.breaches[0].reason == "killed: held 312 MB of its swarm's 300 MB"
    assert guard.verdict("a") is None, "not before it is gone"
    guard.forget("a")
    assert guard.verdict("a") == guard.breaches[0]
    assert guard.verdict("a") is None, "told once"


def test_an_agent_among_others_is_told_what_the_swarm_held(guard: Watched, table: Table) -> None:
    guard.add("a", 1)
    guard.add("b", 2)
    table.resident = {1: 112 * MIB, 2: 200 * MIB}
    guard.look()
    assert guard.breaches[0].reason == (
        "killed: held 200 MB, the most in a swarm that held 312 MB of its 300 MB"
    )


def test_pages_that_all_share_count_once(guard: Watched, table: Table, clock: FakeClock) -> None:
    for number in range(10):
        guard.add(f"a{number}", number)
        table.resident[number] = 100 * MIB
        table.proportional[number] = 25 * MIB
    guard.look()
    assert killed(guard) == []
    looks = table.close_looks
    clock.advance(INTERVAL_S)
    guard.look()
    assert table.close_looks == looks, "nothing has grown since"
    clock.advance(PATIENCE_S)
    table.proportional[3] = 90 * MIB
    guard.look()
    assert killed(guard) == ["a3"]


def test_growth_is_looked_at_closely_at_once(
    guard: Watched, table: Table, clock: FakeClock
) -> None:
    guard.add("a", 1)
    table.resident, table.proportional = {1: 310 * MIB}, {1: 290 * MIB}
    guard.look()
    clock.advance(INTERVAL_S / HASTE)
    table.resident, table.proportional = {1: 330 * MIB}, {1: 310 * MIB}
    guard.look()
    assert killed(guard) == ["a"]


def test_the_guard_hurries_where_a_share_will_be_full_before_its_next_look(
    guard: Watched, table: Table, clock: FakeClock
) -> None:
    guard.add("a", 1)
    table.resident = {1: 200 * MIB}
    assert guard.look() == INTERVAL_S
    clock.advance(INTERVAL_S)
    table.resident = {1: 220 * MIB}
    assert guard.look() == INTERVAL_S, "four looks away"
    clock.advance(INTERVAL_S)
    table.resident = {1: 290 * MIB}
    assert guard.look() == INTERVAL_S / HASTE


def test_children_count_and_are_looked_for_when_something_was_made(
    guard: Watched, table: Table
) -> None:
    guard.add("a", 1)
    table.resident = {1: 10 * MIB, 7: 400 * MIB}
    guard.look()
    table.tree = {1: [7]}
    guard.look()
    assert killed(guard) == [], "nothing tells that a process was made"
    table.made = 2
    guard.look()
    assert killed(guard) == ["a"]


def test_what_lost_its_parent_counts_as_long_as_it_stays_in_the_session(
    guard: Watched, table: Table
) -> None:
    guard.add("a", 1)
    table.resident = {1: 10 * MIB}
    guard.look()
    table.resident[5], table.sessions[5], table.made = 400 * MIB, 1, 6  # nobody's child any more
    guard.look()
    assert killed(guard) == ["a"]


def test_a_stray_that_ended_and_gave_its_number_to_another_counts_no_more(
    guard: Watched, table: Table
) -> None:
    guard.add("a", 1)
    table.resident = {1: 10 * MIB}
    guard.look()
    table.resident[5], table.sessions[5], table.made = 100 * MIB, 1, 6
    guard.look()
    table.resident[5], table.sessions[5], table.made = 400 * MIB, 4711, 5  # all around once
    guard.look()
    assert killed(guard) == []


def test_where_nothing_tells_of_new_processes_they_are_always_looked_for(
    guard: Watched, table: Table
) -> None:
    table.made = None
    guard.add("a", 1)
    table.resident = {1: 10 * MIB, 7: 400 * MIB}
    guard.look()
    table.tree = {1: [7]}
    guard.look()
    assert killed(guard) == ["a"]


def test_a_swarm_without_a_share_is_held_to_nothing(guard: Watched, table: Table) -> None:
    guard.add("a", 1, swarm="kept by the kernel")
    table.resident = {1: 10 * SHARE}
    guard.look()
    assert killed(guard) == []


def test_a_share_that_shrank_counts_at_the_next_look(guard: Watched, table: Table) -> None:
    guard.add("a", 1)
    table.resident = {1: 200 * MIB}
    guard.look()
    guard.share({"s": 100 * MIB})
    guard.look()
    assert killed(guard) == ["a"]


# --- real processes -----------------------------------------------------------------------------


class Real:
    """A guard on its own thread, and processes it can end."""

    def __init__(self) -> None:
        self.breached = threading.Event()
        self.guard = Guard(LinuxProbe(), SystemClock(), 0.02, lambda _: self.breached.set())
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, who: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, who, HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def watch(self, process: subprocess.Popen[bytes], agent: str = "a") -> None:
        started_at = start_time(process.pid)
        assert started_at is not None
        self.guard.watch(agent, "s", process.pid, started_at)


@pytest.fixture
def real() -> Iterator[Real]:
    found = Real()
    yield found
    found.guard.close()
    for process in found.processes:
        process.kill()
        with process:
            pass


def take(process: subprocess.Popen[bytes], mebibytes: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{mebibytes}\n".encode())
    process.stdin.flush()


@pytest.mark.parametrize("who", ["self", "child", "stray"])
def test_a_process_over_its_share_is_killed_with_all_it_started(real: Real, who: str) -> None:
    real.guard.share({"s": 100 * MIB})
    process = real.start(who)
    real.watch(process)
    take(process, 120)
    assert process.wait(timeout=30) == -9
    assert process.stdout is not None
    assert process.stdout.read() in {b"", b"1\n"}, "its end closes the pipe: no child is left"
    real.guard.forget("a")
    breach = real.guard.verdict("a")
    assert breach is not None
    assert 100 * MIB < breach.held_bytes < 150 * MIB


def test_a_process_that_was_forgotten_is_not_killed(real: Real) -> None:
    real.guard.share({"s": 100 * MIB})
    process, other = real.start("self"), real.start("self")
    real.watch(process)
    real.watch(other, "b")
    real.guard.forget("a")
    take(process, 120)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    take(other, 120)
    assert real.breached.wait(30)
    assert other.wait(timeout=30) == -9
    assert process.poll() is None


def test_a_number_that_is_another_process_now_is_not_killed(real: Real) -> None:
    process = real.start("self")
    real.guard.share({"s": 1})
    real.guard.watch("a", "s", process.pid, started_at=1)
    assert real.breached.wait(30)
    real.guard.close()
    take(process, 1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n", "it lives"


def test_closing_ends_the_thread(real: Real) -> None:
    process = real.start("self")
    real.watch(process)
    assert any(thread.name == "swarmdeck-guard" for thread in threading.enumerate())
    real.guard.close()
    assert not any(thread.name == "swarmdeck-guard" for thread in threading.enumerate())
    real.watch(process, "b")
    assert not any(thread.name == "swarmdeck-guard" for thread in threading.enumerate())


def test_without_an_agent_there_is_no_thread() -> None:
    guard = Guard(LinuxProbe(), SystemClock(), 0.02, lambda _: None)
    guard.share({"s": 1})
    assert not any(thread.name == "swarmdeck-guard" for thread in threading.enumerate())
    guard.close()


class Blind(LinuxProbe):
    """Cannot see what there is, as long as this process has no descriptor left."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.tried = threading.Event()

    def newest(self) -> int | None:
        return None

    def all(self) -> Iterable[int]:
        self.looks += 1
        if self.looks > 2:
            self.tried.set()
            return super().all()
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_guard_that_cannot_see_for_a_while_goes_on(real: Real) -> None:
    real.guard = Guard(blind := Blind(), SystemClock(), 0.02, lambda _: real.breached.set())
    real.guard.share({"s": 100 * MIB})
    process = real.start("self")
    real.watch(process)
    assert blind.tried.wait(10)
    take(process, 120)
    assert process.wait(timeout=30) == -9
