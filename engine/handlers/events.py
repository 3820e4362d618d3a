"""Events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

import msgspec

from .. import actions, views
from ..dispatch import Context
from ..errors import InvalidInput
from ..eventlog.looks import Wish
from ..eventlog.service import EventLog, Wanted
from ..eventlog.steering import Filter
from .paging import page_of
from .services import Part


class EventHandlers(Part):
    """Events."""

    async def event_publish(
        self, context: Context, action: actions.EventPublish
    ) -> views.EventView:
        actor = self._actor(context, action.actor)
        log = self._place(action.environment).events
        wanted = Wanted(
            type=action.type, payload=action.payload, priority=action.priority,
            target=action.target, level=action.level, team=action.team, parent=action.parent,
            tags=action.tags, ttl_s=action.ttl_s, max_retries=action.max_retries,
        )  # fmt: skip
        return await log.publish_one(actor, wanted)

    async def event_publish_many(
        self, context: Context, action: actions.EventPublishMany
    ) -> views.EventIds:
        actor = self._actor(context, action.actor)
        log = self._place(action.environment).events
        return views.EventIds(ids=tuple(await log.publish(actor, _wanted(action.events))))

    async def event_list(
        self, context: Context, action: actions.EventList
    ) -> list[views.EventView]:
        actor = self._actor(context, action.actor)
        logs = [place.events for place in self._places(action.environment)]
        if action.after is not None and len(logs) > 1:
            logs = [self._of(action.after).events]

        def read(log: EventLog, offset: int, limit: int) -> Awaitable[list[views.EventView]]:
            return log.list(actor, _wish(log, action), offset=offset, limit=limit)

        return await page_of(logs, read, action, _KEYS[action.order], reverse=action.descending)

    async def event_show(self, context: Context, action: actions.EventShow) -> views.EventView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).events.show(actor, action.id)

    async def event_chain(
        self, context: Context, action: actions.EventChain
    ) -> list[views.EventView]:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).events.chain(actor, action.id, action.limit)

    async def event_count(self, context: Context, action: actions.EventCount) -> views.EventCounts:
        actor = self._actor(context, action.actor)
        logs = [place.events for place in self._places(action.environment)]
        counts = await asyncio.gather(*(log.count(actor) for log in logs))
        names = views.EventCounts.__struct_fields__
        return views.EventCounts(
            **{name: sum(getattr(each, name) for each in counts) for name in names}
        )

    async def event_take(
        self, context: Context, action: actions.EventTake
    ) -> list[views.EventView]:
        actor = self._actor(context, action.actor)
        log = self._place(action.environment).events
        return await log.take(actor, action.types, action.limit, action.lease_s)

    async def event_complete(
        self, context: Context, action: actions.EventComplete
    ) -> views.EventView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).events.complete(actor, action.id, action.attempt)

    async def event_fail(self, context: Context, action: actions.EventFail) -> views.EventView:
        actor = self._actor(context, action.actor)
        log = self._of(action.id).events
        return await log.fail(actor, action.id, action.error, action.attempt)

    async def event_retry(self, context: Context, action: actions.EventRetry) -> views.EventView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).events.retry(actor, action.id)

    async def event_purge(self, context: Context, action: actions.EventPurge) -> views.Done:
        actor = self._actor(context, action.actor)
        place = self._place(action.environment)
        age_s = action.older_than_s
        before_us = None
        if age_s is not None:
            before_us = place.database.clock.wall_us() - int(age_s * 1_000_000)
        wanted = Filter(action.status, action.type, action.publisher, before_us)
        gone = await place.events.purge(actor, wanted, context.progress, action.ids)
        return views.Done(changed=gone, detail=f"deleted {gone:,} events")


def _wish(log: EventLog, action: actions.EventList) -> Wish:
    return log.wish(
        action.after, None, status=action.status, type=action.type, source=action.publisher,
        target=action.target, tag=action.tag, contains=action.contains, order=action.order,
        descending=action.descending,
    )  # fmt: skip


def _wanted(events: Any) -> list[Wanted]:  # noqa: ANN401 - what was typed or sent
    try:
        return msgspec.convert(events, list[Wanted])
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"event.publish_many: {error}",
            hint='a list such as [{"type": "build.done", "payload": {"ok": true}}]',
        ) from error


_KEYS: Final[dict[str, Any]] = {
    "newest": lambda each: (-each.created_at_us, each.environment),
    "urgency": lambda each: (-each.priority, each.created_at_us, each.environment),
    "type": lambda each: (each.type, -each.created_at_us, each.environment),
}
