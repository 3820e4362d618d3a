"""Messages by state, and what is sent again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.model import MessageState
from ...engine.views.queue import when_of
from ...widgets import Line, Span, mark_of
from ...widgets.format import count
from .. import columns
from ..columns import Moment
from ..places import Place
from .base import OPEN, STATES, Listing, Scope, ident, within

MOST_MERGED: Final = 19_000
"""So far down the engine surely goes through messages of several environments; beyond that it
may ask for one of them to be named."""


def _in_state(counts: views.QueueCounts, state: str) -> int:
    members = ("ready", "delayed", "leased") if state == OPEN else (state,)
    return sum(getattr(counts, member) for member in members)


def _total_queue(overview: views.Overview, scope: Scope) -> int | None:
    """The messages in the state shown, unless there are too many to go to the last of them."""
    found = [
        _in_state(each.queue, scope.state)
        for each in overview.environments
        if within(scope, each.name)
    ]
    several = sum(map(bool, found)) > 1
    return None if several and sum(found) > MOST_MERGED else sum(found)


def _about_queue(overview: views.Overview, scope: Scope, _moment: Moment) -> Sequence[Line]:
    """The states with their counts; the one shown is marked."""
    counts = [each.queue for each in overview.environments if within(scope, each.name)]
    spans: list[Span] = [("  ", "text")]
    for state in STATES:
        total = sum(_in_state(each, state) for each in counts)
        chosen = state == scope.state
        style = "text" if state == OPEN or not total else mark_of(state).style
        spans.append((f" {state} {count(total)} ", f"{style} reverse bold" if chosen else style))
        spans.append((" ", "text"))
    return (tuple(spans),)


def _query_queue(scope: Scope) -> Action:
    if scope.state == OPEN:
        return actions.QueueList(environment=scope.place)
    return actions.QueueList(environment=scope.place, state=MessageState(scope.state).value)


QUEUE: Final = Listing(
    title="Messages",
    columns=columns.messages,
    key=ident,
    empty="No message is in this state.\n\n"
    "→  next state,  @  next environment,  n  sends a message",
    groups=("queue", "states", "rows", "table", "motion"),
    query=_query_queue,
    opens=lambda message: Place("message", message.id),
    about=_about_queue,
    about_height=2,
    by_state=True,
    paged=True,
    total=_total_queue,
)
SCHEDULES: Final = Listing(
    title="Schedules",
    columns=columns.schedules,
    key=ident,
    empty="Nothing is sent again and again.\n\nn  makes a schedule; or type  "
    ":schedule create development NAME KIND BODY --every 60",
    groups=("schedules", "rows", "table", "motion"),
    query=lambda scope: actions.ScheduleList(environment=scope.place),
    opens=lambda schedule: Place("schedule", schedule.id),
    words=lambda schedule: (
        f"{schedule.id} sends {schedule.kind} {when_of(schedule)}"
        + (f", waits: {schedule.reason}" if schedule.reason else "")
    ),
)
