"""Who may ask for which action.

Records are decided by the access table; this is about everything else. An action needs a role in
the environment it is about. The operator has a role in each environment; an agent has what
AGENT_MAY lists, which is its own, and by its role more of its own environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NoReturn, TypeAlias, TypeVar

import msgspec

from . import actions
from .actions import Action, ActionSpec
from .errors import Denied, SwarmDeckError
from .model import OPERATOR, Environment, Principal, Role, environment_of

Own: TypeAlias = tuple[str, Literal["id", "environment", "swarm", "prefix"]]
A = TypeVar("A", bound=Action)

_SELF: Final[Own] = ("actor", "id")
_HOME: Final[Own] = ("environment", "environment")
_BY_ID: Final[Own] = ("id", "prefix")

AGENT_MAY: Final[Mapping[str, tuple[Own, ...]]] = {
    "memory.set": (_SELF,),
    "memory.get": (_SELF,),
    "memory.delete": (_SELF,),
    "memory.keys": (_SELF,),
    "memory.list": (_SELF,),
    "memory.level": (_SELF,),
    "queue.send": (_SELF, _HOME),
    "queue.broadcast": (_SELF, _HOME),
    "queue.count": (_HOME,),
    "queue.show": (_BY_ID,),
    "queue.history": (_BY_ID,),
    "event.publish": (_SELF, _HOME),
    "event.publish_many": (_SELF, _HOME),
    "event.list": (_SELF, _HOME),
    "event.count": (_SELF, _HOME),
    "event.take": (_SELF, _HOME),
    "event.purge": (_SELF, _HOME),
    "event.show": (_SELF, _BY_ID),
    "event.chain": (_SELF, _BY_ID),
    "event.complete": (_SELF, _BY_ID),
    "event.fail": (_SELF, _BY_ID),
    "event.retry": (_SELF, _BY_ID),
    "artifact.list": (_SELF, _HOME),
    "artifact.show": (_SELF, _BY_ID),
    "artifact.versions": (_SELF, _BY_ID),
    "artifact.lineage": (_SELF, _BY_ID),
    "artifact.delete": (_SELF, _BY_ID),
    "artifact.verify": (_SELF, _BY_ID),
    "task.create": (_SELF, _HOME),
    "task.list": (_SELF, _HOME),
    "task.ready": (_SELF, _HOME),
    "task.take": (_SELF, _HOME),
    "task.show": (_SELF, _BY_ID),
    "task.update": (_SELF, _BY_ID),
    "task.assign": (_SELF, _BY_ID),
    "task.start": (_SELF, _BY_ID),
    "task.progress": (_SELF, _BY_ID),
    "task.complete": (_SELF, _BY_ID),
    "task.fail": (_SELF, _BY_ID),
    "task.cancel": (_SELF, _BY_ID),
    "task.block": (_SELF, _BY_ID),
    "task.unblock": (_SELF, _BY_ID),
    "task.retry": (_SELF, _BY_ID),
    "task.depend": (_SELF, _BY_ID),
    "task.undepend": (_SELF, _BY_ID),
    "task.graph": (_SELF, _BY_ID),
    "dependency.list": (_SELF, _HOME),
    "dependency.resolve": (_SELF, _BY_ID),
    "metric.record": (_SELF, _HOME),
    "metric.query": (_SELF, _HOME),
    "metric.series": (_SELF, _HOME),
    "metric.delete": (_SELF, _HOME),
    "consensus.propose": (_SELF, _HOME),
    "consensus.list": (_SELF, _HOME),
    "consensus.show": (_SELF, _BY_ID),
    "consensus.vote": (_SELF, _BY_ID),
    "consensus.close": (_SELF, _BY_ID),
    "consensus.withdraw": (_SELF, _BY_ID),
    "conflict.report": (_SELF, _HOME),
    "conflict.list": (_SELF, _HOME),
    "conflict.show": (_SELF, _BY_ID),
    "conflict.begin": (_SELF, _BY_ID),
    "conflict.attempt": (_SELF, _BY_ID),
    "conflict.resolve": (_SELF, _BY_ID),
    "conflict.escalate": (_SELF, _BY_ID),
    "conflict.reopen": (_SELF, _BY_ID),
    "acl.grant": (_SELF, _HOME),
    "acl.deny": (_SELF, _HOME),
    "acl.revoke": (_BY_ID,),
    "acl.list": (_HOME,),
    "acl.explain": (("subject", "id"),),
    "acl.check": (("subject", "id"),),
    "acl.matrix": (_HOME,),
    "acl.who": (_HOME,),
    "explain": (("subject", "prefix"),),
    "agent.show": (("id", "id"),),
    "swarm.health": (("id", "swarm"),),
    "metrics.show": (("subject", "id"),),
}
"""What every agent may ask for, and which field must name what is its own: itself, its
environment, its swarm, or an id with its environment's prefix. A field left out is filled in.
Which records, messages and entries an agent reaches is not decided here."""

OWN_SWARM: Final = frozenset({"swarm.scale", "swarm.terminate"})
"""Of these an agent with the role may ask for its own swarm only."""

NEVER_AGENTS: Final = frozenset({
    "swarm.create", "audit.export", "recovery.set", "alert.ack", "artifact.put", "artifact.get",
})  # fmt: skip
"""No role gives these to an agent: they start commands, read and write files and ask addresses as
the engine's user, or say that a person knows."""

SHOWS_KEYS: Final = frozenset({"audit.list", "audit.verify", "journal.list"})
"""They name keys of records whoever asks may not read, so an agent needs the role admin."""

EVERYWHERE: Final[Mapping[str, Role]] = dict.fromkeys(map(str, Environment), Role.SYSTEM)

_RANKS: Final = {role: rank for rank, role in enumerate(Role)}
_IDS: Final = ("id", "agent", "team", "swarm", "actor", "subject")


def reaches(role: Role, needed: Role) -> bool:
    """Whether a role is at least another one. For actions only: on records it is no ladder."""
    return _RANKS[role] >= _RANKS[needed]


class Authority:
    """What may be asked for, given the operator's role in each environment."""

    def __init__(self, operator: Mapping[str, Role] = EVERYWHERE) -> None:
        self._operator = operator
        self.is_limited = any(role is not Role.SYSTEM for role in operator.values())

    def authorised(self, action: A, principal: Principal) -> A:
        """The action with its principal's own names filled in. Raises Denied with the role that
        is needed."""
        spec = actions.spec_of(action)
        if principal.id == OPERATOR:
            self._require_operator(spec, action)
            return action
        return _of_agent(spec, action, principal)

    def require_acting(self, agent: str) -> None:
        """Raises Denied unless the operator may act as this agent, and so read what it reads."""
        self._require(f"acting as {agent}", Role.SYSTEM, environment_of(agent))

    def require_verb(self, verb: str, environment: str) -> None:
        """Raises Denied unless the operator may make a call of the data plane."""
        self._require(verb, Role.MONITOR if verb in READING else Role.COORDINATOR, environment)

    def require_publish(self, channel: str) -> None:
        """Raises Denied unless the operator may send to a channel. One that belongs to no
        environment reaches them all."""
        home = _home(f"{channel.partition('.')[0]}_")
        for place in EVERYWHERE if home is None else (home,):
            self._require(f"publishing on {channel}", Role.COORDINATOR, place)

    def _require_operator(self, spec: ActionSpec, action: Action) -> None:
        actor = getattr(action, "actor", None)
        if actor not in {None, OPERATOR}:
            self.require_acting(str(actor))
        place, needed = concerned(action), least_role(spec, action)
        if place is not None:
            self._require(spec.name, needed, place)
            return
        enough = any if spec.query else all
        if not enough(reaches(role, needed) for role in self._operator.values()):
            where = "an environment" if spec.query else "every environment"
            raise Denied(
                f"{spec.name} needs the role {needed} in {where}; {self._spoken()}", hint=_SETTINGS
            )

    def _require(self, what: str, needed: Role, environment: str) -> None:
        role = self._operator.get(environment, Role.SYSTEM)  # an unknown one is refused later
        if not reaches(role, needed):
            raise Denied(
                f"{what} needs the role {needed} in {environment}; the operator is {role} there",
                hint=_SETTINGS,
            )

    def _spoken(self) -> str:
        roles = ", ".join(f"{role} in {name}" for name, role in self._operator.items())
        return f"the operator is {roles}"


READING: Final = frozenset(
    {"memory.get", "memory.has", "memory.mget", "memory.keys", "queue.result", "artifact.read"}
)
_SETTINGS: Final = "the settings [operator] give the operator a role in each environment"


def least_role(spec: ActionSpec, action: Action) -> Role:
    """The role an action needs: more than its definition says where it gives away rights."""
    gives_role = getattr(action, "role", None) not in {None, Role.AGENT.value}
    changes_role = spec.name == "agent.update" and getattr(action, "role", None) is not None
    gives_team = spec.name == "agent.register" and getattr(action, "team", None) is not None
    return Role.ADMIN if gives_role or changes_role or gives_team else spec.role


def concerned(action: Action) -> str | None:
    """The environment an action is about; None when it is about the whole engine, or about an id
    that nobody can have."""
    if actions.name_of(action) == "alert.ack":
        # Behind the rule stands what it is about.
        return _place_of(str(getattr(action, "id", "")).partition(".")[2])
    for field in ("environment", "source"):
        if isinstance(place := getattr(action, field, None), str):
            return place if place in EVERYWHERE else None
    for field in _IDS:
        if isinstance(ident := getattr(action, field, None), str) and (place := _place_of(ident)):
            return place
    return None


def _place_of(ident: str) -> str | None:
    """The environment that this is, or that its id begins with."""
    return ident if ident in EVERYWHERE else _home(ident)


# --- agents -----------------------------------------------------------------------------------


def _of_agent(spec: ActionSpec, action: A, principal: Principal) -> A:
    own = AGENT_MAY.get(spec.name)
    if own is None:
        return _by_role(spec, action, principal)
    filled = _filled(action, own, principal)
    if filled is not None:
        return filled
    if principal.role is Role.AGENT or "actor" in _fields(action):  # nobody acts as another
        _deny(spec.name, principal, _not_own(action, own, principal))
    return _by_role(spec, action, principal)


def _filled(action: A, own: tuple[Own, ...], principal: Principal) -> A | None:
    """The action with what was left out filled in, None if a field names what is not its own."""
    names = {field: _own(getattr(action, field), of, principal) for field, of in own}
    return None if None in names.values() else msgspec.structs.replace(action, **names)


def _own(value: str | None, of: str, principal: Principal) -> str | None:
    if of == "prefix":
        return value if value is not None and _home(value) == principal.environment else None
    own: str | None = getattr(principal, of)
    return own if value in {None, own} else None


def _not_own(action: Action, own: tuple[Own, ...], principal: Principal) -> str:
    field, of = next(
        (field, of) for field, of in own if _own(getattr(action, field), of, principal) is None
    )
    return f"its {field} is not {'of your environment' if of == 'prefix' else 'your own'}"


def _by_role(spec: ActionSpec, action: A, principal: Principal) -> A:
    """What its role gives an agent in its own environment."""
    needed = Role.ADMIN if spec.name in SHOWS_KEYS else least_role(spec, action)
    if spec.name in NEVER_AGENTS or needed is Role.SYSTEM:
        _deny(spec.name, principal, "only the operator may")
    if not reaches(principal.role, needed):
        _deny(spec.name, principal, f"it needs the role {needed}, and you are {principal.role}")
    if "environment" in _fields(action) and getattr(action, "environment") is None:  # noqa: B009
        action = msgspec.structs.replace(action, environment=principal.environment)
    place = concerned(action)
    if place != principal.environment:
        where = "the whole engine" if place is None else place
        _deny(spec.name, principal, f"it is about {where}, and your role is in your environment")
    if spec.name in OWN_SWARM and getattr(action, "id", None) != principal.swarm:
        _deny(spec.name, principal, "its id is not your own swarm")
    return action


def _fields(action: Action) -> tuple[str, ...]:
    return action.__struct_fields__


def _home(ident: str) -> str | None:
    try:
        return environment_of(ident)
    except SwarmDeckError:
        return None


def _deny(name: str, principal: Principal, why: str) -> NoReturn:
    raise Denied(
        f"{name} by {principal.id}: {why}",
        hint="agents act on what is their own; a role gives more: swarmdeck agent update --role",
    )
