"""Whether somebody may do something to a record, decided from what is in memory.

The table says what level, role and relation allow; entries (grants, denials, broken glass, export
rules) and the isolation of environments change that. Nothing here is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from ..clock import Clock
from ..model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
)
from ..views import DecisionView
from . import grants, words
from .conditions import next_minute
from .grants import Grant, Record, Standing
from .table import TABLE, Explicit, Gate, Relation, Verdict, gate

_ALLOWS, _DENIES, _BREAKS = 1, 2, 4
# To name the member of an enum takes 0.2 us in Python 3.11, more than to decide by it.
_EVERYTHING: Final = Gate.ALL
_NOTHING: Final = Gate.NOTHING
_UNSAID: Final = Explicit.NONE
_OUTSIDE: Final = Relation.NONE
_OWNER: Final = Relation.OWNER
_TEAM: Final = Relation.TEAM
_SWARM: Final = Relation.SWARM
_NAMESPACE: Final = Relation.NAMESPACE
_SAID: Final = (
    Explicit.NONE, Explicit.ALLOW, Explicit.DENY, Explicit.BOTH,
    Explicit.GLASS, Explicit.ALLOW, Explicit.DENY, Explicit.BOTH,
)  # fmt: skip


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


class Decisions:
    """Decisions over the records of one environment, and what they rest on.

    Entries are replaced a whole subject at a time, so that the writer's thread may read them
    while the loop changes them. `epoch` grows with every change.

    `people` are the agents registered here, `operator` is the operator's role here.
    """

    def __init__(
        self,
        environment: Environment,
        isolation: Mapping[str, Isolation],
        clock: Clock,
        *,
        people: People | None = None,
        operator: Role = Role.SYSTEM,
    ) -> None:
        self.environment = environment
        self.operator = operator
        self.denied_calls = 0
        self._people = _Nobody() if people is None else people
        self._clock = clock
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

    @property
    def epoch(self) -> int:
        """Grows with everything but records and time that a decision depends on."""
        return self._changes + self._people.epoch

    def bump(self) -> None:
        """Note that something else a decision depends on has changed."""
        self._changes += 1

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
        relation, role = _OUTSIDE, principal.role
        if passage is _EVERYTHING:
            relation = _relation(principal, record)
            if not home:
                role = self.operator
        elif passage is _NOTHING and (rules := self._grants.get(home)):
            passage = self._exported(rules, home, namespace, key)
        explicit = _UNSAID
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

    def accept_clock(self) -> None:
        """The clock was set back and that is accepted: the latest time begins again there."""
        self._latest_us = 0

    # --- what a decision rests on -------------------------------------------------------------

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
        return _OWNER
    if record.team is not None and record.team in principal.teams:
        return _TEAM
    if record.swarm is not None and record.swarm == principal.swarm:
        return _SWARM
    return _NAMESPACE
