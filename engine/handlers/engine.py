"""The engine itself: status, budgets, databases, what went wrong and why."""

from __future__ import annotations

import asyncio
from typing import Any

from .. import actions, upkeep, views
from ..actions import Action
from ..dispatch import Context
from ..environment import Place
from ..events import HANDED_OVER
from ..model import Environment
from .services import Part


class EngineHandlers(Part):
    """The engine itself: status, budgets, databases, what went wrong and why."""

    # --- engine -----------------------------------------------------------------------------

    async def status(self, _: Context, __: Action) -> views.Overview:
        return self._services.overview()

    async def memory_plan(self, _: Context, __: Action) -> views.Overview:
        return self._services.overview()

    async def stop(self, context: Context, action: actions.Stop) -> views.Done:
        swarms = self._services.swarms
        if action.keep:
            return self._hand_over()
        ending = [
            swarms.terminate(
                swarm.id, force=action.force, actor=context.principal.id, reason="engine stopped"
            )
            for swarm in swarms.list()
        ]
        context.progress(0.0, f"ending {len(ending)} swarms")
        await asyncio.gather(*ending)
        self._services.request_stop("stopped by the operator")
        return views.Done(detail="stopping")

    def _hand_over(self) -> views.Done:
        kept = self._services.swarms.keep_running()
        grace_s = self._services.settings.agents.orphan_grace_s
        self._services.request_stop(HANDED_OVER)
        detail = f"stopping; agents left running: {kept}, for {grace_s:g} s without an engine"
        return views.Done(changed=kept, detail=detail)

    async def reload(self, context: Context, _: Action) -> list[views.SettingChangeView]:
        return await self._services.reload(context.principal.id)

    async def demo(self, context: Context, action: actions.Demo) -> views.DemoView:
        from ..demo import run_demo  # noqa: PLC0415 - most commands never need it

        return await run_demo(self._services, action, context.progress)

    async def doctor(self, _: Context, __: Action) -> list[views.CheckView]:
        from ..doctor import examine  # noqa: PLC0415 - few ask for it

        settings = self._services.settings
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, examine, self._services.engine.data, settings)
        return found + [
            views.CheckView(
                name=name, status="failed", detail=place.refusal.message, hint=place.refusal.hint
            )
            for name, place in self._services.places.items()
            if place.refusal is not None
        ]

    async def config_show(self, _: Context, __: Action) -> list[views.SettingView]:
        return self._services.settings.shown()

    async def explain(self, context: Context, action: actions.Explain) -> views.ExplanationView:
        from ..explain import explain  # noqa: PLC0415 - most commands never need it

        return await explain(self._services, context.principal, action.subject)

    async def alert_list(self, _: Context, action: actions.AlertList) -> list[views.AlertView]:
        await self._services.alerts.load()
        return list(self._services.alerts.list(action.environment, firing=action.firing))

    async def journal_list(
        self, _: Context, action: actions.JournalList
    ) -> list[views.JournalView]:
        return self._services.journal.list(action.environment, action.contains, action.limit)

    async def logs(self, _: Context, action: actions.Logs) -> list[str]:
        return list(await self._services.swarms.logs(action.agent, action.lines))

    # --- budgets ----------------------------------------------------------------------------

    async def memory_admit(self, _: Context, action: actions.MemoryAdmit) -> views.AdmissionView:
        budgets = self._services.budgets
        return budgets.admit(action.environment, action.base_bytes, action.max_bytes)

    async def memory_budget(
        self, context: Context, action: actions.MemoryBudget
    ) -> views.AdmissionView:
        return await self._services.budgets.change(
            action.environment, action.base_bytes, action.max_bytes, actor=context.principal.id
        )

    # --- databases --------------------------------------------------------------------------

    async def db_stats(self, _: Context, action: actions.DatabaseStats) -> list[views.DatabaseView]:
        return [await upkeep.statistics(place) for place in self._places(action.environment)]

    async def db_check(self, context: Context, action: actions.DatabaseCheck) -> list[Any]:
        found = []
        names = Environment if action.environment is None else (action.environment,)
        chosen = [self._services.places[name] for name in names]
        for number, place in enumerate(chosen):

            def progress(
                part: float, text: str, number: int = number, place: Place = place
            ) -> None:
                context.progress((number + part) / len(chosen), f"{place.environment}: {text}")

            progress(0.0, "checking")
            ring = self._services.vault.ring(place.environment) if action.full else None
            found.append(await upkeep.check(place, full=action.full, ring=ring, progress=progress))
        return found

    async def db_optimize(
        self, context: Context, action: actions.DatabaseOptimize
    ) -> list[views.CheckView]:
        return [await upkeep.optimize(place) for place in self._places(action.environment)]

    async def db_slow(self, _: Context, action: actions.DatabaseSlow) -> list[views.StatementView]:
        return [
            row for place in self._places(action.environment) for row in place.database.slow.views()
        ]

    async def clock_confirm(self, context: Context, _: actions.ClockConfirm) -> views.Done:
        return await self._services.confirm_clock(context.principal)

    async def db_pragmas(
        self, _: Context, action: actions.DatabasePragmas
    ) -> list[views.PragmaView]:
        found = [await upkeep.pragmas(place) for place in self._places(action.environment)]
        return [row for rows in found for row in rows]

    async def db_schema(self, _: Context, action: actions.DatabaseSchema) -> list[str]:
        return await upkeep.schema(self._place(action.environment))
