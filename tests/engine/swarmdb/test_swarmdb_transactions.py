"""What belongs to a transaction, what is undone, and who waits for whom."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import Busy, SwarmDeckError
from swarmdeck.engine.store.dbapi import Connection
from swarmdeck.engine.swarmdb import SwarmDB

Spawn = Callable[..., dict[str, Any]]

LIMIT_S = 20.0


class Broken(Exception):
    """What a block of a test fails with."""


@contextmanager
def breaking(db: SwarmDB) -> Iterator[Connection]:
    """A transaction that fails at the end of its block."""
    with pytest.raises(Broken), db.transaction() as conn:  # noqa: PT012 - the block is the test
        yield conn
        raise Broken


def test_a_block_that_fails_leaves_nothing(db: SwarmDB, spawn: Spawn) -> None:
    with breaking(db) as conn:
        conn.cursor().execute(
            "INSERT INTO agent_registry (agent_id, agent_type, status, spawn_time)"
            " VALUES ('raw', 'writer', 'spawned', 1.0)"
        )
        db.insert_event(spawn())
        db.store_memory("s1", "semantic", "k", 1)
        assert len(db.get_events()) == 1
    assert db.get_events() == []
    assert db.get_agent("raw") is None
    assert db.get_memory("s1", "semantic", "k") is None
    db.insert_event(spawn())
    assert len(db.get_events()) == 1


def test_calls_within_a_block_do_not_commit_it(db: SwarmDB, path: Path, spawn: Spawn) -> None:
    with SwarmDB(path) as other, db.transaction():
        db.insert_event(spawn())
        db.register_agent("a1", "writer")
        assert other.get_events() == []
    assert len(db.get_events()) == 1


def test_an_inner_block_that_fails_is_undone_alone(db: SwarmDB, spawn: Spawn) -> None:
    with db.transaction():
        db.insert_event(spawn(), event_id="outer")
        with breaking(db):
            db.insert_event(spawn(), event_id="inner")
        with pytest.raises(sqlite3.IntegrityError):
            db.insert_event(spawn(), event_id="outer")
        db.insert_event(spawn(), event_id="after")
    assert {each["event_id"] for each in db.get_events()} == {"outer", "after"}


def test_a_commit_by_hand_within_a_block_ends_what_came_before(db: SwarmDB, spawn: Spawn) -> None:
    with breaking(db) as conn:
        db.insert_event(spawn(), event_id="before")
        conn.commit()
        db.insert_event(spawn(), event_id="after")
    assert [each["event_id"] for each in db.get_events()] == ["before"]


def test_a_cursor_of_the_threads_connection_joins_the_block(db: SwarmDB) -> None:
    cursor = db._get_connection().cursor()
    with breaking(db) as conn:
        assert conn is db._get_connection()
        cursor.execute(
            "INSERT INTO agent_registry (agent_id, agent_type, status, spawn_time)"
            " VALUES ('raw', 'writer', 'spawned', 1.0)"
        )
    assert db.get_agent("raw") is None


def test_calls_join_what_a_cursor_has_begun(db: SwarmDB, spawn: Spawn) -> None:
    conn = db._get_connection()
    conn.execute("UPDATE schema_info SET value = value")
    db.insert_event(spawn(), event_id="undone")
    conn.rollback()
    assert db.get_events() == []
    conn.execute("UPDATE schema_info SET value = value")
    db.insert_event(spawn(), event_id="kept")
    conn.commit()
    assert [each["event_id"] for each in db.get_events()] == ["kept"]


def test_a_connection_is_a_block_of_its_own_too(db: SwarmDB) -> None:
    conn = db._get_connection()
    with conn:
        conn.execute("UPDATE schema_info SET value = value")
        db.register_agent("kept", "writer")
    with pytest.raises(Broken), conn:  # noqa: PT012 - the block is the test
        conn.execute("UPDATE schema_info SET value = value")
        db.register_agent("undone", "writer")
        raise Broken
    assert [agent["agent_id"] for agent in db.get_active_agents()] == ["kept"]


def test_a_block_keeps_other_threads_waiting_and_not_reading(db: SwarmDB, spawn: Spawn) -> None:
    stored, seen = threading.Event(), []

    def other() -> None:
        seen.append(len(db.get_events()))
        db.insert_event(spawn(), event_id="second")
        stored.set()

    thread = threading.Thread(target=other)
    with db.transaction():
        db.insert_event(spawn(), event_id="first")
        thread.start()
        while not db._turns._line:
            assert thread.is_alive()
        assert not stored.is_set()
    thread.join(LIMIT_S)
    assert seen == [0]
    assert [each["id"] for each in db.get_events()] == [2, 1]


def test_whoever_waits_too_long_is_told_and_nothing_is_stored(path: Path, spawn: Spawn) -> None:
    with SwarmDB(path, timeout_s=0.05) as db:
        failed: list[Exception] = []

        def other() -> None:
            try:
                db.insert_event(spawn(), event_id="late")
            except sqlite3.OperationalError as error:
                failed.append(error)

        thread = threading.Thread(target=other)
        with db.transaction():
            thread.start()
            thread.join(LIMIT_S)
        assert isinstance(failed[0], Busy)
        db.insert_event(spawn(), event_id="mine")
        assert [each["event_id"] for each in db.get_events()] == ["mine"]


def test_another_process_that_writes_is_waited_for_and_named(path: Path, spawn: Spawn) -> None:
    with SwarmDB(path, timeout_s=0.05) as one, SwarmDB(path, timeout_s=0.05) as other:
        with one.transaction(), pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            other.insert_event(spawn())
        assert isinstance(caught.value, SwarmDeckError)
        assert caught.value.retryable
        other.insert_event(spawn())
        assert len(one.get_events()) == 1


def test_a_block_cannot_be_closed_or_vacuumed_from_within(db: SwarmDB, spawn: Spawn) -> None:
    with db.transaction():
        db.insert_event(spawn())
        with pytest.raises(sqlite3.ProgrammingError):
            db.close()
        with pytest.raises(sqlite3.OperationalError):
            db.vacuum()
    assert len(db.get_events()) == 1


def test_closing_waits_for_blocks_of_other_threads(db: SwarmDB, spawn: Spawn) -> None:
    closing = threading.Thread(target=db.close)
    with db.transaction():
        db.insert_event(spawn())
        closing.start()
        while not db._turns._line:
            assert closing.is_alive()
        db.insert_event(spawn())
    closing.join(LIMIT_S)
    assert len(db.get_events()) == 2
