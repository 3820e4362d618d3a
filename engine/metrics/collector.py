"""When something is measured, and what of.

Steps of time lie on a grid, whatever the engine began at: a step is measured when it is over. One
that is missed, while the engine was away, the host asleep or its clock not believed, is a gap.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

from ..clock import Clock
from ..environment import Place
from ..errors import SwarmDeckError
from ..hostmem import HostMemory
from ..settings import Settings
from ..store.database import Database, Transaction
from ..swarms.service import Swarms
from ..timewatch import TimeWatch
from ..views import Overview
from . import table, thinning
from .rates import Rates
from .readings import Readings, Sight, Totals, readings
from .recent import Recent
from .sensors import Senses, Sensors
from .series import Row, encoded

PIECES: Final = 4  # of thinning after each measurement: more than one brings about

log = logging.getLogger(__name__)


class Measured(Protocol):
    """What is measured: an engine."""

    clock: Clock
    time: TimeWatch
    settings: Settings
    coordination: Database
    host: HostMemory
    swarms: Swarms

    @property
    def places(self) -> Mapping[str, Place]: ...
    def overview(self) -> Overview: ...


class Seconds:
    """What is looked at every second and measured over a step: the mean of one, the most of the
    other."""

    def __init__(self) -> None:
        self._cpu: list[float] = []
        self._lag_ms: list[float] = []

    def note(self, cpu_percent: float, loop_lag_ms: float) -> None:
        self._cpu.append(cpu_percent)
        self._lag_ms.append(loop_lag_ms)

    def take(self) -> tuple[float | None, float | None]:
        cpu, lag_ms = self._cpu, self._lag_ms
        self._cpu, self._lag_ms = [], []
        return round(sum(cpu) / len(cpu), 1) if cpu else None, max(lag_ms, default=None)


class Collector:
    """Measures, and keeps what was measured. Belongs to the engine's loop."""

    def __init__(self, engine: Measured, recent: Recent, sensors: Sensors) -> None:
        self.seconds = Seconds()
        self._engine = engine
        self._recent = recent
        self._sensors = sensors
        self._rates = Rates()
        self._read_s: float | None = None
        self._end_s: int | None = None  # of the step that was due last
        self._fresh = True  # nothing is known of before, or it is not so any more
        self._ids: dict[tuple[str, table.Names], int] = {}
        self._names: dict[table.Names, table.Names] = {}
        self._progress = thinning.Progress()
        self._trouble = ""

    @property
    def step_s(self) -> int:
        """How long a step is."""
        return max(1, round(self._engine.settings.metrics.interval_s))

    def due(self) -> bool:
        """Whether a step is over that was not asked for before, or this is the first time."""
        end_s = self._now_s // self.step_s * self.step_s
        if end_s == self._end_s:
            return False
        self._fresh = self._fresh or (self._end_s is not None and end_s < self._end_s)
        self._end_s = end_s
        return True

    @property
    def _now_s(self) -> int:
        return self._engine.clock.wall_us() // 1_000_000

    async def step(self) -> None:
        """Measure the step that is over. Nothing is kept of the first time, which rates are
        reckoned from, and while the host's clock is not believed. A disk that refuses leaves a
        gap too, and is said once."""
        step_s = self.step_s
        at_s = (self._end_s or 0) - step_s
        found = readings(await self._sight(), self._rates)
        try:
            if self._fresh:
                await self._begin()
            elif not self._engine.time.is_held:
                await self._keep(step_s, at_s, found)
            await self._thin(at_s + step_s)
            self._trouble = ""
        except SwarmDeckError as error:
            self.refused(error)

    def refused(self, error: SwarmDeckError) -> None:
        """Say why nothing is kept, once for as long as that lasts."""
        if self._trouble != error.message:
            log.warning("what was measured is not kept: %s", error.message)
        self._trouble = error.message

    # --- measuring --------------------------------------------------------------------------

    async def _sight(self) -> Sight:
        engine = self._engine
        files = {name: place.database.path for name, place in engine.places.items()}
        files["coordination"] = engine.coordination.path

        def look(pids: Mapping[str, int]) -> tuple[dict[str, int], Senses]:
            return dict(pids), self._sensors.read(list(pids.values()), files)

        pids, senses = await engine.swarms.read(look)
        now_s = engine.clock.monotonic_s()
        self._rates.begin(None if self._read_s is None else now_s - self._read_s)
        self._read_s = now_s
        cpu_percent, loop_lag_ms = self.seconds.take()
        return Sight(
            overview=engine.overview(), totals=self._totals(), senses=senses, pids=pids,
            cpu_percent=cpu_percent, loop_lag_ms=loop_lag_ms,
        )  # fmt: skip

    def _totals(self) -> dict[str, Totals]:
        """Of the files that are in use."""
        engine = self._engine
        found = {
            name: _totals_of(place)
            for name, place in engine.places.items()
            if place.refusal is None
        }
        stats = engine.coordination.stats
        return found | {
            "coordination": Totals(
                batches=stats.batches,
                operations=stats.operations,
                commit_ms_p99=engine.coordination.commits.take(),
                wal_bytes=engine.coordination.wal_bytes,
            )
        }

    # --- keeping ----------------------------------------------------------------------------

    async def _keep(self, step_s: int, at_s: int, found: Mapping[str, Readings]) -> None:
        """Write a step, and remember it once it is in the file."""
        rows = {}
        for subject, each in found.items():
            # The same few tuples for all rows: an hour of them stays in memory.
            names = self._names.setdefault(tuple(each), tuple(each))
            rows[subject] = Row(at_s, step_s, names, encoded(list(each.values())))
        taken = [table.Taken(name, row.names, row.readings) for name, row in rows.items()]
        known = self._ids

        def change(tx: Transaction) -> dict[tuple[str, table.Names], int]:
            return table.write(tx, step_s, at_s, taken, known)

        self._ids = await self._engine.coordination.write(change)
        for subject, row in rows.items():
            self._recent.add(subject, row)
        self._recent.trim(at_s + step_s)

    async def _begin(self) -> None:
        """Begin, or begin anew because the clock was set back and is believed."""
        now_s = self._now_s
        self._progress = await self._engine.coordination.write(
            lambda tx: thinning.went_back(tx, now_s)
        )
        self._recent.went_back(now_s)
        self._fresh = False

    async def _thin(self, until_s: int) -> None:
        """Do some of what is due of thinning; nothing while the clock is not believed."""
        if self._engine.time.is_held:
            return
        retention_s = int(self._engine.settings.metrics.retention_days * 86_400)
        now_s = self._now_s
        for _ in range(PIECES):
            progress = self._progress

            def change(
                tx: Transaction, progress: thinning.Progress = progress
            ) -> thinning.Progress:
                return thinning.piece(tx, progress, until_s, now_s, retention_s)

            self._progress = await self._engine.coordination.write(change)
            if not self._progress.busy:
                return


def _totals_of(place: Place) -> Totals:
    stats, counters, memory = place.database.stats, place.queue.counters, place.memory
    return Totals(
        sent=counters.sent,
        claimed=counters.claimed,
        acked=counters.acked,
        denied=place.access.denied_calls,
        reads=memory.reads.total,
        loads=memory.cache.loads,
        batches=stats.batches,
        operations=stats.operations,
        commit_ms_p99=place.database.commits.take(),
        wal_bytes=place.database.wal_bytes,
    )
