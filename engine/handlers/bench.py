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
        return await self._compared(context, action)

    async def bench_bars(
        self, context: Context, action: actions.BenchBars
    ) -> list[views.ComparisonView]:
        return await self._compared(context, action)

    async def _compared(
        self, context: Context, action: actions.BenchCompare | actions.BenchBars
    ) -> list[views.ComparisonView]:
        """Measured, and written down where that is asked for: the place is tried before."""
        from ..bench import report  # noqa: PLC0415 - only for these

        folder = None if action.report is None else report.prepare(action.report)
        found = await launch.measure(action, views.ComparisonView, context.progress)
        if folder is not None:
            report.write(folder, action, found)
        return found

    async def bench_show(self, _: Context, action: actions.BenchShow) -> list[views.BenchView]:
        return self._services.benchmarks_beside(action.against)

    async def bench_baseline(self, _: Context, action: actions.BenchBaseline) -> views.Done:
        return self._services.keep_baseline(action.name, remove=action.remove)
