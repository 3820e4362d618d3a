"""Once a second: how fast memory grows, what needs a person, and saying so.

Begins with an engine's first second, or when somebody asks for its alerts: a command that is over
in a moment never loads it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from .alerts import Ailing, Alerts, Sight
from .alerts.records import AlertRecords
from .alerts.rules import SCHEDULE_LATE_S
from .audit import Auditor
from .budgets import Budgets
from .clock import Clock
from .environment import Place
from .errors import SwarmDeckError
from .events import AlertChanged, Event
from .forecast import Forecast
from .journal import Journal
from .model import environment_of, format_size
from .store.database import Database
from .store.reserve import Reserve
from .swarms.service import Swarms
from .views import AlertView, ConflictView, Overview, ScheduleView

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What is watched: an engine."""

    clock: Clock
    swarms: Swarms
    journal: Journal
    budgets: Budgets
    coordination: Database
    reserve: Reserve | None
    auditor: Auditor

    @property
    def places(self) -> Mapping[str, Place]: ...

    def overview(self) -> Overview: ...
    def ailing(self) -> Ailing: ...


class Watch:
    """The watch over one engine; `changed()` is called when an alert fires, is acknowledged or
    resolved, `publish` tells who listens."""

    def __init__(
        self,
        engine: Watched,
        changed: Callable[[], object],
        publish: Callable[[Event], object],
    ) -> None:
        self.alerts = Alerts(self._sight, engine.clock, AlertRecords(engine.coordination))
        self.forecast = Forecast(engine.clock)
        self._engine = engine
        self._changed = changed
        self._publish = publish

    async def acknowledge(self, ident: str, actor: str) -> AlertView:
        """Somebody knows of an alert. Raises NotFound, StorageError."""
        alert = await self.alerts.acknowledge(ident, actor)
        self._tell(alert)
        self._changed()
        return alert

    async def tick(self) -> None:
        """Look, once a second."""
        self._note_use()
        await self._stored(self.alerts.load())
        if found := self.alerts.evaluate():
            for alert in found:
                self._tell(alert)
            self._changed()
        await self._stored(self.alerts.save())

    async def _stored(self, access: Awaitable[None]) -> None:
        """Alerts are looked for also while the disk refuses them."""
        try:
            await access
        except SwarmDeckError as error:
            log.warning("alerts are not stored: %s", error.message)

    def _sight(self) -> Sight:
        engine = self._engine
        return Sight(
            overview=engine.overview(),
            reclaims=engine.journal.reclaims,
            breaches=engine.journal.breaches,
            ignored=engine.budgets.ignored,
            pinned={name: place.database.pinned() for name, place in engine.places.items()},
            disks=self._disks(),
            rolled_back=engine.auditor.alarms,
            unsigned=engine.auditor.troubles,
            ailing=engine.ailing(),
            escalated=[each for place in engine.places.values() for each in _escalated(place)],
            overdue={name: _overdue(place) for name, place in engine.places.items()},
            late=[each for place in engine.places.values() for each in _late(place)],
        )

    def _disks(self) -> dict[str, str]:
        """What is wrong with the disk below the files, by file."""
        engine = self._engine
        files = {name: place.database for name, place in engine.places.items()}
        files["coordination"] = engine.coordination
        found = {name: file.disk.trouble for name, file in files.items() if file.disk.trouble}
        if engine.reserve is not None and engine.reserve.emergency:
            size = format_size(engine.reserve.size_bytes)
            found["reserve"] = f"the disk was full, and the {size} held back for that are given up"
        return found

    def _note_use(self) -> None:
        held: dict[str, dict[str, int]] = {name: {} for name in self._engine.places}
        for agent, size_bytes in self._engine.swarms.vitals.used_bytes.items():
            held[environment_of(agent)][agent] = size_bytes
        for name, agents in held.items():
            self.forecast.note(name, sum(agents.values()), frozenset(agents))

    def _tell(self, alert: AlertView) -> None:
        self._publish(
            AlertChanged(
                alert.id, alert.rule, alert.severity, alert.state, alert.environment, alert.subject
            )
        )
        by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
        fires = alert.state == "firing"
        self._engine.journal.note(
            "alert",
            alert.subject,
            f"{alert.rule} {alert.state}{by}: {alert.detail}",
            environment=alert.environment,
            severity=alert.severity if fires else "info",
        )


def _escalated(place: Place) -> list[ConflictView]:
    """Conflicts that call for a person. A command that sweeps none looks at none."""
    return place.conflicts.escalated() if "conflicts" in place.__dict__ else []


def _late(place: Place) -> list[ScheduleView]:
    """Schedules that have been late for too long. A command that sends none looks at none."""
    known = "schedules" in place.queue.__dict__
    return place.queue.schedules.late(SCHEDULE_LATE_S) if known else []


def _overdue(place: Place) -> tuple[int, list[str]]:
    """How many tasks should have ended, and the latest of them; of what is in memory."""
    return place.tasks.overdue() if "tasks" in place.__dict__ else (0, [])
