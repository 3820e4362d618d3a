"""Why a task is worked on or not."""

from __future__ import annotations

from typing import Final

from .. import actions
from ..environment import Place
from ..errors import NotFound
from ..model import Principal
from ..views import DependencyView, ExplanationView, TaskView
from .draft import Draft, span, unknown

MOST_NAMED: Final = 5


async def explain_task(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound, also for a task that `principal` may not see."""
    try:
        task = place.tasks.view(await place.tasks.find(principal, ident))
    except NotFound as error:
        raise unknown(ident) from error
    held = await place.tasks.links.listed(principal, ident)
    draft = Draft(ident, "task", task.environment, task.status)
    now_us = place.database.clock.wall_us()
    if task.overdue and task.deadline_at_us is not None:
        late = span((now_us - task.deadline_at_us) / 1_000_000)
        draft.adds("overdue", f"it should have ended {late} ago")
    if task.ended_at_us is None:
        _needs(draft, held)
    if task.reason:
        draft.adds("reason", task.reason)
    return draft.view(_verdict(draft, task, now_us))


def _needs(draft: Draft, held: list[DependencyView]) -> None:
    """What it waits for, and what can be done about that."""
    holding = [each for each in held if each.state in ("waiting", "broken")]
    for each in holding[:MOST_NAMED]:
        status = f", which is {each.status}" if each.status else ""
        condition = f" ({each.condition})" if each.condition else ""
        draft.blocks(each.state, f"it needs {each.needs}{status}{condition}: {each.kind}")
        if each.state == "broken":
            draft.remedy(actions.TaskRetry(id=each.needs))
        if each.state == "broken" or each.status is None:
            draft.remedy(actions.DependencyResolve(id=each.id))
    if len(holding) > MOST_NAMED:
        draft.blocks("more", f"and {len(holding) - MOST_NAMED:,} others")
        draft.remedy(actions.TaskGraph(id=holding[0].task))


def _verdict(draft: Draft, task: TaskView, now_us: int) -> str:
    if task.status == "pending" and task.ready:
        who = f"only {task.agent} may" if task.agent else "whoever sees it may"
        draft.blocks("untaken", f"nobody has begun with it yet; {who}")
        return "it is ready, and waits for somebody to begin"
    if task.status == "pending":
        return "it waits for what it needs"
    if task.status == "blocked":
        for blocker in task.blockers if not task.waits else ():
            draft.blocks("blocker", blocker)
        if not draft.is_blocked or not task.waits:
            draft.remedy(actions.TaskUnblock(id=task.id))
        return "something holds it that does not go away by itself"
    if task.status == "in_progress":
        since = span((now_us - (task.started_at_us or now_us)) / 1_000_000)
        who = task.agent or "somebody"
        draft.adds("work", f"{who} has worked on it for {since}, attempt {task.attempt}")
        return "somebody works on it"
    if task.status == "completed":
        return "it is done"
    draft.remedy(actions.TaskRetry(id=task.id))
    return "it has failed" if task.status == "failed" else "it was given up"
