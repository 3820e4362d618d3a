"""A table over rows that live elsewhere: pages come and go, the cursor and the marks stay."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import on
from textual.app import ComposeResult
from textual.message import Message

from swarmdeck.widgets import Column, DeckApp, PagedRows, VirtualTable


class Agent(NamedTuple):
    id: str
    done: int


def agents(*numbers: int) -> list[Agent]:
    return [Agent(f"agent-{n:06}", n) for n in numbers]


def paged(numbers: range, *pages: int, capacity: int = 8) -> PagedRows[Agent]:
    """A listing of which these pages of ten rows are here."""
    rows: PagedRows[Agent] = PagedRows(lambda a: a.id, page_rows=10, capacity=capacity)
    rows.set_total(len(numbers))
    for page in pages:
        rows.put(page, agents(*numbers[page * 10 : page * 10 + 10]))
    return rows


class Deck(DeckApp):
    """One table; it keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Message] = []
        self.table = VirtualTable(
            [
                Column("agent", lambda a: a.id, width=14, grow=1),
                Column("done", lambda a: str(a.done), 8, "right", sort_name="done_count"),
                Column("note", lambda a: "x" * (a.done % 9), 12, style="muted"),
            ],
            key=lambda a: a.id,
            title="Agents",
        )

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.focus()

    @on(VirtualTable.Selected)
    @on(VirtualTable.Moved)
    @on(VirtualTable.Marked)
    @on(VirtualTable.Viewed)
    @on(VirtualTable.SortAsked)
    def keep(self, message: Message) -> None:
        self.heard.append(message)

    def heard_of(self, kind: type[Message]) -> list[Any]:
        """The messages of one kind, oldest first."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def rows(self) -> list[str]:
        """The body of the table as text."""
        inside = range(1, self.table.size.height - 1)
        strips = [self.table.render_line(y) for y in inside]
        return ["".join(s.text for s in strip)[2:-2].rstrip() for strip in strips]


async def test_of_lazy_rows_the_loaded_ones_are_marked_and_all_marks_are_kept() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(100), 0, 3, capacity=2)
        app.table.show(rows)
        await pilot.press("M")
        await pilot.pause()
        assert app.heard_of(VirtualTable.Marked)[-1].missing == 80
        assert len(app.table.marks) == 20
        rows.put(5, agents(*range(50, 60)))
        app.table.show(rows)
        assert len(app.table.marks) == len(app.table.marked_keys) == 20
        assert [row.done for row in app.table.marked_rows()] == [*range(30, 40)]
        app.table.show(paged(range(35, 60), 0))
        assert app.table.marks == {f"agent-{n:06}" for n in range(35, 40)}


async def test_rows_on_their_way_are_points_until_they_come() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(1_000_000), 0)
        app.table.show(rows)
        assert app.rows[10].split()[0] == "agent-000009"
        assert app.rows[11].split() == ["·", "·", "·"]
        await pilot.press("G", "enter", "space")
        assert app.table.cursor_index == 999_999
        assert (app.table.cursor_key, app.table.cursor_row) == (None, None)
        assert app.table.marks == frozenset()
        assert app.rows[11].split() == ["▸", "·", "·", "·"]
        await pilot.pause()
        assert app.heard_of(VirtualTable.Moved) == app.heard_of(VirtualTable.Selected) == []
        for page in rows.wants(*app.table.viewed):
            rows.put(page, agents(*range(page * 10, page * 10 + 10)))
        app.table.show(rows)
        await pilot.pause()
        assert app.table.cursor_key == "agent-999999"
        assert [m.key for m in app.heard_of(VirtualTable.Moved)] == ["agent-999999"]
        assert app.table.note == "1,000,000 of 1,000,000"


async def test_the_rows_there_is_room_for_are_told_when_they_change() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(100), 0)
        app.table.show(rows)
        app.table.show(rows)
        await pilot.press("j", "k")
        await pilot.press("G")
        await pilot.resize_terminal(60, 12)
        await pilot.pause()
        told = [(m.first, m.last) for m in app.heard_of(VirtualTable.Viewed)]
        assert told[:2] == [(0, 10), (89, 99)]
        assert told[-1] == app.table.viewed
        assert len(told) == len(set(told))
        app.table.show(agents(*range(100)))
        await pilot.press("g")
        await pilot.pause()
        assert len(app.heard_of(VirtualTable.Viewed)) == len(told), "a sequence needs no reading"


async def test_a_refresh_never_blanks_the_table_and_the_cursor_follows_its_row() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(100, 200), 0, 1)
        app.table.show(rows)
        await pilot.press("j", "j", "j")
        before = app.rows
        rows.expire()
        app.table.show(rows)
        assert app.rows == before
        rows.put(1, agents(*range(105, 115)))
        rows.put(0, agents(*range(95, 105)))
        app.table.show(rows)
        assert (app.table.cursor_key, app.table.cursor_index) == ("agent-000103", 8)


async def test_a_cursor_whose_row_was_given_up_stays_and_finds_it_again() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(100), 0, 1, capacity=2)
        app.table.show(rows)
        app.table.select("agent-000015")
        rows.put(8, agents(*range(80, 90)))
        rows.put(9, agents(*range(90, 100)))
        app.table.show(rows)
        assert (app.table.cursor_index, app.table.cursor_key) == (15, None)
        rows.put(1, agents(*range(13, 23)))
        app.table.show(rows)
        assert (app.table.cursor_index, app.table.cursor_key) == (12, "agent-000015")
        await pilot.pause()
        assert len(app.heard_of(VirtualTable.Moved)) == 1
        rows.put(1, agents(*range(40, 50)))
        app.table.show(rows)
        assert (app.table.cursor_index, app.table.cursor_key) == (12, "agent-000042")


async def test_a_key_that_leads_nowhere_leaves_the_cursor_with_the_row_it_waits_for() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        rows = paged(range(100), 0, capacity=2)
        app.table.show(rows)
        for page in (8, 9):
            rows.put(page, agents(*range(page * 10, page * 10 + 10)))
        app.table.show(rows)
        await pilot.press("k", "g")
        assert (app.table.cursor_index, app.table.cursor_key) == (0, None)
        rows.put(0, agents(777, *range(9)))
        app.table.show(rows)
        assert (app.table.cursor_index, app.table.cursor_key) == (1, "agent-000000")


async def test_lazy_rows_are_sorted_by_their_owner() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)) as pilot:
        app.table.show(paged(range(30, 0, -1), 0, 1, 2))
        await pilot.press("o", "O", "o")
        await pilot.pause()
        asked = [(m.column, m.name, m.descending) for m in app.heard_of(VirtualTable.SortAsked)]
        assert asked == [
            ("done", "done_count", False), ("done", "done_count", True), (None, None, True),
        ]  # fmt: skip
        assert "30" in app.rows[1], "the table itself moves nothing"
        app.table.sort_by("done")
        assert "done▲" in app.rows[0]
        with pytest.raises(KeyError, match="note"):
            app.table.sort_by("note")
        await pilot.pause()
        app.heard.clear()
        await pilot.click(app.table, offset=(app.rows[0].index("note") + 2, 1))
        await pilot.click(app.table, offset=(app.rows[0].index("done") + 2, 1))
        await pilot.pause()
        assert [m.descending for m in app.heard_of(VirtualTable.SortAsked)] == [True]


async def test_an_end_that_is_not_certain_is_shown_as_such() -> None:
    app = Deck()
    async with app.run_test(size=(60, 14)):
        rows = paged(range(100), 0)
        rows.set_total(100, exact=False)
        app.table.show(rows)
        assert app.table.note == "1 of 100+"


class Walk:
    """A table driven at random, beside what must be true of it."""

    KEYS = ("move(1)", "move(-1)", "move(7)", "first", "last", "page(1)", "page(-1)", "page(1, 2)")

    def __init__(self, app: Deck, data: st.DataObject) -> None:
        self.app, self.table, self.data = app, app.table, data
        self.world = list(range(40))
        self.pages: PagedRows[Agent] = PagedRows(lambda a: a.id, page_rows=4, capacity=4)
        self.lazy = True
        self.anchor: str | None = None
        self.marked: set[str] = set()

    def step(self) -> None:
        """One thing that may happen."""
        kind = self.data.draw(st.sampled_from(["world", "page", "wanted", "key", "mark", "kind"]))
        moved = kind in ("key", "mark")
        index = self.table.cursor_index
        getattr(self, f"_{kind}")()
        self._check(index, moved=moved)

    def _show(self) -> None:
        self.table.show(self.pages if self.lazy else agents(*self.world))
        if not self.lazy:
            self.marked &= {a.id for a in agents(*self.world)}

    def _world(self) -> None:
        """Rows come, go and change places."""
        draw = self.data.draw
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(self.world)))
            change = draw(st.sampled_from(["insert", "remove", "swap"]))
            if change == "insert":
                self.world.insert(at, max(self.world, default=0) + 1)
            elif at < len(self.world):
                row = self.world.pop(at)
                if change == "swap":
                    self.world.insert(draw(st.integers(0, len(self.world))), row)
        self.pages.expire()
        self.pages.set_total(len(self.world), exact=draw(st.booleans()))
        self._show()

    def _put(self, page: int) -> None:
        self.pages.put(page, agents(*self.world[page * 4 : page * 4 + 4]))

    def _page(self) -> None:
        self._put(self.data.draw(st.integers(0, 12)))
        self._show()

    def _wanted(self) -> None:
        for page in self.pages.wants(*self.table.viewed):
            self._put(page)
        self._show()

    def _kind(self) -> None:
        was = self.lazy
        self.lazy = self.data.draw(st.booleans())
        if self.lazy and not was:
            here = {row.id for _, row in self.pages.loaded(0, len(self.pages))}
            self.marked &= here
        self._show()

    def _key(self) -> None:
        name, _, arguments = self.data.draw(st.sampled_from(self.KEYS)).partition("(")
        values = [int(value) for value in arguments.rstrip(")").split(",") if value]
        getattr(self.table, f"action_{name}")(*values)

    def _mark(self) -> None:
        key = self.table.cursor_key
        if key is not None:
            self.marked ^= {key}
        self.table.action_mark()

    def _check(self, index: int, *, moved: bool) -> None:
        items, table = self.table._items, self.table
        if moved and table.cursor_index != index:
            self.anchor = table.cursor_key
        elif self.anchor is not None and items.index_of(self.anchor) is not None:
            assert table.cursor_key == self.anchor
        else:
            assert table.cursor_index == max(0, min(index, len(items) - 1))
            self.anchor = table.cursor_key or (self.anchor if len(items) else None)
        assert table.marks == self.marked
        first, _ = table.viewed
        seen = [row for row in self.app.rows[1:] if row] if len(items) else []
        for at, text in enumerate(seen, first):
            row = items.get(at)
            assert (f" {row.id} " if row is not None else " · ") in text
            assert ("▸" in text) == (at == table.cursor_index)
            assert ("•" in text) == (row is not None and row.id in self.marked)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_the_cursor_stays_with_its_row_and_rows_with_their_index(
    data: st.DataObject,
) -> None:
    async def run() -> None:
        app = Deck()
        async with app.run_test(size=(60, 12)):
            walk = Walk(app, data)
            walk._show()
            walk.anchor = app.table.cursor_key
            for _ in range(data.draw(st.integers(1, 25))):
                walk.step()

    asyncio.run(run())
