"""What an engine does by itself, once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from .audit import Auditor
from .environment import Place
from .errors import SwarmDeckError
from .hostmem import HostMemory
from .identity import Identity
from .store.reserve import Reserve
from .swarms.service import Swarms
from .timewatch import TimeWatch
from .vault import Vault

if TYPE_CHECKING:
    from .health.service import Health
    from .metrics.service import Metrics
    from .watch import Watch

TICK_S: Final = 1.0
SWEEP_EVERY_TICKS: Final = 5
SWEEP_S: Final = 0.2  # of one environment, each second it takes longer
RECORDS_SWEEP_S: Final = 0.5  # the same for records; half of it is rest

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What is done once a second is done with these."""

    time: TimeWatch
    identity: Identity
    host: HostMemory
    swarms: Swarms
    vault: Vault
    auditor: Auditor
    reserve: Reserve | None

    async def regain_socket(self) -> None: ...

    @property
    def watch(self) -> Watch: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def health(self) -> Health: ...


class Ticker:
    """Runs on the engine's loop; `loop_lag_ms` is how much too late it was called last. `serving`
    are the environments in use, at any time. Only one that `stays` measures, probes, sends what
    schedules have due, deletes messages that have ended and looks after health."""

    def __init__(self, engine: Engine, serving: Mapping[str, Place], *, stays: bool = True) -> None:
        self._engine = engine
        self._serving = serving
        self._stays = stays
        self.loop_lag_ms = 0.0

    async def run(self) -> None:
        """Once a second: measure, and from time to time sweep what has expired."""
        loop = asyncio.get_running_loop()
        ticks = 0
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.loop_lag_ms = max(0.0, (loop.time() - due_s) * 1000)
            ticks += 1
            due = ticks % SWEEP_EVERY_TICKS == 0
            # What one part cannot do now keeps none of the others from its turn.
            for part in (self._look, partial(self._tend, due=due), partial(self.sweep, due=due)):
                try:
                    await part()
                except (SwarmDeckError, OSError) as error:
                    log.warning("upkeep is behind: %s", error)

    async def _look(self) -> None:
        """Measure, and see to what that shows."""
        engine = self._engine
        engine.time.tick()
        engine.identity.tick()
        engine.host.sample()
        await engine.swarms.sample()
        await engine.watch.tick()
        if self._stays:
            engine.metrics.tick(self.loop_lag_ms)
            engine.health.begin()

    async def _tend(self, *, due: bool) -> None:
        """Look after keys, the audit trail, the socket and what is held back of the disk."""
        engine = self._engine
        await engine.vault.tick()
        await engine.auditor.tick()
        if due:
            await engine.regain_socket()
        if engine.reserve is not None and due:
            engine.reserve.regain()

    async def sweep(self, *, due: bool) -> None:
        """Send what schedules have due, cancel messages for those who have ended, delete expired
        records and messages that have ended long ago, those of an environment that was left behind
        even when not `due`. Nothing of it while the host's clock is not believed."""
        if self._engine.time.is_held:
            return
        for place in tuple(self._serving.values()):
            try:
                await self._sweep(place, due=due)
            except SwarmDeckError as error:  # its file may be locked: that holds up no other
                log.warning("upkeep of %s is behind: %s", place.environment, error.message)

    async def _sweep(self, place: Place, *, due: bool) -> None:
        if self._stays:
            await place.queue.schedules.tick()
        if due or place.memory.is_behind:
            await place.memory.sweep(RECORDS_SWEEP_S)
        if self._stays and (due or place.queue.retention.is_behind):
            await place.queue.retention.sweep(SWEEP_S)
        if self._stays and due:
            await place.queue.leftovers.sweep()
        if self._stays and (due or place.tasks.retention.is_behind):
            await place.tasks.graph()  # what is overdue is said without being asked
            await place.tasks.retention.sweep(SWEEP_S)
        if self._stays:
            await self._sweep_more(place, due=due)

    async def _sweep_more(self, place: Place, *, due: bool) -> None:
        """What only an engine that stays has time for."""
        keep_s = place.queue.settings.ended_keep_s
        if due and place.has_artifacts:
            await place.leavings.run(SWEEP_S)
            await place.uploads.sweep()
        if due or place.events.is_behind:
            await place.events.sweep(SWEEP_S)
        if due or place.consensus.is_behind:
            await place.consensus.sweep(SWEEP_S, keep_s)
        if due or place.conflicts.is_behind:
            await place.conflicts.sweep(SWEEP_S, keep_s)
        if due or place.measures.is_behind:
            await place.measures.sweep(SWEEP_S)
