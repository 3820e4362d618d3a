"""What probes and recovery say is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..views import FindingView, RecoveryView
from .finding import Finding

TAKEN_OVER_SHOWN_S: Final = 3600.0

# Other rules say these, and more of them: swarm-ill, bus, host-memory.
_SAID_ELSEWHERE: Final = frozenset({"agents", "bus", "memory"})
_GRAVE: Final = frozenset({"store", "disk"})


class Ailing(NamedTuple):
    """What is known of health: the latest findings, how things are recovered, and the names of
    breakers that are open with the subject of each."""

    findings: Iterable[FindingView] = ()
    recoveries: Iterable[RecoveryView] = ()
    open_breakers: Iterable[tuple[str, str]] = ()


def of_health(ailing: Ailing, quarantined: frozenset[str], now_us: int) -> Iterator[Finding]:
    """All that probes and recovery can tell. `quarantined` environments are said to be so."""
    for finding in ailing.findings:
        known = finding.probe in _SAID_ELSEWHERE or finding.subject in quarantined
        if finding.status == "failed" and not known:
            yield _failed(finding)
    for recovery in ailing.recoveries:
        yield from _of_recovery(recovery, now_us)
    for name, subject in ailing.open_breakers:
        yield Finding(
            "breaker-open",
            subject,
            f"the breaker {name} is open: what it guards failed again and again and is not asked",
            "swarmdeck health list",
            _environment(subject, ailing.findings),
        )


def _failed(finding: FindingView) -> Finding:
    return Finding(
        "probe-failed",
        finding.subject,
        f"{finding.probe}: {finding.detail}",
        f"swarmdeck health check {finding.subject}",
        finding.environment,
        "critical" if finding.probe in _GRAVE else "warning",
    )


def _of_recovery(recovery: RecoveryView, now_us: int) -> Iterator[Finding]:
    subject, where = recovery.subject, recovery.environment
    tried = f"{recovery.policy}, {recovery.attempts} of {recovery.attempts_max}"
    if recovery.state == "given up":
        ago_us = now_us - (recovery.attempted_at_us or 0)
        if ago_us < TAKEN_OVER_SHOWN_S * 1_000_000:
            hint = f"swarmdeck swarm health {recovery.successor}"
            yield Finding("taken-over", subject, recovery.outcome, hint, where)
    elif recovery.state == "spent":
        yield Finding(
            "recovery-spent",
            subject,
            f"all attempts are made and none is left ({tried}): {recovery.outcome}",
            f"swarmdeck recovery reset {subject}",
            where,
            "critical",
        )
    elif recovery.attempts and recovery.state != "off":
        detail = f"{tried}: {recovery.outcome}"
        yield Finding("recovery-tried", subject, detail, f"swarmdeck explain {subject}", where)


def _environment(subject: str, findings: Iterable[FindingView]) -> str:
    return next((each.environment for each in findings if each.subject == subject), "")
