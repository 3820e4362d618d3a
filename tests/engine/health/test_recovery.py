"""How often something ill is recovered, how far apart, and when that counts anew."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine.health.recovery import (
    Limits,
    Policy,
    Recovery,
    Verdict,
    begun,
    ended,
    forgiven,
    judged,
    loaded,
    next_attempt_us,
)

LIMITS = Limits(attempts=3, cooldown_s=300)
SECOND = 1_000_000


def recovery(policy: Policy = Policy.RESTART) -> Recovery:
    return Recovery(subject="dev_swarm_a", policy=policy)


def look(found: Recovery, at_s: float, *, healthy: bool = False) -> tuple[Recovery, Verdict]:
    """A look, and the attempt that follows from it."""
    found, verdict = judged(found, LIMITS, int(at_s * SECOND), healthy=healthy)
    if verdict is Verdict.TRY:
        found = ended(begun(found, LIMITS, int(at_s * SECOND)), int(at_s * SECOND), "done")
    return found, verdict


def spent() -> Recovery:
    found = recovery()
    for number in range(3):
        found, verdict = look(found, number * 300)
        assert verdict is Verdict.TRY
    return found


def test_an_attempt_is_made_at_once_and_the_next_after_a_cooldown() -> None:
    found, verdict = look(recovery(), 10)
    assert (verdict, found.attempts) == (Verdict.TRY, 1)
    assert look(found, 309.9) == (found, Verdict.WAIT)
    assert next_attempt_us(found, LIMITS) == 310 * SECOND
    found, verdict = look(found, 310)
    assert (verdict, found.attempts) == (Verdict.TRY, 2)


def test_a_fourth_attempt_never_happens() -> None:
    found = spent()
    for at_s in (900, 5000, 10**9):
        assert look(found, at_s) == (found, Verdict.SPENT)
    assert next_attempt_us(found, LIMITS) is None
    with pytest.raises(AssertionError):
        begun(found, LIMITS, 0)


def test_health_for_a_cooldown_counts_anew() -> None:
    found, _ = look(spent(), 1000, healthy=True)
    assert look(found, 1299, healthy=True)[0].attempts == 3
    found, _ = look(found, 1300, healthy=True)
    assert found.attempts == 0
    assert look(found, 1301)[1] is Verdict.TRY


def test_a_relapse_before_that_does_not() -> None:
    found, _ = look(spent(), 1000, healthy=True)
    found, _ = look(found, 1200)
    found, _ = look(found, 1250, healthy=True)
    found, _ = look(found, 1500, healthy=True)
    assert found.attempts == 3
    assert look(found, 1501)[1] is Verdict.SPENT


def test_alert_only_never_acts() -> None:
    found = recovery(Policy.ALERT_ONLY)
    for at_s in range(0, 10**6, 10**4):
        assert look(found, at_s) == (found, Verdict.NOTHING)
    with pytest.raises(AssertionError):
        begun(found, LIMITS, 0)


def test_the_cooldown_counts_from_the_end_of_an_attempt() -> None:
    found = ended(begun(recovery(), LIMITS, 0), 200 * SECOND, "done")
    assert look(found, 499)[1] is Verdict.WAIT
    assert look(found, 500)[1] is Verdict.TRY


def test_another_engine_goes_on_where_one_died_in_the_middle_of_an_attempt() -> None:
    under_way = begun(msgspec.structs.replace(spent(), attempts=2), LIMITS, 700 * SECOND)
    after = loaded(under_way)
    assert (after.attempts, after.outcome) == (3, "interrupted: its engine ended")
    assert look(after, 10**6)[1] is Verdict.SPENT


def test_time_without_an_engine_is_no_health() -> None:
    healthy, _ = look(spent(), 1000, healthy=True)
    assert look(loaded(healthy), 9000, healthy=True)[0].attempts == 3


def test_a_reset_gives_all_attempts_back() -> None:
    assert look(forgiven(spent()), 901)[1] is Verdict.TRY


LOOKS = st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), max_size=80)


@settings(max_examples=150, deadline=None)
@given(LOOKS, st.sampled_from(Policy))
def test_in_any_history_attempts_are_few_and_far_apart(
    looks: list[tuple[int, bool, bool]], policy: Policy
) -> None:
    """Against the history itself: since the last healthy cooldown there are at most three
    attempts, each a cooldown after the one before, and none is left out that was due."""
    found, now_s = recovery(policy), 0
    tries: list[int] = []
    well_since: int | None = None
    for wait_s, healthy, restarts in looks:
        now_s += wait_s
        if restarts:
            found, well_since = loaded(found), None
        found, verdict = look(found, now_s, healthy=healthy)
        if healthy:
            well_since = now_s if well_since is None else well_since
            if now_s - well_since >= 300:
                tries.clear()
            assert verdict is Verdict.NOTHING
            continue
        well_since = None
        # A cooldown also follows an attempt that is forgiven: health that long is longer than it.
        due = (
            policy is not Policy.ALERT_ONLY
            and len(tries) < 3
            and (not tries or now_s - tries[-1] >= 300)
        )
        assert (verdict is Verdict.TRY) == due
        if verdict is Verdict.TRY:
            tries.append(now_s)
        assert found.attempts == len(tries) <= 3
