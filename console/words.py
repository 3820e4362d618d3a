"""The console's own commands, each a function of the app and what was typed behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from .. import themes
from ..engine.actions import QueueShow
from ..engine.errors import InvalidInput, NotFound, SwarmDeckError
from ..engine.model import Environment, environment_of
from ..engine.parameters import suggestion
from ..engine.views import MessageView
from . import commands, prefill, room, sharing
from .bridge import INTERVALS_S
from .help import entries, help_lines, usage_lines
from .places import Place
from .screens.dialogs import PaletteScreen
from .screens.listing import ListScreen
from .screens.pane import TextScreen

if TYPE_CHECKING:
    from .deck import SwarmDeck
    from .screens.audit import AuditScreen

Teller = Callable[["SwarmDeck", Sequence[str]], None]


def tell(app: SwarmDeck, word: str, arguments: Sequence[str]) -> None:
    """Run one of `commands.WORDS`. Raises SwarmDeckError for what cannot be done here."""
    TELLERS[word](app, arguments)


def _as(app: SwarmDeck, arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise InvalidInput("as needs an agent", hint="as dev_agent_1, or A on an agent's row")
    environment_of(arguments[0])
    app.visit(Place("as", arguments[0]))


def _back(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    screen = app.deck
    if screen is not None and room.shared_again(screen):
        return
    if isinstance(screen, ListScreen) and screen.table.marks:
        screen.table.clear_marks()
    elif isinstance(screen, ListScreen) and screen.filter:
        screen.filter_rows("")
    else:
        app.back()


def _cancel(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    operation = app.operations.oldest
    if operation is None:
        raise NotFound("nothing is under way")
    operation.cancel()
    app.say(f"{operation.name} is cancelled")


def _charts(app: SwarmDeck, arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise InvalidInput("charts needs a subject", hint="charts host, or an id")
    app.visit(Place("charts", arguments[0]))


def _command(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.deck is not None:
        app.deck.ask(app.history.lines)


def _describe(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    row = app.deck.row if app.deck is not None else None
    if row is None:
        raise NotFound("no row is selected")
    app.visit(Place("detail", row=row))


def _row(app: SwarmDeck) -> object:
    return app.deck.row if app.deck is not None else None


def _deny(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    app.ask(prefill.entry("deny", _row(app)))


def _grant(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    app.ask(prefill.entry("grant", _row(app)))


def _why(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    app.visit(prefill.why(_row(app)))


def _detail(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    _listing(app).toggle_detail()


def _edit(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    row = _row(app)
    if isinstance(row, MessageView) and row.body is None:
        app.run_worker(_edit_whole(app, row.id), exit_on_error=False)
    else:
        app.ask(prefill.edit(row))


async def _edit_whole(app: SwarmDeck, ident: str) -> None:
    """Lists leave the bodies of messages out: the form needs the whole one."""
    try:
        message = await app.host.run(QueueShow(id=ident))
    except SwarmDeckError as error:
        app.say_error(error)
    else:
        app.ask(prefill.edit(message))


def _copy(app: SwarmDeck, arguments: Sequence[str]) -> None:
    if not arguments:
        sharing.copy_rows(app)
    elif list(arguments) == ["line"]:
        sharing.copy_line(app)
    else:
        raise InvalidInput(f"copy does not take {arguments[0]!r}", hint="copy, or copy line")


def _interval(app: SwarmDeck, arguments: Sequence[str]) -> None:
    wanted = " ".join(arguments)
    if wanted in {"slower", "faster"}:
        steps = INTERVALS_S if wanted == "slower" else INTERVALS_S[::-1]
        ahead = (each for each in steps if (each > app.interval_s) == (wanted == "slower"))
        interval_s = next((each for each in ahead if each != app.interval_s), app.interval_s)
    else:
        interval_s = _seconds(wanted.removesuffix("s").strip())
    app.pace(interval_s)
    app.say(f"looks every {interval_s:g} s")


def _seconds(text: str) -> float:
    least_s, most_s = INTERVALS_S[0], INTERVALS_S[-1]
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not least_s <= seconds <= most_s:
        hint = f"{least_s:g} to {most_s:g} seconds, slower or faster"
        raise InvalidInput(f"{text!r} is no interval", hint=hint)
    return seconds


def _keymap(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    app.rekey()
    file = app.preferences.keymap_file
    app.say(f"keys as in {file}" if file is not None and file.exists() else "keys as shipped")


def _maximise(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.deck is not None and not room.shared_again(app.deck):
        room.give_all(app.deck)


def _fold(app: SwarmDeck, arguments: Sequence[str]) -> None:
    from .screens.tree import TreeScreen  # noqa: PLC0415 - the first frame waits for no screen

    if not isinstance(app.deck, TreeScreen):
        raise InvalidInput("this screen has no branches", hint="T shows the tree")
    app.deck.fold(" ".join(arguments))


def _environment(app: SwarmDeck, arguments: Sequence[str]) -> None:
    name = commands.environment_named(arguments[0]) if len(arguments) == 1 else ""
    _listing(app).choose_environment(name or " ".join(arguments))
    app.refresh_soon()


def _state(app: SwarmDeck, arguments: Sequence[str]) -> None:
    _listing(app).choose_state(" ".join(arguments))
    app.refresh_soon()


def _filter(app: SwarmDeck, arguments: Sequence[str]) -> None:
    screen = _listing(app)
    if arguments:
        screen.filter_rows(" ".join(arguments))
        if screen.filter_error:
            raise InvalidInput(screen.filter_error)
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
    if app.deck is not None:
        app.deck.next_part()


def _open(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    if app.deck is not None:
        app.deck.open()


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
    if app.last.lost is None and not app.owner.gone:
        raise InvalidInput("the engine answers; there is nothing to reopen")
    app.do(app.reopen())


def _risk(app: SwarmDeck, arguments: Sequence[str]) -> None:
    _audit(app).choose_risk(" ".join(arguments))
    app.refresh_soon()


def _refused(app: SwarmDeck, _arguments: Sequence[str]) -> None:
    _audit(app).toggle_refused()
    app.refresh_soon()


def _audit(app: SwarmDeck) -> AuditScreen:
    from .screens.audit import AuditScreen  # noqa: PLC0415 - as above

    if isinstance(app.deck, AuditScreen):
        return app.deck
    raise InvalidInput("this screen shows no risks", hint="8 shows the audit trail")


def _window(app: SwarmDeck, arguments: Sequence[str]) -> None:
    from .screens.charts import Windowed  # noqa: PLC0415 - as above

    screen = app.deck
    if not isinstance(screen, Windowed):
        raise InvalidInput("this screen shows no window of time", hint="metrics shows charts")
    screen.choose_window(" ".join(arguments))


def _theme(app: SwarmDeck, arguments: Sequence[str]) -> None:
    names = themes.names()
    name = arguments[0] if arguments else names[(names.index(app.theme) + 1) % len(names)]
    if name not in names:
        raise InvalidInput(
            f"unknown theme {name!r}", hint=suggestion(name, names, ", ".join(names))
        )
    app.theme = name


TELLERS: Final[dict[str, Teller]] = {
    "as": _as,
    "back": _back,
    "cancel": _cancel,
    "charts": _charts,
    "command": _command,
    "copy": _copy,
    "deny": _deny,
    "describe": _describe,
    "detach": lambda app, _arguments: app.detach(),
    "detail": _detail,
    "edit": _edit,
    "endread": lambda app, _arguments: app.end_reading(),
    "environment": _environment,
    "export": sharing.begin_export,
    "filter": _filter,
    "fold": _fold,
    "forward": lambda app, _arguments: app.step(1),
    "grant": _grant,
    "help": _help,
    "history": lambda app, _arguments: app.step(-1),
    "interval": _interval,
    "keymap": _keymap,
    "last": lambda app, _arguments: app.swap(),
    "maximise": _maximise,
    "next": _next,
    "open": _open,
    "palette": _palette,
    "pause": _pause,
    "quit": lambda app, _arguments: app.leave(),
    "records": _records,
    "refresh": lambda app, _arguments: app.refresh_soon(),
    "reopen": _reopen,
    "refused": _refused,
    "risk": _risk,
    "state": _state,
    "theme": _theme,
    "unseal": lambda app, _arguments: app.unseal(),
    "why": _why,
    "window": _window,
}
"""One for each of `commands.WORDS` but `form`, which opens like any action that lacks a field."""
