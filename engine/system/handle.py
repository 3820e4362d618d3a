"""What is asked of a memory system as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import actions, views
from ..model import parse_environment

if TYPE_CHECKING:
    from ..engine import Engine


class System:
    """Statistics, copies, upkeep and benchmarks. All calls act as the operator; the environment
    None stands for each of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def stats(self, environment: str | None = None) -> list[views.MemoryStatsView]:
        """Records, their bytes, and how often reads are found in memory."""
        found: list[views.MemoryStatsView] = await self._engine.run(
            actions.MemoryStats(environment=_place(environment))
        )
        return found

    async def databases(self, environment: str | None = None) -> list[views.DatabaseView]:
        """Size, rows and write-ahead log of each database."""
        found: list[views.DatabaseView] = await self._engine.run(
            actions.DatabaseStats(environment=_place(environment))
        )
        return found

    async def metrics(self, environment: str | None = None) -> list[views.MeasurementView]:
        """What was last measured of everything: rates, latencies, memory. Empty in an engine that
        has measured nothing yet."""
        found: list[views.MeasurementView] = await self._engine.run(
            actions.MetricsList(environment=_place(environment))
        )
        return found

    async def backup(self, environment: str) -> views.BackupView:
        """A verified copy of an environment in `backups/`. Raises Conflict, StorageError;
        InvalidInput for an engine in memory."""
        wanted = actions.BackupCreate(environment=parse_environment(environment).value)
        return await self._engine.ask(wanted, views.BackupView)

    async def optimize(self, environment: str | None = None) -> list[views.CheckView]:
        """Renew statistics, give unused pages back and empty the log, in short steps."""
        found: list[views.CheckView] = await self._engine.run(
            actions.DatabaseOptimize(environment=_place(environment))
        )
        return found

    async def benchmarks(self, names: Sequence[str] = (), **options: Any) -> list[views.BenchView]:  # noqa: ANN401
        """Measure this machine in a process and a directory of their own; fields as `bench run` has
        them. Raises InvalidInput."""
        found: list[views.BenchView] = await self._engine.run(
            actions.BenchRun(names=tuple(names), **options)
        )
        return found


def _place(environment: str | None) -> Any:  # noqa: ANN401 - one of five words, or None
    return None if environment is None else parse_environment(environment).value
