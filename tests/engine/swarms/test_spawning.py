"""How fast processes are started."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine.swarms.spawning import MINUTE_S, SpawnRate, SpawnRates


def test_so_many_start_at_once_and_then_evenly() -> None:
    rate = SpawnRate(10)
    assert [rate.take(100.0) for _ in range(10)] == [0.0] * 10
    assert [round(rate.take(100.0), 6) for _ in range(3)] == [6.0, 12.0, 18.0]
    assert round(rate.take(118.0), 6) == 6.0


def test_a_minute_without_a_start_makes_all_free_again() -> None:
    rate = SpawnRate(3)
    for _ in range(3):
        rate.take(0.0)
    assert [rate.take(60.0) for _ in range(3)] == [0.0] * 3
    assert round(rate.take(60.0), 6) == 20.0


def test_a_start_that_is_given_back_is_free_for_the_next() -> None:
    rate = SpawnRate(2)
    assert [rate.take(0.0), rate.take(0.0), rate.take(0.0)] == [0.0, 0.0, 30.0]
    rate.give_back()
    assert rate.take(0.0) == 30.0


def test_each_swarm_has_a_rate_of_its_own() -> None:
    rates = SpawnRates(1)
    assert [rates.take("a", 0.0), rates.take("b", 0.0), rates.take("a", 0.0)] == [0.0, 0.0, 60.0]
    rates.give_back("a")
    rates.give_back("nobody")
    assert rates.take("a", 60.0) == 0.0


def test_another_rate_counts_from_now_on_and_what_was_taken_stays_taken() -> None:
    rates = SpawnRates(2)
    assert [rates.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 30.0]
    rates.change(6, 0.0)
    assert [rates.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    rates.change(1, 60.0)
    assert [rates.take(each, 60.0) for each in ("b", "b")] == [0.0, 60.0]


@given(
    per_minute=st.integers(1, 500),
    steps=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200),
)
def test_no_minute_holds_more_than_twice_the_rate_nor_a_later_one_more(
    per_minute: int, steps: list[float]
) -> None:
    """The burst and then the rate: in any span of s seconds at most n + n s / 60 starts."""
    rate, now_s = SpawnRate(per_minute), 0.0
    starts: list[float] = []
    for step_s in steps:
        now_s += step_s
        starts.append(now_s + rate.take(now_s))
    assert starts == sorted(starts)
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            most = per_minute * (1 + (starts[last] - starts[first] + 0.01) / MINUTE_S)
            assert last - first + 1 <= most + 1e-6
