"""The footer names no key in vain."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.columns import Moment
from swarmdeck.console.keymap import fill, packaged
from swarmdeck.console.offers import acts
from swarmdeck.console.places import Place
from swarmdeck.console.preferences import Preferences
from swarmdeck.console.screens import screen_for


def footer(deck: Any) -> str:
    return str(deck.text.rstrip("\n").split("\n")[-1])


@pytest.mark.parametrize(("key", "row"), [("7", "1 of "), ("8", "1 of 60")])
async def test_rows_without_reasons_or_forms_offer_neither(fakes: Any, key: str, row: str) -> None:
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        await deck.press(key)
        await deck.until(lambda: row in deck.text)
        await deck.until(lambda: " why " not in footer(deck))
        assert " edit " not in footer(deck)
        assert " open " in footer(deck)


async def test_the_footer_follows_what_is_selected(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        await deck.until(lambda: " end " in footer(deck))
        await deck.press("tab")  # to the queue: an environment is no swarm to end
        await deck.until(lambda: " end " not in footer(deck))
        assert " edit " in footer(deck)
        await deck.press("tab", "tab", "tab", "tab", "tab", "tab", "tab", "tab")
        await deck.until(lambda: " end " in footer(deck))


async def test_an_empty_table_offers_what_needs_no_row(fakes: Any) -> None:
    async with fakes.console(size=(200, 60)) as deck:
        await deck.until(lambda: "No swarm runs yet" in deck.text)
        assert " end " not in footer(deck)
        await deck.press("2")
        await deck.until(lambda: " open " not in footer(deck))
        assert " new swarm " in footer(deck)


def test_a_record_can_be_stored_where_there_is_none_yet() -> None:
    key = next(key for key in packaged().groups["records"] if key.run.startswith("memory set"))
    screen = screen_for(Place("records", "research"), Moment())
    assert screen.environment == "research"
    assert acts(key, None, screen.subject, screen.environment)
    assert fill(key.run, None, "research", "research") == ("memory", "set", "research")
    assert fill("memory delete {environment} {key}", None, "", "research") is None


async def test_a_row_of_another_kind_is_not_called_missing(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("8")
        await deck.until(lambda: "1 of 60" in deck.text)
        await deck.press("x")
        await deck.until(lambda: any("rows like this one cannot" in said for said in deck.toasts))


async def test_a_place_that_is_only_looked_at_offers_no_change_of_its_rows(fakes: Any) -> None:
    preferences = Preferences(read_only=("production",))
    async with fakes.console(fakes.busy(), size=(200, 60), preferences=preferences) as deck:
        await deck.until(lambda: "payments" in deck.text and " scale " not in footer(deck))
        assert "READ-ONLY production" in deck.text
        await deck.press("j")  # a swarm of development
        await deck.until(lambda: " scale " in footer(deck))
