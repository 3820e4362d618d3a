"""What was measured, for whoever asks; and once a second, whether it is time to measure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..errors import InvalidInput, NotFound, SwarmDeckError
from ..model import printable
from ..parameters import suggestion
from ..store.aside import Aside
from ..views import MeasurementView, SeriesView
from . import table
from .collector import Collector, Measured
from .readings import KINDS, kind_of, place_of
from .recent import Recent
from .sensors import LinuxSensors, Sensors
from .series import Row, Span, Weave, alike, kept_step, latest, span_of
from .windows import HOUR_S, WINDOWS

SHORTEST_WINDOW: Final = "1h"

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What somebody wants to see; no metrics are all of them."""

    subject: str
    metrics: tuple[str, ...]
    window: str


class Metrics:
    """The measurements of one engine. All methods belong to its loop."""

    def __init__(self, engine: Measured, sensors: Sensors | None = None) -> None:
        self._engine = engine
        self._recent = Recent()
        self._collector = Collector(
            engine, self._recent, sensors or LinuxSensors(engine.host.probe)
        )
        self._aside = Aside(engine.coordination)
        self._loading: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None

    # --- measuring --------------------------------------------------------------------------

    def tick(self, loop_lag_ms: float) -> None:
        """Once a second, in an engine that stays: look, and when a step is over measure it in a
        task of its own. What takes longer than a step leaves the next one out."""
        if not self._engine.settings.metrics.enabled:
            return
        self._collector.seconds.note(self._engine.host.latest.cpu_percent, loop_lag_ms)
        if self._measuring is None and self._collector.due():
            self._measuring = asyncio.create_task(self._measure(), name="measure")
            self._measuring.add_done_callback(self._measured)

    async def _measure(self) -> None:
        try:
            await self._loaded()
        except SwarmDeckError as error:
            self._collector.refused(error)
        else:
            await self._collector.step()

    def _measured(self, task: asyncio.Task[None]) -> None:
        self._measuring = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("measuring failed", exc_info=error)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [task for task in (self._measuring, self._loading) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _loaded(self) -> None:
        """Have the last hour in memory. Raises StorageError."""
        if self._loading is None or _failed(self._loading):
            self._loading = asyncio.create_task(self._load(), name="load what was measured")
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        now_s = self._now_s
        wanted = alike(self._collector.step_s)
        found = await self._aside.read(table.lately(wanted, HOUR_S, now_s))
        self._recent.since_s = now_s - HOUR_S if not found else found[0][1].at_s
        for subject, row in found:
            self._recent.add(subject, row)

    # --- showing ----------------------------------------------------------------------------

    async def list(self, environment: str | None = None) -> Sequence[MeasurementView]:
        """What was last measured of everything that was measured within the last hour, or for an
        engine that measures nothing within the last hour before it. Raises StorageError."""
        await self._loaded()
        shown = [
            _measurement(subject, row)
            for subject, row in self._recent.newest().items()
            if environment in {None, place_of(subject)}
        ]
        return sorted(shown, key=lambda each: (KINDS.index(each.kind), -each.at_us))

    async def show(
        self, subject: str, metrics: Sequence[str] = (), window: str = SHORTEST_WINDOW
    ) -> Sequence[SeriesView]:
        """Series of a subject over a window, of the metrics named or all. Raises NotFound for a
        subject that was never measured, InvalidInput for a metric that it has none of,
        StorageError."""
        await self._loaded()
        wanted = Wanted(subject, tuple(metrics), window)
        kept_s = kept_step(WINDOWS[window], self._collector.step_s)
        recent = list(self._recent.rows(subject))
        newest_s = recent[-1].at_s if recent else None
        span = span_of(WINDOWS[window], kept_s, self._now_s, newest_s)
        own = kept_s in alike(self._collector.step_s)
        until_s = max(span.first_s, self._recent.since_s) if own else span.end_s
        if recent and until_s <= span.first_s:
            return _woven(wanted, span, table.Found([], []), recent)
        query = table.of_subject(subject, alike(kept_s), span.first_s, until_s)
        # Thousands of readings are put together where they are read: not on the loop.
        return await self._aside.read(
            lambda reader: _woven(wanted, span, query(reader), recent),
            rows=max(0, until_s - span.first_s) // kept_s,
        )

    @property
    def _now_s(self) -> int:
        return self._engine.clock.wall_us() // 1_000_000


def _measurement(subject: str, row: Row) -> MeasurementView:
    return MeasurementView(
        subject=subject,
        kind=kind_of(subject),
        environment=place_of(subject),
        at_us=row.at_s * 1_000_000,
        step_s=row.step_s,
        readings=latest(row),
    )


def _woven(
    wanted: Wanted, span: Span, stored: table.Found, recent: Sequence[Row]
) -> Sequence[SeriesView]:
    """Series of what is in the file and in memory. Raises NotFound, InvalidInput."""
    names = list(dict.fromkeys((*(recent[-1].names if recent else ()), *stored.names)))
    if not names:
        raise NotFound(
            f"nothing was ever measured of {printable(wanted.subject)}",
            hint="swarmdeck metrics list",
        )
    _check_metrics(wanted.subject, wanted.metrics, names)
    chosen = frozenset(wanted.metrics) or None
    weave = Weave(span)
    weave.add(stored.rows, chosen)
    weave.add(_after(recent, stored.rows), chosen)
    return weave.series(wanted.subject, wanted.window, wanted.metrics or names)


def _after(recent: Sequence[Row], stored: Sequence[Row]) -> list[Row]:
    """The rows in memory that are not part of one from the file."""
    end_s = max((row.at_s + row.step_s for row in stored), default=0)
    return [row for row in recent if row.at_s >= end_s]


def _check_metrics(subject: str, metrics: Sequence[str], names: Sequence[str]) -> None:
    for metric in metrics:
        if metric not in names:
            raise InvalidInput(
                f"{printable(subject)} has no metric {printable(metric)}",
                hint=suggestion(metric, names, f"one of {', '.join(names)}"),
            )


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
