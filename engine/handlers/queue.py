"""Messages."""

from __future__ import annotations

from typing import Final

from .. import actions, codec, views
from ..authority import reaches
from ..dispatch import Context
from ..errors import NotFound
from ..model import (
    MessageState,
    Role,
)
from ..queue.edit import Edit
from ..queue.listing import Wish, list_over
from .services import Part

NEVER_US: Final = 1 << 63  # beyond all times: paused schedules come last


class QueueHandlers(Part):
    """Messages."""

    async def queue_send(self, context: Context, action: actions.QueueSend) -> views.MessageView:
        queue = self._place(action.environment).queue
        ident = await queue.send(
            self._actor(context, action.actor), action.kind, codec.encode_json(action.body),
            action.priority, action.delay_s, action.expires_s, action.key, action.to,
            action.max_attempts,
        )  # fmt: skip
        return await queue.show(ident)

    async def queue_broadcast(self, context: Context, action: actions.QueueBroadcast) -> views.Done:
        idents = await self._place(action.environment).queue.broadcast(
            self._actor(context, action.actor), action.kind, codec.encode_json(action.body),
            action.to, action.priority, action.delay_s, action.expires_s, action.key,
            action.max_attempts,
        )  # fmt: skip
        return views.Done(changed=len(idents), detail=f"sent to {len(idents):,} agents")

    async def queue_pause(self, context: Context, action: actions.QueuePause) -> views.FlowView:
        queue = self._place(action.environment).queue
        await queue.pause(context.principal, action.reason)
        return queue.flow_view()

    async def queue_drain(self, context: Context, action: actions.QueueDrain) -> views.FlowView:
        queue = self._place(action.environment).queue
        await queue.drain(context.principal, action.reason)
        return queue.flow_view()

    async def queue_resume(self, context: Context, action: actions.QueueResume) -> views.FlowView:
        queue = self._place(action.environment).queue
        await queue.resume(context.principal, action.reason)
        return queue.flow_view()

    async def queue_flow(self, _: Context, action: actions.QueueFlow) -> list[views.FlowView]:
        return [place.queue.flow_view() for place in self._places(action.environment)]

    async def queue_list(self, _: Context, action: actions.QueueList) -> list[views.MessageView]:
        wanted = Wish(
            state=None if action.state is None else MessageState(action.state),
            kind=action.kind,
            holder=action.holder,
            sender=action.sender,
            contains=action.contains,
            order=action.order,
            descending=action.descending,
        )
        queues = [place.queue for place in self._places(action.environment)]
        return await list_over(queues, wanted, offset=action.offset, limit=action.limit)

    async def queue_lanes(self, _: Context, action: actions.QueueLanes) -> list[views.LaneView]:
        found = [place.queue.lane_views() for place in self._places(action.environment)]
        return [row for rows in found for row in rows]

    async def queue_count(self, _: Context, action: actions.QueueCount) -> views.QueueCounts:
        counts = [place.queue.counts() for place in self._places(action.environment)]
        wanted = (action.state,) if action.state else tuple(MessageState)
        return views.QueueCounts(
            **{state: sum(getattr(each, state) for each in counts) for state in wanted}
        )

    async def queue_show(self, context: Context, action: actions.QueueShow) -> views.MessageView:
        return await self._seen(context, "queue.show", action.id)

    async def queue_history(
        self, context: Context, action: actions.QueueHistory
    ) -> list[views.HistoryView]:
        await self._seen(context, "queue.history", action.id)
        return await self._of(action.id).queue.history(action.id, action.limit)

    async def _seen(self, context: Context, verb: str, ident: str) -> views.MessageView:
        """A message that whoever asks may see; noted as a look at it. Raises NotFound."""
        place = self._of(ident)
        message = await place.queue.show(ident)
        principal = context.principal
        if not principal.is_operator and not reaches(principal.role, Role.MONITOR):
            concerned = {message.sender, message.holder, message.to}
            if concerned.isdisjoint({principal.id, principal.swarm or "", *principal.teams}):
                await place.reads.refuse(principal, verb, ident)
                raise NotFound(f"no message {ident} of yours", hint="an agent sees its own")
        mark = (message.state, str(message.attempt))
        await place.reads.look(principal, verb, ident, mark)
        return message

    async def queue_retry(self, context: Context, action: actions.QueueRetry) -> views.MessageView:
        return await self._of(action.id).queue.retry(context.principal, action.id)

    async def queue_cancel(
        self, context: Context, action: actions.QueueCancel
    ) -> views.MessageView:
        return await self._of(action.id).queue.cancel(context.principal, action.id)

    async def queue_edit(self, context: Context, action: actions.QueueEdit) -> views.MessageView:
        change = Edit(
            body=None if action.body is None else codec.encode_json(action.body),
            priority=action.priority,
            delay_s=action.delay_s,
            expires_s=action.expires_s,
            max_attempts=action.max_attempts,
        )
        return await self._of(action.id).queue.edit(context.principal, action.id, change)

    async def queue_purge(self, context: Context, action: actions.QueuePurge) -> views.Done:
        queue = self._place(action.environment).queue
        gone = await queue.purge_state(
            context.principal, MessageState(action.state), action.kind, context.progress
        )
        return views.Done(changed=gone, detail=f"{gone:,} messages deleted")

    async def queue_dead(self, _: Context, action: actions.QueueDead) -> list[views.MessageView]:
        queues = [place.queue for place in self._places(action.environment)]
        return await list_over(queues, Wish(MessageState.DEAD), offset=0, limit=action.limit)

    async def queue_redrive(self, context: Context, action: actions.QueueRedrive) -> views.Done:
        queue = self._place(action.environment).queue
        done, left = await queue.redrive(
            context.principal, action.kind, action.limit, context.progress
        )
        detail = f"{done:,} dead letters are ready again"
        if left:
            detail += f"; {left:,} stay dead: {queue.flow.refusal().message}"
        return views.Done(changed=done, detail=detail)

    # --- schedules --------------------------------------------------------------------------

    async def schedule_create(
        self, context: Context, action: actions.ScheduleCreate
    ) -> views.ScheduleView:
        from ..queue.schedules import Wanted  # noqa: PLC0415 - most commands need no schedules

        names = set(Wanted.__struct_fields__) - {"body"}
        fields = {name: getattr(action, name) for name in names}
        wanted = Wanted(body=codec.encode_json(action.body), **fields)
        place = self._place(action.environment)
        return await place.queue.schedules.create(context.principal, wanted)

    async def schedule_list(
        self, _: Context, action: actions.ScheduleList
    ) -> list[views.ScheduleView]:
        places = self._places(action.environment)
        found = [view for place in places for view in await place.queue.schedules.views()]
        return sorted(found, key=lambda each: (each.next_at_us or NEVER_US, each.id))

    async def schedule_show(
        self, context: Context, action: actions.ScheduleShow
    ) -> views.ScheduleView:
        place = self._of(action.id)
        found = await place.queue.schedules.show(action.id)
        await place.reads.look(context.principal, "schedule.show", action.id)
        return found

    async def schedule_pause(
        self, context: Context, action: actions.SchedulePause
    ) -> views.ScheduleView:
        return await self._of(action.id).queue.schedules.pause(context.principal, action.id)

    async def schedule_resume(
        self, context: Context, action: actions.ScheduleResume
    ) -> views.ScheduleView:
        return await self._of(action.id).queue.schedules.resume(context.principal, action.id)

    async def schedule_delete(self, context: Context, action: actions.ScheduleDelete) -> views.Done:
        await self._of(action.id).queue.schedules.delete(context.principal, action.id)
        return views.Done(detail=f"{action.id} is deleted; what it has sent stays")

    async def schedule_run(
        self, context: Context, action: actions.ScheduleRun
    ) -> views.MessageView:
        queue = self._of(action.id).queue
        return await queue.show(await queue.schedules.run(context.principal, action.id))
