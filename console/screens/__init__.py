"""One screen for each place of the console."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, Final, TypeAlias

import msgspec

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.model import Environment
from ...engine.views import View
from .. import columns
from ..columns import Moment
from ..listings import LISTINGS, Listing, Scope
from ..places import Place
from .frame import DeckScreen
from .listing import ListScreen
from .overview import OverviewScreen
from .pane import TextScreen, json_lines, text_lines

__all__ = ["DeckScreen", "ListScreen", "OverviewScreen", "TextScreen", "screen_for"]

Panel: TypeAlias = Callable[[str, Moment, Scope], DeckScreen]


def _kind(module: str, name: str) -> Callable[..., DeckScreen]:
    """A class of screens that is loaded when one is made: the first frame waits for none."""

    def make(*given: object) -> DeckScreen:
        kind: Callable[..., DeckScreen] = getattr(import_module(f".{module}", __name__), name)
        return kind(*given)

    return make


def screen_for(place: Place, moment: Moment) -> DeckScreen:
    """A new screen for a place."""
    listing = LISTINGS.get(place.name)
    if listing is None:
        return _OTHERS[place.name](place, moment)
    crumb, scope = place.subject or place.name, _scope(place, listing)
    kind = _PANELS.get(place.name)
    return kind(crumb, moment, scope) if kind else ListScreen(crumb, moment, listing, scope)


def _scope(place: Place, listing: Listing) -> Scope:
    if listing.by_environment and place.subject in set(Environment):
        return Scope(environment=Environment(place.subject))
    return Scope(place.subject)


def _message(place: Place, moment: Moment) -> DeckScreen:
    return _kind("message", "MessageScreen")(place.subject, moment)


def _schedule(place: Place, moment: Moment) -> DeckScreen:
    query = actions.ScheduleShow(id=place.subject)
    return TextScreen(place.subject, moment, "Schedule", query=query, read=json_lines)


def _task(place: Place, moment: Moment) -> DeckScreen:
    query = actions.TaskShow(id=place.subject)
    return TextScreen(place.subject, moment, "Task", query=query, read=json_lines)


def _event(place: Place, moment: Moment) -> DeckScreen:
    return _kind("event", "EventScreen")(place.subject, moment)


def _artifact(place: Place, moment: Moment) -> DeckScreen:
    query = actions.ArtifactShow(id=place.subject)
    return TextScreen(place.subject, moment, "Artifact", query=query, read=json_lines)


def _proposal(place: Place, moment: Moment) -> DeckScreen:
    query = actions.ConsensusShow(id=place.subject)
    return TextScreen(place.subject, moment, "Proposal", query=query, read=json_lines)


def _conflict(place: Place, moment: Moment) -> DeckScreen:
    query = actions.ConflictShow(id=place.subject)
    return TextScreen(place.subject, moment, "Conflict", query=query, read=json_lines)


def _record(place: Place, moment: Moment) -> DeckScreen:
    row = place.row
    actor = place.subject if place.subject not in set(Environment) else ""
    query = actions.MemoryGet(
        environment=row.environment, key=row.key, namespace=row.namespace, actor=actor or None
    )
    return TextScreen(row.key, moment, "Record", query=query, read=json_lines)


def _logs(place: Place, moment: Moment) -> DeckScreen:
    query = actions.Logs(agent=place.subject, lines=1000)
    title = f"Output of {place.subject}"
    return TextScreen("output", moment, title, query=query, read=text_lines, follow=True)


def _detail(place: Place, moment: Moment) -> DeckScreen:
    return TextScreen("detail", moment, "In full", lines=json_lines(place.row, moment))


def _answer(place: Place, moment: Moment) -> DeckScreen:
    """The answer to a typed query. Rows become a table, a view JSON, lines a text; all live."""
    query = typing.cast("Action", place.action)
    if isinstance(query, actions.Explain):
        return _kind("explain", "ExplainScreen")(query.subject, moment)
    spec = actions.spec_of(query)
    title = spec.name.replace(".", " ")
    kind = row_kind(spec.result)
    if kind is not None:
        return ListScreen(title, moment, answer_listing(title, kind, query))
    read = text_lines if spec.result == list[str] else json_lines
    follow = isinstance(query, actions.Logs)
    return TextScreen(title, moment, title, query=query, read=read, follow=follow)


def _result(place: Place, moment: Moment) -> DeckScreen:
    """What something that took its time has found: rows that stay as they are."""
    asked = typing.cast("Action", place.action)
    spec = actions.spec_of(asked)
    kind = row_kind(spec.result)
    assert kind is not None
    title = spec.name.replace(".", " ")
    # What is wrong first: that is what one looks for.
    found = tuple(sorted(place.row, key=lambda row: _GRAVEST.get(getattr(row, "status", ""), 2)))
    listing = replace(
        answer_listing(title, kind, asked),
        query=None,
        rows=lambda _overview, _scope: found,
        opens=None,
        words=lambda row: " ".join(
            part for part in (getattr(row, "detail", ""), getattr(row, "hint", "")) if part
        ),
    )
    return ListScreen(title, moment, listing)


def _who(place: Place, moment: Moment) -> DeckScreen:
    """Who may do what to a record, and by which rule."""
    row = place.row
    query = actions.AclWho(environment=row.environment, key=row.key, namespace=row.namespace)
    listing = replace(
        answer_listing(f"Who may · {row.key}", views.DecisionView, query),
        words=lambda d: f"{d.subject} {'may' if d.allowed else 'may not'} {d.action}: {d.detail}",
    )
    return ListScreen(f"who {row.key}", moment, listing)


def row_kind(result: Any) -> type[View] | None:  # noqa: ANN401 - a type expression
    """The view in a `list[View]`; None for any other result."""
    rows = typing.get_args(result)
    if typing.get_origin(result) is list and issubclass(rows[0], msgspec.Struct):
        return typing.cast("type[View]", rows[0])
    return None


def answer_listing(title: str, kind: type[View], query: Action) -> Listing:
    """A table for the answer to any query, with the keys and places of the view's own listing."""
    known = next((each for each in LISTINGS.values() if _shows(each, kind)), None)
    return Listing(
        title=title,
        columns=lambda moment: columns.columns_for(kind, moment),
        key=_key_of(kind),
        empty="The answer is empty.",
        groups=known.groups if known is not None else ("rows", "table", "motion"),
        query=lambda _scope: query,
        opens=known.opens if known is not None else None,
        by_environment=False,
    )


def _shows(listing: Listing, kind: type[View]) -> bool:
    return columns.BY_VIEW.get(kind) is listing.columns


def _key_of(kind: type[View]) -> Callable[[Any], str]:
    """What tells one row from another: its id, else all that is short."""
    if "id" in kind.__struct_fields__:
        return lambda row: str(row.id)
    names = [name for name in kind.__struct_fields__ if name in _NAMING]
    return lambda row: "\n".join(str(getattr(row, name)) for name in names)


_GRAVEST: Final = {"failed": 0, "warning": 1}
_NAMING: Final = (
    "environment", "namespace", "key", "name", "path", "sequence", "subject", "action", "priority",
    "metric", "probe",
)  # fmt: skip
_PANELS: Final[dict[str, Panel]] = {
    "memory": _kind("memory", "MemoryScreen"),
    "queue": _kind("queue", "QueueScreen"),
    "access": _kind("access", "AccessScreen"),
    "bench": _kind("bench", "BenchScreen"),
    "audit": _kind("audit", "AuditScreen"),
    "vault": _kind("vault", "VaultScreen"),
    "db": _kind("database", "DatabaseScreen"),
    "metrics": _kind("charts", "MetricsScreen"),
    "measures": _kind("measures", "MeasuresScreen"),
}
"""Listings with a screen of their own."""

_OTHERS: Final[dict[str, Callable[[Place, Moment], DeckScreen]]] = {
    "message": _message,
    "schedule": _schedule,
    "task": _task,
    "event": _event,
    "proposal": _proposal,
    "conflict": _conflict,
    "artifact": _artifact,
    "record": _record,
    "logs": _logs,
    "detail": _detail,
    "answer": _answer,
    "who": _who,
    "result": _result,
    "measure": lambda place, moment: _kind("measures", "MeasureScreen")(moment, place.row),
    "charts": lambda place, moment: _kind("charts", "ChartsScreen")(moment, place.subject),
    "explain": lambda place, moment: _kind("explain", "ExplainScreen")(place.subject, moment),
    "as": lambda place, moment: _kind("access", "ViewAsScreen")(moment, place.subject),
    "tree": lambda place, moment: _kind("tree", "TreeScreen")(place.name, moment),
}
"""Places that are no listing."""
