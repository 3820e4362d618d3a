"""What users measure."""

from __future__ import annotations

from typing import Any, Final

from .. import actions, views
from ..dispatch import Context
from ..measures.asking import Asked, Wish
from ..measures.service import Wanted, spoken_labels
from .paging import page_of
from .services import Part


class MeasureHandlers(Part):
    """What users measure."""

    async def metric_record(
        self, context: Context, action: actions.MetricRecord
    ) -> views.MeasureView:
        actor = self._actor(context, action.actor)
        measures = self._place(action.environment).measures
        wanted = Wanted(
            name=action.name, value=action.value, labels=spoken_labels(action.labels),
            kind=action.kind, unit=action.unit, level=action.level, keep_days=action.keep_days,
        )  # fmt: skip
        [number] = await measures.record(actor, [wanted])
        return await measures.show(actor, number)

    async def metric_query(
        self, context: Context, action: actions.MetricQuery
    ) -> views.MeasuredView:
        actor = self._actor(context, action.actor)
        asked = Asked(action.aggregate, action.since_s, action.step_s)
        wanted = Wish(action.name, action.publisher, spoken_labels(action.labels))
        return await self._place(action.environment).measures.query(actor, wanted, asked)

    async def metric_series(
        self, context: Context, action: actions.MetricSeries
    ) -> list[views.MeasureView]:
        actor = self._actor(context, action.actor)
        wanted = Wish(
            action.name, action.publisher, spoken_labels(action.labels), action.contains,
            action.order, action.descending,
        )  # fmt: skip
        return await page_of(
            [place.measures for place in self._places(action.environment)],
            lambda kept, offset, limit: kept.series(actor, wanted, offset=offset, limit=limit),
            action,
            _KEYS[action.order],
            reverse=action.descending,
        )

    async def metric_delete(self, context: Context, action: actions.MetricDelete) -> views.Done:
        actor = self._actor(context, action.actor)
        wanted = Wish(action.name, action.publisher, spoken_labels(action.labels))
        measures = self._place(action.environment).measures
        gone = await measures.delete(actor, wanted, context.progress)
        return views.Done(changed=gone, detail=f"deleted {gone:,} series of {action.name}")


_KEYS: Final[dict[str, Any]] = {
    "name": lambda each: (each.name, each.environment, each.source),
    "newest": lambda each: (-each.updated_at_us, each.environment),
}
