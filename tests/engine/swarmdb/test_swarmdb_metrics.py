"""What was measured comes back: by subject, kind and time."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.swarmdb import SwarmDB


def test_metrics_of_tasks(db: SwarmDB, clock: FakeClock) -> None:
    db.insert_task_metric("t1", "a1", "success", duration_ms=1200, tokens_used=900, files_changed=3)
    clock.advance(1)
    db.insert_task_metric("t2", "a1", "timeout")
    db.insert_task_metric("t2", "a2", "failure", timestamp="2020-01-01T00:00:00Z")
    (first,) = db.get_task_metrics(task_id="t1")
    assert first == {
        "task_id": "t1",
        "agent_id": "a1",
        "duration_ms": 1200,
        "result": "success",
        "tokens_used": 900,
        "files_changed": 3,
        "timestamp": "2023-11-14 22:13:20",
    }
    assert [row["task_id"] for row in db.get_task_metrics(agent_id="a1")] == ["t2", "t1"]
    assert [row["agent_id"] for row in db.get_task_metrics(result="failure")] == ["a2"]
    assert len(db.get_task_metrics(limit=2)) == 2
    assert len(db.get_task_metrics(limit=None)) == 3


def test_a_task_is_measured_once_at_one_time(db: SwarmDB, clock: FakeClock) -> None:
    db.insert_task_metric("t1", "a1", "failure")
    with pytest.raises(sqlite3.IntegrityError):
        db.insert_task_metric("t1", "a1", "success")
    clock.advance(0.000_001)
    db.insert_task_metric("t1", "a1", "success")
    assert [row["result"] for row in db.get_task_metrics("t1")] == ["success", "failure"]


def test_metrics_of_agents_and_swarms(db: SwarmDB) -> None:
    assert db.insert_agent_metric("a1", "success_rate", 0.9, metadata={"of": 10}) == 1
    assert db.insert_agent_metric("a1", "error_count", 2) == 2
    assert db.insert_swarm_metric("s1", "throughput", 12.5) == 1
    db.insert_swarm_metric("s2", "latency", 3)
    (rate,) = db.get_agent_metrics("a1", "success_rate")
    assert (rate["value"], rate["metadata"], rate["metric_id"]) == (0.9, {"of": 10}, 1)
    assert [row["metric_type"] for row in db.get_agent_metrics()] == ["error_count", "success_rate"]
    assert [row["swarm_id"] for row in db.get_swarm_metrics(metric_type="latency")] == ["s2"]
    assert db.get_swarm_metrics("s1")[0]["metadata"] == {}


@pytest.mark.usefixtures("zone")
def test_metrics_between_two_times_in_any_zone(db: SwarmDB) -> None:
    noon = datetime(2023, 6, 1, 12, tzinfo=UTC)
    for minutes in (-1, 0, 1, 2):
        db.insert_swarm_metric("s1", "health", minutes, timestamp=noon + timedelta(minutes=minutes))
    tokyo = timezone(timedelta(hours=9))
    for since in (noon, noon.astimezone(tokyo), "2023-06-01T12:00:00Z", "2023-06-01 12:00:00"):
        found = db.get_swarm_metrics(since=since, until=noon + timedelta(minutes=2))
        assert [row["value"] for row in found] == [1.0, 0.0], since


def test_rows_of_plain_sql_are_found_beside_ours(db: SwarmDB) -> None:
    with db.transaction() as conn:
        conn.execute(
            "INSERT INTO agent_metrics (agent_id, metric_type, value) VALUES ('a1', 'duration', 7)"
        )
    (row,) = db.get_agent_metrics("a1", since=datetime.now(UTC) - timedelta(hours=1))
    assert (row["value"], row["metadata"]) == (7.0, None)
