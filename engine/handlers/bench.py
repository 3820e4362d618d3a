"""Benchmarks."""

from __future__ import annotations

from functools import partial

from .. import actions, views
from ..bench import launch
from ..bench.names import chosen
from ..dispatch import Context
from .services import Part


class BenchHandlers(Part):
    """Benchmarks."""

    async def bench_run(self, context: Context, action: actions.BenchRun) -> list[views.BenchView]:
        chosen(action.names)
        sampled = partial(self._services.sampled, context.operation)
        found = await launch.measure(action, views.BenchView, context.progress, sampled)
        return self._services.measured(found)

    async def bench_compare(
        self, context: Context, action: actions.BenchCompare
    ) -> list[views.ComparisonView]:
        return await launch.measure(action, views.ComparisonView, context.progress)

    async def bench_show(self, _: Context, action: actions.BenchShow) -> list[views.BenchView]:
        return self._services.benchmarks_beside(action.against)

    async def bench_baseline(self, _: Context, action: actions.BenchBaseline) -> views.Done:
        return self._services.keep_baseline(action.name, remove=action.remove)
