"""Health as people see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..views import FindingView, RecoveryView
from .findings import Finding
from .probes import BUS, breaker_of
from .recovery import Policy, Recovery, next_attempt_us

if TYPE_CHECKING:
    from .service import Health


def finding_view(health: Health, finding: Finding) -> FindingView:
    recovery = health.recovery(finding.subject)
    return FindingView(
        subject=finding.subject,
        probe=finding.probe,
        environment=finding.environment,
        status=finding.status.value,
        detail=finding.detail,
        latency_ms=finding.latency_s * 1000,
        since_at_us=finding.since_us,
        checked_at_us=finding.checked_us,
        policy=recovery.policy.value,
        attempts=recovery.attempts,
        attempts_max=health.limits.attempts,
        next_at_us=_next_us(health, recovery),
        breaker=_breaker(health, finding),
        standby=recovery.standby,
        address=recovery.address,
        outcome=recovery.outcome,
    )


def recovery_view(health: Health, recovery: Recovery) -> RecoveryView:
    return RecoveryView(
        subject=recovery.subject,
        environment=health.environment(recovery.subject),
        policy=recovery.policy.value,
        state=_state(health, recovery),
        standby=recovery.standby,
        address=recovery.address,
        attempts=recovery.attempts,
        attempts_max=health.limits.attempts,
        attempted_at_us=recovery.attempted_at_us,
        healthy_since_at_us=recovery.healthy_since_us,
        next_at_us=_next_us(health, recovery),
        outcome=recovery.outcome,
        successor=recovery.successor,
        set=bool(recovery.changed_by),
        changed_at_us=recovery.changed_at_us or None,
        changed_by=recovery.changed_by,
    )


def _state(health: Health, recovery: Recovery) -> str:
    if recovery.successor:
        return "given up"
    if health.is_under_way(recovery.subject):
        return "under way"
    if recovery.policy is Policy.ALERT_ONLY:
        return "off"
    if not health.is_still_ill(recovery):
        return "idle"
    if recovery.attempts >= health.limits.attempts:
        return "spent"
    return "idle" if _next_us(health, recovery) is None else "waiting"


def _next_us(health: Health, recovery: Recovery) -> int | None:
    """When the next attempt may be made, None when it may be now."""
    next_us = next_attempt_us(recovery, health.limits)
    return next_us if next_us is not None and next_us > health.now_us() else None


def _breaker(health: Health, finding: Finding) -> str:
    """The state of the breaker around a probe, empty where there is none."""
    names = {"http": breaker_of(finding.subject), BUS: BUS}
    name = names.get(finding.probe)
    return "" if name is None else health.breaker(name).state.value
