"""`SwarmDeck`, the console's app: wires keys, screens and the engine together, and decides nothing.

What a line means is `commands`, what an action needs is `forms` and `plans`, what is shown is
`listings` and `screens`, when it is read is `bridge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.driver import Driver
from textual.worker import Worker, WorkerState, get_current_worker

from .. import themes
from ..engine.actions import Action, Demo, Stop, spec_of
from ..engine.commandline import Completion
from ..engine.errors import Busy, Defect, InvalidInput, SwarmDeckError
from ..engine.events import EngineStopping, Event, Progress
from ..engine.text import safe_text
from ..widgets import DeckApp
from ..widgets.format import clock
from . import commands, plans, wording
from .bridge import Bridge, Host, Pull
from .columns import Moment
from .commands import Fill, GoTo, Intent, Known, Run, Tell
from .keymap import Key, fill
from .operations import Operations
from .places import Place
from .screens import DeckScreen, OverviewScreen, screen_for
from .screens.dialogs import ConfirmScreen, Dialog, FormScreen
from .screens.frame import FRESH_S
from .terminal import DeckDriver, Gone, terminal_gone
from .words import tell

HostMaker = Callable[[Callable[[Event], None]], Host]


class SwarmDeck(DeckApp, inherit_bindings=False):
    """The console over one engine.

    `make_host` is given what to call with each event; `data` names the data directory on the
    screen. After the app has ended `failure` holds why the engine could not be opened, and
    `shut()` must be awaited: it closes the engine.
    """

    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = """
    Screen { background: $background; color: $foreground; }
    Dialog { background: $background 70%; }
    """

    def __init__(self, make_host: HostMaker, data: str, theme: str | None = None) -> None:
        super().__init__(theme or themes.DEFAULT)
        self.failure: SwarmDeckError | None = None
        self.last = Pull(None)
        self.history: list[str] = []
        self.filters: list[str] = []
        self.operations = Operations()
        self.moment = Moment()
        self.data = data
        self._make_host = make_host
        self.host = make_host(self._on_event)
        self.bridge: Bridge | None = None
        self._opening: asyncio.Task[None] | None = None
        self._attending: Worker[None] | None = None
        self._first = OverviewScreen(self.moment, f"opening {data} …")

    def get_driver_class(self) -> type[Driver]:
        """Ours, for the driver of a real terminal; Textual's own where it is told another."""
        chosen = super().get_driver_class()
        return DeckDriver if chosen.__name__ == "LinuxDriver" else chosen

    # --- opening and closing

    def on_mount(self) -> None:
        self.push_screen(self._first)
        self.set_interval(1.0, self._each_second)
        self.open()

    def open(self) -> None:
        """Open the engine behind the first frame, then pull for as long as the app runs."""
        self._opening = asyncio.create_task(self.host.start(), name="open the engine")
        self._pull_with(self._attend(self._opening))

    def _pull_with(self, work: Coroutine[Any, Any, None]) -> None:
        self._attending = self.run_worker(work, name="attend", exit_on_error=False)

    async def _attend(self, opening: asyncio.Task[None]) -> None:
        try:
            await asyncio.shield(opening)
        except SwarmDeckError as error:
            self.failure = error
            self.exit(return_code=error.exit_code)
            return
        self.bridge = Bridge(self.host, self._wanted, self._show)
        await self.bridge.run()

    async def reopen(self) -> None:
        """Give up an engine that was lost and open the directory again."""
        if self._attending is not None:
            self._attending.cancel()
        self.bridge = None
        try:
            await self.shut()
        except SwarmDeckError as error:
            self.say_error(error)
        self.host = self._make_host(self._on_event)
        self.open()

    async def shut(self) -> None:
        """Close the engine, also one that is still opening. Raises what closing raised."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self.host.close()

    def on_worker_state_changed(self, message: Worker.StateChanged) -> None:
        """A worker that failed is a defect of ours; it is said, and the console goes on."""
        if message.state is not WorkerState.ERROR:
            return
        error = message.worker.error
        defect = Defect(f"{type(error).__name__}: {error}", hint="please report it")
        if message.worker.name != "attend":
            self.say_error(defect)
        elif self.bridge is None:
            self.failure = defect
            self.exit(return_code=defect.exit_code)
        else:
            self.say_error(defect)
            self.go("overview")
            self.set_timer(1.0, self._pull_again)

    def _pull_again(self) -> None:
        if self.bridge is not None:
            self._pull_with(self.bridge.run())

    def on_gone(self, _message: Gone) -> None:
        self.exit(return_code=0)

    def _each_second(self) -> None:
        if not self.is_headless and terminal_gone():
            self.exit(return_code=0)
        self.show_foot()

    # --- what is shown

    def _wanted(self) -> Action | None:
        screen = self.deck
        return screen.query_wanted() if screen is not None else None

    def _show(self, pull: Pull) -> None:
        if pull.overview is not None:
            self.moment.us = pull.overview.at_us
        self.last = pull
        for screen in self._decks():
            screen.show(pull)
        self.show_foot()

    @property
    def deck(self) -> DeckScreen | None:
        """The screen that is worked in, dialogs aside."""
        return next(reversed(self._decks()), None)

    def _decks(self) -> list[DeckScreen]:
        return [screen for screen in self.screen_stack if isinstance(screen, DeckScreen)]

    def show_foot(self) -> None:
        """Head and status line of the screen in front, from what is known now."""
        screen, bridge = self.deck, self.bridge
        if screen is None:
            return
        attached = self.host.attached
        where = "attached to its engine" if attached else "engine in this console"
        crumbs = [each.crumb for each in self._decks()]
        screen.head.show(crumbs, f"{self.data}  ·  {where if bridge else 'opening'}")
        status = screen.status
        status.say(*self._notice())
        if bridge is not None and self.last.overview is not None:
            age_s = bridge.age_s if bridge.age_s >= FRESH_S else 0.0
            mode = "attached" if attached else "embedded"
            status.show(self.last.overview.engine, age_s=age_s, mode=mode)

    def _notice(self) -> tuple[str, str]:
        """What matters most beside the numbers: lost, paused, or what is under way."""
        if self.last.lost is not None:
            return f"✗ no answer: {self.last.lost.message}  (:reopen opens it here)", "bad"
        if self.bridge is not None and self.bridge.paused:
            return "paused: p goes on", "warning"
        return self.operations.describe(), "accent"

    def _on_event(self, event: Event) -> None:
        if isinstance(event, EngineStopping) and not self.host.attached:
            self.exit(return_code=0)  # somebody stopped the engine that lives in this console
        said = wording.event_line(event)
        if said is not None:
            text, style = said
            self._first.add_event(f"{clock(self.moment.us)} {text}", style)
        self.refresh_soon()

    def refresh_soon(self) -> None:
        """Pull again, as soon as the last pull allows."""
        if self.bridge is not None:
            self.bridge.mark()

    def say_error(self, error: SwarmDeckError) -> None:
        """A toast from the error table."""
        self._toast(*wording.toast_of(error))

    def say(self, text: str, title: str = "") -> None:
        """A toast that all is well."""
        self._toast(title, text, "information")

    def _toast(self, title: str, text: str, severity: Any) -> None:  # noqa: ANN401 - Textual's own
        clean = "\n".join(safe_text(part, 200) for part in text.split("\n"))
        self.notify(
            clean, title=safe_text(title), severity=severity, markup=False
        )  # painted: clean

    # --- going somewhere

    def visit(self, place: Place) -> None:
        """Show a place over the present one; the bridge asks for its rows at once."""
        screen = screen_for(place, self.moment)
        self.push_screen(screen)
        self.call_after_refresh(self._arrived, screen)

    def _arrived(self, screen: DeckScreen) -> None:
        screen.show(Pull(self.last.overview))
        self.show_foot()
        self.refresh_soon()

    def go(self, name: str) -> None:
        """Show one of the screens on its own: back to the first, then there."""
        while len(self._decks()) > 1:
            self.pop_screen()
        if name != "overview":
            self.visit(Place(name))
        self.call_after_refresh(self.show_foot)

    def back(self) -> None:
        """Leave the screen in front, unless it is the first."""
        if len(self._decks()) > 1:
            self.pop_screen()
            self.call_after_refresh(self.show_foot)
            self.refresh_soon()

    # --- what is asked for

    async def on_event(self, event: events.Event) -> None:
        """Keys are taken in the order they come, also those typed ahead of a dialog."""
        screen = self.screen if self.screen_stack and isinstance(event, events.Key) else None
        if isinstance(screen, DeckScreen) and screen.asking and isinstance(event, events.Key):
            await screen.type_key(event)
        elif isinstance(screen, Dialog) and not screen.ready and isinstance(event, events.Key):
            screen.early.append(event)
        else:
            await super().on_event(event)

    def on_dialog_ready(self, message: Dialog.Ready) -> None:
        for event in message.early:
            self.post_message(event)

    def press(self, key: Key, row: object, subject: str) -> None:
        """Do what a key asks for, on a screen about `subject` with `row` selected."""
        words = fill(key.run, row, subject)
        if words is None:
            self.say_error(InvalidInput("no row is selected", hint="the key acts on a row"))
        else:
            self.ask(words)

    def enter(self, line: str) -> None:
        """Do what a typed line says."""
        try:
            words = commands.split(line)
        except InvalidInput as error:
            self.say_error(error)
        else:
            self.ask(words)

    def on_deck_screen_opened(self, message: DeckScreen.Opened) -> None:
        self.visit(message.place)

    def ask(self, words: Sequence[str]) -> None:
        """Do what a line says, or say why not."""
        try:
            self._do(commands.interpret(words))
        except SwarmDeckError as error:
            self.say_error(error)

    def _do(self, intent: Intent) -> None:
        match intent:
            case GoTo(screen=name):
                self.go(name)
            case Tell(word=word, arguments=arguments):
                tell(self, word, arguments)
            case Run(action=action):
                self.request(action)
            case Fill():
                form = FormScreen(intent.spec, intent.texts, intent.error)
                self.push_screen(form, self._filled)

    def _filled(self, action: Action | None) -> None:
        if action is not None:
            self.request(action)

    def request(self, action: Action) -> None:
        """Show the answer of a query; run what changes something, after asking where it must."""
        spec = spec_of(action)
        if isinstance(action, Stop) and not self.host.attached:
            self.leave()
        elif isinstance(action, Demo) and self.operations.runs(Demo):
            self.say_error(Busy("the demo runs already", hint=":cancel ends it"))
        elif plans.needs_plan(action):
            self.run_worker(self._plan(action), exit_on_error=False)
        elif spec.query and spec.lane == "interactive":
            self.visit(Place("answer", action=action))
        else:
            self.run_worker(self._run(action), exit_on_error=False)

    async def _plan(self, action: Action) -> None:
        """Show what a destructive action will touch, and run it only after a clear yes."""
        try:
            looked = plans.look(action)
            seen = await self.host.run(looked) if looked is not None else None
            plan = plans.plan_of(action, seen)
        except SwarmDeckError as error:
            self.say_error(error)
            return
        if await self.push_screen_wait(ConfirmScreen(plan, action)):
            await self._run(action)

    async def _run(self, action: Action) -> None:
        operation = self.operations.begin(action, get_current_worker().cancel)

        def advance(progress: Progress) -> None:
            operation.advance(progress)
            self.refresh_soon()

        self.show_foot()
        try:
            result = await self.host.run(action, advance)
        except SwarmDeckError as error:
            self.say_error(error)
        else:
            self._finished(action, result)
        finally:
            self.operations.end(operation)
            self.show_foot()
            self.refresh_soon()

    def _finished(self, action: Action, result: object) -> None:
        spec = spec_of(action)
        text = wording.done(spec.name, result)
        self._first.add_event(f"{clock(self.moment.us)} {text}", "text")
        if spec.query:
            self.visit(Place("detail", row=result))
        else:
            self.say(f"{text}\n$ {commands.line_of(action)}")

    # --- leaving

    def leave(self) -> None:
        """Leave; where that ends swarms, say which and ask."""
        self.run_worker(self._leave(), exit_on_error=False)

    async def _leave(self) -> None:
        overview = self.last.overview
        if not self.host.attached and overview is not None and plans.alive(overview):
            sure = await self.push_screen_wait(ConfirmScreen(plans.leaving(overview)))
        else:
            sure = True
        if sure:
            self.exit(return_code=0)

    def hides(self, key: Key, environment: str) -> bool:
        """Whether a key is of no use here, because this console may only look."""
        return False

    def complete_line(self, text: str) -> Sequence[Completion]:
        """Ways to go on with a command that is being typed."""
        overview = self.last.overview
        ids: list[str] = []
        if overview is not None:
            ids += [swarm.id for swarm in overview.swarms]
            ids += [agent.id for agent in overview.agents]
        known = Known(tuple(ids), tuple(themes.names()))
        return commands.complete(text, known)
