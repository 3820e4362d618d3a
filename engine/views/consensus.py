"""Proposals, ballots and conflicts."""

from __future__ import annotations

from typing import Any

from .base import View


class BallotView(View, frozen=True, kw_only=True):
    """What somebody voted, how sure of it (0 to 1) and why."""

    voter: str
    vote: str
    confidence: float
    reason: str
    cast_at_us: int


class ProposalView(View, frozen=True, kw_only=True):
    """A proposal. `status` is pending (nobody has voted), in_progress, achieved, failed or expired.
    `score` is the part of the ballots for or against it that are for it, 0 to 1, to be seen beside
    the `threshold`; None while there are none. Without `participants` all who may read it vote.
    `loop` counts the rounds of the work it is about. Lists leave body and ballots out."""

    id: str
    environment: str
    title: str
    type: str
    target_type: str | None
    target: str | None
    strategy: str
    status: str
    threshold: float
    score: float | None
    approve: int
    reject: int
    abstain: int
    participants: tuple[str, ...]
    loop: int
    proposer: str
    level: str
    team: str | None
    swarm: str | None
    created_at_us: int
    deadline_at_us: int | None
    closed_at_us: int | None
    closed_by: str | None
    reason: str
    body: Any = None
    ballots: tuple[BallotView, ...] = ()


class ConflictView(View, frozen=True, kw_only=True):
    """Two that are in each other's way, `one` and `other`. `severity` is low, medium, high or
    critical; `state` unresolved, in_progress, resolved or escalated. `attempts` that have failed
    escalate it at `threshold`; `times` is how often it was reported while it was not resolved.
    `holder` works on it, or has resolved it. Lists leave body and resolution out."""

    id: str
    environment: str
    title: str
    type: str
    severity: str
    one: str
    other: str
    strategy: str
    auto: bool
    state: str
    attempts: int
    threshold: int
    times: int
    holder: str | None
    reporter: str
    level: str
    team: str | None
    swarm: str | None
    created_at_us: int
    updated_at_us: int
    escalated_at_us: int | None
    resolved_at_us: int | None
    reason: str
    body: Any = None
    resolution: Any = None
