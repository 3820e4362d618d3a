"""Writes to a SwarmDB on a disk that refuses for a while, and says what became of each write.

swarmdb_disk.py PATH     cases come on stdin, one JSON a line; what happened goes to stdout

`refuse` is what the disk refuses once the database is open, until two thirds of the writes. What is
acknowledged is also said in the log of `faultio.c`, where there is one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import control
import oplog
from swarmdb_child import event

from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.store.kin import DiskError
from swarmdeck.engine.swarmdb import SwarmDB, log

log.COPY_FROM_PAGES, log.LOOK_AFTER = 40, 4  # so that the log is copied often


class Writes:
    """What was acknowledged, refused, and wrong."""

    def __init__(self, path: Path, case: dict[str, Any]) -> None:
        self.case = case
        self.path = path
        self.acknowledged: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        where = os.environ.get("FAULTIO_LOG")
        self._log = os.open(where, os.O_WRONLY | os.O_APPEND) if where else -1

    def write(self, db: SwarmDB, name: str) -> None:
        try:
            db.insert_event(event(1), event_id=name)
        except sqlite3.Error as error:
            if not isinstance(error, SwarmDeckError):
                self.wrong.append(f"{name}: {error!r}")
            self.refused.append((name, type(error).__name__))
            return
        self.acknowledged.append(name)
        if self._log >= 0:
            said = {"key": name, "at": time.monotonic()}
            os.write(self._log, oplog.acknowledgement(said))

    def run(self) -> None:
        count, threads = self.case.get("writes", 30), self.case.get("threads", 1)
        page = control.Control(Path(os.environ["FAULTIO_CONTROL"]))
        with SwarmDB(self.path, durability=self.case["durability"]) as db:
            self.write(db, "first")
            if "refuse" in self.case:
                refused = self.case["refuse"]
                page.refuse(*refused[:3], ever=refused[3], only=refused[4])
            self._together(db, threads, range(count * 2 // 3))
            page.stop()
            before = len(self.refused)
            db.get_events()
            self._together(db, threads, range(count * 2 // 3, count))
            if len(self.refused) > before:
                self.wrong.append(f"refused on a disk that is well: {self.refused[before:]}")

    def _together(self, db: SwarmDB, threads: int, numbers: range) -> None:
        def work(thread: int) -> None:
            for number in numbers:
                self.write(db, f"{thread}-{number}")

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def look(self) -> None:
        with SwarmDB(self.path) as db:
            stored = {each["event_id"] for each in db.get_events(limit=None)}
            whole = db._get_connection().execute("PRAGMA integrity_check").fetchone()[0]
        self.wrong += [f"lost {name}" for name in self.acknowledged if name not in stored]
        unchanged = (name for name, kind in self.refused if kind == DiskError.__name__)
        self.wrong += [f"stored all the same: {name}" for name in unchanged if name in stored]
        self.wrong += [] if whole == "ok" else [whole]


def main(root: Path) -> None:
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        if "never mended" in case.get("plants", ()):
            log.Log.note = lambda self, error: None  # type: ignore[method-assign]
        writes = Writes(root / f"data{number}" / "swarm.db", case)
        writes.run()
        if case.get("look", True):
            writes.look()
        refused = [kind for _, kind in writes.refused]
        outcome = {"case": case, "wrong": writes.wrong, "refused": refused}
        sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
