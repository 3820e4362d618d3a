"""Going through the views: by line, back and forth, with what they are narrowed to."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.commands import GoTo
from swarmdeck.console.places import Place
from swarmdeck.console.preferences import Preferences
from swarmdeck.engine import actions


async def test_a_line_goes_to_a_part_of_a_view(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue dead /kind=digest @prod")
        await deck.until(lambda: "Messages · dead · production · /kind=digest" in deck.text)
        asked = [each for each in deck.host.asked if isinstance(each, actions.QueueList)]
        assert (asked[-1].environment, asked[-1].state) == ("production", "dead")
        await deck.type("@all")
        await deck.until(lambda: deck.app.deck.scope.environment is None)
        await deck.type("agents /-f stl")
        await deck.until(lambda: deck.app.deck.crumb == "agents")


async def test_memory_of_an_environment_is_its_records(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("mem @dev")
        await deck.until(lambda: deck.app.deck.place.name == "records")
        assert deck.app.deck.subject == "development"


@pytest.mark.parametrize("line", ["bench @dev", "overview /x", "swarms dead @dev", "queue @moon"])
async def test_a_view_that_has_no_such_part_says_so(fakes: Any, line: str) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type(line)
        await deck.until(lambda: deck.toasts)
        assert "Not accepted" in deck.toasts[0]
        assert deck.app.deck.crumb == "overview"


async def test_views_are_found_again_as_they_were_left(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue dead /digest @dev")
        await deck.press("3")
        assert deck.app.deck.crumb == "agents"
        await deck.press("left_square_bracket")
        await deck.until(lambda: "Messages · dead · development · /digest" in deck.text)
        await deck.press("left_square_bracket")
        assert deck.app.deck.crumb == "overview"
        await deck.press("left_square_bracket")
        await deck.until(lambda: any("no other view" in toast for toast in deck.toasts))
        await deck.press("right_square_bracket", "right_square_bracket")
        assert deck.app.deck.crumb == "agents"


async def test_the_view_before_comes_back_with_its_crumbs(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("2", "j", "enter")
        await deck.until(lambda: "Agents of the swarm" in deck.text)
        await deck.press("8", "minus")
        await deck.until(lambda: "overview ▸ swarms ▸ dev_swarm_7m2pz0tb" in deck.text)
        await deck.press("minus")
        assert deck.app.deck.crumb == "audit"
        await deck.press("escape", "minus")
        assert deck.app.deck.crumb == "audit"


async def test_the_help_is_no_place_to_come_back_to(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("2", "question_mark", "4", "minus")
        assert deck.app.deck.crumb == "swarms"


async def test_a_console_begins_where_it_is_told_to(fakes: Any) -> None:
    view = GoTo("queue", "kind=digest", "research", "dead")
    async with fakes.console(fakes.busy(), preferences=Preferences(view=view)) as deck:
        await deck.until(lambda: "Messages · dead · research · /kind=digest" in deck.text)
        await deck.press("escape", "escape")
        assert deck.app.deck.place == Place("overview")


async def test_a_beginning_that_cannot_be_is_said_on_the_first_screen(fakes: Any) -> None:
    wanted = Preferences(view=GoTo("bench", environment="research"))
    async with fakes.console(fakes.busy(), preferences=wanted) as deck:
        await deck.until(lambda: deck.toasts)
        assert deck.app.deck.crumb == "overview"


async def test_recall_goes_through_what_begins_like_it(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        for line in ("agents", "queue", "audit"):
            await deck.type(line)
        await deck.press("colon", "a", "up", "up")
        assert deck.app.deck._bar.text == "agents"
        await deck.press("up")
        assert deck.app.deck._bar.text == "agents", "there is none before it"
        await deck.press("down", "down")
        assert deck.app.deck._bar.text == "a"
        await deck.press("up", "enter")
        assert deck.app.deck.crumb == "audit"


async def test_a_filter_that_cannot_be_says_so_while_it_is_typed(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("3", "slash", *"pidd", "greater_than_sign", "5")
        await deck.until(lambda: "no column or field 'pidd'" in deck.text)
        await deck.press("backspace", "backspace", "backspace", "greater_than_sign", "41010")
        await deck.until(lambda: "no column" not in deck.text)
        await deck.press("escape", "slash", *"state", "equals_sign", *"stale", "enter")
        await deck.until(lambda: "1 of 1" in deck.text)
        assert "dev_agent_00000007" in deck.text


async def test_all_the_room_for_one_part_and_shared_again(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        assert "Memory" in deck.text
        await deck.press("z")
        await deck.until(lambda: "── Memory" not in deck.text)
        assert "prod_swarm_4kd81xq2" in deck.text
        assert "quit" in deck.text
        await deck.press("escape")
        await deck.until(lambda: "── Memory" in deck.text)
        await deck.press("z", "z")
        await deck.until(lambda: "── Memory" in deck.text)
