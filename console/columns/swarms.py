"""Swarms and agents."""

from __future__ import annotations

from typing import Any, Final

from ...engine import views
from ...widgets import Column
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, amount, number, state, text, where

BEAT_S: Final = 10.0
"""A heartbeat comes every 5 s; older than this, one was missed."""


def swarms(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=3),
        where(),
        state(),
        Column("ready", swarm_ready, width=5, align="right", style=_swarm_ready_style),
        amount("used", "used_bytes", width=7),
        amount("memory", "memory_bytes", width=7),
        amount("borrowed", "borrowed_bytes", priority=2),
        number("restarts", priority=1),
        age("age", "created_at_us", moment, priority=4),
        Column("why", swarm_why, width=20, priority=5, grow=1),
    )


def swarm_why(swarm: views.SwarmView) -> str:
    """Why it is as it is, what was done for memory first."""
    if swarm.gave_way:
        return f"gave way: {swarm.gave_way}"
    if swarm.breaches:
        return f"{swarm.breaches} killed for memory{f'; {swarm.reason}' if swarm.reason else ''}"
    return swarm.reason


def swarm_ready(swarm: views.SwarmView) -> str:
    return f"{swarm.agents_ready}/{swarm.agents_wanted}"


def _swarm_ready_style(swarm: views.SwarmView) -> str:
    return "text" if swarm.agents_ready >= swarm.agents_wanted else "warning"


def agents(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=2),
        text("type", width=11, priority=5),
        state(),
        text("pid", width=7, align="right"),
        Column("heart", _heartbeat, width=7, align="right", style=_heartbeat_style),
        amount("used", "used_bytes", width=7),
        number("held", "leased", width=4),
        number("done", width=6),
        number("restarts", priority=3),
        text("swarm", width=ID_CELLS, priority=4),
        text("why", "reason", width=20, priority=6, grow=1),
    )


def _heartbeat(agent: views.AgentView) -> str:
    """Quiet while it beats: the seconds show only when one was missed."""
    age_s = agent.heartbeat_age_s
    if age_s is None:
        return DASH
    return "beating" if age_s < BEAT_S else wording.span(age_s // 10 * 10)


def _heartbeat_style(agent: views.AgentView) -> str:
    return "warning" if agent.heartbeat_age_s and agent.heartbeat_age_s >= BEAT_S else "muted"
