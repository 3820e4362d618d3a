"""Whose engine the console shows: its own, that of another process, or none any more.

Its own can be left to a headless engine (detach). When another's has ended the console looks for
the next one, and offers to open the directory itself (take over).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ..engine.actions import Status, Stop
from ..engine.errors import Busy, InvalidInput, SwarmDeckError, Unavailable
from ..engine.events import HANDED_OVER, EngineStopping, Event
from . import plans
from .bridge import Host
from .plans import DETACH
from .screens.dialogs import ConfirmScreen
from .screens.gone import LEAVE, TAKE, GoneScreen

if TYPE_CHECKING:
    from textual.worker import Worker

    from .deck import SwarmDeck

LOOK_S: Final = 0.5
"""How often to look for an engine."""

HANDOVER_S: Final = 6.0
"""How long an engine that has handed over is given to be followed, before a person is asked."""

MOST_NAMED: Final = 6


class Successor(Protocol):
    """A headless engine that waits for the directory."""

    async def ready(self) -> int: ...

    def let_go(self) -> None: ...

    def abandon(self) -> None: ...


class Ways(NamedTuple):
    """How to come to other engines: attach to one that is there, or start one that follows."""

    attach: Callable[[Callable[[Event], None]], Host]
    begin_successor: Callable[[], Awaitable[Successor]]


class Owner:
    """`gone` is why there is no engine; empty while there is one. `successor` waits for this
    console to close; `handed_over`: its own engine leaves it everything."""

    def __init__(
        self, app: SwarmDeck, ways: Ways | None, on_event: Callable[[Event], None]
    ) -> None:
        self.gone = ""
        self.successor: Successor | None = None
        self.handed_over = False
        self._app = app
        self._ways = ways
        self._on_event = on_event
        self._seeking: Worker[None] | None = None
        self._heard = ""
        self._detaching = False
        self._dialog: GoneScreen | None = None

    # --- leaving ------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Leave; where that ends swarms, say which and ask: end them, detach, or stay."""
        overview = self._app.last.overview
        if self._app.host.attached or overview is None or not plans.alive(overview):
            self._app.exit(return_code=0)
            return
        plan = plans.leaving(overview, can_detach=self._ways is not None)
        answer = await self._app.push_screen_wait(ConfirmScreen(plan))
        if answer == DETACH:
            await self.detach()
        elif answer:
            self._app.exit(return_code=0)

    def check_detach(self) -> None:
        """Raises InvalidInput where no engine of this console could be left, Busy, Unavailable."""
        if self._app.host.attached:
            what = "the engine is another process's: nothing ends with this console"
            raise InvalidInput(what, hint="q leaves")
        if self._app.last.overview is None or self._ways is None:
            raise Unavailable("the engine is not open yet", hint="try again in a moment")
        if self._detaching:
            raise Busy("it is being detached", hint="the console ends by itself")

    async def detach(self) -> None:
        """Leave engine and swarms to a headless engine, and then this console. When it raises,
        everything is as before. Raises as `check_detach` and what the engine refuses."""
        self.check_detach()
        assert self._ways is not None
        self._detaching = True
        try:
            self._app.say("starting a headless engine …")
            self.successor = await self._ways.begin_successor()
            await self._app.host.run(Stop(keep=True))
        except SwarmDeckError:
            successor, self.successor = self.successor, None
            if successor is not None:
                successor.abandon()
            raise
        finally:
            self._detaching = False

    async def followed(self) -> str:
        """The engine of this console has closed: what is to be said of the one that follows, if
        one does. Raises Unavailable when it does not come."""
        successor, self.successor = self.successor, None
        if successor is None:
            return ""
        if not self.handed_over:
            successor.abandon()
            return ""
        try:
            pid = await successor.ready()
        finally:
            successor.let_go()
        return f"detached: the engine runs on as process {pid}; swarmdeck attaches to it"

    # --- an engine that has ended ---------------------------------------------------------------

    def check(self) -> None:
        """Raises Unavailable when there is no engine that could do anything."""
        if self.gone:
            raise Unavailable(
                f"nothing was done: the engine has ended ({self.gone})",
                hint=":reopen opens it here",
            )

    def heed(self, event: EngineStopping) -> None:
        """An engine says that it ends. This console ends with its own."""
        self.handed_over |= event.reason == HANDED_OVER and not self._app.host.attached
        if not self._app.host.attached:
            self._app.exit(return_code=0)
        else:
            self.lost(event.reason or "no reason was given")

    def lost(self, reason: str) -> None:
        """There is no engine, or soon none: look for another."""
        if self._ways is not None:
            self._heard = self._heard or reason
            if self._seeking is None or self._seeking.is_finished:
                seeking = self._seek(self._ways)
                self._seeking = self._app.run_worker(seeking, name="seek", exit_on_error=False)

    def found(self) -> None:
        """There is an engine again."""
        self.gone = self._heard = ""
        dialog, self._dialog = self._dialog, None
        if dialog is not None and dialog.is_current:
            dialog.dismiss(None)

    def stop_seeking(self) -> None:
        """Another way was chosen."""
        if self._seeking is not None:
            self._seeking.cancel()

    async def _seek(self, ways: Ways) -> None:
        """Until there is an engine again."""
        loop = asyncio.get_running_loop()
        while self._heard:
            await _silent(self._app.host)
            self.gone = self._heard
            self._app.show_foot()
            ask_s = loop.time() + (HANDOVER_S if self.gone == HANDED_OVER else 0.0)
            offered = False
            while (host := await _attached(ways, self._on_event)) is None:
                if not offered and loop.time() >= ask_s and not self._app.is_typing:
                    offered = True
                    self._offer()
                await asyncio.sleep(LOOK_S)
            self.found()
            await self._app.change_host(host)
            if await _answers(host):
                self._app.say("attached to the engine that has followed")
            else:
                self._heard = "the one that followed has ended as well"
                await asyncio.sleep(LOOK_S)

    def _offer(self) -> None:
        overview = self._app.last.overview
        running = plans.ending(overview) if overview is not None else []
        more = [f"and {len(running) - MOST_NAMED} more"] if len(running) > MOST_NAMED else []
        self._dialog = GoneScreen(self.gone, [*running[:MOST_NAMED], *more])
        self._app.push_screen(self._dialog, self._chosen)

    def _chosen(self, way: str | None) -> None:
        self._dialog = None
        if way == TAKE:
            self._app.do(self._app.reopen())
        elif way == LEAVE:
            self._app.exit(return_code=0)


async def _silent(host: Host) -> None:
    """Until an engine that ends answers no more: it may still say how operations ended."""
    while True:
        if not await _answers(host):
            return
        await asyncio.sleep(LOOK_S / 5)


async def _answers(host: Host) -> bool:
    try:
        await host.run(Status())
    except SwarmDeckError as error:
        return not isinstance(error, Unavailable)
    return True


async def _attached(ways: Ways, on_event: Callable[[Event], None]) -> Host | None:
    """A connection to an engine that is there now, if one is."""
    host = ways.attach(on_event)
    try:
        await host.start()
    except SwarmDeckError:
        return None
    return host
