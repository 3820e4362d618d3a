"""Each call as programs use it that know this interface, on a file, a text path and in memory."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.swarmdb import SwarmDB

Spawn = Callable[..., dict[str, Any]]


@pytest.fixture(params=["path", "text", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SwarmDB]:
    where = {
        "path": tmp_path / "new" / "folder" / "swarm.db",
        "text": str(tmp_path / "swarm.db"),
        "memory": ":memory:",
    }
    with SwarmDB(db_path=where[request.param]) as opened:
        yield opened


def test_an_event_comes_back_as_it_was_inserted(store: SwarmDB, spawn: Spawn) -> None:
    said = {"prompt": "Draw a plan", "model": "large", "depth": [1, {"two": None}]}
    event_id = store.insert_event(event_data=spawn(metadata=said), event_id="my-own")
    (found,) = store.get_events(limit=100)
    assert event_id == found["event_id"] == "my-own"
    assert found["metadata"] == said
    assert found["timestamp"] == "2023-11-14T12:00:00"
    assert set(found) == {
        "id", "event_id", "event_type", "agent_id", "agent_type", "timestamp", "metadata",
        "created_at",
    }  # fmt: skip


def test_events_get_ids_of_their_own_where_none_are_passed(store: SwarmDB, spawn: Spawn) -> None:
    ids = {store.insert_event(spawn()) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(each) == 36 for each in ids)


def test_events_are_found_by_agent_and_type_the_latest_first(store: SwarmDB, spawn: Spawn) -> None:
    for minute in (3, 1, 2):
        at = datetime(2025, 1, 1, 10, minute)  # noqa: DTZ001 - local, as programs pass it
        store.insert_event(spawn(timestamp=at.isoformat()))
    store.insert_event(spawn(event_type="complete", timestamp="2025-01-01T10:05:00"))
    store.insert_event(spawn(agent_id="a2"))
    times = [each["timestamp"][14:16] for each in store.get_events(agent_id="a1", limit=50)]
    assert times == ["05", "03", "02", "01"]
    assert len(store.get_events(event_type="spawn", limit=20)) == 4
    assert len(store.get_events(agent_id="a1", event_type="complete", limit=10)) == 1
    assert len(store.get_events(limit=2)) == 2
    assert store.get_events(agent_id="nobody") == []


def test_what_is_rare_is_found_behind_much_that_is_newer(store: SwarmDB, spawn: Spawn) -> None:
    with store.transaction():
        for number in range(3):
            store.insert_event(spawn(event_type="error", timestamp=f"2025-01-01T00:00:0{number}"))
        for number in range(60):
            store.insert_event(spawn(timestamp=f"2025-01-02T00:00:{number:02}"))
    assert len(store.get_events(event_type="error", limit=5)) == 3
    store.insert_event(spawn(event_type="error", timestamp="2025-01-03T00:00:09"))
    found = store.get_events(event_type="error", limit=4)  # one is among the newest, three are not
    assert [each["timestamp"][-1] for each in found] == ["9", "2", "1", "0"]


def test_an_agent_is_registered_updated_and_shown(store: SwarmDB) -> None:
    store.register_agent(
        agent_id="a1", agent_type="writer", status="spawned", metadata={"priority": "high"}
    )
    assert store.update_agent_status("a1", "running")
    running = store.get_agent("a1")
    assert running is not None
    assert (running["status"], running["complete_time"]) == ("running", None)
    store.update_agent_status("a1", "complete", duration_ms=3000)
    done = store.get_agent("a1")
    assert done is not None
    assert (done["status"], done["duration_ms"]) == ("complete", 3000)
    assert done["metadata"] == {"priority": "high"}
    assert done["complete_time"] >= done["spawn_time"]
    assert store.get_agent("nobody") is None


def test_active_agents_are_those_that_did_not_end(store: SwarmDB) -> None:
    for name, status in (("a1", "running"), ("a2", "spawned"), ("a3", "running"), ("a4", "error")):
        store.register_agent(name, "writer", status=status)
    store.update_agent_status("a3", "error")
    assert {agent["agent_id"] for agent in store.get_active_agents()} == {"a1", "a2"}


def test_values_of_a_session_are_kept_by_name(store: SwarmDB) -> None:
    value = {"language": "python", "style": ["short", 1, None]}
    store.store_memory(session_id="s1", memory_type="context_hint", key="preference", value=value)
    store.store_memory("s1", "context_hint", "setting", {"enabled": True}, ttl_hours=24)
    assert store.get_memory(session_id="s1", memory_type="context_hint", key="preference") == value
    assert store.get_memory("s1", "context_hint", "setting") == {"enabled": True}
    assert store.get_memory("s1", "semantic", "preference") is None
    assert store.get_memory("s2", "context_hint", "preference") is None


def test_raw_statements_in_a_block_are_stored_together(store: SwarmDB) -> None:
    with store.transaction() as conn:
        cursor = conn.cursor()
        for number in range(5):
            cursor.execute(
                "INSERT INTO agent_events (event_id, event_type, agent_id, agent_type, timestamp)"
                " VALUES (?, ?, ?, ?, ?)",
                (f"e{number}", "spawn", "a1", "writer", "2025-01-01T00:00:00"),
            )
        cursor.execute(
            "INSERT INTO agent_registry (agent_id, agent_type, status, spawn_time)"
            " VALUES ('a1', 'writer', 'spawned', 1.0)"
        )
        cursor.execute("UPDATE agent_registry SET status = 'running' WHERE agent_id = 'a1'")
    assert len(store.get_events()) == 5
    assert store.get_events()[0]["metadata"] is None
    found = store.get_agent("a1")
    assert found is not None
    assert found["status"] == "running"


def test_ten_threads_share_one_database(store: SwarmDB, spawn: Spawn) -> None:
    def work(agent_id: str) -> None:
        for _ in range(10):
            store.insert_event(spawn(agent_id=agent_id))
        store.register_agent(agent_id, "writer")
        assert len(store.get_events(agent_id=agent_id)) == 10

    threads = [threading.Thread(target=work, args=(f"agent-{number}",)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get_events(limit=1000)) == 100
    assert len(store.get_active_agents()) == 10


def test_the_version_of_the_schema_can_be_asked_for(store: SwarmDB) -> None:
    cursor = store._get_connection().cursor()
    cursor.execute("SELECT value FROM schema_info WHERE key = 'version'")
    row = cursor.fetchone()
    assert row[0] == row["value"] == "2.0.0"


def test_upkeep_runs_and_says_what_it_did(store: SwarmDB, spawn: Spawn) -> None:
    store.insert_event(spawn(timestamp="2001-01-01T00:00:00"))
    store.insert_event(spawn(timestamp=datetime.now().isoformat()))  # noqa: DTZ005 - local
    assert store.cleanup_old_events(days=30) == 1
    assert store.cleanup_old_events(days=90) == 0
    store.vacuum()
    assert len(store.get_events()) == 1


def test_a_closed_database_opens_again_with_the_next_call(store: SwarmDB, spawn: Spawn) -> None:
    store.insert_event(spawn())
    store.close()
    store.close()
    left = 0 if str(store.db_path) == ":memory:" else 1
    assert len(store.get_events()) == left


def test_the_size_of_the_file_can_be_asked_for(db: SwarmDB) -> None:
    assert db.db_path.stat().st_size > 0


def test_databases_in_memory_are_apart_from_each_other(spawn: Spawn) -> None:
    with SwarmDB(":memory:") as one, SwarmDB(":memory:") as other:
        one.insert_event(spawn())
        assert other.get_events() == []


def test_without_a_path_it_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWARMDB_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with SwarmDB() as db:
        db.register_agent("a1", "writer")
        assert db.db_path == tmp_path / ".moai" / "memory" / "swarm.db"
    monkeypatch.setenv("SWARMDB_PATH", str(tmp_path / "named.db"))
    with SwarmDB() as db:
        assert db.db_path == tmp_path / "named.db"
        assert db.get_agent("a1") is None


def test_the_state_of_a_session_is_a_file_of_json(db: SwarmDB, spawn: Spawn) -> None:
    db.register_agent("a1", "writer", metadata={"k": 1})
    db.register_agent("a2", "writer", status="complete")
    db.insert_event(spawn(), event_id="e1")
    where = Path(db.persist_session_state("s1"))
    state = json.loads(where.read_text(encoding="utf-8"))
    assert where == db.db_path.parent / "moai-flow" / "session-state.json"
    assert (state["session_id"], state["database_path"]) == ("s1", str(db.db_path))
    assert [(each["agent_id"], each["metadata"]) for each in state["active_agents"]] == [
        ("a1", {"k": 1})
    ]
    assert [each["event_id"] for each in state["recent_events"]] == ["e1"]
    assert [each.name for each in where.parent.iterdir()] == [where.name]


def test_an_update_of_an_agent_nobody_knows_is_told(
    db: SwarmDB, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not db.update_agent_status("nobody", "running")
    assert "nobody" in caplog.text


def test_who_registers_again_keeps_spawn_time_and_duration(db: SwarmDB, clock: Any) -> None:
    db.register_agent("a1", "writer", metadata={"k": 1})
    clock.advance(60)
    db.update_agent_status("a1", "complete", duration_ms=60_000)
    before = db.get_agent("a1")
    clock.advance(60)
    db.register_agent("a1", "reviewer", status="running")
    after = db.get_agent("a1")
    assert before is not None
    assert after is not None
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"agent_type", "status", "last_updated"}
    db.register_agent("a1", "reviewer", metadata={"k": 2})
    assert (db.get_agent("a1") or {})["metadata"] == {"k": 2}


def test_a_value_replaces_the_one_before_it(db: SwarmDB) -> None:
    for value in (1, 2, 3):
        db.store_memory("s1", "semantic", "k", value)
        db.store_memory("s1", "episodic", "k", -value)
    assert db.get_memory("s1", "semantic", "k") == 3
    (rows,) = db._get_connection().execute("SELECT count(*) FROM session_memory").fetchone()
    assert rows == 2


def test_of_values_that_others_have_piled_up_the_last_one_counts(db: SwarmDB) -> None:
    with db.transaction() as conn:
        for value, day in ((1, 5), (2, 7), (3, 6)):
            conn.execute(
                "INSERT INTO session_memory (session_id, memory_type, key, value, timestamp)"
                f" VALUES ('s1', 'semantic', 'k', '{value}', '2020-01-0{day}T00:00:00')"
            )
    assert db.get_memory("s1", "semantic", "k") == 3


def test_a_file_can_be_read_by_what_wrote_such_files_before(db: SwarmDB, spawn: Spawn) -> None:
    db.insert_event(spawn(), event_id="e1")
    db.close()  # two libraries in one process must not have it open at once
    other = sqlite3.connect(db.db_path)
    assert other.execute("SELECT event_id FROM agent_events").fetchall() == [("e1",)]
    other.close()
