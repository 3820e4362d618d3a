"""Events, for those who write Python: `engine.eventlog("development", as_=agent)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import actions, views
from ..acting import Acting

EventViews = list[views.EventView]


class Events(Acting):
    """Events of one environment, as one actor sees them. All methods raise NotFound for an event
    that is not there or may not be read, InvalidInput, Unavailable."""

    async def publish(  # noqa: PLR0913 - the fields of an event
        self,
        type: str,  # noqa: A002 - the field's name
        payload: Any = None,  # noqa: ANN401 - JSON types
        *,
        to: str | None = None,
        priority: int = 5,
        level: str | int | None = None,
        team: str | None = None,
        parent: str | None = None,
        tags: Iterable[str] = (),
        ttl_s: float = 86_400,
        max_retries: int = 3,
    ) -> views.EventView:
        """Say that something has happened, to an agent, a team or a swarm (`to`) or to all who may
        read it. `level` None: of an agent for its swarm. `parent` is the event it follows from.
        Raises NotFound for an unknown target or parent, Denied."""
        return await self._one(
            actions.EventPublish, type=type, payload=payload, target=to, priority=priority,
            level=level, team=team, parent=parent, tags=tuple(tags), ttl_s=ttl_s,
            max_retries=max_retries,
        )  # fmt: skip

    async def publish_many(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Up to 1,000 events, all or none: each with a `type` and any other field of `publish`
        (`target` for whom it is). Their ids in the same order."""
        found: views.EventIds = await self._ask(actions.EventPublishMany, events=list(events))
        return list(found.ids)

    async def list(  # noqa: PLR0913 - all that can be asked for
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        source: str | None = None,
        to: str | None = None,
        tag: str | None = None,
        contains: str = "",
        after: str | None = None,
        order: str = "newest",
        descending: bool = False,
        offset: int = 0,
        limit: int = 200,
    ) -> EventViews:
        """Events without their payloads: those that match all that is given. `after` an event:
        those published later. `order` is newest, urgency (as they are taken) or type; `descending`
        turns it around."""
        return await self._many(
            actions.EventList, status=status, type=type, publisher=source, target=to, tag=tag,
            contains=contains, after=after, order=order, descending=descending, offset=offset,
            limit=limit,
        )  # fmt: skip

    async def get(self, ident: str) -> views.EventView:
        """One event with its payload."""
        return await self._one(actions.EventShow, id=ident)

    async def chain(self, ident: str) -> EventViews:
        """What an event belongs to: those that follow from one another, oldest first."""
        return await self._many(actions.EventChain, id=ident)

    async def count(self) -> views.EventCounts:
        """Events by status."""
        found: views.EventCounts = await self._ask(actions.EventCount)
        return found

    async def take(
        self, *, types: Iterable[str] = (), limit: int = 1, lease_s: float = 30
    ) -> EventViews:
        """Pending events with their payloads, the most urgent first, of these the oldest: they are
        the actor's for `lease_s` seconds. Empty where there are none now."""
        return await self._many(actions.EventTake, types=tuple(types), limit=limit, lease_s=lease_s)

    async def complete(self, event: views.EventView | str) -> views.EventView:
        """Finish an event. Raises Conflict when it is no longer the actor's; one that `take` gave
        also when it was taken again meanwhile."""
        return await self._one(actions.EventComplete, **_held(event))

    async def fail(self, event: views.EventView | str, error: str = "") -> views.EventView:
        """Give an event up: it is tried again after a while until its retries are used up. Raises
        as `complete` does."""
        return await self._one(actions.EventFail, **_held(event), error=error)

    async def retry(self, ident: str) -> views.EventView:
        """Make an event pending again that failed or expired. Raises Conflict, Denied."""
        return await self._one(actions.EventRetry, id=ident)

    async def purge(
        self,
        *,
        ids: Iterable[str] = (),
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        source: str | None = None,
        older_than_s: float | None = None,
    ) -> int:
        """Delete events by id, or all that match what is given, of what the actor may delete; how
        many."""
        found: views.Done = await self._ask(
            actions.EventPurge, ids=tuple(ids), status=status, type=type, publisher=source,
            older_than_s=older_than_s,
        )  # fmt: skip
        return found.changed

    async def _one(self, kind: type[actions.Action], **fields: Any) -> views.EventView:  # noqa: ANN401
        found: views.EventView = await self._ask(kind, **fields)
        return found

    async def _many(self, kind: type[actions.Action], **fields: Any) -> EventViews:  # noqa: ANN401
        found: EventViews = await self._ask(kind, **fields)
        return found


def _held(event: views.EventView | str) -> dict[str, Any]:
    """An event as it was taken: its attempt tells it from one that was taken again."""
    if isinstance(event, str):
        return {"id": event}
    return {"id": event.id, "attempt": event.attempt}
