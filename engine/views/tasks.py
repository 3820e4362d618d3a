"""Tasks and what they wait for."""

from __future__ import annotations

from typing import Any

from .base import View


class TaskView(View, frozen=True, kw_only=True):
    """A task. `status` is pending, in_progress, blocked, completed, failed or cancelled; blocked
    also while something it needs has failed. `ready`: it can be begun now; else `waits` says how
    many dependencies hold it. `blockers` say why it is blocked, `reason` why it has failed or was
    cancelled. `progress` is percent, `confidence` 0 to 1, times are hours where the name says so.
    What it requires, is to deliver and has come to is shown for a single task alone, and so are
    the ids of what it `needs` and of the tasks that are `needed_by` it."""

    id: str
    environment: str
    title: str
    type: str
    status: str
    ready: bool
    waits: int
    overdue: bool
    priority: int
    level: str
    owner: str
    team: str | None
    swarm: str | None
    agent: str | None
    parent: str | None
    progress: float
    confidence: float | None
    estimated_hours: float | None
    actual_hours: float | None
    deadline_at_us: int | None
    attempt: int
    max_attempts: int
    reason: str
    blockers: tuple[str, ...]
    version: int
    created_at_us: int
    updated_at_us: int
    started_at_us: int | None
    ended_at_us: int | None
    requirements: Any = None
    deliverables: Any = None
    result: Any = None
    needs: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()


class DependencyView(View, frozen=True, kw_only=True):
    """What a task waits for: another task, or something else by its name. `kind` is hard, soft,
    optional or conditional; `state` waiting, met, broken (it holds its task for good unless that
    changes) or resolved (somebody has said that it is not to be waited for). `status` is that of
    the task that is needed."""

    id: str
    environment: str
    task: str
    needs: str
    kind: str
    condition: str
    state: str
    status: str | None
    resolved_at_us: int | None
    resolved_by: str
    created_by: str
    created_at_us: int


class TaskNodeView(View, frozen=True, kw_only=True):
    """A line of the tree of what a task needs, or of what needs it. `subject` is a task id, or the
    name of something that is no task and has no status; `depth` 0 is the task itself; `again`: its
    own dependencies stand further up. One that may not be seen has no title, and its status is
    hidden."""

    sequence: int
    subject: str
    depth: int
    title: str
    status: str
    kind: str
    condition: str
    state: str
    agent: str | None
    progress: float
    again: bool
