"""The console worked with keys and commands, over a fake host."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from textual import events

from swarmdeck.console.commands import SCREENS
from swarmdeck.console.keymap import keymap
from swarmdeck.console.listings import LISTINGS
from swarmdeck.console.places import Place
from swarmdeck.console.screens.dialogs import ConfirmScreen, Dialog, FormScreen, PaletteScreen
from swarmdeck.console.screens.frame import KeyLine
from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.errors import EngineBusy, NotFound, OverBudget, Unavailable
from swarmdeck.engine.events import AgentChanged, Changed, Gap, Reclaimed, SwarmChanged

PAY, CRAWL = "prod_swarm_4kd81xq2", "dev_swarm_7m2pz0tb"

PLACES = [
    *(Place(name) for name in SCREENS if name in LISTINGS),
    Place("swarm", CRAWL),
    Place("agent", "dev_agent_00000001"),
    Place("queue", "research"),
    Place("records", "development"),
    Place("records", "dev_agent_00000001"),
    Place("message", "dev_msg_00000001"),
    Place("logs", "dev_agent_00000001"),
    Place("answer", action=actions.QueueDead()),
    Place("answer", action=actions.DatabasePragmas()),
    Place("answer", action=actions.SwarmHealth(id=CRAWL)),
    Place("answer", action=actions.Logs(agent="dev_agent_00000001")),
]

SHARED = ("rows", "table", "motion", "inner")  # groups of keys that many screens have


# --- opening --------------------------------------------------------------------------------


async def test_the_first_frame_is_painted_before_the_engine_is_open(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.opening.clear()
    async with fakes.console(host=host, ready=False) as deck:
        await deck.until(lambda: "opening data" in deck.text)
        assert "SwarmDeck" in deck.text
        host.opening.set()
        await deck.until(lambda: "payments" in deck.text)


async def test_a_failing_open_ends_the_console_with_its_error(fakes: Any) -> None:
    host = fakes.FakeHost()
    host.open_failure = EngineBusy("process 7 owns data", hint="stop it first", pid=7)
    async with fakes.console(host=host, ready=False) as deck:
        await deck.until(lambda: deck.app.failure is not None)
    assert deck.app.failure is host.open_failure
    assert deck.app.return_code == EngineBusy.exit_code


async def test_shutting_while_the_engine_still_opens_waits_for_its_end(fakes: Any) -> None:
    host = fakes.FakeHost()
    host.opening.clear()
    async with fakes.console(host=host, ready=False) as deck:
        await deck.until(lambda: "opening" in deck.text)
    assert host.closed


async def test_an_attached_console_says_so(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy(), attached=True)
    async with fakes.console(host=host) as deck:
        await deck.until(lambda: "attached" in deck.text)
        assert "engine in this console" not in deck.text


# --- the overview ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 60), (40, 10), (300, 90)])
async def test_the_overview_spells_the_environments_out_and_a_table_has_the_focus(
    fakes: Any, size: tuple[int, int]
) -> None:
    async with fakes.console(fakes.busy(), size=size) as deck:
        if size[1] >= 24:
            for name in ("production", "development", "testing", "research", "staging"):
                assert name in deck.text
        assert deck.app.focused.id == "swarms"


async def test_an_empty_overview_says_what_to_do_next(fakes: Any) -> None:
    async with fakes.console(size=(80, 24)) as deck:
        assert "D  runs the demo" in deck.text
        assert ":swarm create development --agents 4 --memory 512MB" in deck.text


async def test_all_tiles_are_of_one_moment(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        others = {type(action) for action in deck.host.asked} - {actions.Status}
        assert others == {actions.AlertList}, "the overview asks for nothing else"


async def test_tab_goes_between_the_tables_and_enter_opens_the_row(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("tab")
        assert deck.app.focused.id == "queue"
        await deck.press("j", "enter")
        await deck.until(lambda: "Messages · open · development" in deck.text)


async def test_events_are_told_on_the_overview(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        for event in (
            SwarmChanged(CRAWL, "draining", "asked to"),
            AgentChanged("dev_agent_00000001", "failed", None, "exit code 1"),
            Reclaimed(CRAWL, 1 << 30, "production"),
            Gap(12),
            Changed("queue", "development", 9),
        ):
            deck.app._on_event(event)
        await deck.pilot.pause()
        assert "failed dev_agent_00000001" in deck.text
        assert "12 events went by" in deck.text


# --- going somewhere ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_opens_by_name_and_esc_leads_back(fakes: Any, name: str) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        await deck.type(name)
        await deck.until(lambda: deck.app.deck.crumb == name)
        await deck.until(lambda: "reading …" not in deck.text)
        if name != "overview":
            await deck.press("escape")
        assert deck.app.deck.crumb == "overview"


async def test_drilling_down_leaves_crumbs_and_comes_back_the_same_way(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("2", "j", "enter")
        await deck.until(lambda: "Agents of the swarm" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: "Messages it holds" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: '"path"' in deck.text)
        assert f"overview ▸ swarms ▸ {CRAWL} ▸ dev_agent_00000000" in deck.text
        await deck.press("escape", "escape")
        assert deck.app.deck.crumb == CRAWL
        await deck.press("1")
        assert deck.app.deck.crumb == "overview"


@pytest.mark.parametrize(
    ("place", "state"),
    [*((place, "busy") for place in PLACES), *((place, "empty") for place in PLACES[:7])],
    ids=lambda each: each if isinstance(each, str) else f"{each.name} {each.subject}".strip(),
)
async def test_every_key_on_every_screen_leaves_a_console_that_works(
    fakes: Any, place: Place, state: str
) -> None:
    """Whatever is pressed, no exception, and the way out is there. Keys that all screens share are
    pressed on every third one, others of them each time, unless STRESS is set."""
    turn = 0 if os.environ.get("STRESS") else 1 + (PLACES.index(place) + (state == "empty")) % 3
    async with fakes.console(getattr(fakes, state)(), size=(80, 24)) as deck:
        deck.app.visit(place)
        await deck.pilot.pause()
        await deck.until(lambda: "reading …" not in deck.text)
        shared = keymap().of(SHARED)
        for key in keymap().of(deck.app.deck.groups):
            if turn and key in shared and shared.index(key) % 3 != turn - 1:
                continue
            for name in key.names:
                if key.run == "quit":
                    continue
                await deck.press(name)
                while isinstance(deck.app.screen, Dialog):
                    await deck.press("escape")
                if deck.app.deck.asking:
                    await deck.press("escape")
                if deck.app.deck.crumb == "overview" or len(deck.app._decks()) > 3:
                    deck.app.go(Place("overview"))
                    deck.app.visit(place)
                    await deck.pilot.pause()
        assert deck.app.is_running
        assert not any("defect" in toast for toast in deck.toasts)


async def test_a_screen_whose_query_fails_says_why_and_goes_on(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.AuditList] = Unavailable("the disk is gone", hint="look at the host")
    async with fakes.console(host=host) as deck:
        await deck.press("8")
        await deck.until(lambda: "the disk is gone" in deck.text)
        host.failures.clear()
        await deck.until(lambda: "memory.get" in deck.text)


async def test_a_defect_while_showing_leads_back_to_a_console_that_goes_on(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.AuditList] = ZeroDivisionError("boom")
    async with fakes.console(host=host) as deck:
        await deck.press("8")
        await deck.until(lambda: any("ZeroDivisionError" in toast for toast in deck.toasts))
        await deck.until(lambda: deck.app.deck.crumb == "overview")
        asked = len(host.asked)
        await deck.until(lambda: len(host.asked) > asked)


async def test_the_footer_can_be_clicked(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        line = deck.text.splitlines()[-1]
        await deck.pilot.click(KeyLine, offset=(line.index("help"), 0))
        await deck.until(lambda: deck.app.deck.crumb == "help")


# --- filters --------------------------------------------------------------------------------


async def test_the_queue_goes_through_states_and_environments(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4", "right")
        await deck.until(lambda: actions.QueueList(state="ready") in deck.host.asked)
        await deck.press("left", "left")
        await deck.until(lambda: actions.QueueList(state="cancelled") in deck.host.asked)
        await deck.type("state dead")
        await deck.press("at")
        wanted = actions.QueueList(environment="production", state="dead")
        await deck.until(lambda: wanted in deck.host.asked)
        await deck.until(lambda: "not a digest" in deck.text)
        await deck.type("environment all")
        await deck.until(lambda: deck.app.deck.scope.environment is None)


async def test_a_filter_follows_the_typing_and_esc_clears_it(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("3", "slash", *"stale")
        await deck.until(lambda: "1 of 1" in deck.text)
        await deck.press("enter")
        assert "dev_agent_00000007" in deck.text
        await deck.press("escape")
        await deck.until(lambda: " of 23" in deck.text)
        assert "dev_agent_00000006" in deck.text
        await deck.press("slash", *"nothing like it", "enter")
        await deck.until(lambda: "No row of 23 contains" in deck.text)


@pytest.mark.parametrize(
    "line", ["state moon", "environment moon", "theme moon", "records", "records moon", "open x"]
)
async def test_a_word_that_cannot_be_done_says_why(fakes: Any, line: str) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.type(line)
        await deck.until(lambda: deck.toasts)
        assert "Not accepted" in deck.toasts[0]


# --- asking for actions ---------------------------------------------------------------------


async def test_a_typed_command_runs_and_says_its_command_line(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue send development digest '{}' --priority 9")
        sent = actions.QueueSend(environment="development", kind="digest", body={}, priority=9)
        await deck.until(lambda: sent in deck.host.asked)
        await deck.until(lambda: deck.toasts)
        assert "$ swarmdeck queue send development digest" in deck.toasts[0]


async def test_a_failing_action_becomes_a_toast_and_the_console_goes_on(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.SwarmCreate] = OverBudget("2 GB do not fit", hint="payments holds 6 GB")
    async with fakes.console(host=host) as deck:
        await deck.type("swarm create development --agents 4 --memory 2GB")
        await deck.until(lambda: deck.toasts)
        assert "Over budget" in deck.toasts[0]
        assert "payments holds 6 GB" in deck.toasts[0]
        assert deck.app.is_running


async def test_a_defect_in_the_host_becomes_a_toast_too(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.QueueRetry] = ZeroDivisionError("boom")
    async with fakes.console(host=host) as deck:
        await deck.type("queue retry dev_msg_1")
        await deck.until(lambda: deck.toasts)
        assert "ZeroDivisionError" in deck.toasts[0]
        assert deck.app.is_running


async def test_a_defect_while_planning_becomes_a_toast_and_nothing_is_done(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.QueueShow] = ZeroDivisionError("boom")
    async with fakes.console(host=host) as deck:
        await deck.type("queue cancel dev_msg_1")
        await deck.until(lambda: any("ZeroDivisionError" in toast for toast in deck.toasts))
        assert deck.host.changes() == []
        assert deck.app.is_running


async def test_a_query_shows_its_answer_as_a_live_table(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("queue list --state dead")
        await deck.until(lambda: "not a digest" in deck.text)
        assert deck.app.deck.crumb == "queue list"


async def test_keys_act_on_the_row_under_the_cursor(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("4")
        await deck.until(lambda: "leased" in deck.text and "reading …" not in deck.text)
        await deck.press("j", "r")
        await deck.until(deck.host.changes)
        assert deck.host.changes() == [actions.QueueRetry(id="dev_msg_00000001")]


async def test_a_key_that_needs_a_row_says_so_when_there_is_none(fakes: Any) -> None:
    async with fakes.console() as deck:
        await deck.press("s")
        await deck.until(lambda: deck.toasts)
        assert "no row is selected" in deck.toasts[0]
        assert deck.host.changes() == []


async def test_every_action_can_be_chosen_in_the_palette(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("ctrl+p")
        assert isinstance(deck.app.screen, PaletteScreen)
        listed = {entry.line for entry in deck.app.screen._entries}
        assert {name.replace(".", " ") for name in ACTIONS} <= listed
        await deck.press(*"swarm create", "enter")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))


async def test_the_bar_recalls_what_was_typed_before(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("agents")
        await deck.type("queue")
        await deck.press("colon", "up", "up", "enter")
        await deck.until(lambda: deck.app.deck.crumb == "agents")


async def test_help_for_one_command(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("help swarm create")
        await deck.until(lambda: "usage: swarmdeck swarm create ENVIRONMENT" in deck.text)


# --- forms ----------------------------------------------------------------------------------


async def test_a_form_is_filled_field_by_field(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("c")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.press("enter")
        assert isinstance(deck.app.screen, FormScreen), "what is missing is asked for"
        await deck.press("d", "tab", "4", "tab", *"1GB")
        await deck.until(lambda: "$ swarmdeck swarm create development" in deck.text)
        await deck.press("enter")
        wanted = actions.SwarmCreate(environment="development", agents=4, memory_bytes=1 << 30)
        await deck.until(lambda: wanted in deck.host.asked)


async def test_an_error_stands_beside_its_field(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("swarm create development --agents 900 --memory 1GB")
        await deck.until(lambda: "900 is out of range" in deck.text)
        await deck.press("escape")
        assert deck.host.changes() == []


async def test_a_form_for_a_row_knows_it_already(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("s")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        await deck.until(lambda: PAY in deck.text)


async def test_every_action_has_a_form_that_fits_the_smallest_screen(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 24)) as deck:
        for name in ACTIONS:
            deck.app.ask(["form", *name.split(".")])
            await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
            await deck.until(lambda: "esc leave" in deck.text)
            await deck.press("escape")


# --- destroying -----------------------------------------------------------------------------


async def test_a_destructive_key_shows_what_it_touches_and_n_does_nothing(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("j", "ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "8 processes of development end" in deck.text
        assert f"$ swarmdeck swarm terminate {CRAWL}" in deck.text
        await deck.press("ctrl+x", "enter", "space")
        assert isinstance(deck.app.screen, ConfirmScreen), "the key that asked does not answer"
        await deck.press("n")
        assert deck.host.changes() == []


async def test_y_goes_on_outside_production(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("j", "ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.press("y")
        await deck.until(lambda: deck.host.changes() == [actions.SwarmTerminate(id=CRAWL)])


async def test_production_asks_for_the_name(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        await deck.press("y", "enter")
        await deck.until(lambda: "not the word" in deck.text)
        assert deck.host.changes() == []
        await deck.press("backspace", *"payments", "enter")
        await deck.until(lambda: deck.host.changes() == [actions.SwarmTerminate(id=PAY)])


async def test_what_is_not_there_cannot_be_destroyed(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.QueueShow] = NotFound("no message dev_msg_9")
    async with fakes.console(host=host) as deck:
        await deck.type("queue cancel dev_msg_9")
        await deck.until(lambda: deck.toasts)
        assert "Not found" in deck.toasts[0]
        assert not isinstance(deck.app.screen, ConfirmScreen)


# --- long work ------------------------------------------------------------------------------


async def test_one_key_runs_the_demo_and_its_progress_is_shown(fakes: Any) -> None:
    async with fakes.console() as deck:
        deck.host.working.clear()
        await deck.press("D")
        await deck.until(lambda: "43 %  430 of 1,000 files" in deck.text)
        await deck.press("2")
        await deck.until(lambda: "43 %" in deck.text)
        await deck.press("D")
        await deck.until(lambda: any("runs already" in toast for toast in deck.toasts))
        deck.host.working.set()
        await deck.until(lambda: any("1,000 files digested" in toast for toast in deck.toasts))
        await deck.until(lambda: "43 %" not in deck.text)


async def test_what_is_under_way_can_be_cancelled(fakes: Any) -> None:
    async with fakes.console() as deck:
        deck.host.working.clear()
        await deck.press("D")
        await deck.until(lambda: "43 %" in deck.text)
        await deck.type("cancel")
        await deck.until(lambda: "43 %" not in deck.text)
        await deck.type("cancel")
        await deck.until(lambda: any("nothing is under way" in toast for toast in deck.toasts))


async def test_pause_holds_the_screen(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("p")
        await deck.until(lambda: "paused" in deck.text)
        await deck.press("p")
        await deck.until(lambda: "paused" not in deck.text)


async def test_a_lost_engine_is_said_and_can_be_opened_again(fakes: Any) -> None:
    hosts = []

    def make(_on_event: Any) -> Any:
        hosts.append(fakes.FakeHost(fakes.busy()))
        return hosts[-1]

    async with fakes.console(make=make) as deck:
        hosts[0].failures[actions.Status] = Unavailable("the engine is gone")
        await deck.until(lambda: "no answer: the engine is gone" in deck.text)
        assert "payments" in deck.text, "the last that was known stays"
        await deck.type("reopen")
        await deck.until(lambda: len(hosts) == 2 and "no answer" not in deck.text)
        assert hosts[0].closed
        asked = len(hosts[0].asked)
        await deck.until(lambda: len(hosts[1].asked) > 2)
        assert len(hosts[0].asked) == asked, "the one that was lost is left alone"


async def test_themes_change_with_one_key_and_by_name(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        before = deck.app.theme
        await deck.press("t")
        assert deck.app.theme != before
        await deck.type(f"theme {before}")
        await deck.until(lambda: deck.app.theme == before)


# --- leaving --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_leaving_with_swarms_alive_says_what_ends_and_asks(fakes: Any, key: str) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press(key)
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "crawl (development): 8 agents" in deck.text
        await deck.press("escape")
        assert deck.app.is_running
        await deck.press(key, *"production", "enter")
        await deck.until(lambda: deck.app._exit)
    assert deck.host.closed
    assert deck.app.return_code == 0


async def test_leaving_with_nothing_running_just_leaves(fakes: Any) -> None:
    async with fakes.console() as deck:
        await deck.type("q")
        await deck.until(lambda: deck.app._exit)
    assert deck.host.closed


async def test_leaving_an_attached_console_ends_nothing_and_asks_nothing(fakes: Any) -> None:
    async with fakes.console(host=fakes.FakeHost(fakes.busy(), attached=True)) as deck:
        await deck.press("q")
        await deck.until(lambda: deck.app._exit)


async def test_stop_leaves_where_the_engine_is_here_and_asks_where_it_is_not(fakes: Any) -> None:
    async with fakes.console() as deck:
        await deck.type("stop")
        await deck.until(lambda: deck.app._exit)
        assert deck.host.changes() == []
    async with fakes.console(host=fakes.FakeHost(fakes.busy(), attached=True)) as deck:
        await deck.type("stop")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "Stop the engine?" in deck.text
        await deck.press(*"production", "enter")
        await deck.until(lambda: deck.host.changes() == [actions.Stop()])


async def test_nothing_waits_for_a_host_that_does_not_answer(fakes: Any) -> None:
    """A stalled engine leaves keys, screens and commands as quick as ever."""
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        stalled = asyncio.Event()
        answer = host.run

        async def stall(action: Any, on_progress: Any = None) -> Any:
            await stalled.wait()
            return await answer(action, on_progress)

        host.run = stall
        for key in ("2", "j", "enter", "4", "right", "question_mark", "1"):
            await deck.press(key)
        assert deck.app.deck.crumb == "overview"
        stalled.set()


async def test_a_key_nobody_wanted_is_not_typed_into_the_bar_opened_meanwhile(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        unwanted = events.Key("section_sign", "§")
        unwanted._set_forwarded()  # as Textual marks a key that comes back from a screen
        await deck.press("colon", "q")
        await deck.app.on_event(unwanted)
        assert deck.app.deck.asking
        assert "§" not in deck.text
