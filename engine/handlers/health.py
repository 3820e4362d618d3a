"""Probes, recovery and alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import actions, views
from ..dispatch import Context
from .services import Part

if TYPE_CHECKING:
    from ..health.policies import Policies


class HealthHandlers(Part):
    """Probes, recovery and alerts."""

    @property
    def _policies(self) -> Policies:
        from ..health.policies import Policies  # noqa: PLC0415 - most commands never need it

        return Policies(self._services.health)

    async def health_list(self, _: Context, action: actions.HealthList) -> list[views.FindingView]:
        return await self._policies.findings(action.environment)

    async def health_check(
        self, _: Context, action: actions.HealthCheck
    ) -> list[views.FindingView]:
        return await self._policies.check(action.subject)

    async def recovery_list(
        self, _: Context, action: actions.RecoveryList
    ) -> list[views.RecoveryView]:
        return list(await self._policies.list(action.environment))

    async def recovery_set(
        self, context: Context, action: actions.RecoverySet
    ) -> views.RecoveryView:
        return await self._policies.set(
            action.subject,
            action.policy,
            standby=action.standby,
            address=action.address,
            actor=context.principal.id,
        )

    async def recovery_reset(
        self, context: Context, action: actions.RecoveryReset
    ) -> views.RecoveryView:
        return await self._policies.reset(action.subject, context.principal.id)

    async def alert_ack(self, context: Context, action: actions.AlertAck) -> views.AlertView:
        return await self._services.watch.acknowledge(action.id, context.principal.id)
