"""Tasks, for those who write Python: `engine.tasks("development", as_=agent)`, in the code of an
agent `agent.tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .. import actions, views
from ..acting import Acting

Named: TypeAlias = views.TaskView | str
TaskViews: TypeAlias = list[views.TaskView]
DependencyViews: TypeAlias = list[views.DependencyView]


class Tasks(Acting):
    """Tasks of one environment, as one actor sees them. All methods raise NotFound for a task that
    is not there or may not be seen, Denied for one that is not the actor's to change so, Conflict
    for what cannot happen to it now, InvalidInput, Sealed, Unavailable."""

    # --- planning ---------------------------------------------------------------------------

    async def create(  # noqa: PLR0913 - the fields of a task
        self,
        title: str,
        *,
        type: str = "task",  # noqa: A002 - the field's name
        priority: int = 5,
        needs: Sequence[Named] = (),
        agent: views.AgentView | str | None = None,
        team: str | None = None,
        swarm: str | None = None,
        level: str | int | None = None,
        parent: Named | None = None,
        requirements: Any = None,  # noqa: ANN401 - JSON types
        deliverables: Any = None,  # noqa: ANN401 - JSON types
        deadline_s: float | None = None,
        estimated_hours: float | None = None,
        confidence: float | None = None,
        max_attempts: int = 1,
    ) -> views.TaskView:
        """Say that something is to be done, once all it `needs` (tasks, or names of what else has
        to be there) is completed. `level` None: for the team of the agent that says it; what the
        operator says is for everybody, or for the `team` or `swarm` it names."""
        return await self._one(
            actions.TaskCreate, title=title, type=type, priority=priority,
            needs=tuple(map(_ident, needs)), agent=None if agent is None else _ident(agent),
            team=team, swarm=swarm, level=level, parent=None if parent is None else _ident(parent),
            requirements=requirements, deliverables=deliverables, deadline_s=deadline_s,
            estimated_hours=estimated_hours, confidence=confidence, max_attempts=max_attempts,
        )  # fmt: skip

    async def update(self, task: Named, **fields: Any) -> views.TaskView:  # noqa: ANN401
        """Change fields of a task: those of `create` beside `needs`, `agent`, `team`, `swarm` and
        `parent`, and `actual_hours`. What is None stays as it is."""
        return await self._one(actions.TaskUpdate, id=_ident(task), **fields)

    async def assign(
        self, task: Named, agent: views.AgentView | str | None = None
    ) -> views.TaskView:
        """Give a task to one agent alone, or to nobody in particular."""
        to = None if agent is None else _ident(agent)
        return await self._one(actions.TaskAssign, id=_ident(task), agent=to)

    async def cancel(self, task: Named, *, reason: str = "", cascade: bool = False) -> int:
        """Give a task up, with `cascade` all that needs it for certain or is a part of it; how
        many that were."""
        done: views.Done = await self._ask(
            actions.TaskCancel, id=_ident(task), reason=reason, cascade=cascade
        )
        return done.changed

    async def retry(self, task: Named) -> views.TaskView:
        """Try a failed or cancelled task again, with fresh attempts."""
        return await self._one(actions.TaskRetry, id=_ident(task))

    # --- working ----------------------------------------------------------------------------

    async def take(self, *, type: str | None = None, limit: int = 1) -> TaskViews:  # noqa: A002
        """Begin, as an agent, with the most urgent tasks that are ready and nobody else's; none
        when there are none."""
        found: TaskViews = await self._ask(actions.TaskTake, type=type, limit=limit)
        return found

    async def start(self, task: Named) -> views.TaskView:
        """Begin with a task that waits for nothing; an agent that does becomes its agent."""
        return await self._one(actions.TaskStart, id=_ident(task))

    async def progress(
        self, task: Named, percent: float, *, confidence: float | None = None
    ) -> views.TaskView:
        """Say how far a task in progress is, 0 to 100."""
        return await self._one(
            actions.TaskProgress, id=_ident(task), percent=percent, confidence=confidence
        )

    async def complete(
        self,
        task: Named,
        result: Any = None,  # noqa: ANN401 - JSON types
        *,
        actual_hours: float | None = None,
        confidence: float | None = None,
    ) -> views.TaskView:
        """Finish a task in progress. Without `actual_hours` they are those since it was begun."""
        return await self._one(
            actions.TaskComplete, id=_ident(task), result=result, actual_hours=actual_hours,
            confidence=confidence,
        )  # fmt: skip

    async def fail(self, task: Named, reason: str = "", *, final: bool = False) -> views.TaskView:
        """Say that an attempt came to nothing; unless this is `final`, it is tried again while
        attempts are left."""
        return await self._one(actions.TaskFail, id=_ident(task), reason=reason, final=final)

    async def block(self, task: Named, reason: str) -> views.TaskView:
        """Note something that holds a task and is no dependency."""
        return await self._one(actions.TaskBlock, id=_ident(task), reason=reason)

    async def unblock(self, task: Named) -> views.TaskView:
        """Nothing noted holds it any more."""
        return await self._one(actions.TaskUnblock, id=_ident(task))

    # --- dependencies -----------------------------------------------------------------------

    async def depend(
        self, task: Named, needs: Named, *, kind: str = "hard", condition: str = ""
    ) -> views.DependencyView:
        """Let a task that was not begun wait for another one, or for something by its name.
        `condition`, such as "result.score >= 0.9", is for the kind conditional. Raises Conflict
        for a cycle, which it names."""
        if condition and kind == "hard":
            kind = "conditional"
        found: views.DependencyView = await self._ask(
            actions.TaskDepend, id=_ident(task), needs=_ident(needs), kind=kind,
            condition=condition,
        )  # fmt: skip
        return found

    async def undepend(self, dependency: views.DependencyView | str) -> views.TaskView:
        """Take a dependency back; the task that had it."""
        return await self._one(actions.TaskUndepend, id=_ident(dependency))

    async def resolve(self, dependency: views.DependencyView | str) -> views.DependencyView:
        """Let a task wait no longer for something: it is there, or not needed after all."""
        found: views.DependencyView = await self._ask(
            actions.DependencyResolve, id=_ident(dependency)
        )
        return found

    async def dependencies(
        self, task: Named | None = None, *, state: str | None = None, limit: int = 200
    ) -> DependencyViews:
        """What a task needs, in the order it was said; without one, what any needs, newest
        first."""
        of = None if task is None else _ident(task)
        found: DependencyViews = await self._ask(
            actions.DependencyList, task=of, state=state, limit=limit
        )
        return found

    async def graph(
        self, task: Named, *, behind: bool = False, limit: int = 200
    ) -> list[views.TaskNodeView]:
        """What a task needs, and what that needs, as a tree; with `behind` what needs it."""
        found: list[views.TaskNodeView] = await self._ask(
            actions.TaskGraph, id=_ident(task), behind=behind, limit=limit
        )
        return found

    # --- looking ----------------------------------------------------------------------------

    async def get(self, task: Named) -> views.TaskView:
        """One task with what it requires, needs and has come to."""
        return await self._one(actions.TaskShow, id=_ident(task))

    async def ready(self, *, limit: int = 200) -> TaskViews:
        """The tasks that can be begun now, most urgent first."""
        found: TaskViews = await self._ask(actions.TaskReady, limit=limit)
        return found

    async def list(  # noqa: PLR0913 - all that can be asked for
        self,
        *,
        status: str = "unended",
        agent: views.AgentView | str | None = None,
        team: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        parent: Named | None = None,
        contains: str = "",
        order: str = "urgency",
        descending: bool = False,
        offset: int = 0,
        limit: int = 200,
    ) -> TaskViews:
        """A page of the tasks that match all that is given. `status` also takes unended, ready,
        waiting, overdue and all."""
        found: TaskViews = await self._ask(
            actions.TaskList, status=status, agent=None if agent is None else _ident(agent),
            team=team, type=type, parent=None if parent is None else _ident(parent),
            contains=contains, order=order, descending=descending, offset=offset, limit=limit,
        )  # fmt: skip
        return found

    async def _one(self, kind: type[actions.Action], **fields: Any) -> views.TaskView:  # noqa: ANN401
        found: views.TaskView = await self._ask(kind, **fields)
        return found


def _ident(
    named: views.TaskView | views.AgentView | views.DependencyView | str,
) -> str:
    return named if isinstance(named, str) else named.id
