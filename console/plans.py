"""What a destructive action will touch, said before it is done.

Each destructive action names the query that looks at its object first and turns the answer into
plain sentences. In production the answer must be typed; elsewhere a second key is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ..engine import actions, views
from ..engine.actions import Action
from ..engine.errors import NotFound
from ..engine.model import parse_level
from ..engine.views.queue import when_of
from . import safeguards, wording
from .safeguards import Draft

PRODUCTION: Final = safeguards.STRICTEST
DETACH: Final = "detach"
"""Instead of ending what runs."""

MOST_NAMED: Final = 4
"""Holders of memory that are named one by one."""

MOST_COUNTED: Final = 10_000
"""Messages that are looked at to count their kinds."""

READERS: Final = {
    "private": "its owner alone reads it",
    "team": "the owner's team reads and writes it",
    "swarm": "every agent of the owner's swarm reads it",
    "public": "every agent of the environment reads it, and other environments that may",
    "system": "only those with the system role read it",
}
"""What a level means, in a few words."""


class Plan(msgspec.Struct, frozen=True):
    """A question with what follows from yes.

    `touches` are sentences. `words`: one of them must be typed; empty means a key is enough.
    `refused` says why the engine would not do it: there is nothing to confirm then. `secret` must
    be typed again, unseen, instead: a new passphrase with a slip in it would be nobody's.
    `instead` is another way, by its first letter or, where a word is typed, in full.
    """

    question: str
    touches: tuple[str, ...]
    words: tuple[str, ...] = ()
    refused: str = ""
    secret: str = ""
    instead: str = ""


def look(action: Action) -> Action | None:
    """The query that shows what `action` is about; None when its fields say it all."""
    looker = _LOOKS.get(type(action))
    return None if looker is None else looker(action)


def plan_of(action: Action, seen: Any) -> Plan:  # noqa: ANN401 - whatever `look` answered
    """The plan of a destructive action. `seen` is the answer to `look(action)`, or None.

    Raises NotFound when the answer shows that there is nothing to act on.
    """
    drafter = _DRAFTS.get(type(action), _plain)
    question, touches, environment, words = drafter(action, seen)
    refused = _refusal(seen)
    asked = environment == PRODUCTION and not refused
    secret = "" if refused else _new_secret(action)
    if secret:
        touches = [*touches, "To go on, type the new passphrase again"]
    return Plan(question, tuple(touches), words if asked and not secret else (), refused, secret)


def _new_secret(action: Action) -> str:
    """What must be typed a second time: a passphrase that is not known yet."""
    if isinstance(action, actions.VaultRekey) and action.source == "passphrase":
        return action.passphrase or ""
    return ""


def _refusal(seen: object) -> str:
    """Why the engine would refuse, if what was looked at says so."""
    if isinstance(seen, views.AdmissionView) and not seen.accepted:
        return f"It does not fit: {seen.reason}" + (f" ({seen.hint})" if seen.hint else "")
    return ""


def needs_plan(action: Action) -> bool:
    """True for what destroys something; stopping the engine ends swarms and counts."""
    return actions.spec_of(action).destructive or isinstance(action, actions.Stop)


def _plain(action: Action, _seen: object) -> Draft:
    spec = actions.spec_of(action)
    environment = getattr(action, "environment", None) or ""
    return f"{spec.name}?", [spec.help], str(environment), (PRODUCTION,)


def _terminate(action: actions.SwarmTerminate, health: views.HealthView) -> Draft:
    swarm, leased = health.swarm, health.leased_messages
    touches = [
        f"{wording.count(swarm.agents_live, 'process', 'processes')} of {swarm.environment} end",
        f"{wording.size(swarm.memory_bytes)} of memory go back to the plan",
    ]
    if leased and action.force:
        touches.append(f"{wording.count(leased, 'message')} under work will be delivered again")
    elif leased:
        touches.append(
            f"{wording.count(leased, 'message')} under work may finish first "
            f"({wording.span(action.wait_s)} at most)"
        )
    touches.append("Records and queued messages stay.")
    names = (swarm.name, swarm.id) if swarm.name else (swarm.id,)
    return f"End swarm {swarm.name or swarm.id}?", touches, swarm.environment, names


def _unregister(action: actions.AgentUnregister, agent: views.AgentView) -> Draft:
    touches = [
        f"{wording.count(agent.leased, 'message')} it holds can be claimed by others at once"
    ]
    if agent.pid is not None:
        touches.append(f"Its process {agent.pid} is no longer supervised")
    touches.append("Its records stay.")
    return f"Remove agent {agent.name} ({action.id})?", touches, agent.environment, (action.id,)


def _delete(action: actions.MemoryDelete, record: views.RecordView) -> Draft:
    touches = [
        f"{record.environment}, namespace {record.namespace}, {record.level} level",
        f"{wording.size(record.size_bytes)}, version {record.version}, owner {record.owner}",
        "The value is gone for good.",
    ]
    return f"Delete the record {action.key}?", touches, record.environment, (PRODUCTION,)


def _cancel(_action: actions.QueueCancel, message: views.MessageView) -> Draft:
    touches = [
        f"{message.kind}, {message.state}, attempt {message.attempt} of {message.max_attempts}"
    ]
    if message.holder:
        touches.append(f"{message.holder} works on it; its answer will be refused")
    touches.append("It can be made ready again later (retry).")
    return f"Cancel message {message.id}?", touches, message.environment, (PRODUCTION,)


def _deny(action: actions.AclDeny, agent: views.AgentView) -> Draft:
    keys = f"{action.key_prefix}*" if action.key_prefix else "all keys"
    rights = " and ".join(action.actions)
    touches = [
        f"{rights} of {action.level} records, {keys}, in namespace {action.namespace}",
        f"for {wording.span(action.expires_s)}, and at once; a grant does not outweigh it",
    ]
    where = action.environment or agent.environment
    return f"Deny {agent.name} ({agent.id})?", touches, str(where), (PRODUCTION,)


def _revoke(action: actions.AclRevoke, grants: Sequence[views.GrantView]) -> Draft:
    grant = next((grant for grant in grants if grant.id == action.id), None)
    if grant is None:
        raise NotFound(f"no grant {action.id} in force", hint="see the access screen (6)")
    touches = [
        f"{grant.effect} {' '.join(grant.actions)} for {grant.subject}",
        f"{grant.level} records, {grant.namespace}:{grant.key_prefix}* in {grant.environment}",
        "It takes effect at once.",
    ]
    return f"Remove {grant.effect} {grant.id}?", touches, grant.environment, (PRODUCTION,)


def _level(action: actions.MemoryLevel, record: views.RecordView) -> Draft:
    level = parse_level(action.level).name.lower()
    touches = [
        f"{record.environment}, namespace {record.namespace}, owner {record.owner}",
        f"now {record.level}: {READERS[record.level]}",
        f"then {level}: {READERS[level]}",
        "Grants and denials for its old level no longer meet it. It takes effect at once.",
    ]
    question = f"Move the record {action.key} from {record.level} to {level}?"
    return question, touches, record.environment, (PRODUCTION,)


def _budget(action: actions.MemoryBudget, seen: views.AdmissionView) -> Draft:
    changes = (
        ("its own", seen.base_before_bytes, seen.base_after_bytes),
        ("at most", seen.max_before_bytes, seen.max_after_bytes),
        ("buffer of the host", seen.buffer_before_bytes, seen.buffer_after_bytes),
        ("borrowed", seen.borrowed_before_bytes, seen.borrowed_after_bytes),
    )
    touches = [f"{name}: {_change(before, after)}" for name, before, after in changes]
    touches.append(f"{wording.size(seen.allocated_bytes)} of it are held by swarms")
    touches += [_held(holder) for holder in seen.holders[:MOST_NAMED]]
    if len(seen.holders) > MOST_NAMED:
        touches.append(f"and {len(seen.holders) - MOST_NAMED} more swarms")
    return f"Change the budget of {action.environment}?", touches, action.environment, (PRODUCTION,)


def _change(before: int, after: int) -> str:
    if before == after:
        return f"{_amount(before)}, as it is"
    return f"{_amount(before)} → {_amount(after)}"


def _amount(size_bytes: int) -> str:
    return wording.size(size_bytes) if size_bytes else "nothing"


def _held(holder: views.HolderView) -> str:
    text = f"{holder.swarm} ({holder.environment}) holds {wording.size(holder.bytes)}"
    return f"{text}, {wording.loans(holder.lenders)}" if holder.lenders else text


def _purge(action: actions.QueuePurge, found: Sequence[views.MessageView]) -> Draft:
    kinds = Counter(message.kind for message in found)
    total = wording.count(len(found), "message")
    if len(found) == MOST_COUNTED:
        total = f"{MOST_COUNTED:,} messages or more; of these"
    touches = [f"{total}: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common(6))]
    if len(kinds) > 6:
        touches.append(f"and {len(kinds) - 6} more kinds")
    touches.append("They are gone for good, with bodies and results; nothing can bring them back.")
    if not found:
        raise NotFound(f"no message of {action.environment} is {action.state}")
    return (
        f"Delete all {action.state} messages of {action.environment}?",
        touches,
        action.environment,
        (PRODUCTION,),
    )


def _redrive(action: actions.QueueRedrive, found: Sequence[views.MessageView]) -> Draft:
    dead = [each for each in found if action.kind in {None, each.kind}]
    if not dead:
        raise NotFound(f"no dead letter of {action.environment} is of that kind")
    kinds = Counter(message.kind for message in dead)
    count = min(len(dead), action.limit or len(dead))
    total = wording.count(count, "dead letter")
    if len(dead) == MOST_COUNTED and action.limit is None:
        total = f"{MOST_COUNTED:,} dead letters or more; of these"
    errors = Counter(message.error for message in dead if message.error)
    touches = [f"{total}: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common(6))]
    touches += [f"{n:,} failed with: {error}" for error, n in errors.most_common(3)]
    touches.append("They are ready at once, the oldest first, each with all its attempts again.")
    touches.append("What has failed is handed out alone. It stops when the queue is full.")
    return (
        f"Make dead letters of {action.environment} ready again?",
        touches,
        action.environment,
        (PRODUCTION,),
    )


def _delete_schedule(_action: actions.ScheduleDelete, schedule: views.ScheduleView) -> Draft:
    touches = [
        f"{schedule.kind}, {when_of(schedule)}, sent {schedule.runs:,} times",
        "It sends nothing any more; messages it has sent stay.",
        "To stop it for a while, pause it instead.",
    ]
    question = f"Delete the schedule {schedule.name} ({schedule.id})?"
    return question, touches, schedule.environment, (PRODUCTION,)


def _stop(action: actions.Stop, overview: views.Overview) -> Draft:
    if action.keep:
        wait = "They run on and wait a while for the next engine, then end themselves."
        return "Stop the engine, and leave its agents?", [*ending(overview), wait], "", ()
    how = "at once" if action.force else "after their running work"
    return "Stop the engine?", [*ending(overview), f"They end {how}."], *_strictest(overview)


def ending(overview: views.Overview) -> list[str]:
    """One sentence for each live swarm: what ends with the engine."""
    return [
        f"{swarm.name or swarm.id} ({swarm.environment}): "
        f"{wording.count(swarm.agents_live, 'agent')}"
        for swarm in alive(overview)
    ]


def alive(overview: views.Overview) -> list[views.SwarmView]:
    """The swarms that end when the engine does."""
    return [swarm for swarm in overview.swarms if swarm.state != "terminated"]


def leaving(overview: views.Overview, *, can_detach: bool = False) -> Plan:
    """What ends when the console that carries the engine is left, unless it is detached."""
    environment, words = _strictest(overview)
    touches = [*ending(overview), "Queued messages and records stay."]
    if can_detach:
        touches.append("Detached, all of it runs on without this console.")
    return Plan(
        "Leave and end what runs?",
        tuple(touches),
        words if environment == PRODUCTION else (),
        instead=DETACH if can_detach else "",
    )


def _strictest(overview: views.Overview) -> tuple[str, tuple[str, ...]]:
    names = {swarm.environment for swarm in alive(overview)}
    return (PRODUCTION if PRODUCTION in names else "", (PRODUCTION,))


def _look_record(action: actions.MemoryDelete | actions.MemoryLevel) -> Action:
    return actions.MemoryGet(
        environment=action.environment,
        key=action.key,
        actor=action.actor,
        namespace=action.namespace,
    )


_LOOKS: Final[dict[type[Action], Callable[[Any], Action]]] = {
    actions.SwarmTerminate: lambda action: actions.SwarmHealth(id=action.id),
    actions.AgentUnregister: lambda action: actions.AgentShow(id=action.id),
    actions.MemoryDelete: _look_record,
    actions.QueueCancel: lambda action: actions.QueueShow(id=action.id),
    actions.AclDeny: lambda action: actions.AgentShow(id=action.subject),
    actions.AclRevoke: lambda _action: actions.AclList(),
    actions.Stop: lambda _action: actions.Status(),
    actions.MemoryLevel: _look_record,
    actions.MemoryBudget: lambda action: actions.MemoryAdmit(
        environment=action.environment, base_bytes=action.base_bytes, max_bytes=action.max_bytes
    ),
    actions.QueuePurge: lambda action: actions.QueueList(
        environment=action.environment, state=action.state, kind=action.kind, limit=MOST_COUNTED
    ),
    actions.QueueRedrive: lambda action: actions.QueueDead(
        environment=action.environment, limit=MOST_COUNTED
    ),
    actions.ScheduleDelete: lambda action: actions.ScheduleShow(id=action.id),
    **safeguards.LOOKS,
}
_DRAFTS: Final[dict[type[Action], Callable[[Any, Any], Draft]]] = {
    actions.SwarmTerminate: _terminate,
    actions.AgentUnregister: _unregister,
    actions.MemoryDelete: _delete,
    actions.QueueCancel: _cancel,
    actions.AclDeny: _deny,
    actions.AclRevoke: _revoke,
    actions.Stop: _stop,
    actions.MemoryLevel: _level,
    actions.MemoryBudget: _budget,
    actions.QueuePurge: _purge,
    actions.QueueRedrive: _redrive,
    actions.ScheduleDelete: _delete_schedule,
    **safeguards.DRAFTS,
}
