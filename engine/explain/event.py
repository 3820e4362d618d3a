"""Why an event is worked on or not."""

from __future__ import annotations

from .. import actions
from ..environment import Place
from ..errors import Damaged, NotFound
from ..model import Principal
from ..views import EventView, ExplanationView
from .draft import Draft, span, unknown


async def explain_event(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound, also for an event that `principal` may not read."""
    try:
        event = await place.events.show(principal, ident, payload=False)
    except (NotFound, Damaged) as error:
        raise unknown(ident) from error
    draft = Draft(ident, "event", event.environment, event.status)
    now_us = place.database.clock.wall_us()
    draft.adds("source", _from(event, now_us))
    if event.chain != event.id:
        draft.adds("chain", f"it follows from {event.parent}; all of that began with {event.chain}")
        draft.remedy(actions.EventChain(id=ident))
    if event.error:
        draft.adds("error", f"its last failure: {event.error}")
    verdict = _verdict(draft, event, now_us)
    return draft.view(verdict)


def _from(event: EventView, now_us: int) -> str:
    whom = f"for {event.target}" if event.target else f"for those of the level {event.level}"
    ago = span((now_us - event.created_at_us) / 1_000_000)
    return f"{event.source} published it {ago} ago, {whom}, priority {event.priority}"


def _verdict(draft: Draft, event: EventView, now_us: int) -> str:
    if event.status == "pending" and event.due_at_us:
        again = span(max(0, event.due_at_us - now_us) / 1_000_000)
        tries = f"retry {event.retries} of {event.max_retries}"
        draft.blocks("backoff", f"its work has failed; {tries} may be taken in {again}")
        draft.remedy(actions.EventRetry(id=event.id))
        return "it waits for another try"
    if event.status == "pending":
        left = span(max(0, event.expires_at_us - now_us) / 1_000_000)
        draft.blocks("untaken", f"nobody has taken it yet; it expires in {left}")
        return "it waits for somebody to take it"
    if event.status == "processing":
        left = span(max(0, (event.lease_until_us or 0) - now_us) / 1_000_000)
        draft.adds("lease", f"{event.holder} holds it for another {left}, attempt {event.attempt}")
        return "somebody works on it"
    if event.status == "completed":
        draft.adds("done", f"{event.holder} completed it at attempt {event.attempt}")
        return "it is done"
    draft.remedy(actions.EventRetry(id=event.id))
    if event.status == "failed":
        draft.blocks("failed", f"all of its {event.max_retries} retries have failed")
        return "it has failed for good"
    draft.blocks("expired", "nobody has completed it in the time it was given")
    return "it has expired"
