"""The screen of a listing: some lines about its subject, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from textual.widget import Widget

from ...engine.actions import Action
from ...engine.errors import InvalidInput
from ...engine.model import Environment, MessageState, parse_environment
from ...engine.views import Overview
from ...widgets import LineWidget, VirtualTable
from ..bridge import Pull
from ..columns import Moment
from ..listings import OPEN, STATES, Listing, Scope
from ..places import Place
from .frame import INNER, DeckScreen


class RowTable(VirtualTable[Any]):
    """A table whose words for "no rows" change: reading, failed, filtered or truly empty."""

    def set_empty(self, text: str) -> None:
        """What to show in place of rows."""
        if text != self._empty:
            self._empty = text
            self.rebuild()


class ListScreen(DeckScreen):
    """A listing, narrowed to an environment, a state and a filter."""

    def __init__(
        self, crumb: str, moment: Moment, listing: Listing, scope: Scope | None = None
    ) -> None:
        super().__init__(crumb, moment, (*listing.groups, INNER))
        self.listing = listing
        self.scope = scope or Scope()
        self.filter = ""
        self._columns = tuple(listing.columns(moment))
        self._about = LineWidget(id="about")
        self._table = RowTable(
            self._columns, listing.key, title=listing.title, frame="rule", empty="reading …"
        )
        self._rows: Sequence[Any] = ()
        self._seen: Overview | None = None

    def body(self) -> Iterable[Widget]:
        if self.listing.about_height:
            self._about.styles.height = self.listing.about_height
            yield self._about
        yield self._table

    def on_mount(self) -> None:
        self._retitle()

    @property
    def row(self) -> object:
        return self._table.cursor_row

    @property
    def subject(self) -> str:
        return self.scope.subject

    def query_wanted(self) -> Action | None:
        return self.listing.query(self.scope) if self.listing.query is not None else None

    def show(self, pull: Pull) -> None:
        if pull.overview is None:
            return
        self._seen = pull.overview
        if self.listing.rows is not None:
            self._rows = self.listing.rows(pull.overview, self.scope)
            self._fill()
        elif pull.asked == self.query_wanted():
            self._take(pull)
        self._tell()

    def _take(self, pull: Pull) -> None:
        """Show the answer to the query, or why there is none in place of it."""
        if pull.error is None:
            self._rows = pull.answer
            self._fill()
        else:
            self._table.set_empty(f"✗ {pull.error.message}\n{pull.error.hint}")
            self._table.show(())

    def _fill(self) -> None:
        wanted = self.filter.casefold()
        rows = [row for row in self._rows if wanted in self._words(row)] if wanted else self._rows
        self._table.set_empty(
            f"No row of {len(self._rows)} contains {self.filter!r}.\n\nesc  shows all"
            if wanted and self._rows
            else self.listing.empty
        )
        self._table.show(rows)

    def _words(self, row: Any) -> str:  # noqa: ANN401 - any view
        """What a filter looks at: all columns, also those there is no room for."""
        return " ".join(column.cell(row) for column in self._columns).casefold()

    def _tell(self) -> None:
        if self.listing.about is not None and self._seen is not None:
            self._about.set_lines(((), *self.listing.about(self._seen, self.scope, self.moment)))

    def _retitle(self) -> None:
        parts = [self.listing.title]
        if self.listing.by_state:
            parts.append(self.scope.state)
        if self.scope.environment is not None:
            parts.append(str(self.scope.environment))
        if self.listing.query is not None and self.subject in set(Environment):
            parts.append(self.subject)
        if self.filter:
            parts.append(f"/{self.filter}")
        self._table.title = " · ".join(parts)

    def _narrow(self, scope: Scope) -> None:
        """Show another part: what is on the screen goes at once, the new rows come with a pull."""
        self.scope = scope
        if self.listing.query is not None:
            self._rows = ()
            self._table.set_empty("reading …")
            self._table.show(())
        elif self.listing.rows is not None and self._seen is not None:
            self._rows = self.listing.rows(self._seen, scope)
            self._fill()
        self._retitle()
        self._tell()

    def filter_rows(self, text: str) -> None:
        self.filter = text
        self._retitle()
        self._fill()

    def choose_environment(self, name: str) -> None:
        """Show one environment, all of them, or with no name the next. Raises InvalidInput."""
        if not self.listing.by_environment:
            raise InvalidInput("this screen is about one thing already")
        if name:
            chosen = None if name == "all" else parse_environment(name)
        else:
            order = [None, *Environment]
            chosen = order[(order.index(self.scope.environment) + 1) % len(order)]
        self._narrow(replace(self.scope, environment=chosen))

    def choose_state(self, name: str) -> None:
        """Show another state of messages: `next`, `previous` or by name. Raises InvalidInput."""
        if not self.listing.by_state:
            raise InvalidInput("this screen shows no states", hint="4 shows the queue")
        step = {"next": 1, "": 1, "previous": -1}.get(name)
        if step is not None:
            name = STATES[(STATES.index(self.scope.state) + step) % len(STATES)]
        elif name not in STATES:
            known = ", ".join((OPEN, *MessageState))
            raise InvalidInput(f"unknown state {name!r}", hint=f"one of {known}")
        self._narrow(replace(self.scope, state=name))

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        if self.listing.opens is not None:
            self.post_message(self.Opened(self.listing.opens(message.row)))
        else:
            self.post_message(self.Opened(Place("detail", row=message.row)))
