"""Taking away what is on the screen: to the clipboard, to a file, as a command line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..engine import actions
from ..engine.actions import Action, spec_of
from ..engine.errors import InvalidInput, NotFound
from ..engine.model import environment_of
from ..engine.parameters import parameters
from . import export, wording
from .clipboard import check_copy, rows_json
from .commands import line_of
from .export import MOST_ROWS, Export
from .places import Place

if TYPE_CHECKING:
    from .deck import SwarmDeck
    from .screens import DeckScreen

_PAGING: Final = ("offset", "limit")


def copy_rows(app: SwarmDeck) -> None:
    """The marked rows, else the selected one, as JSON. Raises NotFound, InvalidInput."""
    rows = app.deck.marked() if app.deck is not None else []
    if not rows:
        raise NotFound("no row is selected")
    _copy(app, rows_json(rows), wording.count(len(rows), "row"))


def copy_line(app: SwarmDeck) -> None:
    """The command line that asks for what the screen shows. Raises NotFound."""
    query = query_of(app.deck) if app.deck is not None else None
    if query is None:
        raise NotFound("no command asks for what is shown here")
    line = f"{line_of(query)} --json"
    _copy(app, line, line)


def _copy(app: SwarmDeck, text: str, what: str) -> None:
    app.copy_to_clipboard(check_copy(text))
    app.say(f"copied: {what}")


def query_of(screen: DeckScreen) -> Action | None:
    """The query that answers what a screen shows; None for a text that comes from none."""
    if screen.place.name == "overview":
        return actions.Status()
    asked = screen.query_wanted()
    return _unpaged(asked) if asked is not None else _of_overview(screen.place)


def _unpaged(query: Action) -> Action:
    """The whole query, where the screen asks for one page of it."""
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(type(query))
        if field.name in _PAGING
    }
    return msgspec.structs.replace(query, **defaults)


def _of_overview(place: Place) -> Action | None:
    """What shows on its own what a screen takes from the overview."""
    where: Any = place.environment or None
    match place.name:
        case "swarms":
            return actions.SwarmList(environment=where)
        case "agents":
            return actions.AgentList(environment=where)
        case "swarm":
            home: Any = environment_of(place.subject).value
            return actions.AgentList(environment=home, swarm=place.subject)
        case "memory":
            return actions.MemoryPlan()
    return None


def begin_export(app: SwarmDeck, arguments: Sequence[str]) -> None:
    """Write the view to a file, beside everything else. Raises InvalidInput, NotFound."""
    suffix, name = export.read_arguments(arguments)
    made = app.deck.export() if app.deck is not None else None
    if app.deck is None or made is None:
        raise NotFound("this screen has nothing to write out", hint="2 to 8 show tables")
    query = app.deck.query_wanted() if made.read is not None else None
    file = Path(name or export.file_name(made.title, suffix, app.moment.us)).expanduser()
    app.do(_export(app, made, query, suffix, file))


async def _export(
    app: SwarmDeck, made: Export, query: Action | None, suffix: export.Format, file: Path
) -> None:
    if file.is_dir():
        raise InvalidInput(f"{file} is a directory", hint="name a file in it")
    if query is not None and made.read is not None:
        made = made.read(await app.host.run(_most(query)))
    text = export.written(made, suffix)
    await asyncio.to_thread(export.write_new, file, text)
    cut = len(made.rows) >= MOST_ROWS
    rows = f"the first {MOST_ROWS:,} rows" if cut else wording.count(len(made.rows), "row")
    app.say(f"{rows} written to {file}")


def _most(query: Action) -> Action:
    """The query from its start, for as many rows as it gives and an export takes."""
    bounds = {p.field: p.le for p in parameters(spec_of(query)) if p.field in _PAGING}
    changed = {"offset": 0} if "offset" in bounds else {}
    if "limit" in bounds:
        changed["limit"] = min(MOST_ROWS, int(bounds["limit"] or MOST_ROWS))
    return msgspec.structs.replace(query, **changed)
