"""Actions on proposals and conflicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .. import views
from .spec import (
    Action,
    Contains,
    Limit,
    Offset,
    OptionalWhere,
    Order,
    Reader,
    Where,
    action,
    arg,
)

Deadline = Annotated[float, msgspec.Meta(ge=1, le=31_536_000)]
Part = Annotated[float, msgspec.Meta(ge=0, le=1)]
ConsensusId = Annotated[str, arg("consensus id", positional=True)]
ConflictId = Annotated[str, arg("conflict id", positional=True)]
ProposalType = Literal["gate", "validation", "approval", "decision"]
TargetType = Literal["task", "event", "phase", "sprint", "epic"]
ConflictType = Literal[
    "resource", "data", "access", "priority", "dependency", "version", "consensus"
]
Severity = Literal["low", "medium", "high", "critical"]
LevelOrNone = Annotated[
    str | int | None,
    arg("private, team, swarm, public, system (of an agent: swarm)", unit="level"),
]
Team = Annotated[str | None, arg("for this one of its maker's teams")]
Why = Annotated[str, arg("why, for others to see")]


@action(views.ProposalView)
class ConsensusPropose(Action, frozen=True, kw_only=True, tag="consensus.propose"):
    """Put something to the vote."""

    environment: Where
    title: Annotated[str, arg("what is proposed, in one line", positional=True)]
    body: Annotated[Any, arg("all of it, JSON", positional=True, unit="json")] = None
    actor: Reader = None
    type: Annotated[ProposalType, arg("what it is for")] = "decision"
    target_type: Annotated[TargetType | None, arg("what kind of thing it is about")] = None
    target: Annotated[str | None, arg("which one: its id or name")] = None
    strategy: Annotated[
        Literal["simple", "weighted", "unanimous", "majority"],
        arg("how ballots are meant to be counted; kept, a plain count is shown"),
    ] = "weighted"
    threshold: Annotated[float, arg("part that has to approve", ge=0, le=1)] = 0.9
    participants: Annotated[
        tuple[str, ...],
        arg("agent, team or swarm that votes; may be repeated (default: who may read it)",
            flag="--participant"),
    ] = ()  # fmt: skip
    loop: Annotated[int, arg("round of the work it is about", ge=1, le=1_000_000)] = 1
    deadline_s: Annotated[Deadline | None, arg("seconds until it expires", flag="--deadline")] = (
        None
    )
    level: LevelOrNone = None
    team: Team = None


@action(list[views.ProposalView], query=True)
class ConsensusList(Action, frozen=True, kw_only=True, tag="consensus.list"):
    """List proposals that may be read, newest first."""

    environment: OptionalWhere = None
    actor: Reader = None
    status: Annotated[
        Literal["open", "pending", "in_progress", "achieved", "failed", "expired"] | None,
        arg("only this status (open: pending and in_progress)"),
    ] = None
    type: Annotated[ProposalType | None, arg("only this type")] = None
    target: Annotated[str | None, arg("only about this one")] = None
    proposer: Annotated[str | None, arg("only of this agent")] = None
    contains: Contains = ""
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.ProposalView, query=True)
class ConsensusShow(Action, frozen=True, kw_only=True, tag="consensus.show"):
    """Show one proposal with every ballot."""

    id: ConsensusId
    actor: Reader = None


@action(views.ProposalView, idempotent=True)
class ConsensusVote(Action, frozen=True, kw_only=True, tag="consensus.vote"):
    """Vote on a proposal; a second ballot takes the place of the first."""

    id: ConsensusId
    vote: Annotated[Literal["approve", "reject", "abstain"], arg("what is voted", positional=True)]
    actor: Reader = None
    confidence: Annotated[float, arg("how sure of it", ge=0, le=1)] = 1.0
    reason: Why = ""


@action(views.ProposalView)
class ConsensusClose(Action, frozen=True, kw_only=True, tag="consensus.close"):
    """Say what has come of a proposal; no more ballots are taken."""

    id: ConsensusId
    status: Annotated[Literal["achieved", "failed"], arg("what has come of it", positional=True)]
    actor: Reader = None
    reason: Why = ""


@action(views.ProposalView)
class ConsensusWithdraw(Action, frozen=True, kw_only=True, tag="consensus.withdraw"):
    """Take a proposal back: it has failed, whatever its ballots say."""

    id: ConsensusId
    actor: Reader = None
    reason: Why = ""


# --- conflicts --------------------------------------------------------------------------------


@action(views.ConflictView)
class ConflictReport(Action, frozen=True, kw_only=True, tag="conflict.report"):
    """Report that two are in each other's way."""

    environment: Where
    title: Annotated[str, arg("what is wrong, in one line", positional=True)]
    one: Annotated[str, arg("id or name of the one", positional=True)]
    other: Annotated[str, arg("id or name of the other", positional=True)]
    body: Annotated[Any, arg("all that is known, JSON", unit="json")] = None
    actor: Reader = None
    type: Annotated[ConflictType, arg("what it is about")] = "resource"
    severity: Annotated[Severity, arg("how bad it is")] = "medium"
    strategy: Annotated[str, arg("how it is meant to be resolved, such as merge")] = "manual"
    auto: Annotated[bool, arg("a program may resolve it without asking a person")] = False
    threshold: Annotated[int, arg("failed attempts that escalate it", ge=1, le=1_000)] = 3
    level: LevelOrNone = None
    team: Team = None


@action(list[views.ConflictView], query=True)
class ConflictList(Action, frozen=True, kw_only=True, tag="conflict.list"):
    """List conflicts that may be read, newest first."""

    environment: OptionalWhere = None
    actor: Reader = None
    state: Annotated[
        Literal["open", "unresolved", "in_progress", "resolved", "escalated"] | None,
        arg("only this state (open: all but resolved)"),
    ] = None
    type: Annotated[ConflictType | None, arg("only this type")] = None
    severity: Annotated[Severity | None, arg("only this severity")] = None
    about: Annotated[str | None, arg("only those that this one is part of")] = None
    contains: Contains = ""
    order: Annotated[Literal["newest", "severity"], arg("what to sort by")] = "newest"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.ConflictView, query=True)
class ConflictShow(Action, frozen=True, kw_only=True, tag="conflict.show"):
    """Show one conflict with what is known of it."""

    id: ConflictId
    actor: Reader = None


@action(views.ConflictView)
class ConflictBegin(Action, frozen=True, kw_only=True, tag="conflict.begin"):
    """Work on a conflict."""

    id: ConflictId
    actor: Reader = None


@action(views.ConflictView)
class ConflictAttempt(Action, frozen=True, kw_only=True, tag="conflict.attempt"):
    """Say that an attempt to resolve a conflict has failed; enough of them escalate it."""

    id: ConflictId
    reason: Annotated[str, arg("why it has failed", positional=True)] = ""
    actor: Reader = None


@action(views.ConflictView)
class ConflictResolve(Action, frozen=True, kw_only=True, tag="conflict.resolve"):
    """Say that a conflict is over."""

    id: ConflictId
    resolution: Annotated[Any, arg("how, JSON or text", positional=True, unit="value")] = None
    actor: Reader = None


@action(views.ConflictView)
class ConflictEscalate(Action, frozen=True, kw_only=True, tag="conflict.escalate"):
    """Call for a person: an alert fires until the conflict is resolved or reopened."""

    id: ConflictId
    actor: Reader = None
    reason: Why = ""


@action(views.ConflictView)
class ConflictReopen(Action, frozen=True, kw_only=True, tag="conflict.reopen"):
    """Begin a conflict anew: without holder, attempts and resolution."""

    id: ConflictId
    actor: Reader = None
    reason: Why = ""
