"""A circuit breaker: calls to what keeps failing are not made for a while.

    closed     calls are made; too many failures one after the other, or too large a share of
               failures among enough calls in the window, open it
    open       no calls; once it was open long enough the next question makes it half open
    half-open  calls are made as a trial: one failure opens it again, enough successes close it

A breaker is a value and a step gives the next one, so that it can be stored between any two.
Times are microseconds of the engine's wall clock, because they outlive the engine.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

MAX_CALLS: Final = 1000  # kept of the window; of more the oldest do not count

replace = msgspec.structs.replace


class State(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens and closes; the meaning of each is that of the setting of its name."""

    failures: int
    failure_rate: float
    least_calls: int
    window_s: float
    open_s: float
    successes: int


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` are those one after the other, `successes` those since it is half open, `calls`
    the times of the calls in the window, each with whether it failed."""

    name: str
    state: State = State.CLOSED
    failures: int = 0
    successes: int = 0
    opened_at_us: int | None = None
    calls: tuple[tuple[int, bool], ...] = ()
    changed_at_us: int = 0

    def until_us(self, limits: Limits) -> int | None:
        """Until when no call is made; None while calls are made."""
        if self.state is not State.OPEN or self.opened_at_us is None:
            return None
        return self.opened_at_us + _micros(limits.open_s)


def asked(breaker: Breaker, limits: Limits, now_us: int) -> tuple[Breaker, bool]:
    """The breaker, and whether a call may be made now."""
    until_us = breaker.until_us(limits)
    if until_us is None:
        return breaker, True
    opened_us = breaker.opened_at_us or 0
    if now_us < opened_us:  # the clock was set back: it waits no longer than it would have
        return replace(breaker, opened_at_us=now_us, changed_at_us=now_us), False
    if now_us < until_us:
        return breaker, False
    return replace(breaker, state=State.HALF_OPEN, successes=0, changed_at_us=now_us), True


def called(breaker: Breaker, limits: Limits, now_us: int, *, ok: bool) -> Breaker:
    """The breaker after a call that has ended. One that began before it opened tells nothing."""
    if breaker.state is State.OPEN:
        return breaker
    if breaker.state is State.HALF_OPEN:
        return _tried(breaker, limits, now_us, ok=ok)
    since_us = now_us - _micros(limits.window_s)
    kept = [call for call in breaker.calls if since_us < call[0] <= now_us]
    calls = (*kept, (now_us, not ok))[-MAX_CALLS:]
    after = replace(
        breaker, failures=0 if ok else breaker.failures + 1, calls=calls, changed_at_us=now_us
    )
    return _opened(after, now_us) if not ok and _is_too_much(after, limits) else after


def _tried(breaker: Breaker, limits: Limits, now_us: int, *, ok: bool) -> Breaker:
    if not ok:
        return _opened(breaker, now_us)
    successes = breaker.successes + 1
    if successes >= limits.successes:
        return Breaker(name=breaker.name, changed_at_us=now_us)
    return replace(breaker, successes=successes, changed_at_us=now_us)


def _is_too_much(breaker: Breaker, limits: Limits) -> bool:
    failed = sum(bad for _, bad in breaker.calls)
    return breaker.failures >= limits.failures or (
        len(breaker.calls) >= limits.least_calls
        and failed >= limits.failure_rate * len(breaker.calls)
    )


def _opened(breaker: Breaker, now_us: int) -> Breaker:
    return replace(
        breaker, state=State.OPEN, successes=0, opened_at_us=now_us, changed_at_us=now_us
    )


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
