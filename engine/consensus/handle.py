"""Proposals, for those who write Python: `engine.consensus("development", as_=agent)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import actions, views
from ..acting import Acting

Proposals = list[views.ProposalView]


class Votes(Acting):
    """Proposals of one environment, as one actor sees them. All methods raise NotFound for one
    that is not there or may not be read, InvalidInput, Unavailable."""

    async def propose(  # noqa: PLR0913 - the fields of a proposal
        self,
        title: str,
        body: Any = None,  # noqa: ANN401 - JSON types
        *,
        type: str = "decision",  # noqa: A002 - the field's name
        target_type: str | None = None,
        target: str | None = None,
        strategy: str = "weighted",
        threshold: float = 0.9,
        participants: Iterable[str] = (),
        loop: int = 1,
        deadline_s: float | None = None,
        level: str | int | None = None,
        team: str | None = None,
    ) -> views.ProposalView:
        """Put something to the vote of `participants` (agents, teams, swarms), or of all who may
        read it. `type` is gate, validation, approval or decision; `target_type` task, event, phase,
        sprint or epic. It expires after `deadline_s`. Raises Denied for another's level or team."""
        return await self._one(
            actions.ConsensusPropose, title=title, body=body, type=type, target_type=target_type,
            target=target, strategy=strategy, threshold=threshold,
            participants=tuple(participants), loop=loop, deadline_s=deadline_s, level=level,
            team=team,
        )  # fmt: skip

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's name
        target: str | None = None,
        proposer: str | None = None,
        contains: str = "",
        offset: int = 0,
        limit: int = 200,
    ) -> Proposals:
        """Newest first, without bodies and ballots. `status` open is pending and in_progress."""
        found: Proposals = await self._ask(
            actions.ConsensusList, status=status, type=type, target=target, proposer=proposer,
            contains=contains, offset=offset, limit=limit,
        )  # fmt: skip
        return found

    async def get(self, ident: str) -> views.ProposalView:
        """One with every ballot."""
        return await self._one(actions.ConsensusShow, id=ident)

    async def vote(
        self, ident: str, vote: str, *, confidence: float = 1.0, reason: str = ""
    ) -> views.ProposalView:
        """Vote approve, reject or abstain; a second ballot takes the place of the first. Raises
        Denied for who does not take part, Conflict once it is closed."""
        return await self._one(
            actions.ConsensusVote, id=ident, vote=vote, confidence=confidence, reason=reason
        )

    async def close(self, ident: str, status: str, *, reason: str = "") -> views.ProposalView:
        """Say that it is achieved or has failed. Raises Denied, Conflict once it is closed."""
        return await self._one(actions.ConsensusClose, id=ident, status=status, reason=reason)

    async def withdraw(self, ident: str, *, reason: str = "") -> views.ProposalView:
        """Take it back. Raises as `close` does."""
        return await self._one(actions.ConsensusWithdraw, id=ident, reason=reason)

    async def _one(self, kind: type[actions.Action], **fields: Any) -> views.ProposalView:  # noqa: ANN401
        found: views.ProposalView = await self._ask(kind, **fields)
        return found
