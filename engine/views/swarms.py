"""Swarms, agents and teams."""

from __future__ import annotations

from typing import Any

from .base import View
from .host import LoanView


class SwarmView(View, frozen=True, kw_only=True):
    """`agents_coming` are those whose turn to start has not come yet. `variables` are the names
    of those its processes are started with, never their values.
    `directory` empty: one of the swarm's own. `warm_up_s` 0: no limit. `cpu_percent` is its quota
    of processor time, of one core. `breaches` are its agents killed for what they held since the
    engine opened; `gave_way` why it is stopped until the host has memory again, if it is."""

    id: str
    name: str
    environment: str
    state: str
    agents_wanted: int
    agents_live: int
    agents_ready: int
    memory_bytes: int
    borrowed_bytes: int
    used_bytes: int
    restarts: int
    created_at_us: int
    command: tuple[str, ...] = ()
    reason: str = ""
    lenders: tuple[LoanView, ...] = ()
    variables: tuple[str, ...] = ()
    directory: str = ""
    warm_up_s: float = 0.0
    cpu_percent: int | None = None
    breaches: int = 0
    gave_way: str = ""
    agents_coming: int = 0


class PerformanceView(View, frozen=True, kw_only=True):
    """What an agent has finished and what it has failed at, of what is still kept. `success` is
    the part that went well, 0 to 1; `event_s` the mean time of its events. None: nothing to say."""

    messages_done: int
    tasks_completed: int
    tasks_failed: int
    events_completed: int
    events_failed: int
    success: float | None
    event_s: float | None


class AgentView(View, frozen=True, kw_only=True):
    """`heartbeat_age_s` is None before the first heartbeat, `ready_at_us` until its process has
    said that it is ready, `last_seen_at_us` before it was ever heard. Only what was asked for alone
    has `metadata`, a JSON object, and `performance`."""

    id: str
    name: str
    type: str
    environment: str
    swarm: str | None
    teams: tuple[str, ...]
    capabilities: tuple[str, ...]
    state: str
    pid: int | None
    heartbeat_age_s: float | None
    used_bytes: int
    restarts: int
    leased: int
    done: int
    created_at_us: int
    reason: str = ""
    ready_at_us: int | None = None
    role: str = "agent"
    last_seen_at_us: int | None = None
    metadata: Any = None
    performance: PerformanceView | None = None


class TeamView(View, frozen=True, kw_only=True):
    id: str
    name: str
    environment: str
    leader: str | None
    members: tuple[str, ...]
    created_at_us: int


class HealthView(View, frozen=True, kw_only=True):
    """Health of a swarm: `status` is healthy, degraded or critical; `issues` say why."""

    swarm: SwarmView
    status: str
    issues: tuple[str, ...]
    agents: tuple[AgentView, ...]
    ready_messages: int
    leased_messages: int


class TokenView(View, frozen=True, kw_only=True):
    """A new token. It is shown once; only its hash is kept."""

    agent: str
    token: str
    expires_at_us: int

    def __repr__(self) -> str:
        return f"TokenView(agent={self.agent!r}, token=…, expires_at_us={self.expires_at_us})"
