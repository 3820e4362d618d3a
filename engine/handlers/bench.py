"""Benchmarks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .. import actions, views
from ..bench import launch
from ..bench.names import chosen
from ..dispatch import Context
from .services import Part


class BenchHandlers(Part):
    """Benchmarks."""

    async def bench_run(self, context: Context, action: actions.BenchRun) -> list[views.BenchView]:
        from ..bench import report  # noqa: PLC0415 - only for these

        chosen(action.names)
        folder = self._folder(None)
        sampled = partial(self._services.sampled, context.operation)
        found = await launch.measure(action, views.BenchView, context.progress, sampled)
        kept = self._services.measured(found)
        if folder is not None:
            report.keep(folder, kept)
        return kept

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

        folder = self._folder(action.report)
        found = await launch.measure(action, views.ComparisonView, context.progress)
        if folder is not None:
            report.write(folder, action, found)
        return found

    def _folder(self, wanted: str | None) -> Path | None:
        """Where a report goes, tried before hours of measuring. Raises InvalidInput."""
        from ..bench import report  # noqa: PLC0415 - only for these

        place = wanted or self._services.settings.bench.output_dir
        return None if place is None else report.prepare(str(Path(place).expanduser()))

    async def bench_show(self, _: Context, action: actions.BenchShow) -> list[views.BenchView]:
        return self._services.benchmarks_beside(action.against)

    async def bench_baseline(self, _: Context, action: actions.BenchBaseline) -> views.Done:
        return self._services.keep_baseline(action.name, remove=action.remove)
