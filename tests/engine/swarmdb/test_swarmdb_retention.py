"""What goes by itself and by hand, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.swarmdb import SwarmDB, retention

Spawn = Callable[..., dict[str, Any]]

DAY_S = 86_400
HOUR_S = 3_600


pytestmark = pytest.mark.usefixtures("zone")


def _ago(clock: FakeClock, days: float, *, zone: Any = None) -> str:
    return datetime.fromtimestamp(clock.wall_us() / 1e6 - days * DAY_S, zone).isoformat()


def _rows(db: SwarmDB, table: str) -> int:
    (count,) = db._get_connection().execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def test_events_older_than_days_are_deleted_to_the_minute(
    db: SwarmDB, clock: FakeClock, spawn: Spawn
) -> None:
    minute = 1 / 24 / 60
    for number, zone in enumerate((None, UTC)):
        db.insert_event(
            spawn(timestamp=_ago(clock, 30 + minute, zone=zone)), event_id=f"old {number}"
        )
        db.insert_event(
            spawn(timestamp=_ago(clock, 30 - minute, zone=zone)), event_id=f"new {number}"
        )
    utc = _ago(clock, 30 - minute, zone=UTC)[:19]
    db.insert_event(spawn(timestamp=utc.replace("T", " ")), event_id="new as SQLite says it")
    assert db.cleanup_old_events(days=30) == 2
    assert {each["event_id"][:3] for each in db.get_events()} == {"new"}


def test_much_is_deleted_in_steps(db: SwarmDB, clock: FakeClock, spawn: Spawn) -> None:
    count = 2 * retention.STEP + 3
    with db.transaction():
        for _ in range(count):
            db.insert_event(spawn(timestamp=_ago(clock, 40)))
        db.insert_event(spawn(timestamp=_ago(clock, 1)))
    assert db.cleanup_old_events(days=30) == count
    assert _rows(db, "agent_events") == 1


def test_what_is_old_goes_at_opening(path: Path, clock: FakeClock, spawn: Spawn) -> None:
    with SwarmDB(path, clock=clock) as db:
        db.insert_event(spawn(timestamp=_ago(clock, 0)), event_id="old")
        db.insert_task_metric("t1", "a1", "success")
        db.insert_agent_metric("a1", "duration", 1.0)
        db.insert_swarm_metric("s1", "health", 1.0)
        db.store_memory("s1", "semantic", "stays", 1)
        db.store_memory("s1", "semantic", "goes", 1, ttl_hours=1)
        db.register_agent("a1", "writer")
    clock.advance(31 * DAY_S)
    with SwarmDB(path, clock=clock, retention_days=None) as db:
        assert (_rows(db, "agent_events"), _rows(db, "session_memory")) == (1, 1)
    with SwarmDB(path, clock=clock) as db:
        for table in ("agent_events", "task_metrics", "agent_metrics", "swarm_metrics"):
            assert _rows(db, table) == 0, table
        assert db.get_memory("s1", "semantic", "stays") == 1
        assert db.get_agent("a1") is not None


def test_what_is_old_goes_every_hour_behind_the_writes(
    db: SwarmDB, clock: FakeClock, spawn: Spawn
) -> None:
    with db.transaction():
        for _ in range(2 * retention.STEP + 1):
            db.insert_event(spawn(timestamp=_ago(clock, 0)))
    clock.advance(31 * DAY_S)
    left = []
    for number in range(8):  # a step for every write or block
        if number % 2:
            db.register_agent("a1", "writer")
        else:
            with db.transaction():
                db.register_agent("a1", "writer")
        left.append(_rows(db, "agent_events"))
    assert left[-1] == 0
    assert sorted(set(left), reverse=True) == [retention.STEP + 1, 1, 0]
    assert not db._retention.due
    clock.advance(HOUR_S)
    assert db._retention.due


def test_history_that_is_brought_in_stays_as_long_as_what_is_new(
    path: Path, clock: FakeClock, spawn: Spawn
) -> None:
    with SwarmDB(path, clock=clock) as db:
        db.insert_event(spawn(timestamp=_ago(clock, 400)), event_id="brought in")
    clock.advance(29 * DAY_S)
    with SwarmDB(path, clock=clock) as db:
        assert len(db.get_events()) == 1
    clock.advance(2 * DAY_S)
    with SwarmDB(path, clock=clock) as db:
        assert db.get_events() == []


def test_a_retention_that_fails_does_not_fail_who_writes(
    db: SwarmDB, clock: FakeClock, spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    conn = db._get_connection()
    conn.execute("DROP TABLE session_memory")
    clock.advance(HOUR_S)
    db.insert_event(spawn())
    assert len(db.get_events()) == 1
    assert "could not be deleted" in caplog.text


def test_a_value_is_gone_when_its_time_is_over(db: SwarmDB, clock: FakeClock) -> None:
    db.store_memory("s1", "semantic", "k", 1, ttl_hours=24)
    db.store_memory("s1", "semantic", "half", 1, ttl_hours=0.5)
    db.store_memory("s1", "semantic", "at once", 1, ttl_hours=0)
    db.store_memory("s1", "semantic", "never", 1)
    assert db.get_memory("s1", "semantic", "at once") is None
    clock.advance(HOUR_S / 2 + 1)
    assert db.get_memory("s1", "semantic", "half") is None
    clock.advance(23.5 * HOUR_S - 2)
    assert db.get_memory("s1", "semantic", "k") == 1
    assert db.cleanup_expired_memory() == 2
    clock.advance(2)
    assert db.get_memory("s1", "semantic", "k") is None
    assert db.cleanup_expired_memory() == 1
    assert db.get_memory("s1", "semantic", "never") == 1


def test_a_value_whose_time_is_over_does_not_show_the_one_before(
    db: SwarmDB, clock: FakeClock
) -> None:
    db._get_connection().execute(
        "INSERT INTO session_memory (session_id, memory_type, key, value, timestamp)"
        " VALUES ('s1', 'semantic', 'k', '1', '2020-01-01T00:00:00')"
    )
    db._get_connection().commit()
    db.store_memory("s1", "semantic", "k", 2, ttl_hours=1)
    clock.advance(2 * HOUR_S)
    assert db.get_memory("s1", "semantic", "k") is None


def test_cleaning_calls_agents_failed_that_are_silent(db: SwarmDB, clock: FakeClock) -> None:
    db.register_agent("silent", "writer")
    db.register_agent("done", "writer", status="complete")
    clock.advance(HOUR_S - 60)
    db.register_agent("heard of", "writer")
    assert db.cleanup()["cleaned_stale_agents"] == 0
    clock.advance(120)
    db.insert_swarm_metric("s1", "health", 1.0)
    clock.advance(40 * DAY_S)
    db.update_agent_status("heard of", "running")
    assert db.cleanup(days=30) == {
        "deleted_events": 0,
        "cleaned_stale_agents": 1,
        "deleted_metrics": 1,
        "expired_memories": 0,
    }
    assert [agent["agent_id"] for agent in db.get_active_agents()] == ["heard of"]
    assert (db.get_agent("silent") or {})["status"] == "error"


def test_cleaning_metrics_by_hand(path: Path, clock: FakeClock) -> None:
    with SwarmDB(path, clock=clock, retention_days=None) as db:
        for days in (0, 10, 20):
            at = _ago(clock, days, zone=UTC)
            db.insert_task_metric("t1", "a1", "success", timestamp=at)
            db.insert_agent_metric("a1", "duration", 1.0, timestamp=at)
            db.insert_swarm_metric("s1", "health", 1.0, timestamp=at)
        assert db.cleanup_old_metrics(days=15) == 3
        assert db.cleanup_old_metrics(days=5) == 3
        assert len(db.get_swarm_metrics()) == 1
