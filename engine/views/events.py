"""Events that agents publish."""

from __future__ import annotations

from typing import Any

from .base import View


class EventView(View, frozen=True, kw_only=True):
    """An event. `status` is pending, processing, completed, failed or expired; a pending one with
    a `due_at_us` waits for another try. `chain` is the first of those that follow from one another.
    `attempt` counts how often it was taken and fences who comes late, `retries` its failures.
    `duration_s` is how long the work took that completed it or failed last."""

    id: str
    environment: str
    type: str
    source: str
    target: str | None
    priority: int
    status: str
    level: str
    team: str | None
    swarm: str | None
    parent: str | None
    chain: str
    tags: tuple[str, ...]
    attempt: int
    retries: int
    max_retries: int
    holder: str | None
    created_at_us: int
    updated_at_us: int
    expires_at_us: int
    due_at_us: int | None
    lease_until_us: int | None
    duration_s: float | None
    error: str
    payload: Any = None


class EventIds(View, frozen=True, kw_only=True):
    """Events that were published together, in their order."""

    ids: tuple[str, ...]


class EventCounts(View, frozen=True, kw_only=True):
    """Events by status."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    expired: int = 0
