"""Copying and writing out what is on the screen."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.console.sharing import query_of
from swarmdeck.engine import actions
from swarmdeck.engine.errors import Unavailable


async def test_the_row_is_copied_as_json_and_marked_ones_as_a_list(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("3", "y")
        assert json.loads(deck.app.clipboard)["id"] == "prod_agent_00000000"
        await deck.press("space", "space", "y")
        assert len(json.loads(deck.app.clipboard)) == 2
        assert any("copied: 2 rows" in toast for toast in deck.toasts)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("overview", "swarmdeck status --json"),
        ("queue dead @dev", "swarmdeck queue list development --state dead --json"),
        ("swarms @prod", "swarmdeck swarm list production --json"),
        ("agents", "swarmdeck agent list --json"),
        ("memory", "swarmdeck memory plan --json"),
        ("memory @dev", "swarmdeck memory list development --json"),
        ("audit", "swarmdeck audit list --json"),
        ("queue show dev_msg_00000001", "swarmdeck queue show dev_msg_00000001 --json"),
    ],
)
async def test_the_line_that_asks_for_the_same_is_copied(
    fakes: Any, line: str, wanted: str
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type(line)
        await deck.until(lambda: "reading …" not in deck.text)
        await deck.press("Y")
        assert deck.app.clipboard == wanted


async def test_a_swarms_agents_are_asked_for_by_swarm(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("2", "j", "enter")
        await deck.until(lambda: "Agents of the swarm" in deck.text)
        wanted = actions.AgentList(environment="development", swarm="dev_swarm_7m2pz0tb")
        assert query_of(deck.app.deck) == wanted


async def test_too_much_to_copy_is_refused(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.answers[actions.QueueList] = lambda _: [fakes.message(1, body={"x": "y" * 200_000})]
    async with fakes.console(host=host) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        await deck.press("y")
        await deck.until(lambda: any("too much for the clipboard" in t for t in deck.toasts))
        assert deck.app.clipboard == ""


async def test_a_view_is_written_with_more_rows_than_it_shows(
    fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host = fakes.FakeHost(fakes.busy())
    host.answers[actions.QueueList] = lambda asked: [
        fakes.message(number, "dead") for number in range(min(asked.limit, 700))
    ]
    async with fakes.console(host=host) as deck:
        await deck.type("dead")
        await deck.until(lambda: "not a digest" in deck.text)
        await deck.press("E")
        await deck.until(lambda: any("700 rows written" in toast for toast in deck.toasts))
        [file] = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
        assert file.name == "messages-dead-20261118-110640.csv"
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert len(rows) == 700
        assert rows[0]["state"] == "✗ dead"
        await deck.press("ctrl+s")
        await deck.until(lambda: any("is there already" in toast for toast in deck.toasts))
        await deck.type("export json")
        await deck.until(lambda: len(list(tmp_path.iterdir())) == 2)


async def test_only_what_passes_the_filter_is_written(fakes: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("agents /state=stale")
        await deck.until(lambda: "1 of 1" in deck.text)
        deck.app.enter(f"export {file}")
        await deck.until(file.exists)
        [row] = json.loads(file.read_text())
        assert row["id"] == "dev_agent_00000007"


async def test_what_cannot_be_written_says_why(fakes: Any, tmp_path: Path) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        for line in (f"export {tmp_path}", f"export {tmp_path / 'none' / 'x.csv'}"):
            before = len(deck.toasts)
            deck.app.enter(line)
            await deck.until(lambda before=before: len(deck.toasts) > before)
        host.failures[actions.QueueList] = Unavailable("the disk is gone")
        deck.app.enter(f"export {tmp_path / 'x.csv'}")
        await deck.until(lambda: any("the disk is gone" in toast for toast in deck.toasts))
        assert not list(tmp_path.iterdir())


async def test_a_defect_while_exporting_or_copying_is_said_and_the_console_goes_on(
    fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        deck.host.failures[actions.QueueList] = ZeroDivisionError("boom")
        deck.app.enter(f"export {tmp_path / 'x.csv'}")
        await deck.until(lambda: any("ZeroDivisionError" in toast for toast in deck.toasts))
        deck.host.failures.clear()
        await deck.press("3", "y")
        await deck.until(lambda: deck.app.clipboard)
        assert deck.app.is_running
