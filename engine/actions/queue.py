"""Actions on messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .. import views
from .spec import (
    Action,
    Contains,
    Limit,
    Offset,
    OptionalWhere,
    Order,
    Reader,
    Seconds,
    Where,
    action,
    arg,
)

# Bounds stand inside an optional type: msgspec takes none on a union with None.
Priority = Annotated[int, msgspec.Meta(ge=1, le=10)]
Attempts = Annotated[int, msgspec.Meta(ge=1, le=100)]
Rows = Annotated[int, msgspec.Meta(ge=1)]
Reason = Annotated[str, arg("why, for others to see")]
Key = Annotated[str | None, arg("a second one with this key is not sent")]

Message = Annotated[str, arg("message id", positional=True)]
Schedule = Annotated[str, arg("schedule id", positional=True)]


@action(views.MessageView)
class QueueSend(Action, frozen=True, kw_only=True, tag="queue.send"):
    """Send a message."""

    environment: Where
    kind: Annotated[str, arg("kind of work", positional=True)]
    body: Annotated[Any, arg("JSON", positional=True, unit="json")]
    actor: Reader = None
    priority: Annotated[int, arg("1 to 10, 10 most urgent", unit="priority", ge=1, le=10)] = 5
    delay_s: Annotated[float, arg("seconds before it can be claimed", flag="--delay", ge=0)] = 0
    expires_s: Annotated[Seconds | None, arg("seconds until it expires", flag="--expires")] = None
    to: Annotated[str | None, arg("only for this agent, team or swarm id")] = None
    key: Key = None
    max_attempts: Annotated[int, arg("deliveries before it is a dead letter", ge=1, le=100)] = 3


@action(views.Done)
class QueueBroadcast(Action, frozen=True, kw_only=True, tag="queue.broadcast"):
    """Send a message to each agent of a swarm, a team or the whole environment."""

    environment: Where
    kind: Annotated[str, arg("kind of work", positional=True)]
    body: Annotated[Any, arg("JSON", positional=True, unit="json")]
    actor: Reader = None
    to: Annotated[str | None, arg("only to the agents of this swarm or team id")] = None
    priority: Annotated[int, arg("1 to 10, 10 most urgent", unit="priority", ge=1, le=10)] = 5
    delay_s: Annotated[float, arg("seconds before it can be claimed", flag="--delay", ge=0)] = 0
    expires_s: Annotated[Seconds | None, arg("seconds until it expires", flag="--expires")] = None
    key: Key = None
    max_attempts: Annotated[int, arg("deliveries before it is a dead letter", ge=1, le=100)] = 3


@action(views.FlowView, destructive=True)
class QueuePause(Action, frozen=True, kw_only=True, tag="queue.pause"):
    """Hand out no message of an environment until it is resumed; sends are still taken in."""

    environment: Where
    reason: Reason = ""


@action(views.FlowView, destructive=True)
class QueueDrain(Action, frozen=True, kw_only=True, tag="queue.drain"):
    """Take in no message in an environment until it is resumed; those there are finished."""

    environment: Where
    reason: Reason = ""


@action(views.FlowView)
class QueueResume(Action, frozen=True, kw_only=True, tag="queue.resume"):
    """Hand out and take in messages again."""

    environment: Where
    reason: Reason = ""


@action(list[views.FlowView], query=True)
class QueueFlow(Action, frozen=True, kw_only=True, tag="queue.flow"):
    """Show whether queues are stopped, how full they are and since when messages wait."""

    environment: OptionalWhere = None


@action(list[views.MessageView], query=True)
class QueueList(Action, frozen=True, kw_only=True, tag="queue.list"):
    """List messages, most urgent first."""

    environment: OptionalWhere = None
    state: Annotated[
        Literal["ready", "delayed", "leased", "done", "dead", "expired", "cancelled"] | None,
        arg("only this state (default: ready, delayed and leased)"),
    ] = None
    kind: Annotated[str | None, arg("only this kind")] = None
    holder: Annotated[str | None, arg("only leased by this agent")] = None
    sender: Annotated[str | None, arg("only sent by this agent")] = None
    contains: Contains = ""
    order: Annotated[
        Literal["urgency", "age", "kind", "attempts"],
        arg("what to sort by (urgency: open ones most urgent first, ended ones newest first)"),
    ] = "urgency"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.QueueCounts, query=True)
class QueueCount(Action, frozen=True, kw_only=True, tag="queue.count"):
    """Count messages by state."""

    environment: OptionalWhere = None
    state: Annotated[
        Literal["ready", "delayed", "leased", "done", "dead", "expired", "cancelled"] | None,
        arg("only this state"),
    ] = None


@action(views.MessageView, query=True)
class QueueShow(Action, frozen=True, kw_only=True, tag="queue.show"):
    """Show one message with its body, result and last error."""

    id: Message


@action(views.MessageView)
class QueueRetry(Action, frozen=True, kw_only=True, tag="queue.retry"):
    """Make a dead, expired or cancelled message ready again, with fresh attempts."""

    id: Message


@action(views.MessageView, destructive=True)
class QueueCancel(Action, frozen=True, kw_only=True, tag="queue.cancel"):
    """Cancel a message that is ready, delayed or leased."""

    id: Message


@action(list[views.MessageView], query=True)
class QueueDead(Action, frozen=True, kw_only=True, tag="queue.dead"):
    """List the dead letters, newest first."""

    environment: OptionalWhere = None
    limit: Limit = 200


@action(list[views.LaneView], query=True)
class QueueLanes(Action, frozen=True, kw_only=True, tag="queue.lanes"):
    """Show how many messages wait, are delayed, leased and dead at each priority."""

    environment: OptionalWhere = None


@action(views.MessageView)
class QueueEdit(Action, frozen=True, kw_only=True, tag="queue.edit"):
    """Change a message that nobody works on: ready, delayed, dead, expired or cancelled."""

    id: Message
    body: Annotated[Any, arg("JSON; left out or null: stays as it is", unit="json")] = None
    priority: Annotated[Priority | None, arg("1 to 10, 10 most urgent", unit="priority")] = None
    delay_s: Annotated[
        Seconds | None,
        arg("seconds from now before it can be claimed; open ones only", flag="--delay"),
    ] = None
    expires_s: Annotated[
        Seconds | None, arg("seconds from now until it expires", flag="--expires")
    ] = None
    max_attempts: Annotated[Attempts | None, arg("deliveries before it is a dead letter")] = None


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class QueuePurge(Action, frozen=True, kw_only=True, tag="queue.purge"):
    """Delete all messages of one state for good."""

    environment: Where
    state: Annotated[
        Literal["ready", "delayed", "done", "dead", "expired", "cancelled"],
        arg("messages of this state", positional=True),
    ]
    kind: Annotated[str | None, arg("only this kind")] = None


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class QueueRedrive(Action, frozen=True, kw_only=True, tag="queue.redrive"):
    """Make all dead letters ready again, with fresh attempts."""

    environment: Where
    kind: Annotated[str | None, arg("only this kind")] = None
    limit: Annotated[Rows | None, arg("at most so many, the oldest")] = None


@action(list[views.HistoryView], query=True)
class QueueHistory(Action, frozen=True, kw_only=True, tag="queue.history"):
    """Show what happened to a message, oldest first."""

    id: Message
    limit: Annotated[int, arg("only its last so many steps", ge=1, le=1_000)] = 100


@action(views.ScheduleView)
class ScheduleCreate(Action, frozen=True, kw_only=True, tag="schedule.create"):
    """Send a message again and again: every so many seconds, or by a cron expression."""

    environment: Where
    name: Annotated[str, arg("what it is called", positional=True)]
    kind: Annotated[str, arg("kind of work", positional=True)]
    body: Annotated[Any, arg("JSON", positional=True, unit="json")]
    every_s: Annotated[Seconds | None, arg("seconds between two", flag="--every")] = None
    cron: Annotated[str | None, arg('or five fields, such as "30 6 * * mon-fri"')] = None
    zone: Annotated[str, arg("time zone of the cron expression")] = "UTC"
    to: Annotated[str | None, arg("only for this agent, team or swarm id")] = None
    priority: Annotated[int, arg("1 to 10, 10 most urgent", unit="priority", ge=1, le=10)] = 5
    overlap: Annotated[bool, arg("send also while the last one is still open")] = False
    expires_s: Annotated[
        Seconds | None, arg("seconds until each message expires", flag="--expires")
    ] = None
    max_attempts: Annotated[
        int, arg("deliveries before a message is a dead letter", ge=1, le=100)
    ] = 3


@action(list[views.ScheduleView], query=True)
class ScheduleList(Action, frozen=True, kw_only=True, tag="schedule.list"):
    """List schedules, what is due next first."""

    environment: OptionalWhere = None


@action(views.ScheduleView, query=True)
class ScheduleShow(Action, frozen=True, kw_only=True, tag="schedule.show"):
    """Show one schedule with what its messages say."""

    id: Schedule


@action(views.ScheduleView)
class SchedulePause(Action, frozen=True, kw_only=True, tag="schedule.pause"):
    """Send nothing by a schedule until it is resumed."""

    id: Schedule


@action(views.ScheduleView)
class ScheduleResume(Action, frozen=True, kw_only=True, tag="schedule.resume"):
    """Go on with a schedule that is paused, from its next time on."""

    id: Schedule


@action(views.Done, destructive=True)
class ScheduleDelete(Action, frozen=True, kw_only=True, tag="schedule.delete"):
    """Delete a schedule; messages it has sent stay."""

    id: Schedule


@action(views.MessageView)
class ScheduleRun(Action, frozen=True, kw_only=True, tag="schedule.run"):
    """Send the message of a schedule now, whatever else is open; its times stay."""

    id: Schedule
