"""What a table one can go to is: what it asks for, and which part of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.model import Environment, MessageState
from ...widgets import Column, Line
from ..columns import Moment
from ..places import Place

OPEN: Final = "open"
"""Messages that are still to be done: ready, delayed and leased."""

STATES: Final = (OPEN, *MessageState)


@dataclass(frozen=True, slots=True)
class Scope:
    """What part of a listing is shown. `environment` None is all of them, `subject` the id the
    place is about, `contains` what the engine is to look for, `order` what it is to sort by; `risk`
    and `refused` are for the audit trail."""

    subject: str = ""
    environment: Environment | None = None
    state: str = OPEN
    contains: str = ""
    order: str = ""
    descending: bool = False
    risk: str = ""
    refused: bool = False

    @property
    def place(self) -> actions.Environment | None:
        """The environment as actions name it."""
        return None if self.environment is None else self.environment.value


About = Callable[[views.Overview, Scope, Moment], Sequence[Line]]


@dataclass(frozen=True)
class Listing:
    """A table to go to. Its rows come with the overview (`rows`) or from a query of its own.

    `opens` is where enter leads, `about` the lines above the table, always `about_height` of them.
    `paged` rows are read from the engine as far as they are on the screen; `total` says how many
    there are without a filter, None where the overview does not know. `words` say below the table
    what of the selected row its columns may have to cut. `hindered` says in place of `empty` what
    stands in the way of rows that are there; empty when nothing does.
    """

    title: str
    columns: Callable[[Moment], Sequence[Column[Any]]]
    key: Callable[[Any], str]
    empty: str
    groups: tuple[str, ...]
    rows: Callable[[views.Overview, Scope], Sequence[Any]] | None = None
    query: Callable[[Scope], Action] | None = None
    opens: Callable[[Any], Place] | None = None
    about: About | None = None
    about_height: int = 0
    by_environment: bool = True
    by_state: bool = False
    paged: bool = False
    total: Callable[[views.Overview, Scope], int | None] | None = None
    words: Callable[[Any], str] | None = None
    hindered: Callable[[views.Overview, Scope], str] | None = None


def narrowed(query: Action, scope: Scope, first: int, rows: int) -> Action:
    """The query for `rows` rows from `first` on that contain what the scope says, in its order;
    0 rows leave the query's own bound. A query without such a field stays as it is."""
    wanted: dict[str, Any] = {"contains": scope.contains} if scope.contains else {}
    if rows:
        wanted |= {"offset": first, "limit": rows}
    if scope.order:
        wanted |= {"order": scope.order, "descending": scope.descending}
    known = {name: value for name, value in wanted.items() if name in query.__struct_fields__}
    return msgspec.structs.replace(query, **known) if known else query


def within(scope: Scope, environment: str) -> bool:
    return scope.environment is None or environment == scope.environment


def ident(view: Any) -> str:  # noqa: ANN401 - any view with an id
    return str(view.id)
