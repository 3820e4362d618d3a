"""How an agent has done: counted from what is kept of messages, tasks and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..store.database import Reader
from ..views import PerformanceView

_TASKS: Final = """
SELECT ifnull(sum(status = 'completed'), 0), ifnull(sum(status = 'failed'), 0)
FROM task WHERE env = ? AND agent = ? AND ended_at IS NOT NULL"""
_EVENTS: Final = """
SELECT ifnull(sum(state = 3), 0), ifnull(sum(state = 4), 0), avg(duration_us)
FROM event WHERE env = ? AND holder = ? AND state IN (3, 4)"""


def performance(agent: str, messages_done: int) -> Callable[[Reader], PerformanceView]:
    """Looks at every task and event that has ended: not for many agents at once."""

    def query(reader: Reader) -> PerformanceView:
        [tasks] = reader.execute(_TASKS, (reader.env, agent)).fetchall()
        [events] = reader.execute(_EVENTS, (reader.env, agent)).fetchall()
        well = messages_done + tasks[0] + events[0]
        tried = well + tasks[1] + events[1]
        return PerformanceView(
            messages_done=messages_done,
            tasks_completed=tasks[0],
            tasks_failed=tasks[1],
            events_completed=events[0],
            events_failed=events[1],
            success=well / tried if tried else None,
            event_s=None if events[2] is None else events[2] / 1_000_000,
        )

    return query
