"""Keys typed ahead of a screen or a dialog are done one after the other, none before its turn."""

from __future__ import annotations

from typing import Any

from textual import events

from swarmdeck.console.screens.dialogs import ConfirmScreen


def burst(deck: Any, *keys: str) -> None:
    """Keys that arrive together, as a terminal sends what was typed while it was busy."""
    names = {":": "colon"}
    for key in keys:
        character = key if len(key) == 1 else None
        deck.app.post_message(events.Key(names.get(key, key), character))


async def on_queue(deck: Any) -> None:
    await deck.type("queue")
    await deck.until(lambda: deck.app.deck.place.name == "queue" and deck.app.screen.focused)


async def test_a_line_typed_behind_an_escape_is_still_done(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        for _ in range(5):
            await on_queue(deck)
            burst(deck, "escape", *":swarms", "enter")
            await deck.until(lambda: deck.app.deck.place.name == "swarms")


async def test_a_line_typed_behind_a_dialog_that_opens_is_done_once_it_is_left(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        for _ in range(5):
            await on_queue(deck)
            burst(deck, "n", "escape", *":swarms", "enter")
            await deck.until(lambda: deck.app.deck.place.name == "swarms")
            assert deck.host.changes() == []


async def test_no_yes_typed_ahead_answers_a_question_that_was_not_seen(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await on_queue(deck)
        burst(deck, "ctrl+x", "y", "y", "enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.until(lambda: deck.app.screen.ready)
        for _ in range(10):
            await deck.pilot.pause(0.02)
        assert isinstance(deck.app.screen, ConfirmScreen)
        assert deck.host.changes() == []
        await deck.press("y")
        await deck.until(lambda: deck.host.changes() != [])


async def test_every_key_has_its_turn_in_order(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await on_queue(deck)
        burst(deck, *":echo", *"0123456789" * 4)
        await deck.until(lambda: deck.app.deck.asking)
        await deck.until(lambda: ":echo" + "0123456789" * 4 in deck.text)
