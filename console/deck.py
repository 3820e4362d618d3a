"""`SwarmDeck`, the console's app: wires keys, screens and the engine together, and decides nothing.

What a line means is `commands`, what an action needs is `forms` and `plans`, what comes of it is
`running`, what is shown is `listings` and `screens`, when it is read is `bridge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

import msgspec
from textual import events
from textual.binding import BindingType
from textual.driver import Driver
from textual.worker import Worker, WorkerState

from .. import themes
from ..engine.actions import AclRevoke, Action, Demo, Stop, spec_of
from ..engine.commandline import Completion
from ..engine.errors import Busy, Defect, InvalidInput, NotFound, SwarmDeckError
from ..engine.events import EngineStopping, Event, Sampled
from ..widgets import DeckApp
from ..widgets.format import clock
from . import batch, commands, notices, plans, wording
from .batch import Job
from .bridge import Bridge, Host, Pull
from .commands import Fill, GoTo, Intent, Known, Run, Tell
from .guard import Guard
from .history import History
from .keymap import Key, fill, use, user_keymap
from .owner import Owner, Ways
from .places import Place
from .preferences import Preferences
from .running import Runner
from .screens import DeckScreen, OverviewScreen
from .screens.dialogs import Dialog, FormScreen
from .screens.frame import FRESH_S
from .steady import Steady
from .terminal import DeckDriver, Gone, terminal_gone
from .turns import Turns
from .words import tell

HostMaker = Callable[[Callable[[Event], None]], Host]


class SwarmDeck(Runner, inherit_bindings=False):
    """The console over one engine.

    `make_host` is given what to call with each event; `data` names the data directory on the
    screen. Raises ConfigError for a file of keys that cannot be read. After the app has ended
    `failure` holds why the engine could not be opened, and `shut()` must be awaited: it closes
    the engine.
    """

    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = DeckApp.CSS + "Dialog { background: $background 70%; }"

    def __init__(
        self,
        make_host: HostMaker,
        data: str,
        preferences: Preferences | None = None,
        ways: Ways | None = None,
    ) -> None:
        self.preferences = preferences or Preferences()
        super().__init__(self.preferences.theme or themes.DEFAULT)
        use(user_keymap(self.preferences.keymap_file))
        self.failure: SwarmDeckError | None = None
        self._steady = Steady(coarse=self.preferences.low_bandwidth)
        self.history = History(self.preferences.history_file)
        self.guard = Guard(self.preferences.read_only, self.preferences.read_only_source)
        self.interval_s = self.preferences.interval_s
        self.filters: list[str] = []
        self.data = data
        self._make_host = make_host
        self._turns = Turns(self)
        self.host = make_host(self._on_event)
        self.owner = Owner(self, ways, self._on_event)
        self.bridge: Bridge | None = None
        self._opening: asyncio.Task[None] | None = None
        self._attending: Worker[None] | None = None
        self._first = OverviewScreen(self.moment, f"opening {data} …")

    @property
    def low_bandwidth(self) -> bool:
        """Whether to send as little as can be: nothing that moves for its own sake."""
        return self.preferences.low_bandwidth

    def get_driver_class(self) -> type[Driver]:
        """Ours, for the driver of a real terminal; Textual's own where it is told another."""
        chosen = super().get_driver_class()
        return DeckDriver if chosen.__name__ == "LinuxDriver" else chosen

    # --- opening and closing

    def on_mount(self) -> None:
        self.push_screen(self._first)
        self.set_interval(1.0, self._each_second)
        if self.preferences.view is not None:
            self._begin(self.preferences.view)
        self.open()

    def _begin(self, view: GoTo) -> None:
        try:
            self.go_to(view)
        except SwarmDeckError as error:
            self.say_error(error)

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
            self._not_opened(error)
            return
        self.owner.found()
        await self._look()

    def _not_opened(self, error: SwarmDeckError) -> None:
        """A console that has shown nothing yet has nothing to stay for."""
        if self.last.overview is None:
            self.failure = error
            self.exit(return_code=error.exit_code)
            return
        self.say_error(error)
        self.owner.lost(error.message)

    async def _look(self) -> None:
        self.bridge = Bridge(self.host, self._wanted, self._show, interval_s=self.interval_s)
        await self.bridge.run()

    async def reopen(self) -> None:
        """Give up an engine that was lost and open the directory again."""
        self.owner.stop_seeking()
        if self._attending is not None:
            self._attending.cancel()
        self.bridge = None
        try:
            await self.shut()
        except SwarmDeckError as error:
            self.say_error(error)
        self.host = self._make_host(self._on_event)
        self.open()

    async def change_host(self, host: Host) -> None:
        """Show another engine, which is open, in place of one that was lost."""
        if self._attending is not None:
            self._attending.cancel()
        before, self.host = self.host, host
        self._pull_with(self._look())
        await before.close()

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
            self.go(Place("overview"))
            self.set_timer(1.0, self._pull_again)

    def _pull_again(self) -> None:
        if self.bridge is not None:
            self._pull_with(self.bridge.run())

    def on_gone(self, _message: Gone) -> None:
        self.exit(return_code=0)

    def _each_second(self) -> None:
        if not self.is_headless and terminal_gone():
            self.exit(return_code=0)
        self._show_later()
        self.show_foot()

    # --- what is shown

    def _wanted(self) -> Action | None:
        screen = self.deck
        return screen.query_wanted() if screen is not None else None

    def _show(self, pull: Pull) -> None:
        if pull.overview is not None:
            self.moment.us = pull.overview.at_us
            pull = msgspec.structs.replace(pull, overview=self._steady.of(pull.overview))
        self.last = pull
        for screen in self._decks():
            screen.show(pull)
        self.show_foot()

    def show_foot(self) -> None:
        """Head and status line of the screen in front, from what is known now."""
        screen, bridge = self.deck, self.bridge
        if screen is None:
            return
        attached = self.host.attached
        where = "attached to its engine" if attached else "engine in this console"
        where = "no engine" if self.owner.gone else where
        crumbs = [each.crumb for each in self._decks()]
        engine = f"{self.data}  ·  {where if bridge else 'opening'}"
        screen.head.show(crumbs, engine, self.guard.banner)
        seen = self.last.overview
        screen.notice.show(notices.notices(seen) if seen is not None else ())
        screen.offer()
        status = screen.status
        status.say(*self._notice())
        if bridge is not None and self.last.overview is not None:
            fresh = bridge.age_s < max(FRESH_S, 2 * bridge.interval_s)
            mode = "attached" if attached else "embedded"
            age_s = 0.0 if fresh else bridge.age_s
            status.show(self.last.overview.engine, age_s=age_s, mode=mode)

    def _notice(self) -> tuple[str, str]:
        """What matters most beside the numbers: lost, paused, or what is under way."""
        if self.owner.gone:
            return f"✗ no engine, :reopen opens it here: {self.owner.gone}", "bad"
        if self.last.lost is not None:
            return f"✗ no answer: {self.last.lost.message}  (:reopen opens it here)", "bad"
        if self.bridge is not None and self.bridge.paused:
            return "paused: p goes on", "warning"
        return self.operations.describe(), "accent"

    def _on_event(self, event: Event) -> None:
        if isinstance(event, EngineStopping):
            self.owner.heed(event)
        if isinstance(event, Sampled):
            for screen in self._decks():
                screen.sample(event)
            return
        said = wording.event_line(event)
        if said is not None:
            text, style = said
            self._first.add_event(f"{clock(self.moment.us)} {text}", style)
        if self.bridge is not None:
            self.bridge.mark()

    def refresh_soon(self) -> None:
        """Pull again, as soon as the last pull allows."""
        if self.bridge is not None:
            self.bridge.hurry()

    # --- what is asked for

    async def on_event(self, event: events.Event) -> None:
        """Keys are taken in the order they come, also those typed ahead of a dialog. One that
        nobody wanted comes back here when it may be another screen's turn: it is over."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._turns.admit(event):
            await self._give(event)

    async def _give(self, key: events.Key) -> None:
        screen = self.screen if self.screen_stack else None
        if isinstance(screen, DeckScreen) and screen.asking:
            await screen.type_key(key)
            self._turns.over()
        elif isinstance(screen, Dialog) and not screen.ready:
            screen.early.append(key)
            self._turns.wait()
        else:
            target = (screen and screen.focused) or screen or self
            await super().on_event(key)
            self._turns.follow(target)

    def on_dialog_ready(self, message: Dialog.Ready) -> None:
        if not message.heeds_early:
            self._turns.drop()
            return
        for key in message.early:
            self._turns.again(key)

    def press(self, key: Key, row: object, subject: str) -> None:
        """Do what a key asks for, on a screen about `subject` with `row` selected: for each of
        the marked rows where there are some."""
        try:
            rows = self.deck.marked() if self.deck is not None else []
            where = self.deck.environment if self.deck is not None else ""
            jobs = batch.jobs(key, rows, subject)
            words = () if jobs else fill(key.run, row, subject, where)
            if words is None and row is not None:
                raise InvalidInput("the key is not for rows like this one", hint="? lists all keys")
            if words is None:
                raise InvalidInput("no row is selected", hint="the key acts on a row")
            if jobs:
                self._request_all(jobs)
            else:
                self._do(commands.interpret(words))
        except SwarmDeckError as error:
            self.say_error(error)

    def enter(self, line: str) -> None:
        """Do what a typed line says, or say why not."""
        self.history.add(line)
        try:
            self._do(commands.read(line))
        except SwarmDeckError as error:
            self.say_error(error)

    def on_deck_screen_opened(self, message: DeckScreen.Opened) -> None:
        try:
            self.visit(message.place)
        except SwarmDeckError as error:
            self.say_error(error)

    def ask(self, words: Sequence[str]) -> None:
        """Do what a line says, or say why not."""
        try:
            self._do(commands.interpret(words))
        except SwarmDeckError as error:
            self.say_error(error)

    def _do(self, intent: Intent) -> None:
        match intent:
            case GoTo():
                self.go_to(intent)
            case Tell(word=word, arguments=arguments):
                tell(self, word, arguments)
            case Run(action=action):
                self.request(action)
            case Fill():
                self.guard.check_fields(intent.spec, intent.texts)
                form = FormScreen(intent.spec, intent.texts, intent.error)
                self.push_screen(form, self._filled)

    def _filled(self, action: Action | None) -> None:
        if action is not None:
            self._ask_for(action)

    def _ask_for(self, action: Action) -> None:
        try:
            self.request(action)
        except SwarmDeckError as error:
            self.say_error(error)

    def request(self, action: Action) -> None:
        """Show the answer of a query; run what changes something, after asking where it must.
        Raises Denied in a console that may only look; every action goes through here."""
        self.guard.check(action)
        self.owner.check()
        spec = spec_of(action)
        if isinstance(action, Stop) and not self.host.attached:
            (self.detach if action.keep else self.leave)()
        elif isinstance(action, Demo) and self.operations.runs(Demo):
            self.say_error(Busy("the demo runs already", hint=":cancel ends it"))
        elif plans.needs_plan(action):
            self.do(self._plan(action))
        elif spec.query and spec.lane == "interactive":
            self.visit(Place("answer", action=action))
        else:
            self.do(self._run(action))

    def _request_all(self, jobs: Sequence[Job]) -> None:
        """The same action for several rows: all of them or none may be asked for."""
        self.owner.check()
        for job in jobs:
            self.guard.check(job.action)
        self.do(self._run_all(self.deck, jobs))

    # --- leaving

    def leave(self) -> None:
        """Leave; where that ends swarms, say which and ask."""
        self.do(self.owner.leave())

    def detach(self) -> None:
        """Leave the engine of this console and its swarms to a headless engine, and then the
        console. Raises InvalidInput, Busy, Unavailable."""
        self.owner.check_detach()
        self.do(self.owner.detach())

    def hides(self, key: Key, environment: str) -> bool:
        """Whether a key is of no use here: this console may only look, or there is nothing to
        unseal."""
        if key.run == "unseal" and not notices.sealed(self.last.overview):
            return True
        return self.guard.hides(key.run, environment)

    def unseal(self) -> None:
        """Unseal the vault: ask for the passphrase where its key comes from one. Raises
        InvalidInput when it is open, Denied."""
        overview = self.last.overview
        if overview is not None and not notices.sealed(overview):
            raise InvalidInput("the vault is open", hint="V shows it")
        asks = overview is not None and overview.vault.source == "passphrase"
        self._do(commands.interpret(("form", "vault", "unseal") if asks else ("vault", "unseal")))

    def end_reading(self) -> None:
        """End every break-glass read that is in force, at once: nothing is lost by it. Raises
        NotFound, Denied."""
        overview = self.last.overview
        breaking = overview.breaking if overview is not None else ()
        if not breaking:
            raise NotFound("no break-glass read is in force")
        for grant in breaking:
            action = AclRevoke(id=grant.id)
            self.guard.check(action)
            self.do(self._run(action))

    def pace(self, interval_s: float) -> None:
        """Look that often from now on, also after the engine was opened again."""
        self.interval_s = interval_s
        if self.bridge is not None:
            self.bridge.interval_s = interval_s
            self.bridge.hurry()

    def rekey(self) -> None:
        """Take the file of the user's keys again, on every screen. Raises ConfigError, and then
        the keys stay as they are."""
        use(user_keymap(self.preferences.keymap_file))
        for screen in self._decks():
            screen.rekey()

    def complete_line(self, text: str) -> Sequence[Completion]:
        """Ways to go on with a command that is being typed."""
        overview = self.last.overview
        ids: list[str] = []
        if overview is not None:
            ids += [swarm.id for swarm in overview.swarms]
            ids += [agent.id for agent in overview.agents]
        known = Known(tuple(ids), tuple(themes.names()))
        return commands.complete(text, known)
