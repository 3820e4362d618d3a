"""How fast SwarmDB stores single events, beside the same calls on a rollback journal.

    python tests/probes/swarmdb.py [--rounds 5] [--directory DIR] [--floor 10]

The journal side is what a storage class on Python's sqlite3 does when nothing is set: a connection
for each thread, a rollback journal, synchronous FULL, one commit a call, 10 s for a busy file. Both
store the same rows in the same tables with the same indexes, in turns, from one thread and from
ten; the ratio of each round is of that round alone. Ends with 1 when a median ratio is below the
floor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from swarmdeck.engine.swarmdb import SwarmDB
from swarmdeck.engine.swarmdb.schema import steps

AGENTS = 1_000
NUMBERS = {"rollback, FULL": 300, "SwarmDB, full": 1_000, "SwarmDB, normal": 5_000}
THREADS = (1, 10)
INSERT = """
INSERT INTO agent_events (event_id, event_type, agent_id, agent_type, timestamp, metadata)
VALUES (?, ?, ?, ?, ?, ?)
"""


class Journal:
    """The same calls on Python's sqlite3 as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        with self.connection() as connection:
            for step in steps():
                connection.executescript(step.sql)

    def connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = sqlite3.connect(
                self._path, timeout=10, check_same_thread=False
            )
            self._all.append(self._local.connection)
        found: sqlite3.Connection = self._local.connection
        return found

    def insert_event(self, event: dict[str, Any]) -> str:
        event_id = str(uuid.uuid4())
        names = ("event_type", "agent_id", "agent_type", "timestamp")
        row = (event_id, *(event[name] for name in names), json.dumps(event["metadata"]))
        with self.connection() as connection:
            connection.execute(INSERT, row)
        return event_id

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def event(number: int) -> dict[str, Any]:
    """About 200 bytes of JSON."""
    return {
        "event_type": "spawn",
        "agent_id": f"agent-{number % AGENTS}",
        "agent_type": "backend",
        "timestamp": f"2026-01-31T12:00:00.{number % 1_000_000:06}",
        "metadata": {"prompt": f"task {number} " + "x" * 120, "model": "large", "priority": 3},
    }


def rate(store: Any, count: int, threads: int) -> float:
    """Events a second, all threads together."""

    def work(begin: int) -> None:
        for number in range(begin, count, threads):
            store.insert_event(event(number))

    workers = [threading.Thread(target=work, args=(begin,)) for begin in range(threads)]
    began_s = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count / (time.perf_counter() - began_s)


class Side(NamedTuple):
    name: str
    open: Callable[[Path], Any]


SIDES = (
    Side("rollback, FULL", Journal),
    Side("SwarmDB, full", lambda path: SwarmDB(path, durability="full")),
    Side("SwarmDB, normal", SwarmDB),
)


def one_round(where: Path, threads: int, share: float) -> dict[str, float]:
    """Each side once, on a new file that has been written to."""
    found = {}
    for side in SIDES:
        directory = Path(tempfile.mkdtemp(dir=where))
        with closing(side.open(directory / "probe.db")) as store:
            rate(store, 20, threads)
            found[side.name] = rate(store, max(20, int(NUMBERS[side.name] * share)), threads)
        shutil.rmtree(directory)
    return found


def report(threads: int, rounds: list[dict[str, float]]) -> float:
    """Print the rates of each side and their ratios; the median ratio of normal durability."""
    base, median = SIDES[0].name, 0.0
    print(f"\n{threads} thread{'s' * (threads > 1)}, single inserts, {len(rounds)} rounds")
    for side in SIDES:
        rates = [found[side.name] for found in rounds]
        ratios = [found[side.name] / found[base] for found in rounds]
        median = statistics.median(ratios)
        print(
            f"  {side.name:<16}{statistics.median(rates):>9,.0f}/s   x {median:6.1f}"
            f"  ({min(ratios):.1f} to {max(ratios):.1f})"
        )
    return median


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--floor", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=1.0, help="of the events of a round")
    options = parser.parse_args()
    where = Path(tempfile.mkdtemp(dir=options.directory))
    try:
        found = [
            report(
                threads,
                [one_round(where, threads, options.share) for _ in range(options.rounds)],
            )
            for threads in THREADS
        ]
    finally:
        shutil.rmtree(where)
    met = min(found) >= options.floor
    print(f"\nload {os.getloadavg()[0]:.1f}; {'met' if met else 'MISSED'}: x {options.floor:g}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
