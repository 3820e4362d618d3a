"""When a schedule sends its next message, and why it does not."""

from __future__ import annotations

from .. import actions
from ..environment import Place
from ..model import Principal
from ..views import ExplanationView, ScheduleView
from .draft import Draft, require_concern, span


async def explain_schedule(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound for one that is not there, also for an agent that has not made it."""
    view = await place.queue.schedules.show(ident)
    require_concern(principal, ident, view.created_by)
    draft = Draft(ident, "schedule", view.environment, view.state)
    now_us = place.database.clock.wall_us()
    draft.adds("times", f"{_times(view)}; {view.created_by} made it")
    if view.state == "paused":
        draft.blocks("paused", "it sends nothing until it is resumed")
        draft.remedy(actions.ScheduleResume(id=ident))
    elif view.state == "late":
        draft.blocks("late", view.reason)
    if view.skipped:
        draft.adds("open", f"{view.skipped:,} times were left out: its last message was still open")
    if view.last_message is not None and view.last_at_us is not None:
        ago = span((now_us - view.last_at_us) / 1_000_000)
        draft.adds("last", f"{view.last_message} was sent {ago} ago, one of {view.runs:,}")
    draft.remedy(actions.ScheduleRun(id=ident))
    return draft.view(_verdict(view, now_us))


def _times(view: ScheduleView) -> str:
    if view.cron is not None:
        return f"it sends {view.kind} at {view.cron} in {view.zone}"
    return f"it sends {view.kind} every {view.every_s:g} s"


def _verdict(view: ScheduleView, now_us: int) -> str:
    if view.state == "late":
        return "it is due and could not send yet"
    if view.next_at_us is None:
        return "it is paused"
    return f"its next message is sent in {span(max(0, view.next_at_us - now_us) / 1_000_000)}"
