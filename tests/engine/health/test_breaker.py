"""The circuit breaker: when it opens, for how long, and what closes it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine.health.breaker import MAX_CALLS, Breaker, Limits, State, asked, called

LIMITS = Limits(failures=5, failure_rate=0.5, least_calls=10, window_s=60, open_s=60, successes=3)
SECOND = 1_000_000


def after(outcomes: str, *, every_s: float = 1, breaker: Breaker | None = None) -> Breaker:
    """A breaker after these calls: `x` failed, `.` succeeded."""
    found = breaker or Breaker(name="a")
    now_us = found.changed_at_us
    for outcome in outcomes:
        now_us += int(every_s * SECOND)
        found, _ = asked(found, LIMITS, now_us)
        found = called(found, LIMITS, now_us, ok=outcome == ".")
    return found


def test_it_opens_after_failures_one_after_the_other() -> None:
    assert after("xxxx").state is State.CLOSED
    assert after("xxxxx").state is State.OPEN
    assert after("xxxx.xxxx").state is State.CLOSED


def test_it_opens_when_half_of_enough_calls_failed_within_the_window() -> None:
    assert after(".x.x.x.x.").state is State.CLOSED
    assert after(".x.x.x.x.x").state is State.OPEN
    assert after("..x..x..x..x").state is State.CLOSED
    assert after(".x" * 20, every_s=7).state is State.CLOSED


def test_only_a_failure_opens_it() -> None:
    assert after("xx..xx..x.").state is State.CLOSED
    assert after("xx..xx..x.x").state is State.OPEN


def test_while_open_nothing_is_called_and_then_one_after_the_other() -> None:
    opened = after("xxxxx")
    last_us = 5 * SECOND
    assert asked(opened, LIMITS, last_us + 60 * SECOND - 1) == (opened, False)
    half, may = asked(opened, LIMITS, last_us + 60 * SECOND)
    assert (half.state, may) == (State.HALF_OPEN, True)


def test_three_successes_close_it_and_one_failure_opens_it_again() -> None:
    half, _ = asked(after("xxxxx"), LIMITS, 100 * SECOND)
    assert after("..", breaker=half).state is State.HALF_OPEN
    assert after("...", breaker=half) == Breaker(name="a", changed_at_us=103 * SECOND)
    again = after("..x", breaker=half)
    assert (again.state, again.opened_at_us) == (State.OPEN, 103 * SECOND)


def test_a_call_of_before_it_opened_tells_nothing() -> None:
    opened = after("xxxxx")
    assert called(opened, LIMITS, 7 * SECOND, ok=True) == opened


def test_a_clock_set_back_does_not_keep_it_open_for_longer() -> None:
    opened = after("x" * 5, breaker=Breaker(name="a", changed_at_us=10**15))
    back, may = asked(opened, LIMITS, 5 * SECOND)
    assert not may
    assert opened.opened_at_us != back.opened_at_us
    assert asked(back, LIMITS, 65 * SECOND)[1]


def test_what_it_remembers_is_bounded() -> None:
    assert len(after("." * (MAX_CALLS + 5), every_s=0.001).calls) == MAX_CALLS


STEPS = st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["ok", "bad", "ask"])), max_size=120)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_it_does_what_the_rules_say(steps: list[tuple[int, str]]) -> None:
    """Against a slow model that keeps the whole history."""
    breaker, now_s = Breaker(name="a"), 0
    state, opened_s = "closed", 0
    history: list[tuple[int, bool]] = []
    trials = 0
    for wait_s, what in steps:
        now_s += wait_s
        breaker, may = asked(breaker, LIMITS, now_s * SECOND)
        if state == "open" and now_s - opened_s >= LIMITS.open_s:
            state, trials = "half-open", 0
        assert (breaker.state.value, may) == (state, state != "open")
        if what == "ask" or not may:
            continue
        ok = what == "ok"
        breaker = called(breaker, LIMITS, now_s * SECOND, ok=ok)
        if state == "half-open":
            trials = trials + 1 if ok else 0
            if not ok:
                state, opened_s = "open", now_s
            elif trials == LIMITS.successes:
                state, history = "closed", []
        else:
            history.append((now_s, ok))
            recent = [good for at_s, good in history if now_s - at_s < LIMITS.window_s]
            many = len(recent) >= LIMITS.least_calls and 2 * recent.count(False) >= len(recent)
            if not ok and (many or [good for _, good in history[-5:]] == [False] * 5):
                state, opened_s = "open", now_s
        assert breaker.state.value == state
