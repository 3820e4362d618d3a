"""Actions on tasks and what they wait for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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

Kind = Literal["hard", "soft", "optional", "conditional"]
Share = Annotated[float, arg("0 to 1", ge=0, le=1)]
Hours = Annotated[float, arg("hours", ge=0)]
Attempts = Annotated[int, arg("1 to 100", ge=1, le=100)]
Urgency = Annotated[int, arg("1 to 10", ge=1, le=10)]

Ident = Annotated[str, arg("task id", positional=True)]
DependencyIdent = Annotated[str, arg("dependency id", positional=True)]


@action(views.TaskView)
class TaskCreate(Action, frozen=True, kw_only=True, tag="task.create"):
    """Say that something is to be done."""

    environment: Where
    title: Annotated[str, arg("what is to be done", positional=True)]
    actor: Reader = None
    type: Annotated[str, arg("kind of task")] = "task"
    priority: Annotated[int, arg("1 to 10, 10 most urgent", unit="priority", ge=1, le=10)] = 5
    needs: Annotated[
        tuple[str, ...], arg("ids of tasks that must be completed first, or names of what else")
    ] = ()
    agent: Annotated[str | None, arg("only for this agent")] = None
    team: Annotated[str | None, arg("for this team")] = None
    swarm: Annotated[str | None, arg("for this swarm")] = None
    level: Annotated[
        str | int | None,
        arg("who sees it: private, team, swarm, public, system (the operator's: public)",
            unit="level"),
    ] = None  # fmt: skip
    parent: Annotated[str | None, arg("the task that this is a part of")] = None
    requirements: Annotated[Any, arg("JSON: what has to be known to do it", unit="json")] = None
    deliverables: Annotated[Any, arg("JSON: what it is to come to", unit="json")] = None
    deadline_s: Annotated[
        Seconds | None, arg("seconds from now until it should have ended", flag="--deadline")
    ] = None
    estimated_hours: Annotated[
        Hours | None, arg("hours it will probably take", flag="--estimate")
    ] = None
    confidence: Annotated[Share | None, arg("how sure that is, 0 to 1")] = None
    max_attempts: Annotated[int, arg("attempts before it has failed", ge=1, le=100)] = 1


@action(list[views.TaskView], query=True)
class TaskList(Action, frozen=True, kw_only=True, tag="task.list"):
    """List tasks, most urgent first."""

    environment: OptionalWhere = None
    actor: Reader = None
    status: Annotated[
        Literal[
            "unended", "ready", "waiting", "pending", "in_progress", "blocked", "overdue",
            "completed", "failed", "cancelled", "all",
        ],
        arg("only these (unended: pending, in progress and blocked)"),
    ] = "unended"  # fmt: skip
    agent: Annotated[str | None, arg("only those of this agent")] = None
    team: Annotated[str | None, arg("only those of this team")] = None
    type: Annotated[str | None, arg("only this type")] = None
    parent: Annotated[str | None, arg("only the parts of this task")] = None
    contains: Contains = ""
    order: Annotated[
        Literal["urgency", "deadline", "age", "progress", "title", "ended"],
        arg("what to sort by (urgency: priority, then deadline; of ended ones the newest first)"),
    ] = "urgency"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.TaskView, query=True)
class TaskShow(Action, frozen=True, kw_only=True, tag="task.show"):
    """Show one task with what it requires, needs and has come to."""

    id: Ident
    actor: Reader = None


@action(list[views.TaskView], query=True)
class TaskReady(Action, frozen=True, kw_only=True, tag="task.ready"):
    """List the tasks that can be begun now, most urgent first."""

    environment: OptionalWhere = None
    actor: Reader = None
    limit: Limit = 200


@action(list[views.TaskView])
class TaskTake(Action, frozen=True, kw_only=True, tag="task.take"):
    """Begin, as an agent, with the most urgent tasks that are ready and nobody else's."""

    environment: Where
    actor: Reader = None
    type: Annotated[str | None, arg("only this type")] = None
    limit: Annotated[int, arg("at most so many tasks", ge=1, le=100)] = 1


@action(views.TaskView)
class TaskUpdate(Action, frozen=True, kw_only=True, tag="task.update"):
    """Change what a task is; what is left out stays as it is."""

    id: Ident
    actor: Reader = None
    title: Annotated[str | None, arg("what is to be done")] = None
    type: Annotated[str | None, arg("kind of task")] = None
    priority: Annotated[Urgency | None, arg("1 to 10, 10 most urgent", unit="priority")] = None
    level: Annotated[str | int | None, arg("who sees it", unit="level")] = None
    requirements: Annotated[Any, arg("JSON: what has to be known to do it", unit="json")] = None
    deliverables: Annotated[Any, arg("JSON: what it is to come to", unit="json")] = None
    deadline_s: Annotated[
        Seconds | None, arg("seconds from now until it should have ended", flag="--deadline")
    ] = None
    estimated_hours: Annotated[
        Hours | None, arg("hours it will probably take", flag="--estimate")
    ] = None
    actual_hours: Annotated[Hours | None, arg("hours it has taken", flag="--hours")] = None
    confidence: Annotated[Share | None, arg("how sure that is, 0 to 1")] = None
    max_attempts: Annotated[Attempts | None, arg("attempts before it has failed")] = None


@action(views.TaskView)
class TaskAssign(Action, frozen=True, kw_only=True, tag="task.assign"):
    """Give a task to one agent alone, or to nobody in particular."""

    id: Ident
    agent: Annotated[str | None, arg("agent id (left out: anybody)", positional=True)] = None
    actor: Reader = None


@action(views.TaskView)
class TaskStart(Action, frozen=True, kw_only=True, tag="task.start"):
    """Begin with a task that waits for nothing."""

    id: Ident
    actor: Reader = None


@action(views.TaskView)
class TaskProgress(Action, frozen=True, kw_only=True, tag="task.progress"):
    """Say how far a task in progress is."""

    id: Ident
    percent: Annotated[float, arg("0 to 100", positional=True, ge=0, le=100)]
    actor: Reader = None
    confidence: Annotated[Share | None, arg("how sure that is, 0 to 1")] = None


@action(views.TaskView)
class TaskComplete(Action, frozen=True, kw_only=True, tag="task.complete"):
    """Finish a task in progress."""

    id: Ident
    result: Annotated[Any, arg("JSON: what it has come to", positional=True, unit="json")] = None
    actor: Reader = None
    actual_hours: Annotated[
        Hours | None, arg("hours it has taken (left out: since it was begun)", flag="--hours")
    ] = None
    confidence: Annotated[Share | None, arg("how sure that is, 0 to 1")] = None


@action(views.TaskView)
class TaskFail(Action, frozen=True, kw_only=True, tag="task.fail"):
    """Say that an attempt came to nothing; it is tried again while attempts are left."""

    id: Ident
    reason: Annotated[str, arg("why", positional=True)] = ""
    actor: Reader = None
    final: Annotated[bool, arg("it has failed, whatever attempts are left")] = False


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class TaskCancel(Action, frozen=True, kw_only=True, tag="task.cancel"):
    """Give a task up."""

    id: Ident
    actor: Reader = None
    reason: Annotated[str, arg("why")] = ""
    cascade: Annotated[bool, arg("and all that needs it for certain or is a part of it")] = False


@action(views.TaskView)
class TaskBlock(Action, frozen=True, kw_only=True, tag="task.block"):
    """Note something that holds a task and is no dependency."""

    id: Ident
    reason: Annotated[str, arg("what it waits for", positional=True)]
    actor: Reader = None


@action(views.TaskView)
class TaskUnblock(Action, frozen=True, kw_only=True, tag="task.unblock"):
    """Say that nothing noted holds a task any more."""

    id: Ident
    actor: Reader = None


@action(views.TaskView)
class TaskRetry(Action, frozen=True, kw_only=True, tag="task.retry"):
    """Try a failed or cancelled task again, with fresh attempts."""

    id: Ident
    actor: Reader = None


@action(views.DependencyView)
class TaskDepend(Action, frozen=True, kw_only=True, tag="task.depend"):
    """Let a task that was not begun wait for another one, or for something by its name."""

    id: Ident
    needs: Annotated[str, arg("a task id, or the name of something else", positional=True)]
    actor: Reader = None
    kind: Annotated[
        Kind,
        arg("hard: completed; soft: ended; optional: only noted; conditional: as the condition"),
    ] = "hard"
    condition: Annotated[str, arg('what must hold, such as "result.score >= 0.9"')] = ""


@action(views.TaskView, destructive=True)
class TaskUndepend(Action, frozen=True, kw_only=True, tag="task.undepend"):
    """Take a dependency back."""

    id: DependencyIdent
    actor: Reader = None


@action(list[views.TaskNodeView], query=True)
class TaskGraph(Action, frozen=True, kw_only=True, tag="task.graph"):
    """Show what a task needs, and what that needs, as a tree."""

    id: Ident
    actor: Reader = None
    behind: Annotated[bool, arg("show what needs it instead")] = False
    limit: Annotated[int, arg("at most so many lines", ge=1, le=1_000)] = 200


@action(list[views.DependencyView], query=True)
class DependencyList(Action, frozen=True, kw_only=True, tag="dependency.list"):
    """List what tasks wait for, newest first."""

    environment: OptionalWhere = None
    actor: Reader = None
    task: Annotated[str | None, arg("only what this task needs")] = None
    state: Annotated[
        Literal["waiting", "met", "broken", "resolved"] | None, arg("only in this state")
    ] = None
    limit: Limit = 200


@action(views.DependencyView, destructive=True)
class DependencyResolve(Action, frozen=True, kw_only=True, tag="dependency.resolve"):
    """Let a task wait no longer for something: it is there, or not needed after all."""

    id: DependencyIdent
    actor: Reader = None
