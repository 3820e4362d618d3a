"""Why a proposal is not decided, or a conflict not resolved."""

from __future__ import annotations

from .. import actions
from ..environment import Place
from ..errors import Damaged, NotFound
from ..model import Principal
from ..views import ConflictView, ExplanationView, ProposalView
from .draft import Draft, span, unknown


async def explain_proposal(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound, also for a proposal that `principal` may not read."""
    try:
        found = await place.consensus.show(principal, ident)
    except (NotFound, Damaged) as error:
        raise unknown(ident) from error
    draft = Draft(ident, "proposal", found.environment, found.status)
    now_us = place.database.clock.wall_us()
    ago = span((now_us - found.created_at_us) / 1_000_000)
    draft.adds("proposer", f"{found.proposer} proposed it {ago} ago, as a {found.type}")
    who = ", ".join(found.participants) or f"whoever may read it (level {found.level})"
    draft.adds("participants", f"votes: {who}")
    votes = f"{found.approve} for, {found.reject} against, {found.abstain} abstained"
    share = "none" if found.score is None else f"{found.score:.0%}"
    draft.adds("ballots", f"{votes}: {share} approve, it is to be {found.threshold:.0%}")
    return draft.view(_of_proposal(draft, found, now_us))


def _of_proposal(draft: Draft, found: ProposalView, now_us: int) -> str:
    if found.closed_by not in {None, "engine"}:
        why = f": {found.reason}" if found.reason else ""
        draft.adds("closed", f"{found.closed_by} closed it{why}")
        return f"it is {found.status}"
    if found.status == "expired":
        draft.blocks("deadline", "nobody has closed it before its deadline")
        return "it has expired"
    if found.deadline_at_us is not None:
        left = span((found.deadline_at_us - now_us) / 1_000_000)
        draft.adds("deadline", f"it expires in {left}")
    if found.score is None:
        draft.blocks("no-ballot", "nobody has voted for or against it yet")
        draft.remedy(actions.ConsensusVote(id=found.id, vote="approve"))
        return "it waits for ballots"
    draft.blocks("open", "whoever made it, or may delete it, has to close it")
    reached = found.score >= found.threshold
    draft.remedy(
        actions.ConsensusClose(id=found.id, status="achieved")
        if reached
        else actions.ConsensusClose(id=found.id, status="failed")
    )
    return "it waits to be closed"


async def explain_conflict(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound, also for a conflict that `principal` may not read."""
    try:
        found = await place.conflicts.show(principal, ident)
    except (NotFound, Damaged) as error:
        raise unknown(ident) from error
    draft = Draft(ident, "conflict", found.environment, found.state)
    ago = span((place.database.clock.wall_us() - found.created_at_us) / 1_000_000)
    times = "" if found.times == 1 else f", {found.times} times by now"
    draft.adds("reporter", f"{found.reporter} reported it {ago} ago{times}")
    draft.adds("between", f"{found.one} and {found.other}, {found.severity} severity")
    if found.attempts:
        why = f": {found.reason}" if found.reason else ""
        draft.adds("attempts", f"{found.attempts} of {found.threshold} have failed{why}")
    return draft.view(_of_conflict(draft, found))


def _of_conflict(draft: Draft, found: ConflictView) -> str:
    if found.state == "resolved":
        draft.adds("resolved", f"{found.holder} has resolved it")
        return "it is resolved"
    if found.state == "in_progress":
        draft.blocks("held", f"{found.holder} works on it")
        draft.remedy(actions.ConflictReopen(id=found.id))
        return "somebody works on it"
    draft.remedy(actions.ConflictBegin(id=found.id))
    if found.state == "escalated":
        draft.blocks("escalated", "it calls for a person")
        return "it waits for a person"
    draft.blocks("untaken", f"nobody works on it; it is to be resolved by {found.strategy}")
    return "it waits for somebody to begin"
