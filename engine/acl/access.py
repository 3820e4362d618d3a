"""The grants, denials, export rules and broken glass of one environment: made, revoked, shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ..clock import Clock
from ..errors import Conflict, Denied, InvalidInput, NotFound
from ..model import (
    OPERATOR,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
    check_key,
    check_name,
    printable,
)
from ..store.database import Database, Transaction
from ..views import GrantView
from . import grants
from .decisions import Decisions, People
from .grants import Grant, Wanted

if TYPE_CHECKING:
    from ..actions import AclExport

_SELECT_STANDING: Final = """
SELECT level, owner FROM memory
WHERE env = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)"""
_VERBS: Final = {"allow": "grant", "deny": "deny"}


class Access(Decisions):
    """Decisions over the records of one environment, and the entries they depend on, which are
    changed on the loop: in memory once the change is committed. Nothing is remembered for a time,
    so a revoked grant is gone when `revoke` returns.

    `told(entry, owner)` is called when the glass over a private record was broken.
    """

    def __init__(
        self,
        environment: Environment,
        isolation: Mapping[str, Isolation],
        database: Database,
        clock: Clock,
        *,
        people: People | None = None,
        operator: Role = Role.SYSTEM,
        told: Callable[[GrantView, str], object] = lambda _, __: None,
    ) -> None:
        super().__init__(environment, isolation, clock, people=people, operator=operator)
        self._database = database
        self._told = told

    async def open(self) -> None:
        for entry in await self._database.read(grants.load(self._now_us())):
            self._put(entry)

    # --- changing ---------------------------------------------------------------------------

    async def add(self, granter: Principal, wanted: Wanted) -> GrantView:
        """Put a grant or denial in force. Raises InvalidInput or Denied."""
        if granter.id != OPERATOR and granter.environment != self.environment:
            raise Denied(
                f"{granter.id} grants nothing in {self.environment}",
                hint="agents grant in their own environment",
            )
        entry = grants.entry(wanted, granter, self._new_id(), self._now_us())
        if granter.id != OPERATOR:
            self._require_room(granter.id)
        return await self._store(granter, entry, f"acl.{_VERBS[entry.effect]}")

    def _require_room(self, granter: str) -> None:
        """Every decision about a subject looks at its entries: no agent piles them up."""
        made = sum(entry.granted_by == granter for entry in self.entries())
        if made >= grants.MAX_OF_AGENT:
            raise Conflict(
                f"{made} entries by {granter} are in force",
                hint="revoke some, let them end, or name a prefix that covers more",
            )

    async def export(self, principal: Principal, action: AclExport) -> GrantView:
        """Let the agents of another environment read what is public under a prefix. Raises
        Denied, InvalidInput where there is nothing to open or nobody it may be opened to."""
        self._require_system(principal, "export rules")
        self._check_export(action.target)
        now_us = self._now_us()
        entry = Grant(
            id=self._new_id(),
            subject=action.target,
            effect="allow",
            resource="memory",
            level=Level.PUBLIC,
            rights=frozenset({Right.READ}),
            namespace=check_name(action.namespace, "namespace"),
            key_prefix=grants.prefix(action.key_prefix),
            granted_by=principal.id,
            created_us=now_us,
            expires_us=now_us + grants.lifetime_us(action.expires_s),
            kind=grants.EXPORT,
            name=check_name(action.name),
        )
        return await self._store(principal, entry, "acl.export")

    async def break_glass(
        self, principal: Principal, namespace: str, key: str, reason: str
    ) -> GrantView:
        """Let the operator read one private record for 15 minutes. The audit row with the reason
        is committed before that counts; then the owner is told. Raises Denied, NotFound,
        InvalidInput for a record that is not private or a reason that is none."""
        self._require_system(principal, "break-glass")
        said = grants.reason_given(reason)
        check_name(namespace, "namespace")
        check_key(key)

        def change(tx: Transaction) -> Grant:
            owner, now_us = _private_owner(tx, namespace, key), self._now_us()
            entry = Grant(
                id=ident,
                subject=principal.id,
                effect="allow",
                resource="memory",
                level=Level.PRIVATE,
                rights=frozenset({Right.READ}),
                namespace=namespace,
                key_prefix=key,
                granted_by=principal.id,
                created_us=now_us,
                expires_us=now_us + grants.BREAK_GLASS_S * 1_000_000,
                kind=grants.BREAK_GLASS,
                name=owner,
                reason=said,
            )
            grants.insert(tx, entry)
            tx.audit(principal.id, "acl.breakglass", ident, detail=grants.describe(entry))
            return entry

        ident = self._new_id()
        entry = await self._database.write(change, topic="access", then=self._put)
        shown = self.view(entry)
        self._told(shown, entry.name)
        return shown

    async def revoke(self, actor: Principal, ident: str) -> None:
        """Take an entry out of force; when this returns it no longer counts. An agent revokes
        what it has made itself. Raises NotFound, Denied."""
        grant = next((g for g in self.entries() if g.id == ident), None)
        is_mine = grant is not None and actor.id in {OPERATOR, grant.granted_by}
        if grant is None or (not is_mine and actor.id != grant.subject):
            raise NotFound(f"no grant {printable(ident)}", hint="see swarmdeck acl list")
        if not is_mine:
            raise Denied(
                f"{ident} was made by {grant.granted_by}",
                hint="who has made it, or the operator, revokes it",
            )

        def change(tx: Transaction) -> Grant:
            grants.delete(tx, ident)
            tx.audit(actor.id, "acl.revoke", ident, detail=grants.describe(grant))
            return grant

        await self._database.write(change, topic="access", then=self._drop)

    async def forget_expired(self) -> None:
        """Delete the entries that have ended, so that a clock set back cannot revive them."""
        now_us = self._now_us()
        await self._database.write(lambda tx: grants.delete_expired(tx, now_us), topic="access")
        for subject in tuple(self._grants):
            kept = tuple(g for g in self._grants[subject] if g.expires_us > now_us)
            self._grants[subject] = kept
            if not kept:
                del self._grants[subject]
        self._changes += 1

    async def _store(self, actor: Principal, entry: Grant, what: str) -> GrantView:
        def change(tx: Transaction) -> Grant:
            grants.insert(tx, entry)
            tx.audit(actor.id, what, entry.id, detail=grants.describe(entry))
            return entry

        await self._database.write(change, topic="access", then=self._put)
        return self.view(entry)

    def _require_system(self, principal: Principal, what: str) -> None:
        if principal.id == OPERATOR and self.operator is Role.SYSTEM:
            return
        role = self.operator if principal.id == OPERATOR else principal.role
        raise Denied(
            f"{what} in {self.environment} need the role system; {principal.id} is {role}",
            hint="the settings [operator] give the operator a role in each environment",
        )

    def _check_export(self, target: str) -> None:
        if self.environment is Environment.PRODUCTION:
            raise InvalidInput("production exports nothing", hint="copy it by a message")
        if not self._is_strict:
            raise InvalidInput(
                f"{self.environment} is not strict",
                hint="its public records can be read from environments that are not strict",
            )
        if target not in self._targets:
            raise InvalidInput(
                f"{target} is strict and reads nothing of others", hint="see swarmdeck status"
            )

    def _new_id(self) -> str:
        return f"{self.environment.prefix}_grant_{self._clock.token(8)}"

    def _put(self, grant: Grant) -> None:
        now_us = self._now_us()
        kept = (g for g in self._grants.get(grant.subject, ()) if g.expires_us > now_us)
        self._grants[grant.subject] = (*kept, grant)
        self._changes += 1

    def _drop(self, grant: Grant) -> None:
        rest = tuple(g for g in self._grants.get(grant.subject, ()) if g.id != grant.id)
        if rest:
            self._grants[grant.subject] = rest
        else:
            self._grants.pop(grant.subject, None)
        self._changes += 1

    # --- showing ----------------------------------------------------------------------------

    def list(self, subject: str | None = None) -> list[GrantView]:
        """Entries in force, oldest first."""
        found = (self.view(g) for g in self.entries() if subject in (None, g.subject))
        return sorted(found, key=lambda view: view.created_at_us)

    def breaking(self) -> tuple[GrantView, ...]:
        """The break-glass entries in force, oldest first."""
        if OPERATOR not in self._grants:
            return ()
        return tuple(one for one in self.list(OPERATOR) if one.kind == grants.BREAK_GLASS)

    def view(self, grant: Grant) -> GrantView:
        return grants.view(grant, self.environment)


def _private_owner(tx: Transaction, namespace: str, key: str) -> str:
    """Who owns a private record, read in the transaction that breaks the glass over it."""
    row = tx.execute(_SELECT_STANDING, (tx.env, namespace, key, tx.now_us)).fetchone()
    if row is None:
        raise NotFound(f"no key {printable(key)}", hint="see swarmdeck acl matrix")
    if row[0] != Level.PRIVATE or row[1] == OPERATOR:
        raise InvalidInput(
            f"{printable(key)} is not a private record of somebody else",
            hint="swarmdeck acl explain says who may read it",
        )
    return str(row[1])
