"""Tasks and what they wait for."""

from __future__ import annotations

from typing import Final

from .. import actions, views
from ..dispatch import Context
from ..environment import Place
from ..errors import InvalidInput, NotFound
from ..model import Principal
from ..tasks import Tasks
from .paging import page_of
from .services import Part

NEVER_US: Final = 1 << 63  # beyond all deadlines


class TaskHandlers(Part):
    """Tasks and what they wait for."""

    def _tasks(self, ident: str) -> Tasks:
        return self._of(ident).tasks

    # --- looking ----------------------------------------------------------------------------

    async def task_list(self, context: Context, action: actions.TaskList) -> list[views.TaskView]:
        from ..tasks.listing import Wish, in_order  # noqa: PLC0415 - few commands list

        principal = self._actor(context, action.actor)

        async def read(place: Place, offset: int, limit: int) -> list[views.TaskView]:
            tasks, parent = place.tasks, None
            if action.parent is not None:
                if not tasks.names.is_task(action.parent):
                    return []
                parent = (await tasks.find(principal, action.parent)).ident
            wanted = Wish(
                status=action.status, agent=action.agent, team=action.team, type=action.type,
                parent=parent, contains=action.contains, order=action.order,
                descending=action.descending,
            )  # fmt: skip
            await place.reads.look(principal, "task.list", place.environment.value)
            return await tasks.listed(principal, wanted, offset=offset, limit=limit)

        places = list(self._places(action.environment))
        return await page_of(places, read, action, in_order(action), reverse=action.descending)

    async def task_show(self, context: Context, action: actions.TaskShow) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._seen(principal, "task.show", action.id)

    async def _seen(self, principal: Principal, verb: str, ident: str) -> views.TaskView:
        """A task that may be seen; a look at it, or its refusal, is noted."""
        place = self._of(ident)
        try:
            found = await place.tasks.show(principal, ident)
        except NotFound:
            await place.reads.refuse(principal, verb, ident)
            raise
        await place.reads.look(principal, verb, ident, (str(found.version),))
        return found

    async def task_ready(self, context: Context, action: actions.TaskReady) -> list[views.TaskView]:
        principal = self._actor(context, action.actor)
        found: list[views.TaskView] = []
        for place in self._places(action.environment):
            await place.reads.look(principal, "task.ready", place.environment.value)
            found += await place.tasks.ready(principal, action.limit)
        found.sort(key=lambda each: (-each.priority, each.deadline_at_us or NEVER_US))
        return found[: action.limit]

    async def task_graph(
        self, context: Context, action: actions.TaskGraph
    ) -> list[views.TaskNodeView]:
        principal, place = self._actor(context, action.actor), self._of(action.id)
        try:
            found = await place.tasks.links.tree(
                principal, action.id, behind=action.behind, limit=action.limit
            )
        except NotFound:
            await place.reads.refuse(principal, "task.graph", action.id)
            raise
        await place.reads.look(principal, "task.graph", action.id)
        return found

    async def dependency_list(
        self, context: Context, action: actions.DependencyList
    ) -> list[views.DependencyView]:
        principal = self._actor(context, action.actor)
        places = self._places(action.environment)
        if action.task is not None:
            place = self._of(action.task)
            if action.environment not in {None, place.environment.value}:
                raise InvalidInput(f"{action.task} is not of {action.environment}")
            places = iter((place,))
        found: list[views.DependencyView] = []
        for place in places:
            await place.reads.look(principal, "dependency.list", place.environment.value)
            found += await place.tasks.links.listed(
                principal, action.task, action.state, action.limit
            )
        return found[: action.limit]

    # --- planning ---------------------------------------------------------------------------

    async def task_create(self, context: Context, action: actions.TaskCreate) -> views.TaskView:
        from ..tasks.planning import Wanted  # noqa: PLC0415 - as what makes them

        fields = {name: getattr(action, name) for name in Wanted.__struct_fields__}
        planning = self._place(action.environment).tasks.planning
        return await planning.create(self._actor(context, action.actor), Wanted(**fields))

    async def task_update(self, context: Context, action: actions.TaskUpdate) -> views.TaskView:
        from ..tasks.planning import Update  # noqa: PLC0415 - as what changes them

        fields = {name: getattr(action, name) for name in Update.__struct_fields__}
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).planning.update(principal, action.id, Update(**fields))

    async def task_assign(self, context: Context, action: actions.TaskAssign) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).planning.assign(principal, action.id, action.agent)

    async def task_retry(self, context: Context, action: actions.TaskRetry) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).planning.retry(principal, action.id)

    async def task_cancel(self, context: Context, action: actions.TaskCancel) -> views.Done:
        found = await self._tasks(action.id).planning.cancel(
            self._actor(context, action.actor),
            action.id,
            action.reason,
            cascade=action.cascade,
            progress=context.progress,
        )
        others = f" and {len(found) - 1:,} behind it" if len(found) > 1 else ""
        return views.Done(changed=len(found), detail=f"{action.id}{others} cancelled")

    # --- working ----------------------------------------------------------------------------

    async def task_take(self, context: Context, action: actions.TaskTake) -> list[views.TaskView]:
        principal = self._actor(context, action.actor)
        working = self._place(action.environment).tasks.working
        return await working.take(principal, action.type, action.limit)

    async def task_start(self, context: Context, action: actions.TaskStart) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).working.start(principal, action.id)

    async def task_progress(self, context: Context, action: actions.TaskProgress) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).working.progress(
            principal, action.id, action.percent, action.confidence
        )

    async def task_complete(self, context: Context, action: actions.TaskComplete) -> views.TaskView:
        return await self._tasks(action.id).working.complete(
            self._actor(context, action.actor),
            action.id,
            action.result,
            hours=action.actual_hours,
            confidence=action.confidence,
        )

    async def task_fail(self, context: Context, action: actions.TaskFail) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).working.fail(
            principal, action.id, action.reason, final=action.final
        )

    async def task_block(self, context: Context, action: actions.TaskBlock) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).working.block(principal, action.id, action.reason)

    async def task_unblock(self, context: Context, action: actions.TaskUnblock) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).working.unblock(principal, action.id)

    # --- dependencies -----------------------------------------------------------------------

    async def task_depend(
        self, context: Context, action: actions.TaskDepend
    ) -> views.DependencyView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).links.depend(
            principal, action.id, action.needs, action.kind, action.condition
        )

    async def task_undepend(self, context: Context, action: actions.TaskUndepend) -> views.TaskView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).links.undepend(principal, action.id)

    async def dependency_resolve(
        self, context: Context, action: actions.DependencyResolve
    ) -> views.DependencyView:
        principal = self._actor(context, action.actor)
        return await self._tasks(action.id).links.resolve(principal, action.id)
