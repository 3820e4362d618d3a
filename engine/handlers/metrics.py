"""What was measured over time."""

from __future__ import annotations

from .. import actions, views
from ..dispatch import Context
from .services import Part


class MetricsHandlers(Part):
    """What was measured over time."""

    async def metrics_list(
        self, _: Context, action: actions.MetricsList
    ) -> list[views.MeasurementView]:
        return list(await self._services.metrics.list(action.environment))

    async def metrics_show(self, _: Context, action: actions.MetricsShow) -> list[views.SeriesView]:
        found = await self._services.metrics.show(action.subject, action.metric, action.window)
        return list(found)
