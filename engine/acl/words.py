"""A decision in words."""

from __future__ import annotations

from typing import Final

from ..model import Principal, Role
from .conditions import spoken
from .grants import Grant, Record
from .table import Relation, Rule, Verdict

MISSING: Final = Verdict(allowed=False, rule=Rule.DEFAULT)
BY_ENTRY: Final = frozenset({Rule.EXPLICIT_DENY, Rule.GRANT, Rule.BREAK_GLASS, Rule.EXPORT})
"""Rules that rest on an entry."""

_STANDINGS: Final = {
    Relation.OWNER: "owns it",
    Relation.TEAM: "is in its team",
    Relation.SWARM: "is in its swarm",
    Relation.NAMESPACE: "is neither its owner nor in its team or swarm",
    Relation.NONE: "is in another environment",
}


def sentence(
    rule: Rule,
    principal: Principal,
    role: Role,
    relation: Relation,
    record: Record,
    entry: Grant | None,
) -> str:
    """Why a rule decided as it did; `entry` is what it rests on, if it rests on one."""
    level = record.level.name.lower()
    standing = f"{role} {principal.id} {_STANDINGS[relation]}"
    return {
        Rule.ISOLATION: f"{principal.environment} may not reach this {level} record",
        Rule.EXPLICIT_DENY: f"a denial in force beats level and grants{_named(entry)}",
        Rule.LEVEL: f"{standing}; that is enough at level {level}",
        Rule.PUBLIC: "public records are open to this environment",
        Rule.EXPORT: f"an export rule in force opens it to {principal.environment}{_named(entry)}",
        Rule.BREAK_GLASS: f"the operator has broken the glass over it{_named(entry)}",
        Rule.GRANT: f"a grant in force allows it{_named(entry)}",
        Rule.DEFAULT: f"{standing}; level {level} does not allow it, nor does any grant",
    }[rule]


def _named(entry: Grant | None) -> str:
    if entry is None:
        return ""
    when = spoken(entry.hours, entry.days, entry.zone)
    parts = (f"{entry.id} by {entry.granted_by}", when, entry.reason)
    return f": {', '.join(filter(None, parts))}"
