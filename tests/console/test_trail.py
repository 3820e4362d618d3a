"""The way through the views: back, forth and to the one before."""

from __future__ import annotations

from swarmdeck.console.places import Place
from swarmdeck.console.trail import MOST, Trail

HOME = (Place("overview"),)


def to(name: str) -> tuple[Place, ...]:
    return (*HOME, Place(name))


def gone(*names: str) -> Trail:
    trail = Trail(HOME)
    for name in names:
        trail.went(to(name))
    return trail


def test_back_and_forth_between_the_ends() -> None:
    trail = gone("swarms", "queue")
    assert trail.step(1) is None
    assert trail.step(-1) == to("swarms")
    assert trail.step(-1) == HOME
    assert trail.step(-1) is None
    assert trail.step(1) == to("swarms")


def test_a_new_view_forgets_what_lay_ahead() -> None:
    trail = gone("swarms", "queue")
    trail.step(-1)
    trail.went(to("audit"))
    assert trail.step(1) is None
    assert trail.step(-1) == to("swarms")


def test_the_view_before_and_this_one_take_turns() -> None:
    assert Trail(HOME).swap() is None
    trail = gone("swarms", "queue")
    assert [trail.swap() for _ in range(3)] == [to("swarms"), to("queue"), to("swarms")]


def test_a_view_is_found_as_it_was_left() -> None:
    trail = gone("queue")
    narrowed = (*HOME, Place("queue", filter="x", environment="development", state="dead"))
    trail.keep(narrowed)
    trail.went(to("audit"))
    assert trail.step(-1) == narrowed


def test_the_way_is_bounded_and_still_leads_back() -> None:
    trail = gone(*(f"place {number}" for number in range(MOST * 2)))
    steps = 0
    while trail.step(-1) is not None:
        steps += 1
    assert steps == MOST - 1
    assert trail.swap() is not None
