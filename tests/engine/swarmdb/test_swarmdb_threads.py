"""Threads that write at once: one commit for all who wait, each with an answer of its own."""

from __future__ import annotations

import gc
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.swarmdb import SwarmDB
from swarmdeck.engine.swarmdb import turns as turns_module

Spawn = Callable[..., dict[str, Any]]

LIMIT_S = 20.0


def _gather(db: SwarmDB, work: list[Callable[[], object]]) -> list[object]:
    """Let threads line up behind a block, then go on together; what each got."""
    found: list[object] = [None] * len(work)

    def run(number: int) -> None:
        try:
            found[number] = work[number]()
        except sqlite3.Error as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(work))]
    with db.transaction():
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(db._turns._line) < number:  # so that they stand in the order of the work
                assert thread.is_alive()
    for thread in threads:
        thread.join(LIMIT_S)
    return found


def _count_commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many writes each commit had, from now on."""
    sizes: list[int] = []
    attempt = turns_module.Turns._attempt

    def counted(self: Any, link: Any, batch: Any) -> None:
        attempt(self, link, batch)
        sizes.append(len(batch))

    monkeypatch.setattr(turns_module.Turns, "_attempt", counted)
    return sizes


def test_all_who_wait_are_one_commit(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = _count_commits(monkeypatch)
    ids = _gather(db, [lambda: db.insert_event(spawn()) for _ in range(12)])
    assert sizes == [12]
    assert {each["event_id"] for each in db.get_events()} == set(ids)


def test_one_that_is_refused_does_not_take_others_with_it(db: SwarmDB, spawn: Spawn) -> None:
    db.insert_event(spawn(), event_id="there")
    names = ["a", "there", "b", "c"]
    found = _gather(db, [lambda name=name: db.insert_event(spawn(), name) for name in names])  # type: ignore[misc]
    assert [each for each in found if isinstance(each, str)] == ["a", "b", "c"]
    assert isinstance(found[1], sqlite3.IntegrityError)
    assert len(db.get_events()) == 4


def test_each_gets_the_outcome_of_its_own_statements(db: SwarmDB) -> None:
    db.register_agent("known", "writer")
    found = _gather(
        db,
        [
            lambda: db.update_agent_status("known", "running"),
            lambda: db.update_agent_status("unknown", "running"),
            lambda: db.insert_agent_metric("known", "duration", 1.0),
            lambda: db.insert_agent_metric("known", "duration", 2.0),
        ],
    )
    assert found[:2] == [True, False]
    values = {each["metric_id"]: each["value"] for each in db.get_agent_metrics("known")}
    assert [values[number] for number in found[2:]] == [1.0, 2.0]


def test_a_batch_is_bounded(db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "TOGETHER", 5)
    sizes = _count_commits(monkeypatch)
    _gather(db, [lambda: db.insert_event(spawn()) for _ in range(12)])
    assert sizes == [5, 5, 2]


def test_a_block_that_waits_is_not_part_of_a_commit(
    db: SwarmDB, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block() -> None:
        with db.transaction():
            db.insert_event(spawn(), event_id="in the block")
            raise sqlite3.DataError

    sizes = _count_commits(monkeypatch)
    insert = lambda: db.insert_event(spawn())  # noqa: E731
    found = _gather(db, [insert, insert, block, insert])
    assert isinstance(found[2], sqlite3.DataError)
    assert sizes == [2, 1]
    assert len(db.get_events()) == 3


def test_connections_of_threads_that_ended_are_closed(db: SwarmDB) -> None:
    for _ in range(5):
        thread = threading.Thread(target=db.get_active_agents)
        thread.start()
        thread.join(LIMIT_S)
    gc.collect()
    assert len(db._pool._open) == 1


def test_one_thread_may_close_while_another_holds_a_cursor(db: SwarmDB, spawn: Spawn) -> None:
    db.insert_event(spawn())
    opened, closed = threading.Event(), threading.Event()
    found: list[object] = []

    def other() -> None:
        cursor = db._get_connection().execute("SELECT * FROM agent_events")
        opened.set()
        closed.wait(LIMIT_S)
        try:
            cursor.fetchall()
        except sqlite3.ProgrammingError as error:
            found.append(error)
        found.append(len(db.get_events()))

    thread = threading.Thread(target=other)
    thread.start()
    opened.wait(LIMIT_S)
    db.close()
    closed.set()
    thread.join(LIMIT_S)
    assert isinstance(found[0], sqlite3.ProgrammingError)
    assert found[1] == 1


FORKED = """
import os, sqlite3, sys
from swarmdeck.engine.swarmdb import SwarmDB
db = SwarmDB(sys.argv[1])
db.register_agent("a1", "writer")
child = os.fork()
if child == 0:
    try:
        db.register_agent("a2", "writer")
    except sqlite3.ProgrammingError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(db.get_active_agents()))
"""


def test_a_forked_process_is_refused_and_harms_nothing(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORKED, path], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == ["7", "1"]


def test_an_interrupted_wait_leaves_the_line(db: SwarmDB, spawn: Spawn) -> None:
    holds, release = threading.Event(), threading.Event()
    main = threading.get_ident()

    def hold() -> None:
        with db.transaction():
            holds.set()
            while not db._turns._line:
                pass
            signal.pthread_kill(main, signal.SIGINT)
            release.wait(LIMIT_S)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(LIMIT_S)
    with pytest.raises(KeyboardInterrupt):
        db.insert_event(spawn(), event_id="interrupted")
    assert not db._turns._line
    release.set()
    thread.join(LIMIT_S)
    db.insert_event(spawn(), event_id="after")
    assert [each["event_id"] for each in db.get_events()] == ["after"]
