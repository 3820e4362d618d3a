"""Actions on events: what agents tell one another has happened."""

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

Attempt = Annotated[int, msgspec.Meta(ge=1)]
EventId = Annotated[str, arg("event id", positional=True)]
At = Annotated[Attempt | None, arg("only at this attempt (default: whichever)")]
Status = Annotated[
    Literal["pending", "processing", "completed", "failed", "expired"] | None,
    arg("only this status"),
]
Type = Annotated[str | None, arg("only this type")]
Publisher = Annotated[str | None, arg("only published by this agent", flag="--source")]


@action(views.EventView)
class EventPublish(Action, frozen=True, kw_only=True, tag="event.publish"):
    """Publish an event: say that something has happened."""

    environment: Where
    type: Annotated[str, arg("what has happened, such as build.done", positional=True)]
    payload: Annotated[Any, arg("JSON", positional=True, unit="json")] = None
    actor: Reader = None
    target: Annotated[str | None, arg("only for this agent, team or swarm id", flag="--to")] = None
    priority: Annotated[int, arg("0 to 10, 10 most urgent", ge=0, le=10)] = 5
    level: Annotated[
        str | int | None,
        arg("private, team, swarm, public, system (of an agent: swarm)", unit="level"),
    ] = None
    team: Annotated[str | None, arg("for this one of its source's teams")] = None
    parent: Annotated[str | None, arg("the event that it follows from")] = None
    tags: Annotated[tuple[str, ...], arg("may be repeated", flag="--tag")] = ()
    ttl_s: Annotated[float, arg("seconds until it expires", flag="--ttl", ge=0.001)] = 86_400.0
    max_retries: Annotated[int, arg("how often it is tried again", ge=0, le=100)] = 3


@action(views.EventIds)
class EventPublishMany(Action, frozen=True, kw_only=True, tag="event.publish_many"):
    """Publish up to 1,000 events together, all or none of them."""

    environment: Where
    events: Annotated[
        Any, arg("JSON list of objects with type, payload, target …", positional=True, unit="json")
    ]
    actor: Reader = None


@action(list[views.EventView], query=True)
class EventList(Action, frozen=True, kw_only=True, tag="event.list"):
    """List events that may be read, newest first."""

    environment: OptionalWhere = None
    actor: Reader = None
    status: Status = None
    type: Type = None
    publisher: Publisher = None
    target: Annotated[str | None, arg("only for this agent, team or swarm", flag="--to")] = None
    tag: Annotated[str | None, arg("only with this tag")] = None
    contains: Contains = ""
    after: Annotated[str | None, arg("only those published after this event")] = None
    order: Annotated[
        Literal["newest", "urgency", "type"],
        arg("what to sort by (urgency: as they are taken)"),
    ] = "newest"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.EventView, query=True)
class EventShow(Action, frozen=True, kw_only=True, tag="event.show"):
    """Show one event with its payload and last error."""

    id: EventId
    actor: Reader = None


@action(list[views.EventView], query=True)
class EventChain(Action, frozen=True, kw_only=True, tag="event.chain"):
    """List what an event belongs to: the events that follow from one another, oldest first."""

    id: EventId
    actor: Reader = None
    limit: Limit = 1_000


@action(views.EventCounts, query=True)
class EventCount(Action, frozen=True, kw_only=True, tag="event.count"):
    """Count events by status."""

    environment: OptionalWhere = None
    actor: Reader = None


@action(list[views.EventView])
class EventTake(Action, frozen=True, kw_only=True, tag="event.take"):
    """Take pending events to work on them: the most urgent first, of these the oldest."""

    environment: Where
    actor: Reader = None
    types: Annotated[tuple[str, ...], arg("only this type; may be repeated", flag="--type")] = ()
    limit: Annotated[int, arg("at most so many", ge=1, le=100)] = 1
    lease_s: Annotated[
        float, arg("seconds they are the taker's", flag="--lease", ge=0.1, le=86_400)
    ] = 30.0


@action(views.EventView)
class EventComplete(Action, frozen=True, kw_only=True, tag="event.complete"):
    """Finish an event that was taken."""

    id: EventId
    actor: Reader = None
    attempt: At = None


@action(views.EventView)
class EventFail(Action, frozen=True, kw_only=True, tag="event.fail"):
    """Give up an event that was taken: it is tried again later until its retries are used up."""

    id: EventId
    error: Annotated[str, arg("why", positional=True)] = ""
    actor: Reader = None
    attempt: At = None


@action(views.EventView)
class EventRetry(Action, frozen=True, kw_only=True, tag="event.retry"):
    """Make an event pending again that failed or expired, with fresh retries and time."""

    id: EventId
    actor: Reader = None


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class EventPurge(Action, frozen=True, kw_only=True, tag="event.purge"):
    """Delete events by id, or all of a status, type, source or age."""

    environment: Where
    ids: Annotated[tuple[str, ...], arg("this event; may be repeated", flag="--id")] = ()
    status: Status = None
    type: Type = None
    publisher: Publisher = None
    older_than_s: Annotated[
        Seconds | None, arg("only published longer ago, in seconds", flag="--older-than")
    ] = None
    actor: Reader = None
