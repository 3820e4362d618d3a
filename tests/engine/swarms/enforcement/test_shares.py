"""A share follows its grant; one that shrank below what is held does so by asking first."""

from __future__ import annotations

import pytest

from swarmdeck.engine.swarms.enforcement.shares import ASK_S, GRACE_S, Asked, Shares


@pytest.fixture
def shares() -> Shares:
    shares = Shares()
    assert shares.follow({"a": 100, "b": 50}, {}, 0.0) == ()
    return shares


def test_a_grant_that_grew_counts_at_once(shares: Shares) -> None:
    assert shares.follow({"a": 200, "b": 50}, {"a": 90}, 1.0) == ()
    assert shares.limits == {"a": 200, "b": 50}


def test_a_grant_that_shrank_counts_at_once_where_less_is_held(shares: Shares) -> None:
    assert shares.follow({"a": 60, "b": 50}, {"a": 60}, 1.0) == ()
    assert shares.limits == {"a": 60, "b": 50}


def test_a_swarm_that_holds_more_is_asked_then_renewed_then_held_to_it(shares: Shares) -> None:
    now, held = {"a": 60, "b": 50}, {"a": 90}
    assert shares.follow(now, held, 0.0) == (Asked("a", 30, renew=False),)
    assert shares.limits["a"] == 100, "not more than before either"
    assert shares.follow(now, held, ASK_S - 1) == ()
    assert shares.follow(now, {"a": 80}, ASK_S) == (Asked("a", 20, renew=True),)
    assert shares.follow(now, held, ASK_S + 1) == ()
    assert shares.follow(now, held, 2 * ASK_S) == (Asked("a", 30, renew=True),)
    assert shares.follow(now, held, GRACE_S - 1) != ()
    assert shares.limits["a"] == 100
    assert shares.follow(now, held, GRACE_S) == ()
    assert shares.limits["a"] == 60
    assert shares.follow(now, held, GRACE_S + 1) == (), "it was asked; now it is held to it"
    assert shares.limits["a"] == 60


def test_one_that_gives_back_in_time_is_held_to_its_grant(shares: Shares) -> None:
    shares.follow({"a": 60}, {"a": 90}, 0.0)
    assert shares.follow({"a": 60}, {"a": 55}, 3.0) == ()
    assert shares.limits == {"a": 60}


def test_shrinking_again_asks_again_and_does_not_begin_the_grace_anew(shares: Shares) -> None:
    shares.follow({"a": 60}, {"a": 90}, 0.0)
    assert shares.follow({"a": 40}, {"a": 90}, 5.0) == (Asked("a", 50, renew=False),)
    shares.follow({"a": 40}, {"a": 90}, GRACE_S)
    assert shares.limits["a"] == 40


def test_a_swarm_that_ended_is_forgotten(shares: Shares) -> None:
    shares.follow({"a": 60}, {"a": 90}, 0.0)
    shares.follow({}, {"a": 90}, 1.0)
    assert shares.limits == {}
    assert shares.follow({"a": 60}, {"a": 90}, 2.0) == (), "another of that name begins anew"
    assert shares.limits == {"a": 60}
