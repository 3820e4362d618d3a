"""What somebody may do at a level, without a row to ask about."""

from __future__ import annotations

from ..model import Level, Principal, Right
from ..views import DecisionView
from .decisions import Decisions
from .grants import RECORDS, Standing, space


def check(
    access: Decisions, principal: Principal, right: Right, level: Level, what: tuple[str, str]
) -> DecisionView:
    """The decision about what stands at a level and reaches `principal`: its own where private,
    somebody else's of one of its teams or of its swarm, anybody's where public or of the system.
    `what` is a resource and, of records, their namespace. Entries over single keys do not count."""
    resource, namespace = what
    named = namespace if resource == RECORDS else space(resource)
    found = [
        access.explain(principal, right, each, named, "") for each in _standings(principal, level)
    ]
    return next((each for each in found if each.allowed), found[0])


def _standings(principal: Principal, level: Level) -> list[Standing]:
    if level is Level.PRIVATE:
        return [Standing(level, principal.id, None, principal.swarm)]
    if level is Level.TEAM:
        return [Standing(level, "", team) for team in principal.teams or (None,)]
    if level is Level.SWARM:
        return [Standing(level, "", None, principal.swarm)]
    return [Standing(level, "")]
