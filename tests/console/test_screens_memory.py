"""The memory panel: the host's map, budgets, who borrowed from whom, and a change that is asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.screens import memory
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen
from swarmdeck.engine import actions
from swarmdeck.engine.errors import Unavailable

GIB = 1 << 30


def test_the_parts_of_the_host_are_the_whole_plan(fakes: Any) -> None:
    parts = memory.shares(fakes.busy())
    assert [part.name for part in parts[-4:]] == [
        "coordination", "monitoring", "buffer", "reserved",
    ]  # fmt: skip
    assert sum(part.bytes for part in parts) == 96 * GIB


def test_what_is_borrowed_shows_where_it_was_taken_from(fakes: Any) -> None:
    parts = {part.name: part for part in memory.shares(fakes.busy())}
    assert parts["buffer"].held == GIB
    assert parts["staging"].held == GIB
    assert parts["development"].held == 10 * GIB, "its own base, and no more"


@pytest.mark.parametrize("room", [40, 80, 120, 300])
def test_the_bar_fills_its_line_whatever_the_width(fakes: Any, room: int) -> None:
    parts = memory.shares(fakes.busy())
    assert sum(memory.widths(parts, room)) == room
    assert min(memory.widths(parts, room)) >= 1


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 60)])
async def test_plan_use_and_loans_are_on_the_screen(fakes: Any, size: tuple[int, int]) -> None:
    async with fakes.console(fakes.busy(), size=size) as deck:
        await deck.press("5")
        await deck.until(lambda: "Budgets" in deck.text)
        for word in ("allocated", "used", "borrowed", "30 m", "Swarms of production"):
            assert word in deck.text
        await deck.press("j")
        await deck.until(lambda: "Swarms of development" in deck.text)
        assert "dev_swarm_7m2pz0tb" in deck.text
        if size[0] >= 120:
            assert deck.text.count("buffer 1 GB, staging 1 GB") == 2


async def test_an_environment_without_swarms_says_what_to_do(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        await deck.press("5", "j", "j")
        await deck.until(lambda: "No swarm of testing holds memory" in deck.text)


async def test_a_budget_is_asked_with_what_is_there_and_shown_before_it_is_done(
    fakes: Any,
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("5", "j", "b")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert "memory budget development --base 10GB --max 14GB" in deck.text
        await deck.press(*["backspace"] * 4, *"12GB", "enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "its own: 10 GB → 12 GB" in deck.text
        assert "buffer of the host: 8 GB → 6 GB" in deck.text
        await deck.press("y")
        wanted = actions.MemoryBudget(
            environment="development", base_bytes=12 * GIB, max_bytes=14 * GIB
        )
        await deck.until(lambda: deck.host.changes() == [wanted])


async def test_a_budget_that_does_not_fit_cannot_be_confirmed(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("memory budget development --base 20GB --max 20GB")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "It does not fit: the budgets of all would be 6 GB more" in deck.text
        await deck.press("y", "enter")
        assert isinstance(deck.app.screen, ConfirmScreen)
        await deck.press("escape")
        assert deck.host.changes() == []


async def test_tab_leads_to_the_swarms_and_enter_into_one(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("5", "j", "tab", "enter")
        await deck.until(lambda: "Agents of the swarm" in deck.text)
        assert deck.app.deck.crumb == "dev_swarm_7m2pz0tb"
        await deck.press("escape", "tab", "enter")
        await deck.until(lambda: "Records · development" in deck.text)


async def test_x_explains_the_environment_and_the_swarm(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("5", "j", "x")
        await deck.until(lambda: actions.Explain(subject="development") in deck.host.asked)
        await deck.press("escape", "tab", "x")
        wanted = actions.Explain(subject="dev_swarm_7m2pz0tb")
        await deck.until(lambda: wanted in deck.host.asked)


async def test_nothing_on_it_moves_while_nothing_happens(fakes: Any) -> None:
    """A moment later, with all else the same, every cell is the same: ages go in steps."""
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        for key in ("5", "4", "2", "3", "6", "7", "9", "0", "T"):
            await deck.press(key)
            await deck.pilot.pause(0.3)
            before = deck.text
            seen = deck.host.overview
            deck.host.overview = msgspec.structs.replace(seen, at_us=seen.at_us + 500_000)
            asked = len(deck.host.asked)
            deck.app.refresh_soon()
            await deck.until(lambda asked=asked: len(deck.host.asked) > asked + 1)
            await deck.pilot.pause(0.2)
            assert deck.text == before, key
            deck.host.overview = seen


async def test_a_lost_engine_leaves_the_map(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("5")
        deck.host.failures[actions.Status] = Unavailable("gone")
        await deck.until(lambda: "no answer: gone" in deck.text)
        assert "Budgets" in deck.text
