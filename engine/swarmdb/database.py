"""The calls of SwarmDB: what agents did, who they are, what sessions remember, metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import uuid4

from ..store.kin import InvalidValue
from . import queries, values
from .base import DEFAULT, Database
from .retention import METRICS, older, over
from .state import write_state
from .values import DAY_US

Row: TypeAlias = dict[str, Any]

log = logging.getLogger(__name__)

_SILENT_US: Final = 3_600_000_000
_NEWEST: Final = 4  # times as many rows as are wanted: what is common is among them


class SwarmDB(Database):
    """Events, agents, memory and metrics of a swarm in a database of its own, for threads.

        with SwarmDB("swarm.db") as db:
            db.insert_event({"event_type": "spawn", "agent_id": "a1", "agent_type": "writer"})

    `db_path`: a file, or ":memory:". Without one it is SWARMDB_PATH or .moai/memory/swarm.db below
    the working directory. `durability`: "normal" keeps all that was written when the process is
    killed, "full" also when the power goes. `retention_days`: events and metrics that are older go
    by themselves; None keeps them. `timeout_s`: how long a write waits for those of others.

    Errors are those of Python's sqlite3 and SwarmDeckError at once.
    """

    # --- events -----------------------------------------------------------------------------

    def insert_event(self, event_data: Mapping[str, Any], event_id: str | None = None) -> str:
        """Store what an agent did; the id of the event. `event_data`: event_type (spawn, complete,
        error), agent_id, agent_type, and, where known, timestamp and metadata. Raises InvalidValue,
        IntegrityError for an id that is there."""
        kind, agent, agent_type = values.fields(event_data, "event_type", "agent_id", "agent_type")
        at = event_data.get("timestamp")
        event_id = values.text("event_id", event_id) if event_id else str(uuid4())
        row = (
            event_id,
            values.one_of("event_type", kind, values.EVENT_TYPES),
            values.text("agent_id", agent),
            values.text("agent_type", agent_type),
            values.local_now(self._clock) if at is None else values.moment("timestamp", at),
            values.dumped("metadata", event_data.get("metadata", {})),
            values.stored_now(self._clock),
        )
        self._write((queries.INSERT_EVENT, row))
        return event_id

    def get_events(
        self, agent_id: str | None = None, event_type: str | None = None, limit: int | None = 100
    ) -> list[Row]:
        """Events, the latest first: of an agent, of a type. `limit=None`: all of them."""
        where, named = _where({"agent_id = ?": agent_id, "event_type = ?": event_type})
        rows = _limit(limit)
        if where and 0 < rows < 10_000:
            source = queries.NEWEST_EVENTS.format(rows=_NEWEST * rows)
            found = self._ask(queries.EVENTS.format(source=source, where=where), (*named, rows))
            if len(found) == rows:
                return [_parsed(row, "metadata") for row in found]
        sql = queries.EVENTS.format(source="agent_events", where=where)
        return [_parsed(row, "metadata") for row in self._ask(sql, (*named, rows))]

    # --- agents -----------------------------------------------------------------------------

    def register_agent(
        self,
        agent_id: str,
        agent_type: str,
        status: str = "spawned",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Store that an agent is there. One that was keeps its spawn time, and its metadata where
        none are passed."""
        row = (
            values.text("agent_id", agent_id),
            values.text("agent_type", agent_type),
            values.one_of("status", status, values.STATUSES),
            self._clock.wall_us() / 1e6,
            None if metadata is None else values.dumped("metadata", metadata),
            values.local_now(self._clock),
        )
        self._write((queries.REGISTER, row))

    def update_agent_status(
        self, agent_id: str, status: str, duration_ms: int | None = None
    ) -> bool:
        """Store what an agent does now; whether there is such an agent. `complete` and `error`
        set the time at which it ended."""
        values.one_of("status", status, values.STATUSES)
        ended = None if status in values.ACTIVE else self._clock.wall_us() / 1e6
        took = None if duration_ms is None else values.count("duration_ms", duration_ms)
        row = (
            status,
            values.local_now(self._clock),
            ended,
            took,
            values.text("agent_id", agent_id),
        )
        known = self._write((queries.UPDATE_STATUS, row)).changed > 0
        if not known:
            log.warning("no agent %s is registered: nothing was updated", agent_id)
        return known

    def get_agent(self, agent_id: str) -> Row | None:
        """What is known of an agent, or None."""
        rows = self._ask(queries.AGENT, (agent_id,))
        return _parsed(rows[0], "metadata") if rows else None

    def get_active_agents(self) -> list[Row]:
        """Agents that are spawned or running, the youngest first."""
        return [_parsed(row, "metadata") for row in self._ask(queries.ACTIVE_AGENTS)]

    # --- memory of sessions -----------------------------------------------------------------

    def store_memory(
        self,
        session_id: str,
        memory_type: str,
        key: str,
        value: Any,  # noqa: ANN401 - what JSON can say
        ttl_hours: float | None = None,
    ) -> None:
        """Store a value in place of the one under the same names. After `ttl_hours` it is gone."""
        place = (
            values.text("session_id", session_id),
            values.one_of("memory_type", memory_type, values.MEMORY_TYPES),
            values.text("key", key),
        )
        if ttl_hours is not None and values.number("ttl_hours", ttl_hours) < 0:
            raise InvalidValue("ttl_hours is below 0", hint="pass None for what stays")
        kept = (values.dumped("value", value), values.zoned_now(self._clock), ttl_hours)
        self._write(
            (queries.STORE_MEMORY, (*place, *kept, values.stored_now(self._clock))),
            (queries.FORGET_BEFORE, place),
        )

    def get_memory(self, session_id: str, memory_type: str, key: str) -> Any:  # noqa: ANN401
        """The value under these names; None where there is none, or its time is over."""
        now = values.day_number(self._clock.wall_us())
        rows = self._ask(queries.MEMORY, (now, session_id, memory_type, key))
        return None if not rows or rows[0]["over"] else values.loaded(rows[0]["value"], None)

    # --- metrics ----------------------------------------------------------------------------

    def insert_task_metric(
        self,
        task_id: str,
        agent_id: str,
        result: str,
        *,
        duration_ms: int | None = None,
        tokens_used: int = 0,
        files_changed: int = 0,
        timestamp: str | datetime | None = None,
    ) -> None:
        """Store how a task went: success, failure, timeout or cancelled. Raises IntegrityError for
        the same task at the same time."""
        row = (
            values.text("task_id", task_id),
            values.text("agent_id", agent_id),
            None if duration_ms is None else values.count("duration_ms", duration_ms),
            values.one_of("result", result, values.TASK_RESULTS),
            values.count("tokens_used", tokens_used),
            values.count("files_changed", files_changed),
            self._measured_at(timestamp),
        )
        self._write((queries.INSERT_TASK_METRIC, row))

    def get_task_metrics(
        self,
        task_id: str | None = None,
        agent_id: str | None = None,
        result: str | None = None,
        *,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """How tasks went, the latest first, from `since` on and before `until`."""
        wanted = {"task_id = ?": task_id, "agent_id = ?": agent_id, "result = ?": result}
        return self._measured("task_metrics", wanted, since, until, limit)

    def insert_agent_metric(
        self,
        agent_id: str,
        metric_type: str,
        value: float,
        *,
        metadata: Mapping[str, Any] | None = None,
        timestamp: str | datetime | None = None,
    ) -> int:
        """Store a duration, success_rate or error_count of an agent; the number of the row."""
        values.one_of("metric_type", metric_type, values.AGENT_METRICS)
        place = ("agent_metrics", "agent_id", agent_id, metric_type)
        return self._measure(place, value, metadata, timestamp)

    def get_agent_metrics(
        self,
        agent_id: str | None = None,
        metric_type: str | None = None,
        *,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """What was measured of agents, the latest first, from `since` on and before `until`."""
        wanted = {"agent_id = ?": agent_id, "metric_type = ?": metric_type}
        return self._measured("agent_metrics", wanted, since, until, limit)

    def insert_swarm_metric(
        self,
        swarm_id: str,
        metric_type: str,
        value: float,
        *,
        metadata: Mapping[str, Any] | None = None,
        timestamp: str | datetime | None = None,
    ) -> int:
        """Store health, throughput, latency or resource of a swarm; the number of the row."""
        values.one_of("metric_type", metric_type, values.SWARM_METRICS)
        place = ("swarm_metrics", "swarm_id", swarm_id, metric_type)
        return self._measure(place, value, metadata, timestamp)

    def get_swarm_metrics(
        self,
        swarm_id: str | None = None,
        metric_type: str | None = None,
        *,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """What was measured of swarms, the latest first, from `since` on and before `until`."""
        wanted = {"swarm_id = ?": swarm_id, "metric_type = ?": metric_type}
        return self._measured("swarm_metrics", wanted, since, until, limit)

    # --- upkeep -----------------------------------------------------------------------------

    def cleanup_old_events(self, days: float = 30) -> int:
        """Delete events whose time is more than `days` ago; how many. Other threads write in
        between."""
        return sum(older(self._tables, "agent_events", self._ago_us(days)))

    def cleanup_old_metrics(self, days: float = 30) -> int:
        """Delete what was measured more than `days` ago; how many rows."""
        before_us = self._ago_us(days)
        return sum(sum(older(self._tables, table, before_us)) for table in METRICS)

    def cleanup_expired_memory(self) -> int:
        """Delete values whose time is over; how many. Nobody gets them any more anyway."""
        return sum(over(self._tables, self._clock.wall_us()))

    def cleanup(self, days: float = 30) -> dict[str, int]:
        """Delete what is older than `days` and values whose time is over, and call an agent that
        was silent for an hour failed; how many of each."""
        silent = (
            values.local_now(self._clock),
            values.day_number(self._clock.wall_us() - _SILENT_US),
        )
        return {
            "deleted_events": self.cleanup_old_events(days),
            "cleaned_stale_agents": self._write((queries.SILENT_AGENTS, silent)).changed,
            "deleted_metrics": self.cleanup_old_metrics(days),
            "expired_memories": self.cleanup_expired_memory(),
        }

    def persist_session_state(self, session_id: str | None = None) -> str:
        """Write the agents that are active and the last 100 events to a file of JSON beside the
        database; its path."""
        events = self.get_events(limit=100)
        state = {
            "session_id": session_id or str(uuid4()),
            "timestamp": values.local_now(self._clock),
            "active_agents": [_part(agent, _AGENT_STATE) for agent in self.get_active_agents()],
            "recent_events": [_part(event, _EVENT_STATE) for event in events],
            "database_path": str(self.db_path),
        }
        home = DEFAULT.parent if self._pool.in_memory else self.db_path.parent
        return str(write_state(home, json.dumps(state, indent=2)))

    # --- private ----------------------------------------------------------------------------

    def _measured_at(self, timestamp: str | datetime | None) -> str:
        if timestamp is None:
            return values.utc_now(self._clock)
        return values.utc_moment("timestamp", timestamp)

    def _measure(
        self,
        place: tuple[str, str, str, str],
        value: float,
        metadata: Mapping[str, Any] | None,
        timestamp: str | datetime | None,
    ) -> int:
        table, subject, name, metric_type = place
        row = (
            values.text(subject, name),
            metric_type,
            values.number("value", value),
            values.dumped("metadata", metadata or {}),
            self._measured_at(timestamp),
        )
        sql = queries.INSERT_METRIC.format(table=table, subject=subject)
        return self._write((sql, row)).row

    def _measured(
        self,
        table: str,
        wanted: dict[str, str | None],
        since: str | datetime | None,
        until: str | datetime | None,
        limit: int | None,
    ) -> list[Row]:
        times = {"timestamp >= ?": since, "timestamp < ?": until}
        said = {
            sql: None if at is None else values.utc_moment("timestamp", at)
            for sql, at in times.items()
        }
        where, named = _where(wanted | said)
        sql = queries.METRICS.format(table=table, where=where)
        rows = self._ask(sql, (*named, _limit(limit)))
        return [_parsed(row, "metadata") for row in rows]

    def _ago_us(self, days: float) -> int:
        return self._clock.wall_us() - int(values.number("days", days) * DAY_US)


_AGENT_STATE: Final = ("agent_id", "agent_type", "status", "spawn_time", "metadata")
_EVENT_STATE: Final = ("event_id", "event_type", "agent_id", "timestamp", "metadata")


def _part(row: Row, names: Sequence[str]) -> Row:
    return {name: row[name] for name in names}


def _parsed(row: Any, column: str) -> Row:  # noqa: ANN401 - the driver's rows have no type
    """A row as a dict. JSON that somebody else has broken is an empty object."""
    found: Row = dict(row)
    if column in found:
        found[column] = values.loaded(found[column], {})
    return found


def _where(wanted: Mapping[str, str | None]) -> tuple[str, list[str]]:
    """The conditions that are asked for, and their values."""
    asked = {sql: value for sql, value in wanted.items() if value is not None}
    return (f"WHERE {' AND '.join(asked)}" if asked else ""), list(asked.values())


def _limit(limit: int | None) -> int:
    return -1 if limit is None else values.count("limit", limit)  # SQLite's word for all
