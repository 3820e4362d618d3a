"""The decision as a pure function of a few small values, and the table of every case of it.

The order is fixed, first match wins: isolation gate, explicit deny, level rule, break-glass,
explicit allow, deny. Levels are scopes, not a ladder: system is not "more public" than public.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from ..model import Isolation, Level, Right, Role


class Gate(enum.StrEnum):
    """What isolation lets through between the subject's and the record's environment. EXPORT:
    nothing but what an export rule in force names."""

    ALL = "all"
    PUBLIC = "public"
    EXPORT = "export"
    NOTHING = "nothing"


class Relation(enum.StrEnum):
    """How the subject stands to the record, the nearest one. NONE: another environment."""

    OWNER = "owner"
    TEAM = "team"
    SWARM = "swarm"
    NAMESPACE = "namespace"
    NONE = "none"


class Explicit(enum.StrEnum):
    """What entries in force say. GLASS: a break-glass entry and no denial."""

    NONE = "none"
    ALLOW = "allow"
    DENY = "deny"
    BOTH = "both"
    GLASS = "break-glass"


class Rule(enum.StrEnum):
    ISOLATION = "isolation"
    EXPLICIT_DENY = "explicit-deny"
    LEVEL = "level"
    PUBLIC = "public"
    EXPORT = "export"
    BREAK_GLASS = "break-glass"
    GRANT = "grant"
    DEFAULT = "default"


class Verdict(msgspec.Struct, frozen=True):
    allowed: bool
    rule: Rule


Case = tuple[Gate, Relation, Role, Level, Right, Explicit]

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
    Role.MONITOR: {},
    Role.COORDINATOR: {},
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
    if passage is not Gate.ALL:
        return _across(passage, level, right, explicit)
    if level_rule(relation, role, level, right):
        return _YES[Rule.LEVEL]
    return _by_entry(role, level, right, explicit)


def _by_entry(role: Role, level: Level, right: Right, explicit: Explicit) -> Verdict:
    """Within an environment, where no denial counts and the level does not allow it."""
    if explicit is Explicit.GLASS and _breakable(role, level, right):
        return _YES[Rule.BREAK_GLASS]
    if explicit is Explicit.ALLOW and _grantable(level, right):
        return _YES[Rule.GRANT]
    return _NO[Rule.DEFAULT]


def _across(passage: Gate, level: Level, right: Right, explicit: Explicit) -> Verdict:
    """Into another environment: roles do not travel there, and nobody changes anything."""
    if right is not _R:
        return _NO[Rule.ISOLATION]
    if level is Level.PUBLIC:
        return _YES[Rule.EXPORT if passage is Gate.EXPORT else Rule.PUBLIC]
    granted = explicit is Explicit.ALLOW and level in (Level.TEAM, Level.SWARM)
    if granted and passage is Gate.PUBLIC:
        return _YES[Rule.GRANT]
    return _NO[Rule.ISOLATION]


def _breakable(role: Role, level: Level, right: Right) -> bool:
    return role is Role.SYSTEM and level is Level.PRIVATE and right is _R


def _grantable(level: Level, right: Right) -> bool:
    """Nothing at system level, only reading at private, never the right to grant."""
    if right is _G or level is Level.SYSTEM:
        return False
    return right is _R or level is not Level.PRIVATE


class _Table(dict[Case, Verdict]):
    """Every decision that was ever asked for. Made in the asking: a short command asks for few of
    the 3,200 that can occur, and all of them take as long as importing this module does without."""

    def __missing__(self, key: Case) -> Verdict:
        found = self[key] = decide(*key)
        return found


TABLE: Final = _Table()
