"""How much an audit row matters: a function of action, outcome and environment."""

from __future__ import annotations

from typing import Final, Literal

from ..model import Environment

Risk = Literal["low", "medium", "high", "critical"]

RISKS: Final[tuple[Risk, ...]] = ("low", "medium", "high", "critical")
_LOW, _MEDIUM, _HIGH, _CRITICAL = range(4)
_UNLISTED: Final = _MEDIUM  # an action nobody has classed yet is not waved through
_CLASSED: Final = {
    _LOW: (
        "memory.get memory.keys memory.list memory.set memory.incr memory.expire "
        "queue.show queue.send queue.claim queue.extend queue.ack queue.nack queue.expire "
        "queue.broadcast "
        "queue.untake queue.take_back queue.clean schedule.send schedule.skip agent.register "
        "agent.login agent.renew agent.start agent.exit session.open session.end operator.attach "
        "operator.act engine.open swarm.run"
    ),
    _HIGH: (
        "acl.grant acl.deny acl.revoke agent.token agent.revoke session.revoke memory.budget "
        "queue.damaged audit.prune backup.create swarm.terminate swarm.delete "
        "vault.rotate vault.destroy vault.seal vault.unseal recovery.set recovery.try"
    ),
    _CRITICAL: (
        "acl.breakglass acl.export backup.restore backup.delete clock.confirm vault.rekey "
        "vault.shred"
    ),
}
_RISK_OF: Final = {name: risk for risk, names in _CLASSED.items() for name in names.split()}
_STRICT: Final = frozenset({Environment.PRODUCTION.value, Environment.STAGING.value})


def risk_of(action: str, environment: str, *, allowed: bool) -> Risk:
    """The risk of one row. What was refused is at least medium, in production and staging high;
    what changes something there is one class above what it is elsewhere."""
    return RISKS[_risk(_RISK_OF.get(action, _UNLISTED), environment, allowed=allowed)]


def _risk(known: int, environment: str, *, allowed: bool) -> int:
    strict = environment in _STRICT
    if not allowed:
        return max(known, _HIGH if strict else _MEDIUM)
    return _HIGH if strict and known == _MEDIUM else known


def at_least(risk: Risk, environment: str) -> tuple[str, tuple[str, ...]]:
    """A condition on rows of an environment, and its parameters."""
    wanted = RISKS.index(risk)
    parts, parameters = [], []
    for allowed in (True, False):
        said, names = _among(wanted, environment, allowed=allowed)
        parts.append(f"(allowed = {int(allowed)} AND {said})")
        parameters += names
    return f"({' OR '.join(parts)})", tuple(parameters)


def _among(wanted: int, environment: str, *, allowed: bool) -> tuple[str, list[str]]:
    """Whether the action is of that risk: named, or where unlisted ones are, not named."""

    def reaches(known: int) -> bool:
        return _risk(known, environment, allowed=allowed) >= wanted

    unlisted = reaches(_UNLISTED)
    names = [name for name, known in _RISK_OF.items() if reaches(known) != unlisted]
    if not names:
        return ("1" if unlisted else "0"), []
    marks = ", ".join("?" * len(names))
    return f"action {'NOT IN' if unlisted else 'IN'} ({marks})", names
