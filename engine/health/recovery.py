"""When something ill is recovered: how often, how far apart, and when that counts anew.

    healthy               nothing is done; after a cooldown of it earlier attempts are forgotten
    ill, ALERT_ONLY       nothing is done, ever
    ill, attempts left    an attempt, unless the last one was less than a cooldown ago
    ill, none left        nothing more: a person is needed

A recovery is a value and a step gives the next one, so that it can be stored between any two; an
attempt is stored as begun before anything is done, so that an engine that dies in the middle of one
has counted it. Times are microseconds of the engine's wall clock, because they outlive the engine.
"""

from __future__ import annotations

import enum

import msgspec

replace = msgspec.structs.replace


class Policy(enum.StrEnum):
    """What is done about something that is ill. RESTART: processes start anew, a store is opened
    anew. RECREATE: new agents replace all of a swarm. SCALE_UP: it gets more agents. FAILOVER:
    another swarm takes over. ALERT_ONLY: nothing."""

    RESTART = "RESTART"
    RECREATE = "RECREATE"
    SCALE_UP = "SCALE_UP"
    FAILOVER = "FAILOVER"
    ALERT_ONLY = "ALERT_ONLY"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """At most so many attempts one after the other, each a cooldown after the one before."""

    attempts: int
    cooldown_s: float

    @property
    def cooldown_us(self) -> int:
        return int(self.cooldown_s * 1_000_000)


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How a subject is recovered and what was tried. `attempted_at_us` is when the last attempt
    began, or once it is over ended; `outcome` says in words what came of it; `successor` is the
    swarm that has taken over from a swarm that was given up."""

    subject: str
    policy: Policy
    standby: str = ""
    address: str = ""
    attempts: int = 0
    attempted_at_us: int | None = None
    healthy_since_us: int | None = None
    outcome: str = ""
    successor: str = ""
    changed_at_us: int = 0
    changed_by: str = ""


class Verdict(enum.StrEnum):
    """What follows from a look. WAIT: the cooldown is not over. SPENT: no attempt is left."""

    NOTHING = "nothing"
    WAIT = "wait"
    TRY = "try"
    SPENT = "spent"


def judged(
    recovery: Recovery, limits: Limits, now_us: int, *, healthy: bool
) -> tuple[Recovery, Verdict]:
    """What a look at the subject means. The recovery is the same object where nothing changed."""
    if healthy:
        return _well(recovery, limits, now_us), Verdict.NOTHING
    if recovery.healthy_since_us is not None:
        recovery = replace(recovery, healthy_since_us=None)
    if recovery.policy is Policy.ALERT_ONLY:
        return recovery, Verdict.NOTHING
    if recovery.attempts >= limits.attempts:
        return recovery, Verdict.SPENT
    next_us = next_attempt_us(recovery, limits)
    return recovery, Verdict.WAIT if next_us is not None and now_us < next_us else Verdict.TRY


def _well(recovery: Recovery, limits: Limits, now_us: int) -> Recovery:
    since_us = recovery.healthy_since_us
    if since_us is None or since_us > now_us:  # or the clock was set back
        return replace(recovery, healthy_since_us=now_us)
    if recovery.attempts and now_us - since_us >= limits.cooldown_us:
        return replace(recovery, attempts=0)
    return recovery


def begun(recovery: Recovery, limits: Limits, now_us: int) -> Recovery:
    """An attempt begins: it counts from here on, whatever becomes of it."""
    if recovery.policy is Policy.ALERT_ONLY or recovery.attempts >= limits.attempts:
        raise AssertionError(f"no attempt is left for {recovery.subject}")
    return replace(
        recovery, attempts=recovery.attempts + 1, attempted_at_us=now_us, outcome="under way"
    )


def ended(recovery: Recovery, now_us: int, outcome: str) -> Recovery:
    """An attempt is over: the cooldown counts from here."""
    return replace(recovery, attempted_at_us=now_us, outcome=outcome)


def loaded(recovery: Recovery) -> Recovery:
    """As another engine left it. Whether it was healthy while no engine looked nobody knows."""
    outcome = recovery.outcome
    if outcome == "under way":
        outcome = "interrupted: its engine ended"
    return replace(recovery, healthy_since_us=None, outcome=outcome)


def forgiven(recovery: Recovery) -> Recovery:
    """With all attempts left and no cooldown."""
    return replace(recovery, attempts=0, attempted_at_us=None)


def next_attempt_us(recovery: Recovery, limits: Limits) -> int | None:
    """When an attempt may be made, None when at once or, with none left, never."""
    if recovery.attempted_at_us is None or recovery.attempts >= limits.attempts:
        return None
    return recovery.attempted_at_us + limits.cooldown_us
