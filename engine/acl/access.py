"""Decisions over the records of one environment, and the entries they depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from ..clock import Clock
from ..errors import Conflict, Denied, InvalidInput, NotFound
from ..model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
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
from ..views import DecisionView, GrantView
from . import grants, words
from .conditions import next_minute
from .grants import Grant, Record, Standing, Wanted
from .table import TABLE, Explicit, Gate, Relation, Verdict, gate

if TYPE_CHECKING:
    from ..actions import AclExport

_ALLOWS, _DENIES, _BREAKS = 1, 2, 4
_SAID: Final = (
    Explicit.NONE, Explicit.ALLOW, Explicit.DENY, Explicit.BOTH,
    Explicit.GLASS, Explicit.ALLOW, Explicit.DENY, Explicit.BOTH,
)  # fmt: skip
_SELECT_STANDING: Final = """
SELECT level, owner FROM memory
WHERE env = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)"""
_VERBS: Final = {"allow": "grant", "deny": "deny"}


class People(Protocol):
    """Who is registered in the environment: read from any thread, replaced whole."""

    @property
    def principals(self) -> Mapping[str, Principal]: ...

    @property
    def epoch(self) -> int:
        """Grows when anyone's teams, swarm or role change."""
        ...


class _Nobody:
    principals: Mapping[str, Principal] = MappingProxyType({})
    epoch = 0


class Access:
    """Decisions over the records of one environment.

    Entries are replaced a whole subject at a time, so that the writer's thread may read them
    while the loop changes them. `epoch` grows with every change; nothing is remembered for a
    time, so a revoked grant is gone when `revoke` returns.

    `people` are the agents registered here, `operator` is the operator's role here, and
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
        self.environment = environment
        self.operator = operator
        self.denied_calls = 0
        self._people = _Nobody() if people is None else people
        self._database = database
        self._clock = clock
        self._told = told
        self._changes = 0
        self._latest_us = 0
        self._grants: dict[str, tuple[Grant, ...]] = {}
        self._gates: dict[str, Gate] = {
            str(other): gate(isolation[other], isolation[environment], same=other == environment)
            for other in Environment
        }
        self._gates[""] = Gate.ALL  # the operator acts in each environment from within
        self._targets = frozenset(
            str(other) for other in Environment if isolation[other] is not Isolation.STRICT
        )
        self._is_strict = isolation[environment] is Isolation.STRICT

    async def open(self) -> None:
        for entry in await self._database.read(grants.load(self._now_us())):
            self._put(entry)

    @property
    def epoch(self) -> int:
        """Grows with everything but records and time that a decision depends on."""
        return self._changes + self._people.epoch

    # --- deciding ---------------------------------------------------------------------------

    def verdict(
        self,
        principal: Principal,
        right: Right,
        record: Record,
        namespace: str,
        key: str,
    ) -> Verdict:
        """Whether `principal` has `right` on a record (anything with level, owner, team and
        swarm) stored under a key of this environment."""
        home = principal.environment
        passage = self._gates[home]
        relation, role = Relation.NONE, principal.role
        if passage is Gate.ALL:
            relation = _relation(principal, record)
            if not home:
                role = self.operator
        elif passage is Gate.NOTHING and (rules := self._grants.get(home)):
            passage = self._exported(rules, home, namespace, key)
        explicit = Explicit.NONE
        if entries := self._grants.get(principal.id):
            explicit = self._explicit(entries, right, record, namespace, key)
        return TABLE[passage, relation, role, record.level, right, explicit]

    def allows(
        self,
        principal: Principal,
        right: Right,
        record: Record,
        namespace: str,
        key: str,
    ) -> bool:
        return self.verdict(principal, right, record, namespace, key).allowed

    def may_create(self, principal: Principal, level: Level, namespace: str, key: str) -> bool:
        """Whether `principal` may store a new record of its own at `level`."""
        own = Standing(level, principal.id)
        return self.verdict(principal, Right.WRITE, own, namespace, key).allowed

    def _explicit(
        self,
        entries: tuple[Grant, ...],
        right: Right,
        record: Record,
        namespace: str,
        key: str,
    ) -> Explicit:
        now_us = self._now_us()
        level = record.level
        said = 0
        for entry in entries:
            bit = _DENIES if entry.effect == "deny" else _ALLOWS
            if (
                not said & bit  # one is enough
                and entry.level is level
                and right in entry.rights
                and entry.namespace == namespace
                and key.startswith(entry.key_prefix)
                and entry.expires_us > now_us
                and (entry.when is None or entry.when.hold(now_us))
            ):
                said |= self._weight(entry, bit, right, record, key)
        return _SAID[said]

    def _weight(self, entry: Grant, bit: int, right: Right, record: Record, key: str) -> int:
        """What an entry about this record says, given who made it and for what."""
        if entry.kind == grants.BREAK_GLASS:
            return _BREAKS if key == entry.key_prefix and record.owner == entry.name else 0
        granter, denies = entry.granted_by, bit is _DENIES
        if not denies and record.level is Level.PRIVATE and granter != record.owner:
            return 0
        if granter == OPERATOR and self.operator is Role.SYSTEM:
            return bit
        return bit if self._holds(granter, right, record, entry, key, denies=denies) else 0

    def _holds(
        self, granter: str, right: Right, record: Record, entry: Grant, key: str, *, denies: bool
    ) -> bool:
        """Whether who made an entry may do so over this record now: by level and role alone it
        has the right to grant there and, to allow something, that right itself, which no denial
        takes from it. So what was granted to it, it cannot pass on."""
        operates = granter == OPERATOR
        holder = OPERATOR_PRINCIPAL if operates else self._people.principals.get(granter)
        if holder is None:
            # Who has gone allows nothing. A denial over what was its own outlasts it.
            return denies and record.owner == granter
        is_owner = record.owner == granter and record.level is not Level.SYSTEM
        if not is_owner:  # who owns it holds everything
            role = self.operator if operates else holder.role
            standing = Gate.ALL, _relation(holder, record), role, record.level
            needed = (Right.GRANT,) if denies else (Right.GRANT, right)
            if not all(TABLE[*standing, each, Explicit.NONE].allowed for each in needed):
                return False
        return denies or not self._is_denied(granter, right, record, entry.namespace, key)

    def _is_denied(
        self, subject: str, right: Right, record: Record, namespace: str, key: str
    ) -> bool:
        entries = self._grants.get(subject)
        if not entries:
            return False
        denials = tuple(entry for entry in entries if entry.effect == "deny")
        return self._explicit(denials, right, record, namespace, key) is not Explicit.NONE

    def _exported(self, rules: tuple[Grant, ...], to: str, namespace: str, key: str) -> Gate:
        """Whether an export rule opens this key to another environment."""
        now_us = self._now_us()
        if to not in self._targets or not self._may_export:
            return Gate.NOTHING
        named = any(
            rule.namespace == namespace
            and key.startswith(rule.key_prefix)
            and rule.expires_us > now_us
            for rule in rules
        )
        return Gate.EXPORT if named else Gate.NOTHING

    @property
    def _may_export(self) -> bool:
        is_open = self._is_strict and self.environment is not Environment.PRODUCTION
        return is_open and self.operator is Role.SYSTEM

    def _now_us(self) -> int:
        """The latest time ever seen: a clock set back revives no grant."""
        self._latest_us = max(self._latest_us, self._clock.wall_us())
        return self._latest_us

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

    def accept_clock(self) -> None:
        """The clock was set back and that is accepted: the latest time begins again there."""
        self._latest_us = 0

    def bump(self) -> None:
        """Note that something else a decision depends on has changed."""
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

    def entries(self) -> Iterator[Grant]:
        """Every entry that has not expired."""
        now_us = self._now_us()
        for entries in tuple(self._grants.values()):
            yield from (grant for grant in entries if grant.expires_us > now_us)

    def about(self, principal: Principal) -> list[Grant]:
        """The entries that can change what `principal` may do, its environment's among them."""
        found = (*self._grants.get(principal.id, ()), *self._grants.get(principal.environment, ()))
        now_us = self._now_us()
        return [grant for grant in found if grant.expires_us > now_us]

    def until_us(self, principal: Principal) -> int:
        """Until when what `principal` may do follows from epoch and records alone; 0: for ever."""
        found = self.about(principal)
        ends = [grant.expires_us for grant in found]
        # Entries of agents depend on denials of others, and anything can have hours.
        if found and any(grant.when is not None for grant in self.entries()):
            ends.append(next_minute(self._now_us()))
        return min(ends, default=0)

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

    def deciding(
        self, principal: Principal, right: Right, record: Record, namespace: str, key: str
    ) -> Grant | None:
        """The entry that a verdict by denial, grant, break-glass or export rests on: of several
        the one that lasts longest."""
        weighed = [
            grant
            for grant in self.about(principal)
            if self._bears(grant, principal, right, record, namespace, key)
        ]
        denials = [grant for grant in weighed if grant.effect == "deny"]
        return max(denials or weighed, key=lambda grant: grant.expires_us, default=None)

    def _bears(
        self,
        grant: Grant,
        principal: Principal,
        right: Right,
        record: Record,
        namespace: str,
        key: str,
    ) -> bool:
        if grant.kind == grants.EXPORT:
            passage = self._exported((grant,), principal.environment, namespace, key)
            return passage is Gate.EXPORT
        return self._explicit((grant,), right, record, namespace, key) is not Explicit.NONE

    def explain(
        self,
        principal: Principal,
        right: Right,
        record: Record | None,
        namespace: str,
        key: str,
    ) -> DecisionView:
        """The verdict over a record in words. `record` None: there is no such key."""
        if record is None:
            found, detail = words.MISSING, "there is no record under this key"
        else:
            found = self.verdict(principal, right, record, namespace, key)
            detail = self._words(found, principal, right, record, namespace, key)
        return DecisionView(
            allowed=found.allowed,
            rule=found.rule,
            detail=detail,
            subject=principal.id,
            action=right,
            environment=self.environment,
            namespace=namespace,
            key=key,
            level=None if record is None else record.level.name.lower(),
            owner=None if record is None else record.owner,
        )

    def _words(
        self,
        found: Verdict,
        principal: Principal,
        right: Right,
        record: Record,
        namespace: str,
        key: str,
    ) -> str:
        inside = self._gates[principal.environment] is Gate.ALL
        relation = _relation(principal, record) if inside else Relation.NONE
        role = principal.role if principal.environment else self.operator
        entry = None
        if found.rule in words.BY_ENTRY:
            entry = self.deciding(principal, right, record, namespace, key)
        return words.sentence(found.rule, principal, role, relation, record, entry)


def _relation(principal: Principal, record: Record) -> Relation:
    if record.owner == principal.id:
        return Relation.OWNER
    if record.team is not None and record.team in principal.teams:
        return Relation.TEAM
    if record.swarm is not None and record.swarm == principal.swarm:
        return Relation.SWARM
    return Relation.NAMESPACE


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
