"""Proposals and conflicts."""

from __future__ import annotations

import asyncio
from typing import Final

from .. import actions, views
from ..conflicts import looks as conflict_looks
from ..conflicts import service as conflicts
from ..conflicts.rows import SEVERITIES
from ..consensus import looks, service
from ..dispatch import Context
from ..errors import InvalidInput
from .services import Part

MOST_MERGED: Final = 20_000  # rows of one environment that are merged with those of others


class ConsensusHandlers(Part):
    """Proposals and conflicts."""

    async def consensus_propose(
        self, context: Context, action: actions.ConsensusPropose
    ) -> views.ProposalView:
        fields = {name: getattr(action, name) for name in service.Wanted.__struct_fields__}
        actor = self._actor(context, action.actor)
        return await self._place(action.environment).consensus.propose(
            actor, service.Wanted(**fields)
        )

    async def consensus_list(
        self, context: Context, action: actions.ConsensusList
    ) -> list[views.ProposalView]:
        actor, end = self._actor(context, action.actor), _end(action)
        kept = [place.consensus for place in self._places(action.environment)]
        wanted = looks.Wish(
            action.status, action.type, action.target, action.proposer, action.contains,
            action.descending,
        )  # fmt: skip
        if len(kept) == 1:
            return await kept[0].list(actor, wanted, offset=action.offset, limit=action.limit)
        pages = await asyncio.gather(*(each.list(actor, wanted, limit=end) for each in kept))
        found = [each for page in pages for each in page]
        found.sort(key=lambda each: each.created_at_us, reverse=not action.descending)
        return found[action.offset : end]

    async def consensus_show(
        self, context: Context, action: actions.ConsensusShow
    ) -> views.ProposalView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).consensus.show(actor, action.id)

    async def consensus_vote(
        self, context: Context, action: actions.ConsensusVote
    ) -> views.ProposalView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).consensus.vote(
            actor, action.id, action.vote, action.confidence, action.reason
        )

    async def consensus_close(
        self, context: Context, action: actions.ConsensusClose
    ) -> views.ProposalView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).consensus.close(
            actor, action.id, action.status, action.reason
        )

    async def consensus_withdraw(
        self, context: Context, action: actions.ConsensusWithdraw
    ) -> views.ProposalView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).consensus.withdraw(actor, action.id, action.reason)

    # --- conflicts --------------------------------------------------------------------------

    async def conflict_report(
        self, context: Context, action: actions.ConflictReport
    ) -> views.ConflictView:
        fields = {name: getattr(action, name) for name in conflicts.Wanted.__struct_fields__}
        actor = self._actor(context, action.actor)
        return await self._place(action.environment).conflicts.report(
            actor, conflicts.Wanted(**fields)
        )

    async def conflict_list(
        self, context: Context, action: actions.ConflictList
    ) -> list[views.ConflictView]:
        actor, end = self._actor(context, action.actor), _end(action)
        kept = [place.conflicts for place in self._places(action.environment)]
        wanted = conflict_looks.Wish(
            action.state, action.type, action.severity, action.about, action.contains,
            action.order, action.descending,
        )  # fmt: skip
        if len(kept) == 1:
            return await kept[0].list(actor, wanted, offset=action.offset, limit=action.limit)
        pages = await asyncio.gather(*(each.list(actor, wanted, limit=end) for each in kept))
        found = [each for page in pages for each in page]
        found.sort(key=lambda each: each.created_at_us, reverse=not action.descending)
        if action.order == "severity":
            found.sort(key=_severity, reverse=not action.descending)
        return found[action.offset : end]

    async def conflict_show(
        self, context: Context, action: actions.ConflictShow
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.show(actor, action.id)

    async def conflict_begin(
        self, context: Context, action: actions.ConflictBegin
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.begin(actor, action.id)

    async def conflict_attempt(
        self, context: Context, action: actions.ConflictAttempt
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.attempt(actor, action.id, action.reason)

    async def conflict_resolve(
        self, context: Context, action: actions.ConflictResolve
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.resolve(actor, action.id, action.resolution)

    async def conflict_escalate(
        self, context: Context, action: actions.ConflictEscalate
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.escalate(actor, action.id, action.reason)

    async def conflict_reopen(
        self, context: Context, action: actions.ConflictReopen
    ) -> views.ConflictView:
        actor = self._actor(context, action.actor)
        return await self._of(action.id).conflicts.reopen(actor, action.id, action.reason)


def _severity(conflict: views.ConflictView) -> int:
    return SEVERITIES.index(conflict.severity)


def _end(action: actions.ConsensusList | actions.ConflictList) -> int:
    end = action.offset + action.limit
    if action.environment is None and end > MOST_MERGED:
        raise InvalidInput(
            f"row {end:,} of several environments is too far down to be merged",
            hint="name one environment, or filter",
        )
    return end
