"""The screens as pictures, at three sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from swarmdeck.console.deck import SwarmDeck


@pytest.fixture
def look(snapshot: Any, fakes: Any) -> Any:
    async def look(name: str, state: str, *keys: str, awaits: str = "") -> None:
        """Open the console over sample data, press the keys, wait for a text, compare."""
        make: Callable[[], SwarmDeck] = lambda: SwarmDeck(  # noqa: E731 - typed
            lambda _on_event: fakes.FakeHost(getattr(fakes, state)()), "~/swarmdeck"
        )

        async def ready(pilot: Any) -> None:
            deck = fakes.Deck(pilot.app, None, pilot)
            await deck.until(lambda: pilot.app.last.overview is not None)
            for key in keys:
                await deck.press(key)
            await deck.until(lambda: awaits in deck.text and "reading" not in deck.text)

        await snapshot(make, f"console/{name}", before=ready)

    return look


@pytest.mark.parametrize("state", ["busy", "empty", "failing"])
async def test_overview(look: Any, state: str) -> None:
    await look(f"overview-{state}", state)


async def test_help(look: Any) -> None:
    await look("help", "busy", "question_mark", awaits="Between the swarms and the queue")


async def test_form(look: Any) -> None:
    await look("form", "busy", "c", "d", "tab", "9", "9", awaits="still open")


async def test_confirm(look: Any) -> None:
    await look("confirm", "busy", "j", "ctrl+x", awaits="y yes")


async def test_confirm_in_production(look: Any) -> None:
    await look("confirm-production", "busy", "ctrl+x", awaits="This is production")


async def test_queue(look: Any) -> None:
    await look("queue", "busy", "4", awaits="due in 45 s")


async def test_swarm(look: Any) -> None:
    await look("swarm", "busy", "j", "enter", awaits="Agents of the swarm")


async def test_message(look: Any) -> None:
    await look("message", "busy", "4", "enter", awaits='"path"')


async def test_command_bar(look: Any) -> None:
    await look("command", "busy", "colon", *"swarm cr", awaits="create")


async def test_palette(look: Any) -> None:
    await look("palette", "busy", "ctrl+p", *"queue", awaits="queue send")
