"""Probes, what they found, and recovery."""

from __future__ import annotations

from .base import View


class FindingView(View, frozen=True, kw_only=True):
    """What a probe found last. `status` is ok, suspect (failed, and not believed yet) or failed,
    since `since_at_us`; `attempts` of recovery of at most `attempts_max`, the next not before
    `next_at_us`. `breaker` is closed, open or half-open, empty where there is none. `standby`,
    `address` and `outcome` are those of its recovery."""

    subject: str
    probe: str
    environment: str
    status: str
    detail: str
    latency_ms: float
    since_at_us: int
    checked_at_us: int
    policy: str
    attempts: int
    attempts_max: int
    next_at_us: int | None = None
    breaker: str = ""
    standby: str = ""
    address: str = ""
    outcome: str = ""


class RecoveryView(View, frozen=True, kw_only=True):
    """How something is recovered when it is ill. `state` is idle, waiting (for the end of the
    cooldown), under way, spent (no attempt is left), given up (another swarm took over) or off;
    `set` says whether somebody has chosen the policy. `successor` has taken over."""

    subject: str
    environment: str
    policy: str
    state: str
    standby: str
    address: str
    attempts: int
    attempts_max: int
    attempted_at_us: int | None
    healthy_since_at_us: int | None
    next_at_us: int | None
    outcome: str
    successor: str
    set: bool
    changed_at_us: int | None
    changed_by: str
