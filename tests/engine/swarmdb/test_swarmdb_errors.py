"""Errors that both families know, values that no row may hold, files that are not ours."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import Conflict, Corrupt, InvalidInput, StorageError, SwarmDeckError
from swarmdeck.engine.store.kin import kin
from swarmdeck.engine.store.migrate import APPLICATION_ID
from swarmdeck.engine.swarmdb import SwarmDB

Spawn = Callable[..., dict[str, Any]]


def test_a_constraint_is_an_integrity_error_of_both_families(db: SwarmDB, spawn: Spawn) -> None:
    db.insert_event(spawn(), event_id="there")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        db.insert_event(spawn(), event_id="there")
    assert isinstance(caught.value, Conflict)
    assert caught.value.sqlite_errorname.startswith("SQLITE_CONSTRAINT")
    with pytest.raises(SwarmDeckError), db.transaction() as conn:
        conn.execute("INSERT INTO agent_events (event_id) VALUES ('no more than this')")


def test_wrong_sql_is_an_operational_error_wherever_it_is_met(db: SwarmDB) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught, db.transaction() as conn:
        conn.cursor().execute("INSERT INTO agent_events ...")
    assert isinstance(caught.value, InvalidInput)
    with pytest.raises(sqlite3.OperationalError):
        db._get_connection().executescript("SELECT; nonsense")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        db._get_connection().executemany("INSERT INTO nowhere VALUES (?)", [(1,)])


def test_wrong_use_is_a_programming_error(db: SwarmDB) -> None:
    cursor = db._get_connection().cursor()
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        cursor.execute("SELECT ?", ())
    assert isinstance(caught.value, InvalidInput)
    db.close()
    for call in (cursor.fetchone, cursor.fetchall, lambda: cursor.execute("SELECT 1")):
        with pytest.raises(sqlite3.ProgrammingError):
            call()


def test_values_the_driver_cannot_store_are_refused(db: SwarmDB) -> None:
    cursor = db._get_connection().cursor()
    for value in (1 << 70, "\ud800", object()):
        with pytest.raises(sqlite3.Error) as caught:
            cursor.execute("SELECT ?", (value,))
        assert isinstance(caught.value, SwarmDeckError)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"event_type": "started"},
        {"event_type": None},
        {"agent_id": ""},
        {"agent_id": 7},
        {"agent_type": None},
        {"timestamp": "yesterday"},
        {"timestamp": "20250101T000000"},
        {"timestamp": 1_700_000_000},
        {"metadata": {"when": datetime(2026, 1, 2, tzinfo=UTC)}},
        {"metadata": {1, 2}},
    ],
    ids=str,
)
def test_no_event_is_stored_that_says_nothing_right(
    db: SwarmDB, spawn: Spawn, otherwise: dict[str, Any]
) -> None:
    with pytest.raises(sqlite3.IntegrityError) as caught:
        db.insert_event(spawn(**otherwise))
    assert isinstance(caught.value, InvalidInput)
    assert isinstance(caught.value, ValueError)
    assert db.get_events() == []


@pytest.mark.parametrize("event", [{}, {"event_type": "spawn"}, ..., None], ids=str)
def test_an_event_without_its_parts_is_refused(db: SwarmDB, event: Any) -> None:
    with pytest.raises(InvalidInput, match="an event without"):
        db.insert_event(event)


def test_words_of_other_columns_are_checked_too(db: SwarmDB) -> None:
    for call in (
        lambda: db.register_agent("a1", "writer", status="asleep"),
        lambda: db.update_agent_status("a1", "asleep"),
        lambda: db.update_agent_status("a1", "complete", duration_ms=-1),
        lambda: db.store_memory("s1", "procedural", "k", 1),
        lambda: db.store_memory("s1", "semantic", "k", math),
        lambda: db.store_memory("s1", "semantic", "k", 1, ttl_hours=-1),
        lambda: db.store_memory("s1", "semantic", "k", 1, ttl_hours=math.nan),
        lambda: db.insert_task_metric("t1", "a1", "good"),
        lambda: db.insert_task_metric("t1", "a1", "success", tokens_used=-1),
        lambda: db.insert_agent_metric("a1", "health", 1.0),
        lambda: db.insert_agent_metric("a1", "duration", math.inf),
        lambda: db.insert_swarm_metric("s1", "duration", 1.0),
        lambda: db.insert_swarm_metric("s1", "health", True),
        lambda: db.get_events(limit=-1),
        lambda: db.cleanup_old_events(days=math.nan),
        lambda: SwarmDB(":memory:", durability="none"),
        lambda: SwarmDB(":memory:", retention_days=math.inf),
    ):
        with pytest.raises(InvalidInput):
            call()
    assert db.get_agent("a1") is None


def test_times_may_be_objects_and_have_zones(db: SwarmDB, spawn: Spawn) -> None:
    at = datetime(2023, 1, 1, tzinfo=UTC)
    for number, value in enumerate((at, "2023-01-02", "2023-01-03 10:00", "2023-01-04T10:00:00Z")):
        db.insert_event(spawn(timestamp=value), event_id=str(number))
    assert [each["timestamp"] for each in db.get_events()][::-1] == [
        "2023-01-01T00:00:00+00:00", "2023-01-02", "2023-01-03 10:00", "2023-01-04T10:00:00Z"
    ]  # fmt: skip


def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's text" * 100)
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError) as caught:
        SwarmDB(path)
    assert isinstance(caught.value, Corrupt)
    assert path.read_bytes() == before


def test_a_file_of_the_engine_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    other.execute("CREATE TABLE memory (x)")
    other.close()
    with pytest.raises(Corrupt, match="of the engine"):
        SwarmDB(path)


def test_a_place_that_cannot_be_had_is_an_operational_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "swarm.db", tmp_path):
        with pytest.raises(sqlite3.OperationalError) as caught:
            SwarmDB(path)
        assert isinstance(caught.value, StorageError)


def test_nobody_else_may_read_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SwarmDB(tmp_path / "folder" / "swarm.db") as db:
            for each in db.db_path.parent.iterdir():
                assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
            assert stat.S_IMODE(db.db_path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_an_error_keeps_its_family_when_it_is_raised_for_another(db: SwarmDB) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        db._get_connection().execute("nonsense")
    error = caught.value
    assert isinstance(error, SwarmDeckError)
    assert type(error.again()) is type(error)
    assert kin(error, "anything") is error
    assert error.report().code == "invalid_input"
