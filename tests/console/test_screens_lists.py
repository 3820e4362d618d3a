"""Swarms, agents, alerts, log, audit and the tree; the detail pane; what each says when empty."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.screens import tree
from swarmdeck.engine import actions
from swarmdeck.engine.errors import Unavailable

CRAWL = "dev_swarm_7m2pz0tb"
AGENT = "dev_agent_00000001"


async def test_an_agent_leads_to_its_messages_records_output_and_view(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("2", "j", "enter", "j", "enter")
        await deck.until(lambda: "Messages it holds" in deck.text)
        assert f"overview ▸ swarms ▸ {CRAWL} ▸ {AGENT}" in deck.text
        for key, action in (
            ("m", actions.QueueList(sender=AGENT)),
            ("R", actions.MemoryList(environment="development", actor=AGENT)),
            ("l", actions.Logs(agent=AGENT)),
        ):
            await deck.press(key)
            await deck.until(lambda action=action: action in deck.host.asked)
            await deck.press("escape")
        await deck.press("A")
        await deck.until(lambda: "AS worker 1" in deck.text)


async def test_alerts_say_in_full_what_the_columns_cut_and_lead_to_why(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        await deck.press("0")
        await deck.until(lambda: f"{CRAWL}: 12 messages of research failed for good" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: actions.Explain(subject=CRAWL) in deck.host.asked)
        await deck.until(lambda: "It waits" in deck.text)


async def test_the_log_marks_severity_with_more_than_colour(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        await deck.press("9")
        await deck.until(lambda: "worker 0 said so" in deck.text)
        for mark in ("· info", "▲ warning", "✗ critical"):
            assert mark in deck.text
        await deck.press("slash", *"worker", "enter")
        await deck.until(lambda: actions.JournalList(contains="worker") in deck.host.asked)


async def test_the_audit_is_searched_by_the_engine(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("8")
        await deck.until(lambda: "1 of 60" in deck.text)
        await deck.press("slash", *"acl.grant", "enter")
        await deck.until(lambda: actions.AuditList(contains="acl.grant") in deck.host.asked)
        await deck.until(lambda: "1 of 15" in deck.text)


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6", "7", "8", "9", "0", "T"])
async def test_an_empty_store_says_something_on_every_screen(fakes: Any, key: str) -> None:
    async with fakes.console(size=(80, 24)) as deck:
        await deck.press(key)
        await deck.until(lambda: "reading …" not in deck.text)
        words = [line for line in deck.text.splitlines()[2:-2] if line.strip(" ━─▸")]
        assert words, "a table without rows says what to do next"


# --- the tree -------------------------------------------------------------------------------


def test_the_tree_has_every_agent_once(fakes: Any) -> None:
    seen = fakes.busy()
    nodes = tree.grow(seen, frozenset())
    leaves = [node.key for node in nodes if node.depth == 2]
    assert sorted(leaves) == sorted(agent.id for agent in seen.agents)
    assert [node.name for node in nodes if node.depth == 0][:2] == ["production", "development"]
    shut = tree.grow(seen, frozenset({"environment development"}))
    assert not any(node.key == CRAWL for node in shut)


async def test_branches_shut_and_open_and_left_leads_up(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("T")
        await deck.until(lambda: "▾ payments" in deck.text)
        await deck.press("j", "j", "h")
        await deck.press("left")
        await deck.until(lambda: "▸ payments" in deck.text)
        assert "worker 11" not in deck.text
        await deck.press("l")
        await deck.until(lambda: "worker 11" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: "Agents of the swarm" in deck.text)
        await deck.press("escape", "j", "enter")
        await deck.until(lambda: "Messages it holds" in deck.text)
        await deck.press("escape", "g", "enter")
        await deck.until(lambda: "Messages · open · production" in deck.text)


# --- in full --------------------------------------------------------------------------------


async def test_a_wide_terminal_shows_the_row_in_full_beside_its_table(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        await deck.press("3")
        await deck.until(lambda: '"id": "prod_agent_00000000"' in deck.text)
        await deck.press("j")
        await deck.until(lambda: '"id": "prod_agent_00000001"' in deck.text)
        await deck.press("i")
        await deck.until(lambda: '"id"' not in deck.text)
        await deck.press("i")
        await deck.until(lambda: '"id": "prod_agent_00000001"' in deck.text)


async def test_a_narrow_terminal_says_why_there_is_none(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(120, 30)) as deck:
        await deck.press("3", "i")
        await deck.until(lambda: any("from 160 columns" in toast for toast in deck.toasts))


# --- the overview ---------------------------------------------------------------------------


async def test_tab_goes_round_the_tiles_and_enter_opens_each(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        opened = []
        for steps in range(1, 10):
            await deck.press("1")
            while deck.app.focused is None or deck.app.focused.id != "swarms":
                await deck.press("tab")
            await deck.press(*["tab"] * steps, "enter")
            await deck.pilot.pause(0.1)
            opened.append(deck.app.deck.crumb)
        wanted = ["production", "queue", "agents", "access", "bench", "alerts", "log", "memory"]
        assert opened[:8] == wanted
        assert opened[8].startswith("prod_swarm"), "and round again"


async def test_alerts_that_cannot_be_read_do_not_take_the_overview_along(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.AlertList] = Unavailable("no journal")
    async with fakes.console(host=host) as deck:
        await deck.until(lambda: "cannot be read" in deck.text)
        assert "payments" in deck.text
        host.failures.clear()
        await deck.until(lambda: "2 firing" in deck.text)


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 60), (300, 90)])
async def test_lanes_join_the_overview_on_a_tall_terminal(
    fakes: Any, size: tuple[int, int]
) -> None:
    async with fakes.console(fakes.busy(), size=size) as deck:
        await deck.pilot.pause(0.3)
        assert ("Lanes by priority" in deck.text) == (size[1] >= 45)
        assert "firing" in deck.text


async def test_the_line_below_the_overview_ends_with_a_whole_part(fakes: Any) -> None:
    async with fakes.console(size=(80, 24)) as deck:
        await deck.until(lambda: "bench not measured" in deck.text)
        glance = next(row for row in deck.text.split("\n") if "bench not measured" in row)
        assert glance.rstrip().endswith((" free", "not measured"))
