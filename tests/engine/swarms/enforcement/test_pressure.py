"""A host short of memory: the least important gives way, told first, and comes back with room."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine.model import Environment
from swarmdeck.engine.swarms.enforcement.pressure import (
    PRESSED_S,
    ROOMY_S,
    SETTLE_S,
    STALLED_PERCENT,
    TOLD_S,
    Candidate,
    Deed,
    Pressure,
    Step,
)

TOTAL = 1000
SHORT, ENOUGH, ROOM = 30, 60, 900
PRIORITIES = {name.value: rank for rank, name in enumerate(Environment, start=1)}
SWARMS = (
    Candidate("p", "production", 100),
    Candidate("d", "development", 100),
    Candidate("r1", "research", 100),
    Candidate("r2", "research", 50),
    Candidate("s", "staging", 100),
)


class Host:
    """Seconds on a host, with the swarms that still run."""

    def __init__(self, share: float = 0.05) -> None:
        self.pressure = Pressure(share, PRIORITIES)
        self.now_s = 0.0

    def second(
        self, available: int, swarms: Sequence[Candidate] = SWARMS, stalled: float | None = None
    ) -> Step | None:
        self.now_s += 1
        rested = self.pressure.rested
        running = [each for each in swarms if each.swarm not in rested]
        return self.pressure.step(self.now_s, TOTAL, available, running, stalled=stalled)

    def seconds(
        self, count: float, available: int, stalled: float | None = None
    ) -> list[tuple[Deed, str]]:
        found = (self.second(available, stalled=stalled) for _ in range(int(count)))
        return [(step.deed, step.swarm) for step in found if step is not None]


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_host_with_enough_does_nothing(host: Host) -> None:
    assert host.seconds(100, ENOUGH) == []


def test_a_moment_of_want_does_nothing(host: Host) -> None:
    for _ in range(20):
        assert host.seconds(PRESSED_S, SHORT) == []
        assert host.seconds(1, ENOUGH) == []


def test_the_least_important_and_newest_is_told_and_then_stopped_one_by_one(host: Host) -> None:
    deeds = host.seconds(PRESSED_S + 5 * (TOLD_S + SETTLE_S), SHORT)
    order = ["s", "r2", "r1", "d"]
    assert deeds == [(deed, name) for name in order for deed in (Deed.TELL, Deed.STOP)]
    assert list(host.pressure.rested) == order, "production never"


def test_what_gives_back_in_time_is_not_stopped(host: Host) -> None:
    assert host.seconds(PRESSED_S + 1, SHORT) == [(Deed.TELL, "s")]
    assert host.seconds(50, ENOUGH) == []
    assert host.seconds(PRESSED_S + 1, SHORT) == [(Deed.TELL, "s")], "told anew"


def test_it_says_what_the_host_is_short_of(host: Host) -> None:
    host.seconds(PRESSED_S, SHORT)
    step = host.second(SHORT)
    assert step is not None
    assert step.bytes == 20
    assert step.text == "the host has 30 B of 1000 B available"


def test_production_first_by_priority_does_not_give_way_either() -> None:
    host = Host()
    host.pressure = Pressure(0.05, PRIORITIES | {"production": 9})
    assert (Deed.STOP, "p") not in host.seconds(100, SHORT)


def test_swarms_come_back_the_most_important_first_once_there_is_room_for_long(host: Host) -> None:
    host.seconds(PRESSED_S + 2 * (TOLD_S + SETTLE_S), SHORT)
    assert list(host.pressure.rested) == ["s", "r2"]
    deeds = host.seconds(2 * ROOMY_S + 4 * SETTLE_S, ROOM)
    assert deeds == [(Deed.START, "r2"), (Deed.START, "s")]
    assert not host.pressure.rested


def test_room_that_does_not_last_or_is_too_small_brings_nobody_back(host: Host) -> None:
    host.seconds(PRESSED_S + TOLD_S + SETTLE_S, SHORT)
    for _ in range(5):
        assert host.seconds(ROOMY_S - 1, ROOM) == []
        assert host.seconds(1, ENOUGH) == []
    held, spare = 100, 2 * 50
    assert host.seconds(3 * ROOMY_S, held + spare - 1) == []
    assert host.seconds(ROOMY_S + 1, held + spare) == [(Deed.START, "s")]


def test_nobody_comes_back_while_work_waits_for_memory(host: Host) -> None:
    host.seconds(PRESSED_S + TOLD_S + SETTLE_S, SHORT)
    assert host.seconds(3 * ROOMY_S, ROOM, stalled=STALLED_PERCENT) == []
    assert host.seconds(ROOMY_S + 1, ROOM, stalled=STALLED_PERCENT - 1) == [(Deed.START, "s")]


def test_who_gave_way_again_waits_twice_as_long(host: Host) -> None:
    for times in (1, 2, 4):
        while not host.pressure.rested:
            host.seconds(1, SHORT)
        host.seconds(SETTLE_S, ENOUGH)
        assert host.seconds(times * ROOMY_S, ROOM) == []
        assert host.seconds(1, ROOM) == [(Deed.START, "s")]
        host.seconds(SETTLE_S, ENOUGH)


def test_a_swarm_that_ended_does_not_come_back(host: Host) -> None:
    host.seconds(PRESSED_S + TOLD_S + SETTLE_S, SHORT)
    host.pressure.forget({"r1", "r2", "d", "p"})
    assert host.seconds(3 * ROOMY_S, ROOM) == []


def test_a_share_of_zero_lets_nobody_give_way() -> None:
    assert Host(0.0).seconds(100, 0) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, SHORT, ENOUGH, ROOM]), max_size=400))
def test_whatever_the_host_does_nobody_is_stopped_untold_or_started_twice(
    available: list[int],
) -> None:
    host, stopped, told = Host(), set[str](), ""
    for each in available:
        step = host.second(each)
        if step is None:
            continue
        if step.deed is Deed.STOP:
            assert told == step.swarm
            assert step.swarm not in stopped | {"p"}
            stopped.add(step.swarm)
        elif step.deed is Deed.START:
            stopped.remove(step.swarm)
        told = step.swarm if step.deed is Deed.TELL else ""
        assert stopped == set(host.pressure.rested)
