"""The SQL of each call."""

from __future__ import annotations

from typing import Final

from .values import day_sql

INSERT_EVENT: Final = """
INSERT INTO agent_events
    (event_id, event_type, agent_id, agent_type, timestamp, metadata, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
EVENTS: Final = """
SELECT * FROM {source} {where} ORDER BY timestamp DESC, id DESC LIMIT ?
"""
NEWEST_EVENTS: Final = "(SELECT * FROM agent_events ORDER BY timestamp DESC, id DESC LIMIT {rows})"

# Whoever registers again is the same agent: since when it runs, and what it took, is kept.
REGISTER: Final = """
INSERT INTO agent_registry
    (agent_id, agent_type, status, spawn_time, metadata, last_updated)
VALUES (?, ?, ?, ?, coalesce(?, '{}'), ?)
ON CONFLICT (agent_id) DO UPDATE SET
    agent_type = excluded.agent_type, status = excluded.status,
    metadata = coalesce(?5, metadata), last_updated = excluded.last_updated
"""
UPDATE_STATUS: Final = """
UPDATE agent_registry SET
    status = ?, last_updated = ?,
    complete_time = coalesce(?, complete_time), duration_ms = coalesce(?, duration_ms)
WHERE agent_id = ?
"""
AGENT: Final = "SELECT * FROM agent_registry WHERE agent_id = ?"
ACTIVE_AGENTS: Final = """
SELECT * FROM agent_registry WHERE status IN ('spawned', 'running') ORDER BY spawn_time DESC
"""
SILENT_AGENTS: Final = f"""
UPDATE agent_registry SET status = 'error', last_updated = ?
WHERE status IN ('spawned', 'running') AND {day_sql("last_updated")} < ?
"""  # noqa: S608 - of our own words

STORE_MEMORY: Final = """
INSERT INTO session_memory (session_id, memory_type, key, value, timestamp, ttl_hours, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
FORGET_BEFORE: Final = """
DELETE FROM session_memory
WHERE session_id = ? AND memory_type = ? AND key = ? AND id < last_insert_rowid()
"""
# The last one written, which is not always the one with the latest time.
MEMORY: Final = f"""
SELECT value, ttl_hours IS NOT NULL
    AND (ttl_hours <= 0 OR {day_sql("timestamp")} + ttl_hours / 24.0 <= ?) AS over
FROM session_memory WHERE session_id = ? AND memory_type = ? AND key = ?
ORDER BY id DESC LIMIT 1
"""  # noqa: S608 - of our own words

INSERT_TASK_METRIC: Final = """
INSERT INTO task_metrics
    (task_id, agent_id, duration_ms, result, tokens_used, files_changed, timestamp)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
INSERT_METRIC: Final = """
INSERT INTO {table} ({subject}, metric_type, value, metadata, timestamp) VALUES (?, ?, ?, ?, ?)
"""
METRICS: Final = "SELECT * FROM {table} {where} ORDER BY timestamp DESC, rowid DESC LIMIT ?"
