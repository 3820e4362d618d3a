"""Records."""

from __future__ import annotations

from typing import Any

from .. import actions, codec, views
from ..dispatch import Context
from ..errors import NotFound
from ..memory.browse import Browse
from ..model import (
    Principal,
    Right,
    printable,
)
from .services import Part


class MemoryHandlers(Part):
    """Records."""

    async def memory_set(self, context: Context, action: actions.MemorySet) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        format_, body = codec.encode(action.value)
        version = await memory.set(
            actor, action.namespace, action.key, format_, body, action.level, action.ttl_s,
            action.if_version,
        )  # fmt: skip
        return await self._written(actor, action, version)

    async def memory_get(self, context: Context, action: actions.MemoryGet) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        return await self._record(memory.show(actor, action.namespace, action.key), action.key)

    async def memory_delete(self, context: Context, action: actions.MemoryDelete) -> views.Done:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        if not await memory.delete(actor, action.namespace, action.key, action.if_version):
            raise _no_key(action.key)
        return views.Done(detail=f"deleted {action.key}")

    async def memory_keys(self, context: Context, action: actions.MemoryKeys) -> views.KeyPage:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        keys, cursor = await memory.keys(
            actor, action.namespace, action.prefix, action.limit, action.cursor
        )
        return views.KeyPage(keys=tuple(keys), cursor=cursor)

    async def memory_list(
        self, context: Context, action: actions.MemoryList
    ) -> list[views.RecordView]:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        wanted = Browse(
            namespace=action.namespace,
            prefix=action.prefix,
            contains=action.contains,
            order=action.order,
            descending=action.descending,
            offset=action.offset,
            limit=action.limit,
        )
        return await memory.browse(actor, wanted)

    async def memory_stats(
        self, _: Context, action: actions.MemoryStats
    ) -> list[views.MemoryStatsView]:
        from ..memory.counts import counts  # noqa: PLC0415 - few ask for it

        return [
            await counts(place.database, place.memory, place.access)
            for place in self._places(action.environment)
        ]

    async def memory_level(self, context: Context, action: actions.MemoryLevel) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        version = await memory.set_level(
            actor, action.namespace, action.key, action.level, action.if_version
        )
        return await self._written(actor, action, version)

    async def _written(
        self, actor: Principal, action: actions.MemorySet | actions.MemoryLevel, version: int
    ) -> views.RecordView:
        """A record that was just written. To whom may write it and not read it, what it knows."""
        place = self._place(action.environment)
        where = action.namespace, action.key
        record = await place.memory.peek(*where)
        if record is not None and place.access.allows(actor, Right.READ, record, *where):
            return await self._record(place.memory.show(actor, *where), action.key)
        return views.RecordView(
            key=action.key,
            namespace=action.namespace,
            environment=action.environment,
            level="",
            owner="",
            team=None,
            version=version,
            size_bytes=0,
            updated_at_us=place.database.clock.wall_us(),
            expires_at_us=None,
        )

    @staticmethod
    async def _record(showing: Any, key: str) -> views.RecordView:  # noqa: ANN401 - a coroutine
        view: views.RecordView | None = await showing
        if view is None:
            raise _no_key(key)
        return view


def _no_key(key: str) -> NotFound:
    return NotFound(f"no key {printable(key)} that may be read", hint="see swarmdeck memory keys")
