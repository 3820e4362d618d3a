"""The last finding of each probe, and what recovery came to."""

from __future__ import annotations

from typing import Final

from ...engine import actions, views
from .. import columns
from ..places import Place
from .base import Listing


def _ailing(finding: views.FindingView) -> Place:
    """Where a finding leads: the swarm, or why a store or the host is as it is."""
    if finding.probe in {"agents", "http"}:
        return Place("swarm", finding.subject)
    return Place("explain", finding.environment or "host")


def _told(finding: views.FindingView) -> str:
    """A finding, what guards it and what recovery came to."""
    parts = [f"{finding.subject}: {finding.detail}"]
    if finding.address:
        parts.append(f"address {finding.address}, breaker {finding.breaker or 'closed'}")
    if finding.standby:
        parts.append(f"standby {finding.standby}")
    if finding.outcome:
        parts.append(f"recovery: {finding.outcome}")
    return ". ".join(parts)


HEALTH: Final = Listing(
    title="Health: the last finding of each probe",
    columns=columns.findings,
    key=lambda finding: f"{finding.subject} {finding.probe}",
    empty="Nothing is probed in this environment.",
    groups=("health", "rows", "table", "motion"),
    query=lambda scope: actions.HealthList(environment=scope.place),
    opens=_ailing,
    words=_told,
)
