"""Alerts: findings that last.

A rule looks at one moment and says what is wrong with whom. An alert is such a finding that lasts:
it fires when it held in FIRES_AFTER looks in a row (and as long as its rule asks), and is resolved
when it was not found in RESOLVES_AFTER looks in a row, so that nothing flickers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..clock import Clock
from ..views import AlertView
from .rules import Finding, Sight, findings
from .trends import Restarts, Rise

FIRES_AFTER: Final = 2  # looks
RESOLVES_AFTER: Final = 5
RESOLVED_KEPT: Final = 200


class _Watched:
    """A finding over time."""

    __slots__ = ("alert", "looks", "quiet", "since_s", "since_us")

    def __init__(self, now_s: float, now_us: int) -> None:
        self.since_s = now_s
        self.since_us = now_us
        self.looks = 0
        self.quiet = 0
        self.alert: AlertView | None = None


class Alerts:
    """The alerts of an engine. `look` gives what there is to see at this moment."""

    def __init__(self, look: Callable[[], Sight], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._resolved: dict[str, AlertView] = {}
        self._restarts = Restarts()
        self._denied = Rise()
        self._looked = False

    def list(self, environment: str | None, *, firing: bool) -> list[AlertView]:
        """Firing alerts, critical ones first, then unless `firing` the resolved, newest first."""
        if not self._looked:
            # Just opened, for one command perhaps: what is there need not last to be believed.
            for _ in range(FIRES_AFTER):
                self.evaluate()
        now = [watched.alert for watched in self._watched.values() if watched.alert is not None]
        now.sort(key=lambda alert: (alert.severity != "critical", -alert.since_at_us, alert.id))
        if not firing:
            now += reversed(self._resolved.values())
        return [alert for alert in now if environment in {None, alert.environment}]

    def evaluate(self) -> tuple[AlertView, ...]:
        """Look once. Returns the alerts that fired or were resolved by it."""
        self._looked = True
        sight = self._look()
        now_s, now_us = self._clock.monotonic_s(), self._clock.wall_us()
        overview = sight.overview
        seen = {
            f"{finding.rule}.{finding.subject}": finding
            for finding in (
                *findings(sight),
                *self._restarts.findings(overview.agents, now_s),
                *self._denied.findings(overview.access.denied_calls, now_s),
            )
        }
        changed = [
            alert
            for ident, finding in seen.items()
            if (alert := self._found(ident, finding, now_s, now_us)) is not None
        ]
        changed += [
            alert
            for ident in self._watched.keys() - seen.keys()
            if (alert := self._missed(ident, now_us)) is not None
        ]
        return tuple(changed)

    def _found(self, ident: str, finding: Finding, now_s: float, now_us: int) -> AlertView | None:
        """The alert if it fires by this look."""
        watched = self._watched.get(ident)
        if watched is None:
            watched = self._watched[ident] = _Watched(now_s, now_us)
        watched.looks += 1
        watched.quiet = 0
        lasts = watched.looks >= FIRES_AFTER and now_s - watched.since_s >= finding.after_s
        if watched.alert is None and not lasts:
            return None
        fires = watched.alert is None
        watched.alert = _firing(ident, finding, watched.since_us)
        self._resolved.pop(ident, None)
        return watched.alert if fires else None

    def _missed(self, ident: str, now_us: int) -> AlertView | None:
        """The alert if it is resolved by this look."""
        watched = self._watched[ident]
        watched.quiet += 1
        if watched.alert is None:
            del self._watched[ident]  # it has to hold in looks in a row
            return None
        if watched.quiet < RESOLVES_AFTER:
            return None
        del self._watched[ident]
        over = msgspec.structs.replace(watched.alert, state="resolved", resolved_at_us=now_us)
        self._resolved[ident] = over
        if len(self._resolved) > RESOLVED_KEPT:
            del self._resolved[next(iter(self._resolved))]
        return over


def _firing(ident: str, finding: Finding, since_us: int) -> AlertView:
    return AlertView(
        id=ident,
        rule=finding.rule,
        severity=finding.severity,
        state="firing",
        environment=finding.environment,
        subject=finding.subject,
        since_at_us=since_us,
        resolved_at_us=None,
        detail=finding.detail,
        hint=finding.hint,
    )
