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


class FlowView(View, frozen=True, kw_only=True):
    """Whether the queue of an environment is stopped, and how full it is. `mode` is running, paused
    (nothing is handed out) or draining (nothing is taken in); `changed_at_us` is None if it never
    was another. `open` counts ready, delayed and leased messages, at most `limit`; `waiting` are
    senders that wait for room; `oldest_ready_at_us` is when the oldest ready message was sent."""

    environment: str
    mode: str
    reason: str
    changed_at_us: int | None
    changed_by: str
    open: int
    limit: int
    waiting: int
    oldest_ready_at_us: int | None = None


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


class ScheduleView(View, frozen=True, kw_only=True):
    """Messages that are sent again and again, either `every_s` or as `cron` says in `zone`. `state`
    is active, paused, or late: due and not sent yet, for a `reason`. `next_at_us` is None while it
    is paused. `skipped` counts the times it was due while its last message was still open."""

    id: str
    environment: str
    name: str
    state: str
    kind: str
    to: str | None
    priority: int
    every_s: float | None
    cron: str | None
    zone: str
    overlap: bool
    expires_s: float | None
    max_attempts: int
    next_at_us: int | None
    last_at_us: int | None
    last_message: str | None
    runs: int
    skipped: int
    created_by: str
    created_at_us: int
    reason: str = ""
    body: Any = None


class HistoryView(View, frozen=True, kw_only=True):
    """One step of a message: who did what. `action` is send, claim, ack, nack, retry and the like;
    `sequence` is that of its row in the audit trail."""

    environment: str
    sequence: int
    at_us: int
    actor: str
    action: str
    detail: str
    allowed: bool = True


def when_of(schedule: ScheduleView) -> str:
    """`every 60 s`, or the cron expression with its zone."""
    if schedule.every_s is not None:
        return f"every {schedule.every_s:g} s"
    return f"{schedule.cron} {schedule.zone}"
