"""The access panel: the matrix, the entries in force, and the view of one agent."""

from __future__ import annotations

from typing import Any

import msgspec

from swarmdeck.console import prefill
from swarmdeck.console.places import Place
from swarmdeck.console.screens.access import MATRIX_ROWS
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen
from swarmdeck.engine import actions, views
from swarmdeck.engine.errors import Unavailable

AGENT = "dev_agent_00000001"


def matrices(deck: Any) -> list[actions.AclMatrix]:
    return [action for action in deck.host.asked if isinstance(action, actions.AclMatrix)]


async def test_the_cell_under_the_cursor_is_said_in_words(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        await deck.press("6")
        await deck.until(lambda: "✓ may read, write, delete" in deck.text)
        await deck.press("l", "l", "j")
        await deck.until(lambda: "worker 1 dev_agent_00000001" in deck.text)
        assert "✗ may not read, write, delete" in deck.text
        assert "nothing allows it" in deck.text


async def test_the_matrix_is_of_the_environment_that_is_chosen(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6")
        await deck.until(lambda: "Rights · production" in deck.text)
        await deck.type("environment research")
        await deck.until(lambda: "Rights · research" in deck.text)
        await deck.until(lambda: "digest:lib/module_1.py" in deck.text)
        assert matrices(deck)[-1].environment == "research"


async def test_scrolling_moves_the_window_of_records(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6")
        await deck.until(lambda: "1 of 100+" in deck.text)
        await deck.press("G")
        await deck.until(lambda: "from record 51" in deck.text)
        await deck.until(lambda: "▸ digest:lib/module_99.py" in deck.text)
        await deck.press("G")
        await deck.until(lambda: "▸ digest:lib/module_139.py" in deck.text)
        await deck.press("g")
        await deck.until(lambda: "▸ digest:lib/module_50.py" in deck.text)
        await deck.until(lambda: matrices(deck)[-1].offset == 0)
        assert {action.limit for action in matrices(deck)} == {MATRIX_ROWS}


async def test_it_is_not_asked_for_again_while_nothing_was_committed(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6")
        await deck.until(lambda: "✓ may" in deck.text)
        pulls = len(deck.host.asked)
        for _ in range(3):
            deck.app.refresh_soon()
            await deck.until(lambda pulls=pulls: len(deck.host.asked) > pulls)
            pulls = len(deck.host.asked)
        assert len(matrices(deck)) == 1
        seen = deck.host.overview
        deck.host.overview = msgspec.structs.replace(
            seen, sequence=seen.sequence + 1, at_us=seen.at_us + 1_500_000
        )
        await deck.until(lambda: len(matrices(deck)) == 2)


async def test_a_matrix_that_cannot_be_read_says_why_and_comes_back(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.AclMatrix] = Unavailable("the disk is gone", hint="look at the host")
    async with fakes.console(host=host) as deck:
        await deck.press("6")
        await deck.until(lambda: "the disk is gone" in deck.text)
        host.failures.clear()
        seen = host.overview
        host.overview = msgspec.structs.replace(seen, at_us=seen.at_us + 2_000_000)
        await deck.until(lambda: "✓ may" in deck.text)


async def test_an_empty_store_says_what_to_do(fakes: Any) -> None:
    async with fakes.console(size=(80, 24)) as deck:
        await deck.press("6")
        await deck.until(lambda: "No record is in development yet" in deck.text)
        assert ":memory set development KEY VALUE" in deck.text
        await deck.press("n")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))


async def test_a_grant_begins_from_the_cell(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6")
        await deck.until(lambda: "✓ may" in deck.text)
        await deck.press("l", "j", "n")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.press("enter")
        await deck.until(deck.host.changes)
        (grant,) = deck.host.changes()
        assert grant == actions.AclGrant(
            subject="dev_agent_00000000", level="team", namespace="demo",
            key_prefix="digest:lib/module_1.py", environment="production",
        )  # fmt: skip


async def test_a_denial_begins_from_the_cell_and_asks(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6")
        await deck.type("environment development")
        await deck.until(lambda: "✓ may" in deck.text and "development" in deck.text)
        await deck.press("l", "N")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert "acl deny dev_agent_00000000" in deck.text


async def test_the_level_is_changed_after_it_is_said_who_then_reads(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("access @development")
        await deck.until(lambda: "✓ may" in deck.text)
        await deck.press("j", "L")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.press("right", "enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "then swarm: every agent of the owner's swarm" in deck.text
        await deck.press("y")
        wanted = actions.MemoryLevel(
            environment="development", key="digest:lib/module_1.py", level="swarm",
            namespace="demo",
        )  # fmt: skip
        await deck.until(lambda: deck.host.changes() == [wanted])


async def test_tab_shows_the_entries_in_force_where_they_are_revoked(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("6", "tab")
        await deck.until(lambda: "dev_agent_00000002" in deck.text and "deny" in deck.text)
        await deck.press("j", "ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.press("y")
        wanted = actions.AclRevoke(id="dev_grant_00000001")
        await deck.until(lambda: deck.host.changes() == [wanted])
        await deck.press("tab")
        await deck.until(lambda: "✓ may" in deck.text)


async def test_enter_and_x_show_who_may_do_what_to_the_record(fakes: Any) -> None:
    for key in ("enter", "x"):
        async with fakes.console(fakes.busy()) as deck:
            await deck.press("6")
            await deck.until(lambda: "✓ may" in deck.text)
            await deck.press(key)
            await deck.until(lambda: "Who may · digest:lib/module_0.py" in deck.text)
            await deck.until(lambda: "nothing allows it" in deck.text)
            wanted = actions.AclWho(
                environment="production", key="digest:lib/module_0.py", namespace="demo"
            )
            assert wanted in deck.host.asked


async def test_the_view_as_an_agent_reads_as_that_agent_until_it_is_left(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("3")
        await deck.until(lambda: "dev_agent_00000007" in deck.text)
        await deck.type(f"as {AGENT}")
        await deck.until(lambda: "AS worker 1, esc ends it" in deck.text)
        await deck.until(lambda: "digest:lib/module_0.py" in deck.text)
        await deck.until(lambda: matrices(deck))
        assert matrices(deck)[-1].subjects == (AGENT,)
        lists = [a for a in deck.host.asked if isinstance(a, actions.MemoryList)]
        assert {a.actor for a in lists} == {AGENT}
        await deck.press("enter")
        await deck.until(lambda: "9f86d081" in deck.text)
        assert next(a for a in deck.host.asked if isinstance(a, actions.MemoryGet)).actor == AGENT
        await deck.press("escape", "escape")
        await deck.until(lambda: "AS worker 1" not in deck.text)


async def test_the_view_as_starts_from_the_cell_and_from_an_agents_row(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("access @development")
        await deck.until(lambda: "✓ may" in deck.text)
        await deck.press("l", "l", "A")
        await deck.until(lambda: "AS worker 1" in deck.text)
        await deck.press("escape", "h", "h", "A")
        await deck.until(lambda: deck.toasts)
        await deck.press("3")
        await deck.until(lambda: "beating" in deck.text)
        await deck.press("A")
        await deck.until(lambda: "AS worker 0" in deck.text)


def test_entries_begin_from_whatever_row_there_is(fakes: Any) -> None:
    assert prefill.entry("grant", None) == ("form", "acl", "grant")
    assert prefill.entry("deny", fakes.grant(1))[3] == "dev_agent_00000002"
    assert "--key-prefix" in prefill.entry("grant", fakes.record(1))
    assert prefill.entry("grant", fakes.agent("dev_agent_9", None, 1))[-1] == "dev_agent_9"
    assert prefill.why(fakes.record(1)) == Place("who", row=fakes.record(1))
    alert = fakes.samples.alert(1, subject="", environment="research")
    assert prefill.why(alert) == Place("explain", "research")
    assert isinstance(alert, views.AlertView)
