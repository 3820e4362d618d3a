"""Metrics of one's own, for those who write Python: `engine.measures("development", as_=agent)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import actions, views
from ..acting import Acting, Asked
from ..model import OPERATOR
from ..port import Port

MeasureViews = list[views.MeasureView]


class Measures(Acting):
    """Numbers under names and labels of one environment, as one actor records and sees them."""

    def __init__(self, engine: Asked, port: Port, environment: str, actor: str | None) -> None:
        super().__init__(engine, environment, actor)
        self._port = port

    async def record(
        self,
        name: str,
        value: float = 1.0,
        *,
        kind: str | None = None,
        unit: str = "",
        labels: Mapping[str, str] | None = None,
        level: str | int | None = None,
        keep_days: float | None = None,
    ) -> None:
        """Record a value. The first one of a name and labels makes a series of that `kind`
        (counter, gauge, histogram, timer; None: a gauge), `unit`, `level` (None: the swarm, of the
        operator all) and for `keep_days` (None: 30). A counter adds up. Raises InvalidInput,
        Conflict for a series of another kind or unit, Busy for one too many."""
        item = [name, value, dict(labels or {}), kind, unit, level, keep_days]
        await self._record([item])

    async def record_many(self, values: Iterable[Mapping[str, Any]]) -> None:
        """Up to 1,000 values, all or none: each with a `name`, a `value` and any other field of
        `record`."""
        await self._record([
            [
                each["name"], each.get("value", 1.0), dict(each.get("labels") or {}),
                each.get("kind"), each.get("unit", ""), each.get("level"), each.get("keep_days"),
            ]
            for each in values
        ])  # fmt: skip

    async def _record(self, items: list[list[Any]]) -> None:
        actor = OPERATOR if self._actor is None else self._actor
        await self._port.call("metric.record", actor, self._environment, items)

    async def count(self, name: str, by: float = 1.0, **labels: str) -> None:
        """Add to a counter: `count("tasks", queue="digest")`. Raises as `record`."""
        await self.record(name, by, kind="counter", labels=labels)

    async def query(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        source: str | None = None,
        aggregate: str | None = None,
        since_s: int = 3_600,
        step_s: int | None = None,
    ) -> views.MeasuredView:
        """What all series of a name with these labels came to since `since_s` seconds ago, put
        together: the whole, and the `aggregate` (sum, avg, min, max, count, last, p50, p95, p99) of
        each step. Raises NotFound, Conflict for series of several kinds, InvalidInput."""
        found: views.MeasuredView = await self._ask(
            actions.MetricQuery, name=name, labels=_words(labels), publisher=source,
            aggregate=aggregate, since_s=since_s, step_s=step_s,
        )  # fmt: skip
        return found

    async def series(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        source: str | None = None,
        contains: str = "",
        offset: int = 0,
        limit: int = 200,
    ) -> MeasureViews:
        """Series that match all that is given, by name."""
        found: MeasureViews = await self._ask(
            actions.MetricSeries, name=name, labels=_words(labels), publisher=source,
            contains=contains, offset=offset, limit=limit,
        )  # fmt: skip
        return found

    async def delete(
        self, name: str, *, labels: Mapping[str, str] | None = None, source: str | None = None
    ) -> int:
        """Delete series with all that was recorded, of what the actor may delete; how many. Raises
        NotFound."""
        found: views.Done = await self._ask(
            actions.MetricDelete, name=name, labels=_words(labels), publisher=source
        )
        return found.changed


def _words(labels: Mapping[str, str] | None) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in (labels or {}).items())
