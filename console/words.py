"""The console's own commands, each a function of the app and what was typed behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from .. import themes
from ..engine.errors import InvalidInput, NotFound
from ..engine.model import Environment, environment_of
from ..engine.parameters import suggestion
from ..widgets import VirtualTable
from . import commands
from .help import entries, help_lines, usage_lines
from .places import Place
from .screens.dialogs import PaletteScreen
from .screens.listing import ListScreen
from .screens.overview import OverviewScreen
from .screens.pane import TextScreen

if TYPE_CHECKING:
    from .deck import SwarmDeck

Teller = Callable[["SwarmDeck", Sequence[str]], None]


def tell(app: SwarmDeck, word: str, arguments: Sequence[str]) -> None:
    """Run one of `commands.WORDS`. Raises SwarmDeckError for what cannot be done here."""
    TELLERS[word](app, arguments)


def _back(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    screen = app.deck
    if isinstance(screen, ListScreen) and screen.filter:
        screen.filter_rows("")
    else:
        app.back()


def _cancel(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    operation = app.operations.oldest
    if operation is None:
        raise NotFound("nothing is under way")
    operation.cancel()
    app.say(f"{operation.name} is cancelled")


def _command(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.deck is not None:
        app.deck.ask(app.history)


def _describe(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    row = app.deck.row if app.deck is not None else None
    if row is None:
        raise NotFound("no row is selected")
    app.visit(Place("detail", row=row))


def _environment(app: SwarmDeck, arguments: Sequence[str]) -> None:
    _listing(app).choose_environment(" ".join(arguments))
    app.refresh_soon()


def _state(app: SwarmDeck, arguments: Sequence[str]) -> None:
    _listing(app).choose_state(" ".join(arguments))
    app.refresh_soon()


def _filter(app: SwarmDeck, arguments: Sequence[str]) -> None:
    screen = _listing(app)
    if arguments:
        screen.filter_rows(" ".join(arguments))
    else:
        screen.ask_filter(app.filters, screen.filter)


def _listing(app: SwarmDeck) -> ListScreen:
    if isinstance(app.deck, ListScreen):
        return app.deck
    raise InvalidInput("this screen has no rows to choose from", hint="2 to 8 show tables")


def _help(app: SwarmDeck, arguments: Sequence[str]) -> None:
    if arguments:
        lines, title = usage_lines(arguments), " ".join(arguments)
    else:
        lines, title = help_lines(app.deck.groups if app.deck is not None else ()), "Help"
    app.push_screen(TextScreen("help", app.moment, title, lines=lines))
    app.call_after_refresh(app.show_foot)


def _next(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if isinstance(app.deck, OverviewScreen):
        app.deck.focus_next_table()


def _open(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if isinstance(app.focused, VirtualTable):
        app.focused.action_select()


def _palette(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    def chosen(line: str | None) -> None:
        if line:
            app.ask(commands.split(line))

    app.push_screen(PaletteScreen(entries()), chosen)


def _pause(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.bridge is not None:
        app.bridge.paused = not app.bridge.paused
        app.bridge.mark()
        app.show_foot()


def _records(app: SwarmDeck, arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise InvalidInput("records needs an agent or an environment", hint="records development")
    if arguments[0] not in set(Environment):
        environment_of(arguments[0])
    app.visit(Place("records", arguments[0]))


def _reopen(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.last.lost is None:
        raise InvalidInput("the engine answers; there is nothing to reopen")
    app.run_worker(app.reopen(), exit_on_error=False)


def _theme(app: SwarmDeck, arguments: Sequence[str]) -> None:
    names = themes.names()
    name = arguments[0] if arguments else names[(names.index(app.theme) + 1) % len(names)]
    if name not in names:
        raise InvalidInput(
            f"unknown theme {name!r}", hint=suggestion(name, names, ", ".join(names))
        )
    app.theme = name


TELLERS: Final[dict[str, Teller]] = {
    "back": _back,
    "cancel": _cancel,
    "command": _command,
    "describe": _describe,
    "environment": _environment,
    "filter": _filter,
    "help": _help,
    "next": _next,
    "open": _open,
    "palette": _palette,
    "pause": _pause,
    "quit": lambda app, _arguments: app.leave(),
    "records": _records,
    "refresh": lambda app, _arguments: app.refresh_soon(),
    "reopen": _reopen,
    "state": _state,
    "theme": _theme,
}
"""One for each of `commands.WORDS` but `form`, which opens like any action that lacks a field."""
