"""Writes to a SwarmDB from many threads until it is killed, and says what was acknowledged.

    python swarmdb_child.py PATH DURABILITY THREADS CYCLE [late]

A line for each event whose insertion has returned, and one for each block of three whose block has
ended. `late` is a planted bug: five commits are made as one, after they were acknowledged.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from swarmdeck.engine.store.dbapi import Link
from swarmdeck.engine.swarmdb import SwarmDB


def event(agent: int) -> dict[str, Any]:
    return {
        "event_type": "spawn",
        "agent_id": f"a{agent}",
        "agent_type": "writer",
        "timestamp": "2026-01-31T12:00:00",
        "metadata": {"filling": "x" * 200},
    }


def work(db: SwarmDB, agent: int, cycle: str) -> None:
    number = 0
    while True:
        number += 1
        name = f"{cycle}-{agent}-{number}"
        if agent % 5 == 4:
            with db.transaction():
                for part in "abc":
                    db.insert_event(event(agent), event_id=f"{name}{part}")
        else:
            db.insert_event(event(agent), event_id=name)
        os.write(1, f"{name}\n".encode())  # one call, so that no line is mixed with another


def plant_late_commits() -> None:
    begin, commit = Link.begin, Link.commit
    seen = [0]

    def late_begin(self: Link) -> None:
        if not self.connection.in_transaction:
            begin(self)

    def late_commit(self: Link) -> None:
        seen[0] += 1
        if seen[0] % 5 == 0:
            commit(self)

    Link.begin, Link.commit = late_begin, late_commit  # type: ignore[method-assign]


def main(path: str, durability: str, threads: str, cycle: str, *plants: str) -> None:
    db = SwarmDB(path, durability=durability)
    if "late" in plants:
        plant_late_commits()
    for agent in range(1, int(threads)):
        threading.Thread(target=work, args=(db, agent, cycle), daemon=True).start()
    work(db, 0, cycle)


if __name__ == "__main__":
    main(*sys.argv[1:])
