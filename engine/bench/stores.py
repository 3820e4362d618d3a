"""SwarmDB beside the same calls on a rollback journal, and what is left of it after a kill.

    python -m swarmdeck.engine.bench.stores FILE

stores events in a file for ever and writes the number of each on its standard output once it is
stored: whoever measures kills it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any, Final

from ..swarmdb import SwarmDB
from .bars import Outcome
from .baselines import SwarmDBStyle
from .measure import median

AGENTS: Final = 1_000
WARM: Final = 20
TIMES: Final = 10.0
ACKED: Final = 500  # events before the kill
UP_S: Final = 30.0
JOURNAL: Final = "rollback FULL"
_FEWEST: Final = 10

_WORDS: Final = (
    "insert_event of 200 bytes, one thread, one after the other, as a user opens it: {how}; the "
    "peer: Python's sqlite3, rollback journal, synchronous FULL, the same table and indexes"
)
_KILLED: Final = (
    "events gone after kill -9, of those whose insert_event had returned in the process killed"
)


def event(number: int) -> dict[str, Any]:
    return {
        "event_type": "spawn",
        "agent_id": f"agent-{number % AGENTS}",
        "agent_type": "expert",
        "timestamp": f"2026-01-31T12:00:00.{number % 1_000_000:06}",
        "metadata": {"prompt": f"task {number} " + "x" * 120, "model": "large", "priority": 3},
    }


def inserting(scratch: Path, rounds: int, seconds: float) -> list[Outcome]:
    """Single inserts a second: as SwarmDB opens by itself, and with durability full."""
    scratch.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[tuple[float, float]]] = {"normal": [], "full": []}
    with ExitStack() as stack:
        style = stack.enter_context(closing(SwarmDBStyle(scratch / "style.db", [])))
        ours = {
            how: stack.enter_context(closing(SwarmDB(scratch / f"{how}.db", durability=how)))
            for how in found
        }
        for _ in range(rounds):
            theirs = _rate(style.insert_event, seconds)
            for how, database in ours.items():
                found[how].append((_rate(database.insert_event, seconds), theirs))
    return [
        Outcome("swarmdb", JOURNAL, found["normal"], _WORDS.format(how="NORMAL"), bar=TIMES),
        Outcome("swarmdb full", JOURNAL, found["full"], _WORDS.format(how="FULL")),
    ]


def _rate(insert: Callable[[dict[str, Any]], object], seconds: float) -> float:
    """Calls a second; at least a few of them, for a commit may take long."""
    for number in range(WARM // 4):
        insert(event(number))
    started = time.perf_counter()
    for number in count(1):
        insert(event(number))
        elapsed_s = time.perf_counter() - started
        if elapsed_s >= seconds and number >= _FEWEST:
            return number / elapsed_s
    raise AssertionError


async def killing(scratch: Path, rounds: int) -> Outcome:
    """How many of those events are gone that were stored before a process was killed."""
    scratch.mkdir(parents=True, exist_ok=True)
    pairs = [await _kill_once(scratch / f"killed{number}.db") for number in range(rounds)]
    worst = max(pairs, key=lambda pair: pair[0])
    found = [worst] if worst[0] else [(0.0, median([acked for _, acked in pairs]))] * rounds
    return Outcome("swarmdb killed", "stored", found, _KILLED, "events", 0.0, at_most=True)


async def _kill_once(path: Path) -> tuple[float, float]:
    """Events lost, and events whose call had returned."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.bench.stores", str(path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    acked = 0
    try:
        async with asyncio.timeout(UP_S):
            while acked < ACKED:
                acked = int(await child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        acked += (await child.stdout.read()).count(b"\n")
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    with closing(SwarmDB(path)) as left:
        there = len(left.get_events(limit=None))
    return float(max(0, acked - there)), float(acked)


def main() -> None:
    with closing(SwarmDB(Path(sys.argv[1]))) as database:
        for number in count(1):
            database.insert_event(event(number))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
