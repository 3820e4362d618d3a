"""What is put to the vote, and what stands between two."""

from __future__ import annotations

from typing import Final

from ...engine import actions, views
from .. import columns
from ..places import Place
from .base import Listing, ident


def _said(proposal: views.ProposalView) -> str:
    votes = f"{proposal.approve} for, {proposal.reject} against, {proposal.abstain} abstained"
    who = ", ".join(proposal.participants) or f"whoever may read it ({proposal.level})"
    why = f". {proposal.reason}" if proposal.reason else ""
    return f"{proposal.title}: {votes}; {proposal.strategy}, votes: {who}{why}"


def _stands(conflict: views.ConflictView) -> str:
    has = "has resolved it" if conflict.state == "resolved" else "has it"
    held = f", {conflict.holder} {has}" if conflict.holder else ""
    again = f", reported {conflict.times} times" if conflict.times > 1 else ""
    why = f". {conflict.reason}" if conflict.reason else ""
    between = f"{conflict.one} and {conflict.other}"
    return f"{conflict.title}: {between}, by {conflict.strategy}{held}{again}{why}"


CONSENSUS: Final = Listing(
    title="Proposals, newest first",
    columns=columns.proposals,
    key=ident,
    empty="Nothing is put to the vote.\n\nn  proposes something; or type  "
    ":consensus propose development 'Ship it'",
    groups=("consensus", "rows", "table", "motion"),
    query=lambda scope: actions.ConsensusList(environment=scope.place),
    opens=lambda proposal: Place("proposal", proposal.id),
    paged=True,
    words=_said,
)
CONFLICTS: Final = Listing(
    title="Conflicts, newest first",
    columns=columns.conflicts,
    key=ident,
    empty="✓ Nothing stands between anybody.\n\nn  reports a conflict; or type  "
    ":conflict report development TITLE ONE OTHER",
    groups=("conflicts", "rows", "table", "motion"),
    query=lambda scope: actions.ConflictList(environment=scope.place),
    opens=lambda conflict: Place("conflict", conflict.id),
    paged=True,
    words=_stands,
)
