"""The tables, and files of other versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import Corrupt
from swarmdeck.engine.swarmdb import SwarmDB
from swarmdeck.engine.swarmdb.schema import VERSION, steps

Spawn = Callable[..., dict[str, Any]]

TABLES = {
    "agent_events": "id event_id event_type agent_id agent_type timestamp metadata created_at",
    "agent_metrics": "metric_id agent_id metric_type value metadata timestamp",
    "agent_registry": "agent_id agent_type status spawn_time complete_time duration_ms metadata"
    " last_updated",
    "schema_info": "key value updated_at",
    "session_memory": "id session_id memory_type key value timestamp ttl_hours created_at",
    "swarm_metrics": "metric_id swarm_id metric_type value metadata timestamp",
    "task_metrics": "task_id agent_id duration_ms result tokens_used files_changed timestamp",
}
INDEXES = {
    "idx_agent_events_agent_id": ["agent_id"],
    "idx_agent_events_event_type": ["event_type"],
    "idx_agent_events_timestamp": ["timestamp"],
    "idx_agent_metrics_agent": ["agent_id", "metric_type", "timestamp"],
    "idx_agent_metrics_type": ["metric_type", "timestamp"],
    "idx_agent_registry_agent_type": ["agent_type"],
    "idx_agent_registry_status": ["status"],
    "idx_session_memory_key": ["key"],
    "idx_session_memory_memory_type": ["memory_type"],
    "idx_session_memory_place": ["session_id", "memory_type", "key"],
    "idx_session_memory_session_id": ["session_id"],
    "idx_swarm_metrics_swarm": ["swarm_id", "metric_type", "timestamp"],
    "idx_swarm_metrics_type": ["metric_type", "timestamp"],
    "idx_task_metrics_agent": ["agent_id", "timestamp"],
    "idx_task_metrics_result": ["result", "timestamp"],
    "idx_task_metrics_time": ["timestamp"],
}


def _schema(db: SwarmDB) -> tuple[dict[str, str], dict[str, list[str]]]:
    conn = db._get_connection()
    names = conn.execute(
        "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    tables = {
        name: " ".join(row["name"] for row in conn.execute(f"PRAGMA table_info({name})"))
        for kind, name in names
        if kind == "table"
    }
    indexes = {
        name: [row["name"] for row in conn.execute(f"PRAGMA index_info({name})")]
        for kind, name in names
        if kind == "index"
    }
    return tables, indexes


def _version(db: SwarmDB) -> str:
    row = db._get_connection().execute("SELECT value FROM schema_info").fetchone()
    return str(row[0])


def _older(path: Path, version: str | None) -> None:
    """A file as the first version left it, with an event in it."""
    other = sqlite3.connect(path)
    other.executescript(steps()[0].sql)
    if version is None:
        other.execute("DROP TABLE schema_info")
    else:
        other.execute("INSERT INTO schema_info (key, value) VALUES ('version', ?)", (version,))
    other.execute(
        "INSERT INTO agent_events (event_id, event_type, agent_id, agent_type, timestamp, metadata)"
        " VALUES ('kept', 'spawn', 'a1', 'writer', '2025-01-01T00:00:00', '{}')"
    )
    other.commit()
    other.close()


@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_new_database_has_all_tables_and_indexes(path: Path, where: str) -> None:
    with SwarmDB(path if where == "file" else ":memory:") as db:
        assert _schema(db) == (TABLES, INDEXES)
        assert _version(db) == VERSION == "2.0.0"


@pytest.mark.parametrize("version", [None, "1.0.0", "1.4", "1"])
def test_a_file_of_version_one_gets_what_it_lacks_and_keeps_what_it_has(
    path: Path, version: str | None, spawn: Spawn
) -> None:
    _older(path, version)
    with SwarmDB(path) as db:
        assert _schema(db) == (TABLES, INDEXES)
        assert _version(db) == "2.0.0"
        db.insert_event(spawn(timestamp="2025-01-02T00:00:00"), event_id="new")
        db.insert_swarm_metric("s1", "health", 1.0)
        assert [each["event_id"] for each in db.get_events()] == ["new", "kept"]


def test_a_file_of_this_version_that_others_made_is_found_by_place_too(path: Path) -> None:
    with SwarmDB(path) as db:
        db._get_connection().execute("DROP INDEX idx_session_memory_place")
    with SwarmDB(path) as db:
        assert _schema(db) == (TABLES, INDEXES)


@pytest.mark.parametrize("version", ["2.0.1", "3", "two"])
def test_a_version_nobody_here_knows_is_refused(path: Path, version: str) -> None:
    _older(path, version)
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError) as caught:
        SwarmDB(path)
    assert isinstance(caught.value, Corrupt)
    assert path.read_bytes()[100:] == before[100:]  # its header says that it has a log


def test_a_migration_that_fails_leaves_the_version_it_had(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _older(path, "1.0.0")
    monkeypatch.setattr("swarmdeck.engine.swarmdb.schema._SET_VERSION", "nonsense")
    with pytest.raises(sqlite3.OperationalError):
        SwarmDB(path)
    monkeypatch.undo()
    other = sqlite3.connect(path)
    assert other.execute("SELECT value FROM schema_info").fetchone() == ("1.0.0",)
    assert not other.execute("SELECT 1 FROM sqlite_schema WHERE name = 'task_metrics'").fetchone()
    other.close()
    with SwarmDB(path) as db:
        assert _version(db) == "2.0.0"


def test_looking_for_a_value_reads_no_other(db: SwarmDB) -> None:
    plan = db._get_connection().execute(
        "EXPLAIN QUERY PLAN SELECT value FROM session_memory"
        " WHERE session_id = ? AND memory_type = ? AND key = ? ORDER BY id DESC LIMIT 1",
        ("s", "m", "k"),
    )
    (step,) = [row["detail"] for row in plan]
    assert step.startswith(
        "SEARCH session_memory USING INDEX idx_session_memory_place (session_id=?"
    )
    assert "key=?" in step


def test_settings_of_the_file_are_those_that_were_asked_for(path: Path) -> None:
    for durability, number in (("normal", 1), ("full", 2)):
        with SwarmDB(path, durability=durability) as db:
            conn = db._get_connection()
            assert conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert conn.execute("PRAGMA synchronous").fetchone()[0] == number
            assert conn.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
