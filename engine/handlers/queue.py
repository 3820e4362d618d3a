"""Messages."""

from __future__ import annotations

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
        return views.Done(changed=len(idents), detail=f"{len(idents):,} agents have one each")

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
        place = self._of(action.id)
        message = await place.queue.show(action.id)
        principal = context.principal
        if not principal.is_operator and not reaches(principal.role, Role.MONITOR):
            concerned = {message.sender, message.holder, message.to}
            if concerned.isdisjoint({principal.id, principal.swarm or "", *principal.teams}):
                await place.reads.refuse(principal, "queue.show", action.id)
                raise NotFound(f"no message {action.id} of yours", hint="an agent sees its own")
        mark = (message.state, str(message.attempt))
        await place.reads.look(principal, "queue.show", action.id, mark)
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
