"""What the actions that protect will touch: the vault, access in an emergency, tokens, backups and
the clock. Drafts of plans, for `plans`; pure.

What cannot be undone says so, and precisely what is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from ..engine import actions, views
from ..engine.actions import Action
from ..engine.errors import NotFound
from ..engine.model import environment_of
from ..widgets.format import moment as written
from . import wording

Draft: TypeAlias = tuple[str, Sequence[str], str, tuple[str, ...]]
"""Question, sentences, environment, and what may be typed in production to say yes."""

STRICTEST: Final = "production"
_WORD: Final = (STRICTEST,)
_OVER: Final = frozenset({"completed", "failed", "cancelled"})
_MOST_NAMED: Final = 4
MOST_COUNTED: Final = 10_000
"""Rows that are looked at to say what is touched."""

_CLASSES: Final = {
    "private": "private records",
    "team": "team records",
    "rest": "swarm, public and system records that are sealed",
    "all": "every sealed record",
}
"""What a class of keys seals."""

_SOURCES: Final = {
    "file": "a key file below the user's configuration, which opens by itself",
    "passphrase": "a passphrase, to be typed after every start",
    "keyring": "the keyring of this system",
    "variable": "an environment variable",
}
"""Where a vault's key comes from, in a few words."""


def source_words(source: str) -> str:
    """What a source of the key means; the word itself for one that is not known."""
    return _SOURCES.get(source, source)


def _seal(_action: actions.VaultSeal, vault: views.VaultView) -> Draft:
    how = (
        "the passphrase is asked for" if vault.source == "passphrase"
        else f"the key is read again from {vault.place or vault.source}"
    )  # fmt: skip
    touches = [
        "No record of any environment can be read or written until it is unsealed",
        "Agents get the error 'sealed'; their messages, swarms and processes go on",
        f"To unseal, {how}. Nothing stored is changed.",
    ]
    return "Seal the vault?", touches, STRICTEST, _WORD


def _rekey(action: actions.VaultRekey, vault: views.VaultView) -> Draft:
    touches = [
        f"now: {source_words(vault.source)}",
        f"then: {source_words(action.source)}",
        "Records are not touched; backups made before still open with the key of then",
    ]
    if action.source == "passphrase":
        touches.append("Who loses the passphrase loses every sealed record: nothing can recover it")
    return "Change where the key comes from?", touches, STRICTEST, _WORD


def _shred(action: actions.VaultShred, overview: views.Overview) -> Draft:
    found = _environment(overview, action.environment)
    records = wording.count(found.records, "record") if found is not None else "its records"
    touches = [
        f"{_CLASSES[action.kind]} of {action.environment} can never be read again, by nobody",
        f"{records} are stored there now",
        *_beside_records(action.kind),
        "It cannot be undone: keys are destroyed, and no passphrase or key file brings them back",
        "Backups made before still hold the keys: delete these too, here and wherever copies are",
    ]
    what = "the keys" if action.kind == "all" else f"the {action.kind} keys"
    return f"Destroy {what} of {action.environment}?", touches, action.environment, _WORD


def _beside_records(kind: str) -> tuple[str, ...]:
    """What goes beside records; messages stay without what they said."""
    if kind not in {"all", "rest"}:
        return ()
    return ("All artifacts go with their files, whatever their level",)


def _environment(overview: views.Overview, name: str) -> views.EnvironmentView | None:
    return next((each for each in overview.environments if each.name == name), None)


def _break_glass(action: actions.AclBreakglass, _overview: views.Overview) -> Draft:
    touches = [
        f"{action.environment}, namespace {action.namespace}",
        "The operator can read this private record for 15 minutes, and no other",
        f"Its owner is told, and the audit trail keeps the reason: {action.reason}",
        "It can be ended before: acl revoke, or the key the banner names",
    ]
    return f"Break the glass over {action.key}?", touches, action.environment, _WORD


def _export(action: actions.AclExport, _overview: views.Overview) -> Draft:
    keys = f"{action.namespace}:{action.key_prefix}*"
    touches = [
        f"Agents of {action.target} can read the public records {keys} of {action.source}",
        f"for {wording.span(action.expires_s)}, under the name {action.name}; it can be revoked",
        f"What was read meanwhile stays with {action.target}",
    ]
    return f"Open {action.source} to {action.target}?", touches, action.source, _WORD


def _token(action: actions.AgentToken, agent: views.AgentView) -> Draft:
    touches = [
        "The token it has now is void at once, and its connections end",
        f"The new one is shown once, is valid for {wording.span(action.ttl_s)}, and is not kept",
    ]
    return f"New token for {agent.name} ({agent.id})?", touches, agent.environment, _WORD


def _revoke_token(action: actions.AgentRevoke, agent: views.AgentView) -> Draft:
    touches = [
        "Its token is void at once and its connections end",
        f"{wording.count(agent.leased, 'message')} it holds are free when their leases end",
        f"agent token {action.id} gives it a new one",
    ]
    return f"Void the token of {agent.name} ({agent.id})?", touches, agent.environment, _WORD


def _dissolve(action: actions.TeamDelete, team: views.TeamView) -> Draft:
    touches = [
        f"{wording.count(len(team.members), 'member')}: they stay, and so do their records",
        "Team records reach their owners alone from then on",
        "Messages, events and proposals for the team reach nobody",
    ]
    return f"Dissolve the team {team.name} ({action.team})?", touches, team.environment, _WORD


def _backup(action: Any, found: Sequence[views.BackupView]) -> views.BackupView:  # noqa: ANN401
    """The backup an action names. Raises NotFound."""
    for each in found:
        if (each.name, each.environment) == (action.name, action.environment):
            return each
    raise NotFound(
        f"no backup {action.name} of {action.environment}", hint="see the backups (:backups)"
    )


def _restore(action: actions.BackupRestore, found: Sequence[views.BackupView]) -> Draft:
    backup = _backup(action, found)
    holds = (
        wording.count(backup.records, "record"),
        wording.count(backup.messages, "message"),
        wording.count(backup.audit_rows, "audit row"),
    )
    since = f"written since {written(backup.created_at_us)}"
    touches = [
        f"the copy: {', '.join(holds)}",
        f"Lost from {action.environment}: records, messages, agents, grants and audit rows {since}",
        "It cannot be undone by a key: the file of now is kept aside, for repair by hand only",
        f"It is refused while swarms of {action.environment} run, and when the copy is not sound",
    ]
    question = f"Replace {action.environment} by {backup.name}?"
    return question, touches, action.environment, _WORD


def _delete(action: actions.BackupDelete, found: Sequence[views.BackupView]) -> Draft:
    backup = _backup(action, found)
    others = sum(each.environment == backup.environment for each in found) - 1
    left = wording.count(others, "backup") if others else "no backup"
    touches = [
        f"{wording.size(backup.size_bytes)} of {written(backup.created_at_us)}, {backup.status}",
        "It is gone for good.",
        f"{left} of {backup.environment} {'remain' if others > 1 else 'remains'}",
    ]
    return f"Delete the backup {backup.name}?", touches, backup.environment, _WORD


def _clock(_action: actions.ClockConfirm, overview: views.Overview) -> Draft:
    touches = [
        overview.clock or "the clock is not held now: nothing would change",
        "Records, messages, grants and tokens that have expired by the host's clock end at once",
        "What is deleted so cannot be brought back. Look at the clock of the host first (date)",
    ]
    return "Accept the clock of this host?", touches, STRICTEST, _WORD


def _pause(action: actions.QueuePause, found: Sequence[views.FlowView]) -> Draft:
    flow = _flow(action.environment, found)
    touches = [
        f"{flow.open:,} of {flow.limit:,} messages are open: nobody gets another one of them",
        "Those who work on one finish it; what is sent is taken in until the queue is full",
        "It stays so, also after a restart, until it is resumed",
    ]
    return f"Pause the queue of {action.environment}?", touches, action.environment, _WORD


def _drain(action: actions.QueueDrain, found: Sequence[views.FlowView]) -> Draft:
    flow = _flow(action.environment, found)
    senders = wording.count(flow.waiting, "sender")
    touches = [
        f"{flow.open:,} messages are open: they are handed out and finished",
        "What is sent now is refused, of agents too"
        + (f"; {senders} that wait for room are told at once" if flow.waiting else ""),
        "It stays so, also after a restart, until it is resumed",
    ]
    return f"Drain the queue of {action.environment}?", touches, action.environment, _WORD


def _flow(environment: str, found: Sequence[views.FlowView]) -> views.FlowView:
    """Raises NotFound for an environment that does not serve."""
    for each in found:
        if each.environment == environment:
            return each
    raise NotFound(f"{environment} is not open", hint="swarmdeck status says why")


def _queue(action: actions.QueuePause | actions.QueueDrain) -> Action:
    return actions.QueueFlow(environment=action.environment)


def _purge_events(action: actions.EventPurge, seen: Any) -> Draft:  # noqa: ANN401 - a row or rows
    found: list[views.EventView] = seen if isinstance(seen, list) else [seen]
    if not found:
        raise NotFound(f"no event of {action.environment} is like that")
    types = Counter(each.type for each in found)
    total = wording.count(max(len(found), len(action.ids)), "event")
    if len(found) == MOST_COUNTED:
        total = f"{MOST_COUNTED:,} events or more; of these"
    touches = [f"{total}: " + ", ".join(f"{name} {n:,}" for name, n in types.most_common(6))]
    held = sum(each.status == "processing" for each in found)
    if held:
        touches.append(f"{wording.count(held, 'event')} somebody works on now")
    if action.older_than_s is not None:
        touches.append(f"Of these only what is older than {wording.span(action.older_than_s)}")
    touches.append("They are gone for good, with what they said; what follows from them stays.")
    what = found[0].id if len(found) == 1 else "these events"
    return f"Delete {what} of {action.environment}?", touches, action.environment, _WORD


def _delete_metric(action: actions.MetricDelete, found: Sequence[views.MeasureView]) -> Draft:
    if not found:
        raise NotFound(f"nothing of {action.environment} is called {action.name}")
    sources = {each.source for each in found}
    series = wording.count(len(found), "series", "series")
    touches = [
        f"{series} of {wording.count(len(sources), 'source')}",
        "All that was recorded is gone for good; recording goes on anew.",
    ]
    question = f"Delete the metric {action.name} of {action.environment}?"
    return question, touches, action.environment, _WORD


def _look_metric(action: actions.MetricDelete) -> Action:
    return actions.MetricSeries(
        environment=action.environment, name=action.name, labels=action.labels,
        publisher=action.publisher, actor=action.actor, limit=MOST_COUNTED,
    )  # fmt: skip


def _look_events(action: actions.EventPurge) -> Action:
    if action.ids:
        return actions.EventShow(id=action.ids[0], actor=action.actor)
    return actions.EventList(
        environment=action.environment, status=action.status, type=action.type,
        publisher=action.publisher, actor=action.actor, limit=MOST_COUNTED,
    )  # fmt: skip


def _cancel_task(action: actions.TaskCancel, behind: Sequence[views.TaskNodeView]) -> Draft:
    if not behind:
        raise NotFound(f"no task {action.id}")
    task, *others = behind
    touches = [f"{task.title or task.subject} is {task.status.replace('_', ' ')}"]
    if task.status == "in_progress":
        touches.append(f"{task.agent or 'Somebody'} works on it and will be refused")
    held = {each.subject for each in others if each.kind == "hard" and each.status not in _OVER}
    if action.cascade:
        touches.append(
            f"With it goes what needs it for certain ({wording.count(len(held), 'task')} shown "
            "behind it) and what is a part of it, so far as it has not ended"
        )
    elif held:
        touches.append(f"{wording.count(len(held), 'task')} behind it will be blocked or wait")
    touches.append("It can be tried again.")
    what = f"{action.id} and all behind it" if action.cascade else action.id
    return f"Give up {what}?", touches, environment_of(action.id).value, _WORD


def _undepend(action: actions.TaskUndepend | actions.DependencyResolve, found: Any) -> Draft:  # noqa: ANN401 - rows
    held = next((each for each in found if each.id == action.id), None)
    if held is None:
        raise NotFound(f"no dependency {action.id}")
    drops = isinstance(action, actions.TaskUndepend)
    touches = [
        f"{held.task} needs {held.needs}: {held.kind}, {held.state}",
        "The task can begin without it; nothing says any more that it was needed."
        if drops
        else "The task can begin without it.",
    ]
    what = "Take back" if drops else "Wait no longer for"
    return f"{what} {action.id}?", touches, held.environment, ()


def _look_dependencies(action: actions.TaskUndepend | actions.DependencyResolve) -> Action:
    return actions.DependencyList(
        environment=environment_of(action.id).value, actor=action.actor, limit=MOST_COUNTED
    )


def _delete_artifact(action: actions.ArtifactDelete, versions: list[views.ArtifactView]) -> Draft:
    found = [each for each in versions if action.all_versions or each.id == action.id]
    if not found:
        raise NotFound(f"no artifact {action.id}")
    touches = [
        f"{each.id}: version {each.version}, {each.type}, {wording.size(each.size_bytes)}"
        for each in found[:_MOST_NAMED]
    ]
    if len(found) > _MOST_NAMED:
        touches.append(f"and {wording.count(len(found) - _MOST_NAMED, 'older version')}")
    others = len(versions) - len(found)
    stays = f"{wording.count(others, 'other version')} and what" if others else "What"
    touches.append(f"It cannot be undone. {stays} was made from it stays.")
    what = "all versions of " if action.all_versions else f"version {found[0].version} of "
    return f"Delete {what}{found[0].name}?", touches, found[0].environment, _WORD


def _look_artifact(action: actions.ArtifactDelete) -> Action:
    return actions.ArtifactVersions(id=action.id, actor=action.actor)


def _status(_action: Action) -> Action:
    return actions.Status()


def _vault(_action: Action) -> Action:
    return actions.VaultStatus()


def _backups(action: actions.BackupRestore | actions.BackupDelete) -> Action:
    return actions.BackupList(environment=action.environment)


LOOKS: Final[dict[type[Action], Callable[[Any], Action]]] = {
    actions.VaultSeal: _vault,
    actions.VaultRekey: _vault,
    actions.VaultShred: _status,
    actions.AclBreakglass: _status,
    actions.AclExport: _status,
    actions.AgentToken: lambda action: actions.AgentShow(id=action.id),
    actions.AgentRevoke: lambda action: actions.AgentShow(id=action.id),
    actions.TeamDelete: lambda action: actions.TeamShow(team=action.team),
    actions.BackupRestore: _backups,
    actions.BackupDelete: _backups,
    actions.ClockConfirm: _status,
    actions.QueuePause: _queue,
    actions.QueueDrain: _queue,
    actions.EventPurge: _look_events,
    actions.TaskCancel: lambda action: actions.TaskGraph(
        id=action.id, behind=True, actor=action.actor
    ),
    actions.TaskUndepend: _look_dependencies,
    actions.DependencyResolve: _look_dependencies,
    actions.MetricDelete: _look_metric,
    actions.ArtifactDelete: _look_artifact,
}
DRAFTS: Final[dict[type[Action], Callable[[Any, Any], Draft]]] = {
    actions.VaultSeal: _seal,
    actions.VaultRekey: _rekey,
    actions.VaultShred: _shred,
    actions.AclBreakglass: _break_glass,
    actions.AclExport: _export,
    actions.AgentToken: _token,
    actions.AgentRevoke: _revoke_token,
    actions.TeamDelete: _dissolve,
    actions.BackupRestore: _restore,
    actions.BackupDelete: _delete,
    actions.ClockConfirm: _clock,
    actions.QueuePause: _pause,
    actions.QueueDrain: _drain,
    actions.EventPurge: _purge_events,
    actions.TaskCancel: _cancel_task,
    actions.TaskUndepend: _undepend,
    actions.DependencyResolve: _undepend,
    actions.MetricDelete: _delete_metric,
    actions.ArtifactDelete: _delete_artifact,
}
