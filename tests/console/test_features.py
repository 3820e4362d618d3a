"""What the comparison with other consoles claims and no test of one part proves."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.commands import SCREENS
from swarmdeck.console.places import Place
from swarmdeck.engine import actions

AGENT = "dev_agent_00000002"


async def test_an_agents_output_is_followed_until_one_scrolls_back(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    written = [f"line {number}" for number in range(100)]
    host.answers[actions.Logs] = lambda _: written
    async with fakes.console(host=host) as deck:
        deck.app.visit(Place("logs", AGENT))
        await deck.until(lambda: "line 99" in deck.text)
        written.append("line 100")
        deck.app.refresh_soon()
        await deck.until(lambda: "line 100" in deck.text)
        await deck.press("g")
        written.append("line 101")
        deck.app.refresh_soon()
        await deck.until(lambda: "of 102 lines" in deck.text)
        assert "line 101" not in deck.text
        await deck.press("G")
        assert "line 101" in deck.text


@pytest.mark.parametrize("name", SCREENS)
async def test_the_engines_condition_is_in_the_frame_of_every_screen(fakes: Any, name: str) -> None:
    async with fakes.console(fakes.failing()) as deck:
        await deck.type(name)
        await deck.until(lambda: deck.app.deck.crumb == name)
        foot = deck.text.splitlines()[-2]
        for number in ("▲ loop 100 ms", "writer 912", "▲ wal 410 MB", "bus local", "data"):
            assert number in foot


async def test_a_long_list_is_gone_through_without_leaving_the_letters(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        table = deck.app.deck.table
        seen = []
        for keys in (["j"], ["k"], ["G"], ["ctrl+u"], ["g"], ["ctrl+d"]):
            await deck.press(*keys)
            seen.append(table.cursor_row.id)
        first, last = "dev_msg_00000000", "dev_msg_00000039"
        assert seen[:3] == ["dev_msg_00000001", first, last]
        assert first < seen[3] < last
        assert seen[4] == first
        assert first < seen[5] < last


async def test_what_is_copied_reaches_the_clipboard_through_the_terminal(
    fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        sent: list[str] = []
        monkeypatch.setattr(deck.app._driver, "write", sent.append)
        await deck.press("3", "y")
        assert any(each.startswith("\x1b]52;c;") for each in sent)


async def test_every_row_can_be_asked_why_or_says_that_it_cannot(fakes: Any) -> None:
    explained = set()
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        for name in SCREENS:
            await deck.type(name)
            await deck.until(lambda name=name: deck.app.deck.crumb == name)
            await deck.until(lambda: "reading …" not in deck.text)
            asked, toasts = len(deck.host.asked), len(deck.toasts)
            await deck.press("x")
            await deck.until(
                lambda asked=asked, toasts=toasts: (
                    len(deck.toasts) > toasts
                    or any(
                        isinstance(each, (actions.Explain, actions.AclWho))
                        for each in deck.host.asked[asked:]
                    )
                )
            )
            if deck.app.deck.crumb != name:
                explained.add(name)
    assert explained >= set(SCREENS) - {"bench", "audit", "measures"}
