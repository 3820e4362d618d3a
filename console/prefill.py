"""Forms and questions that begin from the row under the cursor. Pure: a row goes in, the words of
a command line or a place come out.

A form shows what is there now: an edit is a change of that, not a blank page.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from ..engine import views
from ..engine.errors import NotFound
from .columns import KeyRow
from .places import Place

_OF_SUBJECTS: Final = (
    views.AlertView, views.JournalView, views.FindingView, views.RecoveryView,
)  # fmt: skip


class CellRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the matrix of rights, as a row that keys act on."""

    environment: str
    namespace: str
    key: str
    level: str
    owner: str
    team: str | None
    subject: str
    name: str
    rights: str
    rule: str


def edit(row: object) -> tuple[str, ...]:
    """The words that open the form in which the row is changed. Raises NotFound."""
    if isinstance(row, views.EnvironmentView):
        budget = ("--base", exact(row.base_bytes), "--max", exact(row.max_bytes))
        return ("form", "memory", "budget", row.name, *budget)
    if isinstance(row, views.MessageView):
        return _edit_message(row)
    if isinstance(row, views.RecordView | CellRow):
        where = (row.environment, row.key, row.level, "--namespace", row.namespace)
        return ("form", "memory", "level", *where)
    if isinstance(row, views.SwarmView):
        return ("form", "swarm", "scale", row.id, str(row.agents_wanted), exact(row.memory_bytes))
    if isinstance(row, views.AgentView):
        return ("form", "agent", "update", row.id, "--name", row.name, "--type", row.type)
    if isinstance(row, views.FindingView | views.RecoveryView):
        return _edit_recovery(row)
    raise _unfit(row, "changed")


def _edit_recovery(row: views.FindingView | views.RecoveryView) -> tuple[str, ...]:
    words = ["form", "recovery", "set", row.subject, row.policy]
    words += ["--standby", row.standby] if row.standby else []
    return (*words, *(["--address", row.address] if row.address else []))


def _edit_message(message: views.MessageView) -> tuple[str, ...]:
    words = ["form", "queue", "edit", message.id, "--priority", str(message.priority)]
    if message.body is not None:
        words += ["--body", json.dumps(message.body, ensure_ascii=False)]
    return (*words, "--max-attempts", str(message.max_attempts))


def entry(effect: str, row: object) -> tuple[str, ...]:
    """The words that open the form of a grant or a denial (`grant`, `deny`) as the row suggests:
    for a cell its subject and record, for an entry in force the like of it."""
    words = ["form", "acl", effect]
    if isinstance(row, CellRow):
        words += [row.subject, "--level", row.level, "--namespace", row.namespace]
        words += ["--key-prefix", row.key, "--environment", row.environment]
    elif isinstance(row, views.GrantView):
        words += [row.subject, "--level", row.level, "--namespace", row.namespace]
        if row.key_prefix:
            words += ["--key-prefix", row.key_prefix]
        words += ["--environment", row.environment]
    elif isinstance(row, views.RecordView):
        words += ["--level", row.level, "--namespace", row.namespace, "--key-prefix", row.key]
        words += ["--environment", row.environment]
    elif isinstance(row, views.AgentView):
        words.append(row.id)
    return tuple(words)


def why(row: object) -> Place:
    """Where it is explained why the row is as it is. Raises NotFound."""
    if isinstance(row, views.RecordView | CellRow):
        return Place("who", row=row)
    if isinstance(row, views.EnvironmentView):
        return Place("explain", row.name)
    if isinstance(row, KeyRow | views.DatabaseView | views.BackupView):
        return Place("explain", row.environment)
    if isinstance(row, _OF_SUBJECTS):
        return Place("explain", _named(row, row.subject))
    if isinstance(row, views.MeasurementView) and (row.environment or row.kind == "host"):
        return Place("explain", row.subject)
    ident = getattr(row, "id", None)
    if ident and not isinstance(row, views.MeasureView):
        return Place("explain", str(ident))
    raise _unfit(row, "explained")


def _unfit(row: object, what: str) -> NotFound:
    if row is None:
        return NotFound(f"no row is selected that could be {what}")
    return NotFound(f"rows like this one cannot be {what}", hint="d shows all of it")


def _named(row: Any, subject: str) -> str:  # noqa: ANN401 - an alert or an event
    """What it is about: its subject, else the environment."""
    found = "host" if subject in {"disk", "memory", "bus"} else subject or row.environment
    if not found:
        raise NotFound("this is about nothing that could be explained", hint="d shows all of it")
    return str(found)


def exact(size_bytes: int) -> str:
    """A size as it would be typed, and no byte off: `2GB`, `1536MB`, `1234567`."""
    for unit, shift in (("GB", 30), ("MB", 20)):
        if size_bytes and not size_bytes % (1 << shift):
            return f"{size_bytes >> shift}{unit}"
    return str(size_bytes)
