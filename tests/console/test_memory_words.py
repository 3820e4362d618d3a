"""What the console says of agents killed and swarms stopped for memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.columns.swarms import swarm_why
from swarmdeck.engine import views

CRAWL = "dev_swarm_7m2pz0tb"


def changed(overview: views.Overview, **changes: Any) -> views.Overview:
    swarms = tuple(
        msgspec.structs.replace(each, **changes) if each.id == CRAWL else each
        for each in overview.swarms
    )
    return msgspec.structs.replace(overview, swarms=swarms)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"breaches": 3}, "3 killed"),
        ({"gave_way": "the host has 1 GB of 96 GB available"}, "gave way: the host has 1 GB"),
        ({"cpu_percent": 150}, "150 % of a core"),
    ],
)
async def test_a_swarm_says_what_was_done_for_memory(
    fakes: Any, changes: dict[str, Any], shown: str
) -> None:
    seen = changed(fakes.busy(), **changes)
    async with fakes.console(seen, size=(80, 24)) as deck:
        await deck.press("2", "j", "enter")
        await deck.until(lambda: shown in deck.text)


async def test_the_memory_of_an_environment_shows_who_was_killed(fakes: Any) -> None:
    seen = changed(fakes.busy(), breaches=37)
    async with fakes.console(seen, size=(80, 24)) as deck:
        await deck.press("5", "j")
        await deck.until(lambda: "killed" in deck.text and " 37" in deck.text)
        assert "· guarded ──" in deck.text, "and by what budgets hold"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reason": "asked"}, "asked"),
        ({"breaches": 2}, "2 killed for memory"),
        ({"breaches": 2, "reason": "asked"}, "2 killed for memory; asked"),
        ({"breaches": 2, "gave_way": "the host is short"}, "gave way: the host is short"),
    ],
)
def test_the_list_says_first_what_was_done_for_memory(
    fakes: Any, changes: dict[str, Any], why: str
) -> None:
    seen = changed(fakes.busy(), **changes)
    assert swarm_why(next(each for each in seen.swarms if each.id == CRAWL)) == why
