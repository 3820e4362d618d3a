"""Messages."""

from __future__ import annotations

from typing import Any

from .base import View


class QueueCounts(View, frozen=True, kw_only=True):
    """Messages of one environment by state."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    done: int = 0
    dead: int = 0
    expired: int = 0
    cancelled: int = 0


class MessageView(View, frozen=True, kw_only=True):
    id: str
    environment: str
    kind: str
    priority: int
    state: str
    attempt: int
    max_attempts: int
    sender: str
    holder: str | None
    to: str | None
    created_at_us: int
    due_at_us: int | None
    lease_until_us: int | None
    expires_at_us: int | None
    error: str
    body: Any = None
    result: Any = None


class LaneView(View, frozen=True, kw_only=True):
    """One priority of an environment's queue. `oldest_at_us` is when the oldest ready message was
    sent, None when none is ready."""

    environment: str
    priority: int
    ready: int
    delayed: int
    leased: int
    dead: int
    oldest_at_us: int | None = None
