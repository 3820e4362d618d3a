"""Access entries and the audit trail."""

from __future__ import annotations

from typing import Any

from .. import actions, views
from ..acl import Wanted
from ..authority import reaches
from ..dispatch import Context
from ..errors import InvalidInput
from ..model import (
    OPERATOR,
    Principal,
    Right,
    Role,
    environment_of,
    parse_level,
)
from .services import Part


class AccessHandlers(Part):
    """Access entries and the audit trail."""

    async def acl_grant(self, context: Context, action: actions.AclGrant) -> views.GrantView:
        return await self._add(context, action, "allow")

    async def acl_deny(self, context: Context, action: actions.AclDeny) -> views.GrantView:
        return await self._add(context, action, "deny")

    async def _add(
        self,
        context: Context,
        action: actions.AclGrant | actions.AclDeny,
        effect: Any,  # noqa: ANN401
    ) -> views.GrantView:
        granter = self._actor(context, action.actor)
        place = self._place(action.environment or _home_of_entry(granter, action.subject))
        if action.subject != OPERATOR:
            self._of(action.subject).registry.agent(action.subject)
        wanted = Wanted(
            subject=action.subject,
            effect=effect,
            level=action.level,
            rights=action.actions,
            namespace=action.namespace,
            key_prefix=action.key_prefix,
            expires_s=action.expires_s,
            resource=action.resource,
            hours=action.hours,
            days=action.days,
            zone=action.zone,
        )
        return await place.access.add(granter, wanted)

    async def acl_revoke(self, context: Context, action: actions.AclRevoke) -> views.Done:
        await self._of(action.id).access.revoke(context.principal, action.id)
        return views.Done(detail=f"revoked {action.id}")

    async def acl_list(self, context: Context, action: actions.AclList) -> list[views.GrantView]:
        found = [
            view
            for place in self._places(action.environment)
            for view in place.access.list(action.subject)
        ]
        asker = context.principal
        if asker.is_operator or reaches(asker.role, Role.ADMIN):
            return found
        return [view for view in found if asker.id in {view.subject, view.granted_by}]

    async def acl_explain(self, context: Context, action: actions.AclExplain) -> views.DecisionView:
        principal = self._services.resolve(action.subject)
        place = self._place(action.environment)
        record = await place.memory.peek(action.namespace, action.key)
        if record is not None and not context.principal.is_operator:
            # To an agent a record that it may not read looks like a missing one here too.
            asked = (context.principal, Right.READ, record, action.namespace, action.key)
            record = record if place.access.allows(*asked) else None
        return place.access.explain(
            principal, Right(action.right), record, action.namespace, action.key
        )

    async def acl_check(self, _: Context, action: actions.AclCheck) -> views.DecisionView:
        from ..acl.circles import check  # noqa: PLC0415 - most commands never need it

        principal = self._services.resolve(action.subject)
        place = self._of(action.subject)
        return check(
            place.access,
            principal,
            Right(action.right),
            parse_level(action.level),
            (action.resource, action.namespace),
        )

    async def acl_matrix(self, context: Context, action: actions.AclMatrix) -> views.MatrixView:
        from ..matrix import matrix  # noqa: PLC0415 - most commands never need it

        place = self._place(action.environment)
        return await matrix(place, context.principal, action, self._services.places)

    async def acl_who(self, context: Context, action: actions.AclWho) -> list[views.DecisionView]:
        from ..matrix import who  # noqa: PLC0415 - most commands never need it

        place = self._place(action.environment)
        return await who(place, context.principal, action, self._services.places)

    async def audit_list(self, _: Context, action: actions.AuditList) -> list[views.AuditView]:
        from ..audit import listing  # noqa: PLC0415 - most commands never need it

        end = action.offset + action.limit
        trails = [place.database for place in self._places(action.environment)]
        if action.environment is None:  # what concerns all of them, such as budgets
            trails.append(self._services.coordination)
        wanted = listing.Wanted(
            actor=action.actor, risk=action.risk, denied=action.denied, contains=action.contains
        )
        found = [await listing.rows_of(database, wanted, end) for database in trails]
        rows = sorted((row for rows in found for row in rows), key=lambda row: -row.at_us)
        return rows[action.offset : end]

    async def acl_breakglass(
        self, context: Context, action: actions.AclBreakglass
    ) -> views.GrantView:
        place = self._place(action.environment)
        return await place.access.break_glass(
            context.principal, action.namespace, action.key, action.reason
        )

    async def acl_export(self, context: Context, action: actions.AclExport) -> views.GrantView:
        return await self._place(action.source).access.export(context.principal, action)

    async def audit_verify(self, _: Context, action: actions.AuditVerify) -> list[views.ChainView]:
        return await self._services.auditor.verify(action.environment)

    async def audit_export(self, context: Context, action: actions.AuditExport) -> views.Done:
        return await self._services.auditor.export(
            action.environment, action.file, context.progress
        )


def _home_of_entry(granter: Principal, subject: str) -> str:
    """The environment an entry is about where none is given: that of the agent that makes it, else
    that of its subject. Raises InvalidInput."""
    if not granter.is_operator:
        return granter.environment
    if subject == OPERATOR:
        raise InvalidInput("an entry about the operator needs --environment")
    return environment_of(subject).value
