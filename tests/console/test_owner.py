"""Whose engine the console shows: detached, ended, taken over, followed by another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from swarmdeck.console import owner
from swarmdeck.console.deck import SwarmDeck
from swarmdeck.console.owner import Ways
from swarmdeck.console.screens.dialogs import ConfirmScreen
from swarmdeck.console.screens.gone import GoneScreen
from swarmdeck.engine import actions
from swarmdeck.engine.actions import Stop
from swarmdeck.engine.errors import Denied, Unavailable
from swarmdeck.engine.events import HANDED_OVER, EngineStopping

GONE = Unavailable("the connection to the engine is lost")


class Successor:
    """One that does as it is told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failure: Unavailable | None = None

    async def ready(self) -> int:
        if self.failure is not None:
            raise self.failure
        self.done.append("ready")
        return 4711

    def let_go(self) -> None:
        self.done.append("let go")

    def abandon(self) -> None:
        self.done.append("abandoned")


class Stage:
    """A console with engines around it: `hosts` were opened by it, `elsewhere` is what it can
    attach to."""

    def __init__(self, fakes: Any, *, attached: bool) -> None:
        self.fakes = fakes
        self.attached = attached
        self.successor = Successor()
        self.refusal: Unavailable | None = None
        self.hosts: list[Any] = []
        self.elsewhere: Any = None

    def make(self, _on_event: Any) -> Any:
        again = bool(self.hosts)
        self.hosts.append(
            self.fakes.FakeHost(self.fakes.busy(), attached=self.attached and not again)
        )
        return self.hosts[-1]

    def attach(self, _on_event: Any) -> Any:
        found = self.elsewhere or self.fakes.FakeHost(attached=True)
        if self.elsewhere is None:
            found.open_failure = Unavailable("no engine")
        return found

    async def begin(self) -> Successor:
        if self.refusal is not None:
            raise self.refusal
        return self.successor

    def app(self) -> SwarmDeck:
        return SwarmDeck(self.make, "data", ways=Ways(self.attach, self.begin))

    @asynccontextmanager
    async def console(self) -> AsyncIterator[Any]:
        app = self.app()
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            deck = self.fakes.Deck(app, self.hosts[0], pilot)
            await deck.until(lambda: app.last.overview is not None)
            yield deck
        await app.shut()

    def end(self, deck: Any, reason: str = "stopped by the operator") -> None:
        """The engine says that it ends, and is gone."""
        self.hosts[0].failures[actions.Status] = GONE
        deck.app._on_event(EngineStopping(reason))


async def asked(deck: Any) -> None:
    """Until the question is there and takes keys."""
    await deck.until(lambda: isinstance(deck.app.screen, GoneScreen) and deck.app.screen.ready)
    await deck.until(lambda: "The engine has ended" in deck.text)


@pytest.fixture
def stage(fakes: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    monkeypatch.setattr(owner, "LOOK_S", 0.02)
    return lambda **given: Stage(fakes, **{"attached": True} | given)


# --- detach ---------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["Q", ":detach", ":stop --keep"])
async def test_detach_leaves_the_swarms_to_a_headless_engine(
    stage: Callable[..., Stage], keys: str
) -> None:
    here = stage(attached=False)
    async with here.console() as deck:
        await (deck.type(keys[1:]) if keys[0] == ":" else deck.press(keys))
        await deck.until(here.hosts[0].changes)
        assert here.hosts[0].changes() == [Stop(keep=True)]
        deck.app._on_event(EngineStopping(HANDED_OVER))
        await deck.until(lambda: deck.app._exit)
    assert here.hosts[0].closed
    assert "process 4711" in await deck.app.owner.followed()
    assert here.successor.done == ["ready", "let go"]
    assert await deck.app.owner.followed() == ""


async def test_q_asks_whether_to_end_to_detach_or_to_stay(stage: Callable[..., Stage]) -> None:
    here = stage(attached=False)
    async with here.console() as deck:
        await deck.press("q")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "crawl (development): 8 agents" in deck.text
        assert "or type detach" in deck.text, "production runs, so a word is asked for"
        await deck.press("escape")
        assert here.hosts[0].changes() == []
        await deck.press("q", *"detach", "enter")
        await deck.until(lambda: here.hosts[0].changes() == [Stop(keep=True)])


async def test_outside_production_one_key_detaches(
    fakes: Any, stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = fakes.overview((fakes.swarm("dev_swarm_7m2pz0tb", "crawl", "development", 2),), ())
    monkeypatch.setattr(fakes, "busy", lambda: harmless)
    here = stage(attached=False)
    async with here.console() as deck:
        await deck.press("q")
        await deck.until(lambda: "d detach" in deck.text)
        await deck.press("d")
        await deck.until(lambda: here.hosts[0].changes() == [Stop(keep=True)])


async def test_an_engine_that_does_not_start_leaves_everything_as_it_was(
    stage: Callable[..., Stage],
) -> None:
    here = stage(attached=False)
    here.refusal = Unavailable("the headless engine does not start: config.toml:2: unknown")
    async with here.console() as deck:
        await deck.press("Q")
        await deck.until(lambda: "config.toml:2" in deck.text)
        assert here.hosts[0].changes() == []
        here.refusal = None
        here.hosts[0].failures[Stop] = Denied("stop needs the role system")
        await deck.press("Q")
        await deck.until(lambda: any("role system" in toast for toast in deck.toasts))
        assert here.successor.done == ["abandoned"]
        assert deck.app.is_running
    assert await deck.app.owner.followed() == ""


async def test_a_successor_that_was_handed_nothing_is_ended_with_the_console(
    stage: Callable[..., Stage],
) -> None:
    here = stage(attached=False)
    async with here.console() as deck:
        deck.app.owner.successor = here.successor
        deck.app.exit(return_code=143)
    assert await deck.app.owner.followed() == ""
    assert here.successor.done == ["abandoned"]


async def test_one_that_does_not_come_after_all_is_said(stage: Callable[..., Stage]) -> None:
    here = stage(attached=False)
    here.successor.failure = Unavailable("the headless engine does not start: disk full")
    async with here.console() as deck:
        await deck.press("Q")
        await deck.until(here.hosts[0].changes)
        deck.app._on_event(EngineStopping(HANDED_OVER))
    with pytest.raises(Unavailable, match="disk full"):
        await deck.app.owner.followed()
    assert here.successor.done == ["let go"]


async def test_an_attached_console_has_nothing_to_detach(stage: Callable[..., Stage]) -> None:
    here = stage()
    async with here.console() as deck:
        await deck.press("Q")
        await deck.until(lambda: "another process's" in deck.text)
        assert here.hosts[0].changes() == []


# --- an engine that ends ----------------------------------------------------------------------


async def test_an_engine_that_ends_is_said_and_can_be_taken_over(
    stage: Callable[..., Stage],
) -> None:
    here = stage()
    async with here.console() as deck:
        here.end(deck)
        await asked(deck)
        assert "stopped by the operator" in deck.text
        assert "crawl (development): 8 agents" in deck.text
        await deck.press("t")
        await deck.until(lambda: "·  engine in this console" in deck.text)
        assert len(here.hosts) == 2
        assert here.hosts[0].closed
        await deck.type("queue send development digest 1")
        await deck.until(here.hosts[1].changes)


async def test_what_is_asked_for_meanwhile_is_refused(stage: Callable[..., Stage]) -> None:
    here = stage()
    async with here.console() as deck:
        here.end(deck)
        await asked(deck)
        await deck.press("w")
        await deck.until(lambda: ":reopen opens it here" in deck.text)
        await deck.type("queue send development digest 1")
        await deck.until(lambda: any("nothing was done" in toast for toast in deck.toasts))
        assert here.hosts[0].changes() == []
        await deck.type("theme")
        await deck.type("reopen")
        await deck.until(lambda: "·  engine in this console" in deck.text)


async def test_an_engine_that_comes_is_attached_to_without_a_question(
    fakes: Any, stage: Callable[..., Stage]
) -> None:
    here = stage()
    async with here.console() as deck:
        here.end(deck)
        await asked(deck)
        here.elsewhere = fakes.FakeHost(fakes.busy(), attached=True)
        await deck.until(lambda: deck.app.host is here.elsewhere)
        await deck.until(lambda: not isinstance(deck.app.screen, GoneScreen))
        await deck.until(lambda: "attached to its engine" in deck.text)
        assert here.hosts[0].closed
        await deck.type("queue send development digest 1")
        await deck.until(here.elsewhere.changes)


async def test_after_a_handover_nobody_is_asked_while_the_next_engine_comes(
    fakes: Any, stage: Callable[..., Stage]
) -> None:
    here = stage()
    async with here.console() as deck:
        here.end(deck, HANDED_OVER)
        await deck.until(lambda: "no engine" in deck.text)
        assert not isinstance(deck.app.screen, GoneScreen)
        here.elsewhere = fakes.FakeHost(fakes.busy(), attached=True)
        await deck.until(lambda: deck.app.host is here.elsewhere)


async def test_one_that_ends_as_well_is_looked_past(
    fakes: Any, stage: Callable[..., Stage]
) -> None:
    here = stage()
    async with here.console() as deck:
        here.elsewhere = fakes.FakeHost(fakes.busy(), attached=True)
        here.elsewhere.failures[actions.Status] = GONE
        here.end(deck)
        await deck.until(lambda: here.elsewhere.closed)
        here.elsewhere = fakes.FakeHost(fakes.busy(), attached=True)
        await deck.until(lambda: deck.app.host is here.elsewhere and not deck.app.owner.gone)


async def test_a_line_that_is_being_typed_is_not_interrupted(stage: Callable[..., Stage]) -> None:
    here = stage()
    async with here.console() as deck:
        await deck.press("colon", *"swarm create")
        here.end(deck)
        await deck.until(lambda: deck.app.owner.gone)
        await deck.press(*" d")
        assert "swarm create d" in deck.text
        await deck.press("escape")
        await asked(deck)
        await deck.press("q")
        await deck.until(lambda: deck.app._exit)


async def test_a_take_over_that_fails_leaves_a_console_that_looks_on(
    fakes: Any, stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stage()
    made = here.make

    def make_broken(on_event: Any) -> Any:
        host = made(on_event)
        if len(here.hosts) > 1:
            host.open_failure = Unavailable("the disk is gone")
            host.failures[actions.Status] = Unavailable("the engine is not open")
        return host

    monkeypatch.setattr(here, "make", make_broken)
    async with here.console() as deck:
        here.end(deck)
        await asked(deck)
        await deck.press("t")
        await deck.until(lambda: any("the disk is gone" in toast for toast in deck.toasts))
        assert deck.app.is_running
        here.elsewhere = fakes.FakeHost(fakes.busy(), attached=True)
        await deck.until(lambda: deck.app.host is here.elsewhere)


# --- what it looks like -----------------------------------------------------------------------

SIZES = ((80, 24), (120, 30))


async def test_the_question_when_leaving(snapshot: Any, stage: Callable[..., Stage]) -> None:
    async def ask(pilot: Any) -> None:
        deck = here.fakes.Deck(pilot.app, here.hosts[0], pilot)
        await deck.until(lambda: pilot.app.last.overview is not None)
        await deck.press("q")
        await deck.until(lambda: "Leave and end what runs?" in deck.text)

    here = stage(attached=False)
    await snapshot(here.app, "console/leave", sizes=SIZES, before=ask)


async def test_the_question_when_the_engine_has_ended(
    snapshot: Any, stage: Callable[..., Stage]
) -> None:
    async def end(pilot: Any) -> None:
        deck = here.fakes.Deck(pilot.app, here.hosts[-1], pilot)
        await deck.until(lambda: pilot.app.last.overview is not None)
        here.end(deck)
        await asked(deck)

    here = stage()
    await snapshot(here.app, "console/gone", sizes=SIZES[:1], before=end)
