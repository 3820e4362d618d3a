"""A screen that a dialog has covered before its first layout is laid out all the same."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from swarmdeck.console.screens.dialogs import FormScreen

HELD_S: Final = 0.5
"""Longer than all that a new screen and a dialog say of themselves."""

PATIENCE_S: Final = 2.0


async def test_a_dialog_right_behind_a_new_screen_stands_over_that_screen(fakes: Any) -> None:
    """While widgets are mounted Textual lays nothing out, and afterwards asks the screen in
    front alone: the one it covers had its turn, and no message would give it another."""
    async with fakes.console(fakes.busy()) as deck:
        app = deck.app
        app.bridge.paused = True
        with app.batch_update():
            app.enter("queue")
            app.enter("queue send")
            below = app.deck
            await asyncio.sleep(HELD_S)  # a pause of the pilot would give every screen a turn
        deadline_s = time.monotonic() + PATIENCE_S
        while below._layout_required and time.monotonic() < deadline_s:
            await asyncio.sleep(0.01)
        assert isinstance(app.screen, FormScreen)
        assert not below._layout_required, "what is below the dialog waits until it is left"
