"""Who may do what to a record, and which rule decides.

The decision is a pure function of a few small values, so each is made once and kept in a table.
The order is fixed, first match wins: isolation gate, explicit deny, level rule, explicit allow,
deny.
Levels are scopes, not a ladder: system is not "more public" than public.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Final, Literal, Protocol

import msgspec

from .clock import Clock
from .errors import Denied, InvalidInput, NotFound
from .model import (
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
    check_key,
    check_name,
    parse_level,
)
from .store.database import Database, Reader, Transaction
from .views import DecisionView, GrantView

MAX_GRANT_S: Final = 90 * 86_400


class Gate(enum.StrEnum):
    """What isolation lets through between the subject's and the record's environment."""

    ALL = "all"
    PUBLIC = "public"
    NOTHING = "nothing"


class Relation(enum.StrEnum):
    """How the subject stands to the record, the nearest one. NONE: another environment."""

    OWNER = "owner"
    TEAM = "team"
    SWARM = "swarm"
    NAMESPACE = "namespace"
    NONE = "none"


class Explicit(enum.StrEnum):
    """What grants and denials in force say."""

    NONE = "none"
    ALLOW = "allow"
    DENY = "deny"
    BOTH = "both"


class Rule(enum.StrEnum):
    ISOLATION = "isolation"
    EXPLICIT_DENY = "explicit-deny"
    LEVEL = "level"
    PUBLIC = "public"
    GRANT = "grant"
    DEFAULT = "default"


class Verdict(msgspec.Struct, frozen=True):
    allowed: bool
    rule: Rule


_YES: Final = {rule: Verdict(allowed=True, rule=rule) for rule in Rule}
_NO: Final = {rule: Verdict(allowed=False, rule=rule) for rule in Rule}

_R, _W, _D, _G = Right.READ, Right.WRITE, Right.DELETE, Right.GRANT
_NOTHING: Final[frozenset[Right]] = frozenset()
_BY_RELATION: Final[dict[Relation, dict[Level, frozenset[Right]]]] = {
    Relation.OWNER: dict.fromkeys(Level, frozenset(Right)) | {Level.SYSTEM: _NOTHING},
    Relation.TEAM: dict.fromkeys((Level.TEAM, Level.SWARM, Level.PUBLIC), frozenset({_R, _W})),
    Relation.SWARM: dict.fromkeys((Level.SWARM, Level.PUBLIC), frozenset({_R})),
    Relation.NAMESPACE: {Level.PUBLIC: frozenset({_R})},
    Relation.NONE: {},
}
_SHARED: Final = (Level.TEAM, Level.SWARM, Level.PUBLIC)
_BY_ROLE: Final[dict[Role, dict[Level, frozenset[Right]]]] = {
    Role.AGENT: {},
    Role.ADMIN: {Level.PRIVATE: frozenset({_D})} | dict.fromkeys(_SHARED, frozenset({_D, _G})),
    Role.SYSTEM: {Level.PRIVATE: frozenset({_D}), Level.SYSTEM: frozenset(Right)}
    | dict.fromkeys(_SHARED, frozenset({_R, _D, _G})),
}


def gate(subject: Isolation, record: Isolation, *, same: bool) -> Gate:
    """What may pass from a record's environment to a subject of another: nothing where either
    is strict, else reading what is public."""
    if same:
        return Gate.ALL
    return Gate.NOTHING if Isolation.STRICT in (subject, record) else Gate.PUBLIC


def level_rule(relation: Relation, role: Role, level: Level, right: Right) -> bool:
    """What relation and role give at a level with no explicit entry. Roles add, never take."""
    by_relation = _BY_RELATION[relation].get(level, _NOTHING)
    return right in by_relation or right in _BY_ROLE[role].get(level, _NOTHING)


def decide(
    passage: Gate, relation: Relation, role: Role, level: Level, right: Right, explicit: Explicit
) -> Verdict:
    """The decision and its rule, from first principles. `TABLE` keeps every answer."""
    if passage is Gate.NOTHING:
        return _NO[Rule.ISOLATION]
    denied = explicit in (Explicit.DENY, Explicit.BOTH)
    if denied and not (role is Role.SYSTEM and right is _G):
        return _NO[Rule.EXPLICIT_DENY]
    if passage is Gate.PUBLIC:
        return _across(level, right, explicit)
    if level_rule(relation, role, level, right):
        return _YES[Rule.LEVEL]
    if explicit is Explicit.ALLOW and _grantable(level, right):
        return _YES[Rule.GRANT]
    return _NO[Rule.DEFAULT]


def _across(level: Level, right: Right, explicit: Explicit) -> Verdict:
    if right is not _R:
        return _NO[Rule.ISOLATION]
    if level is Level.PUBLIC:
        return _YES[Rule.PUBLIC]
    if level in (Level.TEAM, Level.SWARM) and explicit is Explicit.ALLOW:
        return _YES[Rule.GRANT]
    return _NO[Rule.ISOLATION]


def _grantable(level: Level, right: Right) -> bool:
    """Nothing at system level, only reading at private, never the right to grant."""
    if right is _G or level is Level.SYSTEM:
        return False
    return right is _R or level is not Level.PRIVATE


class _Table(dict[tuple[Gate, Relation, Role, Level, Right, Explicit], Verdict]):
    """Every decision that was ever asked for. Made in the asking: a short command asks for few of
    the 1440, and all of them take as long as importing this module does without."""

    def __missing__(self, key: tuple[Gate, Relation, Role, Level, Right, Explicit]) -> Verdict:
        found = self[key] = decide(*key)
        return found


TABLE: Final = _Table()


class Grant(msgspec.Struct, frozen=True):
    """An explicit entry in force. Times are microseconds since the epoch."""

    id: str
    subject: str
    effect: str
    resource: str
    level: Level
    rights: frozenset[Right]
    namespace: str
    key_prefix: str
    granted_by: str
    created_us: int
    expires_us: int


class Record(Protocol):
    """What a decision needs of a record."""

    @property
    def level(self) -> Level: ...
    @property
    def owner(self) -> str: ...
    @property
    def team(self) -> str | None: ...
    @property
    def swarm(self) -> str | None: ...


class Standing(msgspec.Struct, frozen=True):
    """A record that is not there yet."""

    level: Level
    owner: str
    team: str | None = None
    swarm: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A grant or denial as asked for."""

    subject: str
    effect: Literal["allow", "deny"]
    level: str | int
    rights: tuple[str, ...]
    namespace: str = "default"
    key_prefix: str = ""
    expires_s: float = 86_400
    resource: str = "memory"


class Access:
    """Decisions over the records of one environment.

    Grants are replaced a whole subject at a time, so that the writer's thread may read them
    while the loop changes them. `epoch` grows with every change; nothing is remembered for a
    time, so a revoked grant is gone when `revoke` returns.
    """

    def __init__(
        self,
        environment: Environment,
        isolation: Mapping[str, Isolation],
        database: Database,
        clock: Clock,
    ) -> None:
        self.environment = environment
        self.epoch = 0
        self.denied_calls = 0
        self._database = database
        self._clock = clock
        self._latest_us = 0
        self._grants: dict[str, tuple[Grant, ...]] = {}
        self._gates: dict[str, Gate] = {
            str(other): gate(isolation[other], isolation[environment], same=other == environment)
            for other in Environment
        }
        self._gates[""] = Gate.ALL  # the operator acts in each environment from within

    async def open(self) -> None:
        for grant in await self._database.read(_load_grants):
            self._put(grant)

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
        passage = self._gates[principal.environment]
        relation = _relation(principal, record) if passage is Gate.ALL else Relation.NONE
        entries = self._grants.get(principal.id)
        explicit = Explicit.NONE
        if entries:
            explicit = self._explicit(entries, right, record, namespace, key)
        return TABLE[passage, relation, principal.role, record.level, right, explicit]

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
        effects = {
            entry.effect
            for entry in entries
            if entry.expires_us > now_us
            and entry.level == record.level
            and right in entry.rights
            and entry.namespace == namespace
            and key.startswith(entry.key_prefix)
            and (entry.effect == "deny" or _issued_rightly(entry, record))
        }
        if len(effects) == 2:
            return Explicit.BOTH
        return Explicit(effects.pop()) if effects else Explicit.NONE

    def _now_us(self) -> int:
        """The latest time ever seen: a clock set back revives no grant."""
        self._latest_us = max(self._latest_us, self._clock.wall_us())
        return self._latest_us

    # --- changing ---------------------------------------------------------------------------

    async def add(self, granter: Principal, wanted: Wanted) -> GrantView:
        """Put a grant or denial in force. Raises InvalidInput or Denied."""
        now_us = self._clock.wall_us()
        grant = Grant(
            id=f"{self.environment.prefix}_grant_{self._clock.token(8)}",
            subject=wanted.subject,
            effect=wanted.effect,
            resource=wanted.resource,
            level=_grant_level(wanted.effect, parse_level(wanted.level), granter),
            rights=_rights(wanted.rights),
            namespace=check_name(wanted.namespace, "namespace"),
            key_prefix=check_key(wanted.key_prefix) if wanted.key_prefix else "",
            granted_by=granter.id,
            created_us=now_us,
            expires_us=now_us + int(_lifetime(wanted.expires_s) * 1_000_000),
        )

        def change(tx: Transaction) -> Grant:
            tx.execute(_INSERT_GRANT, _row(tx.env, grant))
            tx.audit(granter.id, f"acl.{_VERBS[grant.effect]}", grant.id, detail=describe(grant))
            return grant

        await self._database.write(change, topic="access", then=self._put)
        return self.view(grant)

    async def revoke(self, actor: Principal, ident: str) -> None:
        """Take an entry out of force; when this returns it no longer counts. Raises NotFound."""
        grant = next((g for g in self.entries() if g.id == ident), None)
        if grant is None:
            raise NotFound(f"no grant {ident}", hint="see swarmdeck acl list")

        def change(tx: Transaction) -> Grant:
            tx.execute("DELETE FROM grant_entry WHERE env = ? AND id = ?", (tx.env, ident))
            tx.audit(actor.id, "acl.revoke", ident, detail=describe(grant))
            return grant

        await self._database.write(change, topic="access", then=self._drop)

    def bump(self) -> None:
        """Note that something else a decision depends on has changed."""
        self.epoch += 1

    def _put(self, grant: Grant) -> None:
        self._grants[grant.subject] = (*self._grants.get(grant.subject, ()), grant)
        self.epoch += 1

    def _drop(self, grant: Grant) -> None:
        rest = tuple(g for g in self._grants.get(grant.subject, ()) if g.id != grant.id)
        if rest:
            self._grants[grant.subject] = rest
        else:
            self._grants.pop(grant.subject, None)
        self.epoch += 1

    # --- showing ----------------------------------------------------------------------------

    def entries(self) -> Iterator[Grant]:
        """Every entry that has not expired."""
        now_us = self._now_us()
        for entries in self._grants.values():
            yield from (grant for grant in entries if grant.expires_us > now_us)

    def list(self, subject: str | None = None) -> list[GrantView]:
        found = (self.view(g) for g in self.entries() if subject in (None, g.subject))
        return sorted(found, key=lambda view: view.created_at_us)

    def view(self, grant: Grant) -> GrantView:
        return GrantView(
            id=grant.id,
            environment=self.environment,
            subject=grant.subject,
            effect=grant.effect,
            resource=grant.resource,
            level=grant.level.name.lower(),
            actions=tuple(sorted(grant.rights)),
            namespace=grant.namespace,
            key_prefix=grant.key_prefix,
            granted_by=grant.granted_by,
            created_at_us=grant.created_us,
            expires_at_us=grant.expires_us,
        )

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
            found = Verdict(allowed=False, rule=Rule.DEFAULT)
            detail, level, owner = "there is no record under this key", None, None
        else:
            found = self.verdict(principal, right, record, namespace, key)
            detail = self._words(found, principal, record)
            level, owner = record.level.name.lower(), record.owner
        return DecisionView(
            allowed=found.allowed,
            rule=found.rule,
            detail=detail,
            subject=principal.id,
            action=right,
            environment=self.environment,
            namespace=namespace,
            key=key,
            level=level,
            owner=owner,
        )

    def _words(self, found: Verdict, principal: Principal, record: Record) -> str:
        inside = self._gates[principal.environment] is Gate.ALL
        relation = _relation(principal, record) if inside else Relation.NONE
        level = record.level.name.lower()
        standing = f"{principal.role} {principal.id} {_STANDINGS[relation]}"
        return {
            Rule.ISOLATION: f"{principal.environment} may not reach this {level} record",
            Rule.EXPLICIT_DENY: "a denial in force beats level and grants",
            Rule.LEVEL: f"{standing}; that is enough at level {level}",
            Rule.PUBLIC: "public records are open to this environment",
            Rule.GRANT: "a grant in force allows it",
            Rule.DEFAULT: f"{standing}; level {level} does not allow it, nor does any grant",
        }[found.rule]


_STANDINGS: Final = {
    Relation.OWNER: "owns it",
    Relation.TEAM: "is in its team",
    Relation.SWARM: "is in its swarm",
    Relation.NAMESPACE: "is neither its owner nor in its team or swarm",
    Relation.NONE: "is in another environment",
}
_VERBS: Final = {"allow": "grant", "deny": "deny"}
_INSERT_GRANT: Final = """
INSERT INTO grant_entry (env, id, subject, effect, resource, level, actions, namespace, key_prefix,
                         granted_by, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SELECT_GRANTS: Final = """
SELECT id, subject, effect, resource, level, actions, namespace, key_prefix, granted_by,
       created_at, expires_at
FROM grant_entry WHERE env = ? ORDER BY created_at, id"""


def describe(grant: Grant) -> str:
    """One line about a grant, for the audit trail."""
    rights = ",".join(sorted(grant.rights))
    where = f"{grant.namespace}/{grant.key_prefix}*"
    return f"{grant.subject} {rights} {grant.level.name.lower()} {where}"


def _relation(principal: Principal, record: Record) -> Relation:
    if record.owner == principal.id:
        return Relation.OWNER
    if record.team is not None and record.team in principal.teams:
        return Relation.TEAM
    if record.swarm is not None and record.swarm == principal.swarm:
        return Relation.SWARM
    return Relation.NAMESPACE


def _issued_rightly(grant: Grant, record: Record) -> bool:
    """Only its owner can open a private record to somebody else."""
    return record.level is not Level.PRIVATE or grant.granted_by == record.owner


def _grant_level(effect: str, level: Level, granter: Principal) -> Level:
    if effect == "deny":
        return level
    if level is Level.SYSTEM:
        raise InvalidInput("system records cannot be granted", hint="private to public can")
    if level is Level.PRIVATE and granter.is_operator:
        raise Denied("only the owner can grant reading its private records")
    return level


def _rights(names: tuple[str, ...]) -> frozenset[Right]:
    allowed = {Right.READ, Right.WRITE, Right.DELETE}
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise InvalidInput(
            f"cannot grant {', '.join(unknown) or 'nothing'}", hint="read, write, delete"
        )
    return frozenset(Right(name) for name in names)


def _lifetime(expires_s: float) -> float:
    if 0 < expires_s <= MAX_GRANT_S:
        return expires_s
    raise InvalidInput(
        f"a grant cannot last {expires_s} s", hint="more than 0 s and at most 90 days"
    )


def _row(env: str, grant: Grant) -> tuple[object, ...]:
    actions = ",".join(sorted(grant.rights))
    return (
        env, grant.id, grant.subject, grant.effect, grant.resource, int(grant.level), actions,
        grant.namespace, grant.key_prefix, grant.granted_by, grant.created_us, grant.expires_us,
    )  # fmt: skip


def _load_grants(reader: Reader) -> list[Grant]:
    return [
        Grant(
            row[0], row[1], row[2], row[3], Level(row[4]),
            frozenset(Right(name) for name in row[5].split(",")), *row[6:],
        )
        for row in reader.execute(_SELECT_GRANTS, (reader.env,))
    ]  # fmt: skip
