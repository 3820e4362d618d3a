"""What every screen has: where one is, the body, the state of the engine, the keys, the commands.

A screen shows pulls and posts what the person asks for; the app decides what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Protocol, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingsMap
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget

from ...engine.actions import Action
from ...engine.errors import ErrorReport, InvalidInput, SwarmDeckError
from ...engine.events import Sampled
from ...engine.model import Environment, environment_of
from ...widgets import (
    AclMatrix,
    Candidate,
    CellScreen,
    CommandBar,
    Line,
    LineWidget,
    Span,
    StatusLine,
    VirtualTable,
)
from ..bar import Bar
from ..bridge import Host, Pull
from ..columns import Moment
from ..export import Export
from ..filters import Filter
from ..keymap import Key, keymap
from ..notices import Notice, laid_out
from ..offers import acts, is_of_row
from ..places import Place

LEAST_WHERE: Final = 24
FRESH_S: Final = 3.0
"""Data younger than this is called fresh; its age is not counted on the screen."""


_MOVABLE: Final = (VirtualTable, AclMatrix)
"""What the motions of the key table move, where it has the focus."""

BINDINGS_OF_BARS: Final = tuple(
    binding for binding in CommandBar.BINDINGS if isinstance(binding, Binding)
)

_MOTIONS: Final = ("table.", "matrix.")
"""How a key's run begins that moves a cursor."""

INNER: Final = "inner"
"""The group of the keys that lead back out; every screen but the first has them."""


class Worker(Protocol):
    """What a screen needs of its app."""

    def press(self, key: Key, row: object, subject: str) -> None:
        """Do what a key asks for, on a screen about `subject` with `row` selected."""
        ...

    def enter(self, line: str) -> None:
        """Do what a typed line says."""
        ...

    def complete_line(self, text: str) -> Sequence[Candidate]:
        """How a command that is being typed may go on."""
        ...

    def hides(self, key: Key, environment: str) -> bool:
        """Whether a key is of no use on a screen of that environment, such as one that changes
        something in a console that may only look."""
        ...

    def refresh_soon(self) -> None:
        """Pull again, as soon as the last pull allows."""
        ...

    @property
    def host(self) -> Host:
        """Whom a screen's further queries are put to."""
        ...


class HeadLine(LineWidget):
    """The first line: the program, the way to this screen, and whose engine is shown."""

    DEFAULT_CSS = "HeadLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__(id="head")
        self._crumbs: Sequence[str] = ()
        self._where = ""
        self._warning = ""
        self._banner = ""

    def warn(self, banner: str) -> None:
        """Words that must not be overlooked on this screen, before the way to it."""
        self._banner = banner
        self.rebuild()

    def show(self, crumbs: Sequence[str], where: str, warning: str = "") -> None:
        """The way here, in a few words which engine this is, and what is special about this
        console, such as that it may only look."""
        self._crumbs, self._where, self._warning = crumbs, where, warning
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        left: list[Span] = [(" SwarmDeck ", "title bold reverse"), (" ", "text")]
        if self._warning:
            left += [(f" {self._warning} ", "warning bold reverse"), (" ", "text")]
        if self._banner:
            left += [(f" {self._banner} ", "warning bold reverse"), (" ", "text")]
        for place, crumb in enumerate(self._crumbs):
            last = place == len(self._crumbs) - 1
            left.append((f" {crumb}", "title bold" if last else "muted"))
            if not last:
                left.append((" ▸", "muted"))
        room = self.body_width - sum(len(text) for text, _ in left) - 2
        where = self._where
        if len(where) > room:  # the end of it says whose engine it is
            where = f"…{where[1 - room :]}" if room > LEAST_WHERE else ""
        space = " " * (room - len(where) + 1)
        return ((*left, (space, "text"), (where, "muted")),)


class NoticeLine(LineWidget):
    """What must not be overlooked wherever one is, such as a sealed vault: under the head, and only
    there while there is something."""

    DEFAULT_CSS = "NoticeLine { height: 1; display: none; }"

    def __init__(self) -> None:
        super().__init__(id="notice")
        self._notices: Sequence[Notice] = ()

    def show(self, notices: Sequence[Notice]) -> None:
        """Show these, the gravest first, as many as fit."""
        self.display = bool(notices)
        self._notices = notices
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        return (tuple(laid_out(self._notices, self.body_width)),)


class KeyLine(LineWidget):
    """The last line: the keys that matter here. A click on one is the key."""

    DEFAULT_CSS = "KeyLine { height: 1; }"
    ground = "surface"

    class Pressed(Message):
        """A key was clicked."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    def __init__(self, groups: Sequence[str], hides: Callable[[Key], bool]) -> None:
        super().__init__(id="keys")
        self._groups = groups
        self._hides = hides
        self._ends: list[tuple[int, Key]] = []
        self._named: tuple[Key, ...] = ()

    def offer(self) -> None:
        """Name the keys that are of use now; nothing is drawn while they stay the same."""
        if self._footer() != self._named:
            self.rebuild()

    def _footer(self) -> tuple[Key, ...]:
        return keymap().footer(self._groups, self.body_width, self._hides)

    def layout_lines(self) -> Sequence[Line]:
        spans: list[Span] = []
        column = 0
        self._ends = []
        self._named = self._footer()
        for key in self._named:
            spans += [(f" {key.shown} ", "accent bold"), (f"{key.label} ", "text")]
            column += key.footer_width
            self._ends.append((column, key))
        return (tuple(spans),)

    def on_click(self, event: events.Click) -> None:
        for end, key in self._ends:
            if event.x < end:
                self.post_message(self.Pressed(key))
                return


class DeckScreen(CellScreen[None]):
    """Base of the screens.

    `groups` are the groups of the key table that work here, `crumb` the name of this place.
    """

    DEFAULT_CSS = """
    DeckScreen { layout: vertical; background: $background; }
    DeckScreen #foot { height: 2; dock: bottom; }
    DeckScreen #foot > LineWidget { dock: none; }
    """
    AUTO_FOCUS: ClassVar[str | None] = "VirtualTable, TextPane"
    parts: Sequence[Widget] = ()
    """What tab goes round, in that order."""

    class Opened(Message):
        """The person wants to see a place."""

        def __init__(self, place: Place) -> None:
            super().__init__()
            self.place = place

    def __init__(self, crumb: str, moment: Moment, groups: tuple[str, ...]) -> None:
        super().__init__()
        self.crumb = crumb
        self.groups = groups
        self.moment = moment
        self.head = HeadLine()
        self.notice = NoticeLine()
        self.status = StatusLine(id="status")
        self.came_from = Place(crumb)
        self._key_line = KeyLine(groups, self._hides)
        self._bar = Bar(self._complete, id="bar")
        self._bar.display = False
        self._prompt = ":"
        self._asked_too: set[Action] = set()
        self._no_keys = self._bindings
        self._keys: tuple[Key, ...] = ()
        self.rekey()

    def rekey(self) -> None:
        """Take the keys as the key table has them now."""
        self._keys = keymap().of(self.groups)
        # With priority, so that the app runs them one after the other as they come: a key that was
        # typed ahead must not act on a row, or in a place, that a key before it has left.
        bindings = [
            Binding(name, f"press({place})", key.help, show=False, priority=True)
            for place, key in enumerate(self._keys)
            for name in key.names
        ]
        self._bindings = BindingsMap.merge([self._no_keys, BindingsMap(bindings)])
        self._key_line.rebuild()

    def _hides(self, key: Key) -> bool:
        row = self.row
        if not self.acts(key, row):
            return True
        places = {self.environment}
        if is_of_row(key):
            places.add(str(getattr(row, "environment", "")))
        return any(self._worker.hides(key, place) for place in places)

    def acts(self, key: Key, row: object) -> bool:
        """Whether a key can do something with `row` selected."""
        if key.run == "open" and isinstance(self.focused, _MOVABLE):
            return self.focused.cursor_row is not None
        return acts(key, row, self.subject, self.environment)

    def offer(self) -> None:
        """Name the keys in the footer that are of use with what is selected now."""
        self._key_line.offer()

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        self.offer()

    def on_acl_matrix_moved(self, message: AclMatrix.Moved) -> None:
        self.offer()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.offer()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.notice
        yield from self.body()
        with Vertical(id="foot"):
            yield self.status
            yield self._key_line
            yield self._bar

    def body(self) -> Iterable[Widget]:
        """The widgets between the head and the status line."""
        raise NotImplementedError

    def query_wanted(self) -> Action | None:
        """What this screen needs besides the overview."""
        return None

    def show(self, pull: Pull) -> None:
        """Show what was read."""
        raise NotImplementedError

    def sample(self, event: Sampled) -> None:
        """What a running benchmark just did; only screens that draw it look."""

    @property
    def row(self) -> object:
        """The selected row, for keys that act on one."""
        return None

    @property
    def subject(self) -> str:
        """The id this screen is about, if it is about one thing."""
        return ""

    @property
    def environment(self) -> str:
        """The one environment this screen is about, if it is about one."""
        return self.place.environment or _environment_of(self.subject)

    @property
    def place(self) -> Place:
        """Where one is, narrowed as it is now: to come back to."""
        return self.came_from

    @property
    def filter_spec(self) -> Filter:
        """The filter in force; an empty one on a screen without rows."""
        return Filter()

    def marked(self) -> list[object]:
        """The rows an action is for: those marked, else the one under the cursor."""
        return [] if self.row is None else [self.row]

    def unmark(self, rows: Sequence[object]) -> None:
        """Take the marks off these rows; screens without marks have nothing to do."""

    def export(self) -> Export | None:
        """What this screen shows, as text; None for one that has nothing to write out."""
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a command is typed the keys are letters."""
        return not (action == "press" and self.asking)

    async def action_press(self, place: int) -> None:
        """Do what the key at that place of this screen's keys asks for."""
        key = self._keys[place]
        if key.run.startswith(_MOTIONS):
            await self._move(key.run)
        else:
            self._worker.press(key, self.row, self.subject)

    async def _move(self, motion: str) -> None:
        """Run a binding of what has the focus, by the end of its id: every widget that moves
        names its motions alike. Without one the first table moves."""
        moved = self.focused if isinstance(self.focused, _MOVABLE) else None
        moved = moved or next(iter(self.query(VirtualTable)), None)
        if moved is None:
            return
        name = motion.partition(".")[2]
        for binding in type(moved).BINDINGS:
            if isinstance(binding, Binding) and (binding.id or "").endswith(f".{name}"):
                await self.app.run_action(binding.action, moved)
                return

    def open(self) -> None:
        """Open what has the focus: the row under its cursor."""
        if isinstance(self.focused, _MOVABLE):
            self.focused.action_select()

    def next_part(self, step: int = 1) -> None:
        """Move the focus on to the next of `parts` that is shown."""
        shown = [part for part in self.parts if part.display and part.size.height]
        if shown:
            at = shown.index(self.focused) if self.focused in shown else -1
            self.set_focus(shown[(at + step) % len(shown)])

    def put(self, action: Action, take: Callable[[Any, ErrorReport | None], None]) -> None:
        """Ask the engine something besides the pull. The answer, or why there is none, is given
        to `take` while this screen is still there; nothing waits for it. What is asked already
        is not asked again before its answer."""
        if action not in self._asked_too:
            self._asked_too.add(action)
            self.run_worker(self._put(action, take), exit_on_error=False)

    async def _put(self, action: Action, take: Callable[[Any, ErrorReport | None], None]) -> None:
        try:
            answer, error = await self._worker.host.run(action), None
        except SwarmDeckError as refused:
            answer, error = None, refused.report()
        finally:
            self._asked_too.discard(action)
        take(answer, error)

    def on_key_line_pressed(self, message: KeyLine.Pressed) -> None:
        self._worker.press(message.key, self.row, self.subject)

    @property
    def _worker(self) -> Worker:
        return cast("Worker", self.app)

    # --- the command bar

    def ask(self, history: list[str], text: str = "") -> None:
        """Open the command bar for a command. What is entered is added to `history`."""
        self._open_bar(history, text, ":", "a command; tab completes, ? lists them all")

    @property
    def asking(self) -> bool:
        """Whether the command bar is open."""
        return bool(self._bar.display)

    def ask_filter(self, history: list[str], text: str) -> None:
        """Open the command bar for a filter."""
        self._open_bar(
            history, text, "/", "text  !not  -f letters  key=value  key>5; empty shows all"
        )

    def _open_bar(self, history: list[str], text: str, prompt: str, placeholder: str) -> None:
        self._prompt = prompt
        bar = self._bar
        bar.history = history
        self._show_bar(True)
        bar.open(text, prompt, placeholder)
        self.set_focus(bar)  # now, not later: the next key is the first letter

    def _complete(self, text: str) -> Sequence[Candidate]:
        return self._worker.complete_line(text) if self._prompt == ":" else ()

    @property
    def filter_error(self) -> str:
        """What is wrong with the filter in force."""
        return ""

    async def type_key(self, event: events.Key) -> None:
        """Take a key for the open bar. The app hands them over one after the other and does what
        was entered before the next one: nothing that is typed ahead is lost or misread."""
        bar = self._bar
        if event.is_printable and event.character:
            bar.insert(event.character)
        elif event.key == "enter":
            bar.action_submit()
            self._close_bar()
            self._enter(bar.text.strip())
        elif event.key == "escape":
            self._close_bar()
            self._enter("")
        else:
            for binding in BINDINGS_OF_BARS:
                if event.key in binding.key.split(","):
                    await self.app.run_action(binding.action, bar)

    def _enter(self, text: str) -> None:
        if self._prompt == "/":
            self.filter_rows(text)
        elif text:
            self._worker.enter(text)

    def on_command_bar_edited(self, message: CommandBar.Edited) -> None:
        if self._prompt == "/" and self.asking:
            self.filter_rows(message.text)
            self._bar.complain(self.filter_error)

    def filter_rows(self, text: str) -> None:
        """Show only rows that contain `text`; screens without rows ignore it."""

    def _close_bar(self) -> None:
        self._show_bar(False)
        self.rest()

    def _show_bar(self, shown: bool) -> None:
        """The bar in place of the status line and the keys, or these again."""
        self._bar.display = shown
        self.status.display = self._key_line.display = not shown

    def rest(self) -> None:
        """Give the focus back to the body."""
        for widget in self.query(VirtualTable):
            widget.focus()
            return


def _environment_of(subject: str) -> str:
    """The environment that an id or a name of one says; empty for another subject."""
    if subject in set(Environment):
        return subject
    try:
        return str(environment_of(subject))
    except InvalidInput:
        return ""
