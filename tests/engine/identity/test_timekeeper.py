"""The engine's time follows the wall clock, but cannot be set far."""

from __future__ import annotations

import time
import timeit
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.timekeeper import GuardedClock, Kept, Record

DAY_S = 86_400.0
SECOND = 1_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guarded(clock: FakeClock) -> GuardedClock:
    return GuardedClock(clock, max_jump_s=300)


def test_it_follows_the_wall_clock_as_it_goes(clock: FakeClock, guarded: GuardedClock) -> None:
    for seconds in (0.1, 1, 59, 86_400, 400 * DAY_S):  # a host may sleep for long
        clock.advance(seconds)
        assert guarded.wall_us() == clock.wall_us()
        assert guarded.jump is None


@pytest.mark.parametrize("days", [400, -400, 1, -1])
def test_a_jump_is_held_off_and_time_goes_on(
    clock: FakeClock, guarded: GuardedClock, days: int
) -> None:
    before = guarded.wall_us()
    clock.jump(days * DAY_S)
    assert guarded.wall_us() == before
    clock.advance(60)
    assert guarded.wall_us() == before + 60 * SECOND
    jump = guarded.jump
    assert jump is not None
    assert (jump.us, jump.direction) == (
        days * 86_400 * SECOND,
        "forward" if days > 0 else "backward",
    )
    assert f"{abs(days)} d" in jump.words() or "24 h" in jump.words()


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_comes_back_is_believed_again(
    clock: FakeClock, guarded: GuardedClock, days: int
) -> None:
    clock.jump(days * DAY_S)
    assert guarded.jump is not None
    clock.advance(3600)
    clock.jump(-days * DAY_S)
    assert guarded.jump is None
    assert guarded.wall_us() == clock.wall_us()


@pytest.mark.parametrize("days", [400, -400])
def test_an_accepted_jump_is_followed(clock: FakeClock, guarded: GuardedClock, days: int) -> None:
    clock.jump(days * DAY_S)
    assert guarded.jump is not None
    assert guarded.accept() is not None
    assert guarded.wall_us() == clock.wall_us()
    assert guarded.jump is None
    clock.advance(5)
    assert guarded.wall_us() == clock.wall_us()
    assert guarded.accept() is None


def test_a_small_step_back_slows_time_until_the_wall_has_caught_up(
    clock: FakeClock, guarded: GuardedClock
) -> None:
    before = guarded.wall_us()
    clock.jump(-60)
    assert guarded.wall_us() == before
    clock.advance(60)
    assert guarded.wall_us() == before + 30 * SECOND
    clock.advance(60)
    assert guarded.wall_us() == clock.wall_us() == before + 60 * SECOND
    assert guarded.jump is None


def test_a_leap_second_and_a_smeared_one_pass(clock: FakeClock, guarded: GuardedClock) -> None:
    clock.jump(-1)
    for _ in range(86_400 // 60):  # smeared over a day
        clock.advance(60)
        clock.jump(1 / 1440)
        guarded.wall_us()
    assert guarded.jump is None
    assert abs(guarded.wall_us() - clock.wall_us()) < SECOND


def test_many_small_steps_in_an_hour_are_one_jump(clock: FakeClock, guarded: GuardedClock) -> None:
    for _ in range(10):
        clock.advance(60)
        clock.jump(120)
        guarded.wall_us()
    assert guarded.jump is not None


def test_small_steps_days_apart_are_none(clock: FakeClock, guarded: GuardedClock) -> None:
    for _ in range(10):
        clock.advance(DAY_S)
        guarded.wall_us()
        clock.jump(120)
        guarded.wall_us()
    assert guarded.jump is None
    assert guarded.wall_us() == clock.wall_us()


Steps = st.lists(
    st.tuples(st.floats(0, 5000), st.floats(-2e7, 2e7) | st.floats(-400, 400)), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(Steps)
def test_time_never_runs_backwards_nor_ahead_of_what_passed_by_more_than_the_bound(
    steps: list[tuple[float, float]],
) -> None:
    """Planted: without `max` in `_look` time runs backwards here at once."""
    clock = FakeClock()
    guarded = GuardedClock(clock, max_jump_s=300)
    last, last_running, start = guarded.wall_us(), clock.running_us(), clock.running_us()
    first = last
    for passed, step in steps:
        clock.advance(passed)
        clock.jump(step)
        now = guarded.wall_us()
        assert now >= last
        hours = 1 + (clock.running_us() - start) // (3600 * SECOND)
        ahead = now - first - (clock.running_us() - start)
        assert ahead <= 2 * hours * 301 * SECOND
        assert now - last <= clock.running_us() - last_running + 2 * 301 * SECOND
        last, last_running = now, clock.running_us()


# --- over restarts ----------------------------------------------------------------------------


def resumed(clock: FakeClock, kept: Kept | None, stored_us: int = 0) -> GuardedClock:
    guarded = GuardedClock(clock, max_jump_s=300)
    guarded.resume(kept, stored_us)
    return guarded


@pytest.mark.parametrize("days", [400, -400])
def test_a_jump_between_two_engines_of_one_start_is_noticed(
    clock: FakeClock, guarded: GuardedClock, days: int
) -> None:
    clock.advance(1000)
    kept = guarded.kept()
    clock.advance(600)
    expected = clock.wall_us()
    clock.jump(days * DAY_S)
    again = resumed(clock, kept)
    assert again.jump is not None
    assert again.wall_us() == expected


@pytest.mark.parametrize("days", [400, -400])
def test_a_held_jump_stays_held_over_restarts(
    clock: FakeClock, guarded: GuardedClock, days: int
) -> None:
    clock.jump(days * DAY_S)
    assert guarded.jump is not None
    held_us = guarded.wall_us()
    for boot in ("fake", "next", "third"):
        clock.booted = boot
        guarded = resumed(clock, guarded.kept())
        assert guarded.jump is not None
        assert guarded.wall_us() == held_us


def test_a_host_that_was_off_for_a_year_has_not_jumped(
    clock: FakeClock, guarded: GuardedClock
) -> None:
    kept = guarded.kept()
    clock.booted = "next"
    clock.advance(400 * DAY_S)
    again = resumed(clock, kept, kept.wall_us)
    assert again.jump is None
    assert again.wall_us() == clock.wall_us()


def test_a_clock_behind_what_is_stored_is_held_there(clock: FakeClock) -> None:
    stored = clock.wall_us() + 86_400 * SECOND
    again = resumed(clock, None, stored)
    assert again.jump is not None
    assert again.jump.direction == "backward"
    assert again.wall_us() == stored


def test_a_clock_a_little_behind_what_is_stored_is_slowed(clock: FakeClock) -> None:
    stored = clock.wall_us() + 10 * SECOND
    again = resumed(clock, None, stored)
    assert again.jump is None
    assert again.wall_us() == stored


def test_the_record_is_written_whole_and_read_back(tmp_path: Path, guarded: GuardedClock) -> None:
    record = Record(tmp_path / "clock")
    assert record.read() is None
    record.write(guarded.kept())
    assert record.read() == guarded.kept()
    (tmp_path / "clock").write_bytes(b'{"wall_us": ')
    assert record.read() is None
    Record(tmp_path / "missing" / "clock").write(guarded.kept())  # no room: nothing raised


# --- cost -------------------------------------------------------------------------------------


def test_asking_costs_less_than_four_tenths_of_a_microsecond_more() -> None:
    """Of this thread's own time, beside the same machine's cost of asking without the guard, to be
    fair on a busy one."""
    plain, guarded = SystemClock(), GuardedClock(SystemClock(), 300)
    bare: list[float] = []
    cost: list[float] = []
    for _ in range(15):  # in turn: what else the machine does is the same for both
        for clock, seconds in ((plain, bare), (guarded, cost)):
            once = timeit.timeit(clock.wall_us, timer=time.thread_time, number=10_000) / 10_000
            seconds.append(once)
    assert min(cost) < max(0.4e-6, 3 * min(bare))


def test_the_host_knows_its_start() -> None:
    clock = SystemClock()
    assert len(clock.boot()) == 36
    assert 0 < clock.running_us() <= clock.running_us()
