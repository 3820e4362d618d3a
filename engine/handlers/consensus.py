"""Proposals and conflicts."""

from __future__ import annotations

from operator import attrgetter

from .. import actions, views
from ..conflicts import looks as conflict_looks
from ..conflicts import service as conflicts
from ..conflicts.rows import SEVERITIES
from ..consensus import looks, service
from ..dispatch import Context
from .paging import page_of
from .services import Part


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
        actor = self._actor(context, action.actor)
        wanted = looks.Wish(
            action.status, action.type, action.target, action.proposer, action.contains,
            action.descending,
        )  # fmt: skip
        return await page_of(
            [place.consensus for place in self._places(action.environment)],
            lambda kept, offset, limit: kept.list(actor, wanted, offset=offset, limit=limit),
            action,
            attrgetter("created_at_us"),
            reverse=not action.descending,
        )

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
        actor = self._actor(context, action.actor)
        wanted = conflict_looks.Wish(
            action.state, action.type, action.severity, action.about, action.contains,
            action.order, action.descending,
        )  # fmt: skip
        return await page_of(
            [place.conflicts for place in self._places(action.environment)],
            lambda kept, offset, limit: kept.list(actor, wanted, offset=offset, limit=limit),
            action,
            _severity if action.order == "severity" else attrgetter("created_at_us"),
            reverse=not action.descending,
        )

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


def _severity(conflict: views.ConflictView) -> tuple[int, int]:
    return SEVERITIES.index(conflict.severity), conflict.created_at_us
