"""Alerts: findings that last.

A rule looks at one moment and says what is wrong with whom. An alert is such a finding that lasts:
it fires when it held in FIRES_AFTER looks in a row (and as long as its rule asks), and is resolved
when it was not found in RESOLVES_AFTER looks in a row, so that nothing flickers. Somebody may
acknowledge it: it still holds, and calls for nobody until it gets graver or comes back. Alerts
outlive their engine; what another has left is shown once it was found again, or is resolved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..clock import Clock
from ..errors import NotFound
from ..model import printable
from ..views import AlertView
from .finding import Finding
from .records import RESOLVED_KEPT, AlertRecords
from .rules import Sight, findings
from .trends import Restarts, Rise

FIRES_AFTER: Final = 2  # looks
RESOLVES_AFTER: Final = 5

FIRING: Final = "firing"
ACKNOWLEDGED: Final = "acknowledged"
RESOLVED: Final = "resolved"

replace = msgspec.structs.replace


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
    """The alerts of an engine. `look` gives what there is to see at this moment; `records` keeps
    what outlives the engine."""

    def __init__(
        self, look: Callable[[], Sight], clock: Clock, records: AlertRecords | None = None
    ) -> None:
        self._look = look
        self._clock = clock
        self._records = records
        self._loaded = records is None
        self._unsaved: dict[str, AlertView] = {}
        self._watched: dict[str, _Watched] = {}
        self._resolved: dict[str, AlertView] = {}
        self._restarts = Restarts()
        self._denied = Rise()
        self._looked = False

    async def load(self) -> None:
        """Take up what the engine before has left. Nothing the second time. Raises
        StorageError."""
        if self._loaded or self._records is None:
            return
        found = await self._records.load()
        if self._loaded:
            return  # by somebody else meanwhile
        self._loaded = True
        for alert in found:
            if alert.state == RESOLVED:
                self._resolved.setdefault(alert.id, alert)
                continue
            watched = self._watched.get(alert.id)
            if watched is None:
                watched = _Watched(self._clock.monotonic_s(), alert.since_at_us)
                self._watched[alert.id] = watched
            watched.alert = alert

    async def save(self) -> None:
        """Store what has changed since the last time. Raises StorageError; then again later."""
        if self._records is None or not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, {}
        try:
            await self._records.keep(unsaved.values())
        except BaseException:  # cancelled too: what was not stored is stored next time
            self._unsaved = unsaved | self._unsaved
            raise

    async def acknowledge(self, ident: str, actor: str) -> AlertView:
        """Somebody knows of an alert that fires. Nothing when somebody did before. Raises
        NotFound, StorageError."""
        await self.load()
        holds = {alert.id: alert for alert in self.list(None, firing=True)}
        if ident not in holds:
            raise NotFound(f"no alert {printable(ident)} fires", hint="see swarmdeck alert list")
        alert = holds[ident]
        if alert.state == ACKNOWLEDGED:
            return alert
        known = replace(
            alert,
            state=ACKNOWLEDGED,
            acknowledged_at_us=self._clock.wall_us(),
            acknowledged_by=actor,
        )
        if self._records is not None:
            await self._records.keep([known], by=actor)
        self._unsaved.pop(ident, None)
        if (watched := self._watched.get(ident)) is not None:
            watched.alert = known
        return known

    def list(self, environment: str | None, *, firing: bool) -> list[AlertView]:
        """Alerts that hold: those that fire first, of them the critical ones, then those that
        somebody has acknowledged; then unless `firing` the resolved, newest first."""
        if not self._looked:
            # Just opened, for one command perhaps: what is there need not last to be believed.
            for _ in range(FIRES_AFTER):
                self.evaluate()
        now = [
            watched.alert
            for watched in self._watched.values()
            if watched.alert is not None and watched.looks
        ]
        now.sort(key=_urgency)
        if not firing:
            now += reversed(self._resolved.values())
        return [alert for alert in now if environment in {None, alert.environment}]

    def evaluate(self) -> tuple[AlertView, ...]:
        """Look once. Returns the alerts that fired, got graver or were resolved by it."""
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
            for ident in [each for each in self._watched if each not in seen]
            if (alert := self._missed(ident, now_us)) is not None
        ]
        self._unsaved.update((alert.id, alert) for alert in changed)
        return tuple(changed)

    def _found(self, ident: str, finding: Finding, now_s: float, now_us: int) -> AlertView | None:
        """The alert if it fires by this look, or got graver by it after it was acknowledged."""
        watched = self._watched.get(ident)
        if watched is None:
            watched = self._watched[ident] = _Watched(now_s, now_us)
        watched.looks += 1
        watched.quiet = 0
        lasts = watched.looks >= FIRES_AFTER and now_s - watched.since_s >= finding.after_s
        if watched.alert is None and not lasts:
            return None
        before = watched.alert
        watched.alert = _firing(ident, finding, watched.since_us, before)
        self._resolved.pop(ident, None)
        same = before is not None and before.state == watched.alert.state
        return None if same else watched.alert

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
        over = replace(watched.alert, state=RESOLVED, resolved_at_us=now_us)
        self._resolved[ident] = over
        if len(self._resolved) > RESOLVED_KEPT:
            del self._resolved[next(iter(self._resolved))]
        return over


def _urgency(alert: AlertView) -> tuple[bool, bool, int, str]:
    return (
        alert.state == ACKNOWLEDGED,
        alert.severity != "critical",
        -alert.since_at_us,
        alert.id,
    )


def _firing(ident: str, finding: Finding, since_us: int, before: AlertView | None) -> AlertView:
    """The alert as it is now. An acknowledgement holds until it gets graver."""
    known = before is not None and before.state == ACKNOWLEDGED
    if before is not None and finding.severity == "critical" != before.severity:
        known = False
    return AlertView(
        id=ident,
        rule=finding.rule,
        severity=finding.severity,
        state=ACKNOWLEDGED if known else FIRING,
        environment=finding.environment,
        subject=finding.subject,
        since_at_us=since_us,
        resolved_at_us=None,
        detail=finding.detail,
        hint=finding.hint,
        acknowledged_at_us=before.acknowledged_at_us if known and before else None,
        acknowledged_by=before.acknowledged_by if known and before else "",
    )
