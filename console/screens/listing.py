"""The screen of a listing: some lines about its subject, its table, and the selected row in full.

Long listings are read from the engine a page at a time: each pull asks for one page of what is on
the screen, so a table of a million rows costs what its window costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget

from ...engine.actions import Action
from ...engine.errors import InvalidInput
from ...engine.model import Environment, MessageState, parse_environment
from ...engine.views import Overview
from ...widgets import LineWidget, VirtualTable
from ...widgets.rows import PagedRows
from ..bridge import Pull
from ..columns import Moment
from ..export import Export
from ..filters import Filter, read_filter
from ..listings import OPEN, STATES, Listing, Scope, narrowed
from ..places import Place
from .frame import INNER, DeckScreen
from .pane import TextPane, WrappedLine, json_lines

PAGE_ROWS: Final = 200
WIDE_CELLS: Final = 160
"""From here on the selected row is shown in full beside its table."""

_SETTLE_S: Final = 0.1


class ListScreen(DeckScreen):
    """A listing, narrowed to an environment, a state and a filter.

    A screen with more than a table overrides `above` and `below`.
    """

    DEFAULT_CSS = """
    ListScreen #split { height: 1fr; }
    ListScreen #work { width: 1fr; }
    ListScreen #words { height: 3; }
    ListScreen #detail { width: 38%; max-width: 90; margin: 0 0 0 2; display: none; }
    ListScreen.-huge.-detailed #detail { display: block; }
    """
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it on the instance
        (0, "-narrow"), (110, "-wide"), (WIDE_CELLS, "-huge"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-low"), (28, "-mid"), (45, "-tall"),
    ]  # fmt: skip

    def __init__(
        self, crumb: str, moment: Moment, listing: Listing, scope: Scope | None = None
    ) -> None:
        super().__init__(crumb, moment, (*listing.groups, INNER))
        self.listing = listing
        self.scope = scope or Scope()
        self.table: VirtualTable[Any] = VirtualTable(
            listing.columns(moment), listing.key, title=listing.title, frame="rule",
            empty="reading …", id="rows",
        )  # fmt: skip
        self._filter = Filter()
        self._wrong = ""
        self._columns = tuple(listing.columns(moment))
        self._about = LineWidget(id="about")
        self._words_line = WrappedLine(title="Selected", frame="rule", id="words")
        self._detail = TextPane("In full", id="detail")
        self._detail.can_focus = False
        self._settling: Timer | None = None
        self._pages: PagedRows[Any] = PagedRows(listing.key, page_rows=PAGE_ROWS)
        self._page = 0
        self._told: int | None = None
        self._rows: Sequence[Any] = ()
        self._read = False
        self._seen: Overview | None = None
        self.add_class("-detailed")

    # --- layout

    def body(self) -> Iterable[Widget]:
        if self.listing.about_height:
            self._about.styles.height = self.listing.about_height
            yield self._about
        yield from self.above()
        with Horizontal(id="split"):
            with Vertical(id="work"):
                yield self.table
                yield from self.below()
            yield self._detail

    def above(self) -> Iterable[Widget]:
        """Widgets over the table."""
        return ()

    def below(self) -> Iterable[Widget]:
        """Widgets under the table."""
        if self.listing.words is not None:
            yield self._words_line

    def on_mount(self) -> None:
        self._retitle()

    def rest(self) -> None:
        self.table.focus()

    @property
    def filter(self) -> str:
        """The filter as it was typed; empty when all rows are shown."""
        return self._filter.text

    @property
    def row(self) -> object:
        return self.table.cursor_row

    @property
    def subject(self) -> str:
        return self.scope.subject

    # --- what is read

    def query_wanted(self) -> Action | None:
        if self.listing.query is None:
            return None
        if not self.listing.paged:
            return narrowed(self.listing.query(self.scope), self._looked_for, 0, 0)
        self._page = self._next_page()
        return self._query_of(self._page)

    @property
    def _looked_for(self) -> Scope:
        """The scope with what the engine is to look for itself."""
        return replace(self.scope, contains=self._filter.contains)

    def _query_of(self, page: int) -> Action:
        assert self.listing.query is not None
        first = page * PAGE_ROWS
        return narrowed(self.listing.query(self.scope), self._looked_for, first, PAGE_ROWS)

    def _next_page(self) -> int:
        """The page of the window that is due: one that is not here, else the oldest."""
        first, last = self.table.viewed
        wanted = self._pages.wants(first, last)
        if not wanted:
            self._pages.expire()
            wanted = self._pages.wants(first, last)
        return wanted[0] if wanted else 0

    def show(self, pull: Pull) -> None:
        if pull.overview is None:
            return
        self._seen = pull.overview
        if self.listing.rows is not None:
            self._take(self.listing.rows(pull.overview, self.scope))
        elif pull.asked is not None and pull.asked == self._asked():
            if pull.error is not None:
                why = self.listing.hindered(self._seen, self.scope) if self.listing.hindered else ""
                self._fail(why or f"✗ {pull.error.message}\n{pull.error.hint}")
            else:
                self._take(pull.answer)
        self._tell()

    def _asked(self) -> Action | None:
        """What the present rows were asked for with, without deciding on the next page."""
        if self.listing.paged and self.listing.query is not None:
            return self._query_of(self._page)
        return self.query_wanted()

    def _take(self, rows: Sequence[Any]) -> None:
        self._read = True
        if self.listing.paged:
            self._learn_total()
            self._pages.put(self._page, rows)
            if self._pages.wants(*self.table.viewed):
                self._worker.refresh_soon()
        else:
            self._rows = rows
        self._fill()

    def _learn_total(self) -> None:
        """Take how many rows the overview says there are, so that the last one can be gone to.
        Only what is new: a page that ends elsewhere is right about its own end."""
        known = self.listing.total
        total = None
        if known is not None and self._seen is not None and not self._filter.contains:
            total = known(self._seen, self.scope)
        if total is not None and total != self._told:
            self._pages.set_total(total)
        self._told = total

    def _fail(self, text: str) -> None:
        """Say in place of the rows why there are none."""
        self._pages.clear()
        self._told = None
        self._rows = ()
        self.table.empty = text
        self.table.show(())
        self._settle()

    def _fill(self) -> None:
        """Show the rows that are here and pass the filter."""
        if not self._read:
            return
        whole = not self._filter.text or (self._engine_filters and bool(self._filter.contains))
        if whole and self.listing.paged:
            self.table.empty = self._nothing(0)
            self.table.show(self._pages)
        else:
            rows = self._loaded()
            self.table.empty = self._nothing(len(rows))
            self.table.show(rows if whole else self._passing(rows))
        self._settle()

    @property
    def _engine_filters(self) -> bool:
        """Whether the engine itself looks for a plain text in these rows."""
        if self.listing.query is None:
            return False
        return "contains" in self.listing.query(self.scope).__struct_fields__

    def _loaded(self) -> Sequence[Any]:
        if self.listing.paged:
            return [row for _, row in self._pages.loaded(0, len(self._pages))]
        return self._rows

    def _passing(self, rows: Sequence[Any]) -> Sequence[Any]:
        """The rows a filter lets through; all of them while it names a key that is not there."""
        kind = type(rows[0]) if rows else None
        try:
            passes: Callable[[Any], bool] = self._filter.matcher(
                self._columns, kind, self.moment.us
            )
        except InvalidInput as error:
            self._wrong = f"{error.message} ({error.hint})"
            self.table.empty = f"✗ {error.message}\n{error.hint}"
            return ()
        return [row for row in rows if passes(row)]

    def _nothing(self, rows: int) -> str:
        """What to say when no row is left to show."""
        hindered = self.listing.hindered
        if hindered is not None and self._seen is not None and not rows:
            why = hindered(self._seen, self.scope)
            if why:
                return why
        if not self._filter.text:
            return self.listing.empty
        of = f" of {rows}" if rows else ""
        return f"No row{of} contains {self._filter.text!r}.\n\nesc  shows all"

    # --- what is said

    def _tell(self) -> None:
        if self.listing.about is not None and self._seen is not None:
            self._about.set_lines(((), *self.listing.about(self._seen, self.scope, self.moment)))

    def _retitle(self) -> None:
        parts = [self.listing.title]
        if self.listing.by_state:
            parts.append(self.scope.state)
        if self.scope.risk:
            parts.append(f"risk {self.scope.risk} and above")
        if self.scope.refused:
            parts.append("refused")
        if self.scope.environment is not None:
            parts.append(str(self.scope.environment))
        if self.listing.query is not None and self.subject in set(Environment):
            parts.append(self.subject)
        if self.filter:
            parts.append(f"/{self.filter}")
        self.table.title = " · ".join(parts)

    def _settle(self) -> None:
        """Show the selected row in full once the cursor rests: a key that is held stays quick."""
        if self.listing.words is not None:
            row = self.table.cursor_row
            self._words_line.tell("" if row is None else self.listing.words(row))
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_S, self._describe)

    def _describe(self) -> None:
        self._settling = None
        if self._detail.display:
            row = self.row
            self._detail.show(json_lines(row, self.moment) if row is not None else ())

    def toggle_detail(self) -> None:
        """Show the selected row in full beside the table, or no longer. Raises InvalidInput."""
        if self.size.width < WIDE_CELLS:
            raise InvalidInput(
                f"there is room beside the table from {WIDE_CELLS} columns on",
                hint="d shows the row in full",
            )
        self.toggle_class("-detailed")
        self.call_after_refresh(self._describe)

    # --- what part is shown

    def _narrow(self, scope: Scope) -> None:
        """Show another part: what is on the screen goes at once, the new rows come with a pull."""
        self.scope = scope
        if self.listing.query is not None:
            self._forget()
        elif self.listing.rows is not None and self._seen is not None:
            self._take(self.listing.rows(self._seen, scope))
        self._retitle()
        self._tell()

    def _forget(self) -> None:
        self._read = False
        self._fail("reading …")

    def filter_rows(self, text: str) -> None:
        before = self._filter
        self._filter, self._wrong = read_filter(text), ""
        self._retitle()
        if self._engine_filters and before.contains != self._filter.contains:
            self._pages.expire()
            self._pages.set_total(0, exact=False)
            self._worker.refresh_soon()
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

    # --- what keys and commands ask of it

    @property
    def place(self) -> Place:
        return msgspec.structs.replace(
            self.came_from,
            filter=self.filter,
            environment=self.scope.environment or "",
            state=self.scope.state if self.listing.by_state else "",
        )

    def narrow_to(self, place: Place) -> None:
        """Begin with the filter, the environment and the state of a place. For a screen that is
        not shown yet. Raises InvalidInput for what this listing has none of."""
        self.came_from = place
        if place.environment and not self.listing.by_environment:
            raise InvalidInput(f"{place.name} is not by environment", hint="leave @… out")
        if place.state and not self.listing.by_state:
            raise InvalidInput(f"{place.name} shows no states", hint="4 shows the queue")
        self._filter = read_filter(place.filter)
        chosen = parse_environment(place.environment) if place.environment else None
        self.scope = replace(
            self.scope,
            environment=chosen or self.scope.environment,
            state=place.state or self.scope.state,
        )

    @property
    def filter_spec(self) -> Filter:
        return self._filter

    @property
    def filter_error(self) -> str:
        return self._wrong

    def marked(self) -> list[object]:
        return list(self.table.marked_rows())

    def unmark(self, rows: Sequence[object]) -> None:
        self.table.unmark(self.listing.key(row) for row in rows)

    def export(self) -> Export:
        whole = not self._filter.terms
        return self._export_of(self._loaded() if whole else self._passing(self._loaded()))

    def _export_of(self, rows: Sequence[Any]) -> Export:
        names = tuple(column.name for column in self._columns)
        cells = tuple(tuple(column.cell(row) for column in self._columns) for row in rows)
        more = None if self.listing.query is None else self._export_of_answer
        return Export(str(self.table.title), names, cells, more)

    def _export_of_answer(self, rows: Sequence[Any]) -> Export:
        return self._export_of(self._passing(rows) if self._filter.terms else rows)

    # --- what the table says

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        self._settle()

    def on_virtual_table_viewed(self) -> None:
        if self.listing.paged and self._pages.wants(*self.table.viewed):
            self._worker.refresh_soon()

    def on_virtual_table_sort_asked(self, message: VirtualTable.SortAsked) -> None:
        """Rows that live in the engine are sorted there."""
        self.scope = replace(self.scope, order=message.name or "", descending=message.descending)
        self._pages.expire()
        self._worker.refresh_soon()

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        opens = self.listing.opens
        place = opens(message.row) if opens is not None else Place("detail", row=message.row)
        if not place.subject and self.scope.subject:  # a record is read as whoever listed it
            place = msgspec.structs.replace(place, subject=self.scope.subject)
        self.post_message(self.Opened(place))
