"""What a task becomes, one function for each thing that happens to it. Pure. They raise Conflict
for what cannot happen to it now."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ..errors import Conflict
from .task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    MAX_BLOCKERS,
    PENDING,
    Task,
    require,
)

LOST_ATTEMPTS: Final = 3  # agents that may be lost over a task before it has failed
_HOUR_US: Final = 3_600_000_000


def started(task: Task, shown: str, agent: str | None, now_us: int) -> Task:
    """Somebody begins with it. That it waits for nothing is the graph's to know."""
    require(task, shown, PENDING, hint=_HINTS.get(task.status, ""))
    return replace(
        task, status=IN_PROGRESS, agent=agent or task.agent, attempt=task.attempt + 1,
        started_us=now_us, ended_us=None, progress=0.0, reason="",
    )  # fmt: skip


def progressed(task: Task, shown: str, percent: float, confidence: float | None) -> Task:
    require(task, shown, IN_PROGRESS, hint=_HINTS.get(task.status, ""))
    sure = task.confidence if confidence is None else confidence
    return replace(task, progress=percent, confidence=sure)


def completed(
    task: Task, shown: str, hours: float | None, confidence: float | None, now_us: int
) -> Task:
    """It is done. Without `hours`, they are those since it was begun."""
    require(task, shown, IN_PROGRESS, hint=_HINTS.get(task.status, ""))
    began_us = task.started_us or now_us
    return replace(
        task,
        status=COMPLETED,
        progress=100.0,
        actual_hours=max(0, now_us - began_us) / _HOUR_US if hours is None else hours,
        confidence=task.confidence if confidence is None else confidence,
        ended_us=now_us,
    )


def failed(task: Task, shown: str, reason: str, now_us: int, *, final: bool) -> Task:
    """An attempt came to nothing; it is pending again while it has attempts left."""
    require(task, shown, IN_PROGRESS, hint=_HINTS.get(task.status, ""))
    if not final and task.attempt < task.max_attempts:
        return replace(task, status=PENDING, reason=reason, started_us=None)
    return replace(task, status=FAILED, reason=reason, ended_us=now_us)


def lost(task: Task, shown: str, now_us: int) -> Task:
    """Its agent ended while it worked on it: anybody may take it, a few times over."""
    require(task, shown, IN_PROGRESS)
    why = f"{task.agent} ended while it worked on this (attempt {task.attempt})"
    if task.attempt >= max(LOST_ATTEMPTS, task.max_attempts):
        return replace(task, status=FAILED, reason=why, ended_us=now_us)
    return replace(task, status=PENDING, agent=None, reason=why, started_us=None)


def cancelled(task: Task, shown: str, reason: str, now_us: int) -> Task:
    require(task, shown, PENDING, IN_PROGRESS, BLOCKED)
    return replace(task, status=CANCELLED, reason=reason, ended_us=now_us)


def blocked(task: Task, shown: str, reason: str) -> Task:
    """Something outside holds it; what holds it is noted, also beside what did before."""
    require(task, shown, PENDING, IN_PROGRESS, BLOCKED)
    if len(task.blockers) >= MAX_BLOCKERS:
        raise Conflict(f"{shown} has {MAX_BLOCKERS} blockers", hint="unblock it first")
    return replace(task, status=BLOCKED, blockers=(*task.blockers, reason), started_us=None)


def unblocked(task: Task, shown: str) -> Task:
    """Nothing outside holds it any more; it is pending, and its agent begins anew."""
    hint = "swarmdeck task graph says what it waits for" if task.status == PENDING else ""
    require(task, shown, BLOCKED, hint=hint)
    return replace(task, status=PENDING, blockers=())


def retried(task: Task, shown: str) -> Task:
    """It has failed or was cancelled, and is tried again."""
    require(task, shown, FAILED, CANCELLED)
    return replace(
        task, status=PENDING, reason="", progress=0.0, started_us=None, ended_us=None,
        attempt=0, actual_hours=None,
    )  # fmt: skip


def assigned(task: Task, shown: str, agent: str | None) -> Task:
    """It is for this agent alone, or for nobody in particular. Whoever worked on it does no
    more."""
    require(task, shown, PENDING, IN_PROGRESS, BLOCKED)
    if task.status != IN_PROGRESS or agent == task.agent:
        return replace(task, agent=agent)
    return replace(task, agent=agent, status=PENDING, started_us=None)


_HINTS: Final = {
    PENDING: "start it first",
    BLOCKED: "unblock it first",
    FAILED: "swarmdeck task retry",
    CANCELLED: "swarmdeck task retry",
    IN_PROGRESS: "its agent works on it",
}
